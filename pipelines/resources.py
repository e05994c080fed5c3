"""Where and with what each task runs: the section ``compute`` of the file, in the words of KFP and Kubernetes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parak8s.experiment import Compute, documents
from parak8s.experiment.pods import bytes_of

if TYPE_CHECKING:
    from kfp.dsl import PipelineTask

LIGHT = ("own-code", "points", "keep-best", "outcome")
"""Tasks that look at texts and small files."""
TALKS_TO_NETWORK = ("configure", "ingest", "gate", "register", "record")
"""Tasks that are tried again: a source, a registry or a database may be away for a moment."""
NEVER_CACHED = ("configure", "keep-best", "gate", "report", "register", "record", "outcome")
"""Tasks that look at the world outside their inputs or write to it, and one whose outputs say who won."""

TRAINS = ("train", "distributed-train")
"""Tasks that train one point."""
CREATES = ("distributed-train", "tune")
"""Tasks that create jobs; what they are given goes to these, but for variables and volumes, which both get."""
ACCELERATED = (*TRAINS, "tune")
"""Tasks that get accelerators and the chosen nodes."""

NUMBER = re.compile(r"-\d+$")
"""What KFP adds to the second and further tasks of one name."""


@dataclass(frozen=True)
class Resources:
    """What a pod asks for and may use.

    Args:
        cpus: Cores.
        memory: Kubernetes quantity.
        gpus: Accelerators.
    """

    cpus: float
    memory: str
    gpus: int


def resources_of(task: str, compute: Compute) -> Resources:
    """Return the resources of a task: all for the training, no accelerator for the rest, little for light ones."""
    if task in LIGHT:
        return Resources(min(1.0, compute.cpus), "2Gi", 0)
    return Resources(compute.cpus, compute.memory, compute.gpus if task in ACCELERATED else 0)


def place(task: PipelineTask, compute: Compute) -> PipelineTask:
    """Set image, resources, nodes, volumes, secrets, retries and caching of a task; return it."""
    name = NUMBER.sub("", task.name)
    wanted = resources_of(name, compute)
    memory = in_kfp_units(wanted.memory)
    cpus = f"{wanted.cpus:.3f}".rstrip("0").rstrip(".")
    task.set_cpu_request(cpus).set_cpu_limit(cpus)
    task.set_memory_request(memory).set_memory_limit(memory)
    if compute.image:
        task.set_container_image(compute.image)
    for variable, value in compute.env.items():
        task.set_env_variable(variable, value)
    if name in TALKS_TO_NETWORK and compute.retries:
        task.set_retry(compute.retries, backoff_duration="30s", backoff_factor=2, backoff_max_duration="600s")
    if name in NEVER_CACHED:
        task.set_caching_options(False)
    _on_kubernetes(task, compute)
    if name in ACCELERATED:
        _with_accelerators(task, wanted, compute, is_job=name in CREATES)
    return task


def of_the_job(compute: Compute) -> str:
    """Return the section ``compute`` of the job that a task creates, as far as KFP does not hand it on.

    What KFP hands on with the task's configuration is left out, so that more memory, say, retrains nothing.
    """
    kept = (
        *("image", "image_pull_policy", "image_pull_secrets", "shared_memory", "workers", "parameter_servers"),
        *("runs", "job", "service_account"),
    )
    return documents.dump(compute.model_dump(mode="json", include=set(kept), exclude_defaults=True))


def _on_kubernetes(task: PipelineTask, compute: Compute) -> None:
    if not (compute.volumes or compute.secrets or compute.image_pull_policy or compute.image_pull_secrets):
        return  # without the second that the import takes
    from kfp import kubernetes

    for volume in compute.volumes:
        kubernetes.mount_pvc(task, pvc_name=volume.claim, mount_path=volume.path)
    for secret in compute.secrets:
        for variable, key in secret.env.items():  # one call each: kfp maps a key to a single variable
            kubernetes.use_secret_as_env(task, secret.name, {key: variable})
    if compute.image_pull_policy:
        kubernetes.set_image_pull_policy(task, compute.image_pull_policy)
    if compute.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(compute.image_pull_secrets))


def _with_accelerators(task: PipelineTask, wanted: Resources, compute: Compute, *, is_job: bool) -> None:
    if wanted.gpus:
        task.set_accelerator_type(compute.gpu_type).set_accelerator_limit(wanted.gpus)
    shared_memory = None if is_job else compute.shared_memory  # KFP hands on claims, but no memory
    if not (shared_memory or compute.node_selector or compute.tolerations):
        return  # without the second that the import takes
    from kfp import kubernetes

    if shared_memory:
        size = in_kfp_units(shared_memory)
        kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", medium="Memory", size_limit=size)  # noqa: S108
    for label, value in compute.node_selector.items():
        kubernetes.add_node_selector(task, label_key=label, label_value=value)
    for each in compute.tolerations:
        kubernetes.add_toleration(task, each.key, each.operator, each.value, each.effect)


def in_kfp_units(quantity: str) -> str:
    """Return a quantity as KFP takes it: it knows neither fractions nor the small k of Kubernetes."""
    return str(int(bytes_of(quantity))) if "." in quantity or quantity.endswith("k") else quantity
