"""What ParaK8s writes of a TFJob, each field named as in ``kubeflow.org/v1`` and in Kubernetes ``core/v1``.

Source: github.com/kubeflow/training-operator, pkg/apis/kubeflow.org/v1, release 1.9; kubernetes.io/docs/reference. The
clients' own models cannot be used here: importing those of Kubernetes takes a second.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Role = Literal["Chief", "Worker", "PS", "Evaluator"]
"""Types of replicas. An evaluator gets TF_CONFIG, but is no part of the cluster that it describes."""

Count = Annotated[int, Field(ge=1)]
NotBelowZero = Annotated[int, Field(ge=0)]


class Part(BaseModel):
    """A part of an object: written ``run_policy`` here and ``runPolicy`` there; what is None is left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel, populate_by_name=True)

    def manifest(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Metadata(Part):
    """ObjectMeta."""

    name: str | None = None
    namespace: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class SecretKey(Part):
    """SecretKeySelector."""

    name: str
    key: str


class VariableSource(Part):
    """EnvVarSource."""

    secret_key_ref: SecretKey


class Variable(Part):
    """EnvVar, with one of both."""

    name: str
    value: str | None = None
    value_from: VariableSource | None = None


class Port(Part):
    """ContainerPort."""

    name: str
    container_port: int


class Mount(Part):
    """VolumeMount."""

    name: str
    mount_path: str


class EmptyDir(Part):
    """EmptyDirVolumeSource."""

    medium: Literal["Memory"] | None = None
    size_limit: str | None = None


class Claim(Part):
    """PersistentVolumeClaimVolumeSource."""

    claim_name: str


class PodVolume(Part):
    """Volume, with one of both sources."""

    name: str
    empty_dir: EmptyDir | None = None
    persistent_volume_claim: Claim | None = None


class Resources(Part):
    """ResourceRequirements."""

    requests: dict[str, str]
    limits: dict[str, str]


class Capabilities(Part):
    """Capabilities."""

    drop: tuple[str, ...]


class ContainerSecurity(Part):
    """SecurityContext."""

    allow_privilege_escalation: bool
    capabilities: Capabilities
    read_only_root_filesystem: bool


class AnyContainer(Part):
    """What all containers of a job have, whatever their names."""

    image: str
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    command: tuple[str, ...]
    env: tuple[Variable, ...] | None = None
    resources: Resources
    volume_mounts: tuple[Mount, ...]
    security_context: ContainerSecurity
    termination_message_policy: Literal["File", "FallbackToLogsOnError"]


class Container(AnyContainer):
    """Container. The operator writes TF_CONFIG into the one that is named ``tensorflow``."""

    name: Literal["tensorflow"] = "tensorflow"
    ports: tuple[Port, ...]


class SeccompProfile(Part):
    """SeccompProfile."""

    type: Literal["RuntimeDefault"] = "RuntimeDefault"


class PodSecurity(Part):
    """PodSecurityContext."""

    run_as_non_root: bool
    run_as_user: int | None = None
    run_as_group: int | None = None
    fs_group: int | None = None
    fs_group_change_policy: Literal["OnRootMismatch", "Always"] | None = None
    seccomp_profile: SeccompProfile = SeccompProfile()


class LocalReference(Part):
    """LocalObjectReference."""

    name: str


class PodToleration(Part):
    """Toleration."""

    key: str | None = None
    operator: Literal["Equal", "Exists"]
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class AnyPod(Part):
    """What all pods of a job have, whatever their containers."""

    volumes: tuple[PodVolume, ...]
    security_context: PodSecurity
    service_account_name: str | None = None
    automount_service_account_token: bool
    enable_service_links: bool
    image_pull_secrets: tuple[LocalReference, ...] | None = None
    node_selector: dict[str, str] | None = None
    tolerations: tuple[PodToleration, ...] | None = None
    priority_class_name: str | None = None
    termination_grace_period_seconds: Count


class PodSpec(AnyPod):
    """PodSpec. It has no restartPolicy: the operator overwrites it by that of the replica, with a warning."""

    containers: tuple[Container, ...]
    active_deadline_seconds: Count | None = None


class PodTemplate(Part):
    """PodTemplateSpec."""

    metadata: Metadata
    spec: PodSpec


class ReplicaSpec(Part):
    """ReplicaSpec. ``ExitCode``: exit codes 1 to 127 end the job, 128 to 255 start the replica again."""

    replicas: Count
    restart_policy: Literal["ExitCode", "OnFailure", "Always", "Never"]
    template: PodTemplate


class SchedulingPolicy(Part):
    """SchedulingPolicy: what the operator writes into the PodGroup of a gang scheduler, if it was started with one."""

    min_available: Count
    queue: str | None = None
    priority_class: str | None = None
    schedule_timeout_seconds: Count | None = None


class RunPolicy(Part):
    """RunPolicy."""

    clean_pod_policy: Literal["Running", "All", "None"]
    backoff_limit: NotBelowZero
    active_deadline_seconds: Count | None = None
    ttl_seconds_after_finished: NotBelowZero | None = None
    scheduling_policy: SchedulingPolicy | None = None
    suspend: bool | None = None


class TFJobSpec(Part):
    """TFJobSpec."""

    run_policy: RunPolicy
    success_policy: Literal["AllWorkers"] | None = None
    tf_replica_specs: dict[Role, ReplicaSpec]


class TFJob(Part):
    """The object."""

    api_version: Literal["kubeflow.org/v1"] = "kubeflow.org/v1"
    kind: Literal["TFJob"] = "TFJob"
    metadata: Metadata
    spec: TFJobSpec
