"""The pods of a TFJob: one template for each role, from the section ``compute``."""

from collections.abc import Mapping
from dataclasses import dataclass

from parak8s.experiment import Compute
from parak8s.experiment.compute import Toleration
from parak8s.image import IMAGE
from parak8s.tfjobs.objects import (
    Capabilities,
    Claim,
    Container,
    ContainerSecurity,
    EmptyDir,
    LocalReference,
    Metadata,
    Mount,
    PodSecurity,
    PodSpec,
    PodTemplate,
    PodToleration,
    PodVolume,
    Port,
    Resources,
    Role,
    SecretKey,
    Variable,
    VariableSource,
)

PORT = Port(name="tfjob-port", container_port=2222)
"""What the operator makes a service for, and writes into TF_CONFIG."""

SCRATCH = "/tmp"  # noqa: S108 - the pod's own
"""The one folder outside ``compute.volumes`` that can be written to; it is gone with the pod."""

IN_A_POD = {
    "HOME": SCRATCH,
    "KERAS_HOME": f"{SCRATCH}/keras",
    "MPLCONFIGDIR": f"{SCRATCH}/matplotlib",
    "PYTHONUNBUFFERED": "1",
    "USER": "parak8s",
}
"""Folders for settings and caches; logs line by line; the name that a user without an account lacks. The file's win."""

NO_SIDECAR = {"sidecar.istio.io/inject": "false"}
"""As a label and as an annotation: Istio looks at either, by version. A sidecar never ends, nor would the pod then."""


@dataclass(frozen=True)
class Pods:
    """What all pods of a job have in common.

    Args:
        compute: Section of the experiment.
        command: Of the container, as Kubernetes expands it: see :func:`literal`.
        labels: Of every pod, beside those that the operator adds.
        variables: Of every container, where ``compute`` does not set them.
        deadline_s: Of a pod. The operator looks at that of the job only when something happens, such as the end of a
            pod; a job that hangs would outlive it.
    """

    compute: Compute
    command: tuple[str, ...]
    labels: dict[str, str]
    variables: Mapping[str, str]
    deadline_s: int | None = None

    def template(self, role: Role) -> PodTemplate:
        """Return the template of a role."""
        metadata = Metadata(labels={**self.labels, **NO_SIDECAR}, annotations=NO_SIDECAR)
        return PodTemplate(metadata=metadata, spec=self._spec(role))

    def _spec(self, role: Role) -> PodSpec:
        compute, chosen = self.compute, has_chosen_nodes(role, self.compute)
        return PodSpec(
            containers=(self._container(role),),
            active_deadline_seconds=self.deadline_s,
            volumes=_volumes(role, compute),
            security_context=_security(compute.job.user),
            service_account_name=compute.service_account,
            automount_service_account_token=False,
            enable_service_links=False,
            image_pull_secrets=tuple(LocalReference(name=name) for name in compute.image_pull_secrets) or None,
            node_selector=compute.node_selector or None if chosen else None,
            tolerations=tuple(_toleration(each) for each in compute.tolerations) or None if chosen else None,
            priority_class_name=compute.job.priority_class,
            termination_grace_period_seconds=compute.job.grace_s,
        )

    def _container(self, role: Role) -> Container:
        resources = resources_of(role, self.compute)
        return Container(
            image=self.compute.image or IMAGE,
            image_pull_policy=self.compute.image_pull_policy,
            command=self.command,
            env=self._variables() or None,
            ports=(PORT,),
            resources=Resources(requests=resources, limits=resources),
            volume_mounts=_mounts(role, self.compute),
            security_context=ContainerSecurity(
                allow_privilege_escalation=False,
                capabilities=Capabilities(drop=("ALL",)),
                read_only_root_filesystem=True,
            ),
            termination_message_policy="FallbackToLogsOnError",
        )

    def _variables(self) -> tuple[Variable, ...]:
        secrets = {
            variable: SecretKey(name=secret.name, key=key)
            for secret in self.compute.secrets
            for variable, key in secret.env.items()
        }
        given = {*self.compute.env, *secrets}
        plain = {name: value for name, value in self.variables.items() if name not in given} | self.compute.env
        return (
            *(Variable(name=name, value=literal(value)) for name, value in plain.items()),
            *(Variable(name=name, value_from=VariableSource(secret_key_ref=key)) for name, key in secrets.items()),
        )


def literal(text: str) -> str:
    """Return ``text`` so that Kubernetes hands on ``text`` itself.

    In a command and in the value of a variable ``$(NAME)`` is replaced and ``$$`` becomes ``$``: each ``$`` is written
    twice. A single one would be harmless before most letters, but not before those of several bytes.

    Source: github.com/kubernetes/kubernetes, third_party/forked/golang/expansion.
    """
    return text.replace("$", "$$")


def computes(role: Role) -> bool:
    """Return whether a role computes gradients: a chief sends workers their work, a parameter server adds up."""
    return role == "Worker"


def has_chosen_nodes(role: Role, compute: Compute) -> bool:
    """Return whether a role goes to the nodes that ``compute`` chooses: nodes with GPUs are for those who use them."""
    return computes(role) or not compute.gpus


def resources_of(role: Role, compute: Compute) -> dict[str, str]:
    """Return what a pod asks for and may use at most: the same, so that no neighbour makes it wait or die."""
    cpus = f"{compute.cpus:.3f}".rstrip("0").rstrip(".")
    gpus = {compute.gpu_type: str(compute.gpus)} if compute.gpus and computes(role) else {}
    return {"cpu": cpus, "memory": compute.memory, **gpus}


def _volumes(role: Role, compute: Compute) -> tuple[PodVolume, ...]:
    shared = [PodVolume(name="shared-memory", empty_dir=EmptyDir(medium="Memory", size_limit=compute.shared_memory))]
    return (
        PodVolume(name="scratch", empty_dir=EmptyDir()),
        *(shared if compute.shared_memory and computes(role) else []),
        *(PodVolume(name=name, persistent_volume_claim=Claim(claim_name=claim)) for claim, name in _claims(compute)),
    )


def _mounts(role: Role, compute: Compute) -> tuple[Mount, ...]:
    names = dict(_claims(compute))
    shared = [Mount(name="shared-memory", mount_path="/dev/shm")]  # noqa: S108
    return (
        Mount(name="scratch", mount_path=SCRATCH),
        *(shared if compute.shared_memory and computes(role) else []),
        *(Mount(name=names[volume.claim], mount_path=volume.path) for volume in compute.volumes),
    )


def _claims(compute: Compute) -> list[tuple[str, str]]:
    """Return each claim once, with the name of its volume: a claim's own name may be too long for one."""
    claims = dict.fromkeys(volume.claim for volume in compute.volumes)
    return [(claim, f"volume-{number}") for number, claim in enumerate(claims)]


def _security(user: int | None) -> PodSecurity:
    return PodSecurity(
        run_as_non_root=True,
        run_as_user=user,
        run_as_group=user,
        fs_group=user,
        fs_group_change_policy="OnRootMismatch" if user else None,  # not each file of a large volume at every start
    )


def _toleration(given: Toleration) -> PodToleration:
    return PodToleration(key=given.key, operator=given.operator, value=given.value, effect=given.effect)
