"""The trial that Katib makes of a template: a Job of one pod, or a TFJob of several."""

from __future__ import annotations

import math

from parak8s.experiment import Experiment, Search
from parak8s.experiment.pods import bytes_of
from parak8s.katib.objects import Job, JobSpec, TrialContainer, TrialPod, TrialPodTemplate
from parak8s.tfjobs.building import QUEUE_LABEL, replicas_of, run_policy
from parak8s.tfjobs.objects import Metadata, PodVolume, ReplicaSpec, TFJob, TFJobSpec, Variable
from parak8s.tfjobs.pods import Pods

_UNITS = {1000: ("", "k", "M", "G", "T", "P", "E"), 1024: ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")}


def job(experiment: Experiment, search: Search, pods: Pods, *, on_cluster: bool) -> Job:
    """Return the trial of one pod. It is no part of a Job's life to try again: Katib tries another point."""
    wanted = experiment.compute.job
    waits = on_cluster and (wanted.suspend or wanted.queue is not None)
    return Job(
        metadata=_metadata(experiment, pods, on_cluster=on_cluster),
        spec=JobSpec(
            active_deadline_seconds=search.trial_deadline_s,
            suspend=True if waits else None,
            template=_template(pods),
        ),
    )


def tfjob(experiment: Experiment, search: Search, pods: Pods, *, on_cluster: bool) -> TFJob:
    """Return the trial of several replicas; Katib deletes it when it is over, so that its pods need no other end."""
    compute = experiment.compute
    replicas = replicas_of(compute)
    policy = run_policy(compute, sum(replicas.values()), on_cluster=on_cluster)
    deadline = min(search.trial_deadline_s, compute.job.deadline_s or search.trial_deadline_s)
    lives = {"active_deadline_seconds": deadline, "ttl_seconds_after_finished": None}
    return TFJob(
        metadata=_metadata(experiment, pods, on_cluster=on_cluster),
        spec=TFJobSpec(
            run_policy=policy.model_copy(update=lives),
            success_policy=compute.job.success_policy,
            tf_replica_specs={
                role: ReplicaSpec(replicas=count, restart_policy="ExitCode", template=pods.template(role))
                for role, count in replicas.items()
            },
        ),
    )


def _metadata(experiment: Experiment, pods: Pods, *, on_cluster: bool) -> Metadata:
    """Return labels alone: Katib gives each trial its name."""
    queue = experiment.compute.job.queue if on_cluster else None
    return Metadata(labels={**pods.labels, **({QUEUE_LABEL: queue} if queue else {})})


def _template(pods: Pods) -> TrialPodTemplate:
    """Return the pod of a worker of a TFJob, in which nothing talks to another one."""
    worker = pods.template("Worker")
    (container,) = worker.spec.containers
    inner = {name: value for name, value in container if name in TrialContainer.model_fields and name != "name"}
    outer = {name: value for name, value in worker.spec if name in TrialPod.model_fields}
    outer["containers"] = (TrialContainer(**inner | {"env": tuple(_plain(each) for each in container.env or ())}),)
    outer["volumes"] = tuple(_sized(each) for each in worker.spec.volumes)
    return TrialPodTemplate(metadata=worker.metadata, spec=TrialPod(**outer))


def _plain(variable: Variable) -> Variable:
    """Return the variable as Kubernetes writes it again: Katib refuses a Job of which it would write anything anew."""
    return variable.model_copy(update={"value": variable.value or None})


def _sized(volume: PodVolume) -> PodVolume:
    """Return the volume with its size as Kubernetes writes it again: 1Gi for 1024Mi."""
    folder = volume.empty_dir
    if folder is None or folder.size_limit is None:
        return volume
    limit = folder.model_copy(update={"size_limit": canonical(folder.size_limit)})
    return volume.model_copy(update={"empty_dir": limit})


def canonical(quantity: str) -> str:
    """Return a quantity of memory with the largest unit that keeps it a whole number.

    Source: github.com/kubernetes/apimachinery, pkg/api/resource, Quantity.CanonicalizeBytes.
    """
    size, base = math.ceil(bytes_of(quantity)), 1024 if quantity.endswith("i") else 1000
    power = max(power for power in range(7) if size % base**power == 0)
    return f"{size // base**power}{_UNITS[base][power]}"
