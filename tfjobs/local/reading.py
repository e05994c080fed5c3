"""Reads a TFJob object: what the engine needs of it, and what a laptop leaves out.

Source: kubeflow/training-operator v1.9, pkg/apis/kubeflow.org/v1 (types and defaults) and pkg/webhooks/tensorflow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parak8s.errors import InputError, nearest
from parak8s.experiment.mistakes import shown
from parak8s.tfjobs.local.fields import Fields

TYPES = ("Chief", "Master", "Worker", "PS", "Evaluator")
CONTAINER = "tensorflow"
GRACE_S = 30
"""Kubernetes' default of terminationGracePeriodSeconds."""

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_SPEC = ("runPolicy", "successPolicy", "tfReplicaSpecs", "enableDynamicWorker")
_DONE = ("activeDeadlineSeconds", "backoffLimit", "cleanPodPolicy", "suspend")
_NOT_DONE = ("ttlSecondsAfterFinished", "schedulingPolicy", "managedBy")
_OF_REPLICAS = ("replicas", "restartPolicy", "template")
_OF_POD = ("containers", "terminationGracePeriodSeconds")
_OF_CONTAINER = ("name", "command", "args", "env", "envFrom", "workingDir", "imagePullPolicy", "ports")


@dataclass(frozen=True)
class Replicas:
    """All replicas of one type.

    Args:
        type: Such as Worker.
        count: How many.
        restart_policy: Always, OnFailure, Never or ExitCode.
        grace_s: Seconds from SIGTERM to SIGKILL.
        container: Fields of the container ``tensorflow``.
        labels: Of the pod template.
    """

    type: str
    count: int
    restart_policy: str
    grace_s: int
    container: Fields
    labels: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        """Name of each replica: worker-0, worker-1 and so on."""
        return [f"{self.type.lower()}-{index}" for index in range(self.count)]


@dataclass(frozen=True)
class Job:
    """What the engine needs of a TFJob.

    Args:
        name: Of the job.
        namespace: Its namespace; ``default`` where none is written.
        replicas: Type -> its replicas, in the order of :data:`TYPES`.
        clean_pod_policy: None, Running or All.
        success_policy: Empty or AllWorkers.
        backoff_limit: Restarts that are too many; None for as many as it takes.
        deadline_s: Seconds that the job may take; None for as many as it takes.
        suspended: Whether it is not to start.
        dynamic_workers: Whether workers may come and go.
        left_out: Fields that are there and mean nothing on a laptop.
    """

    name: str
    namespace: str
    replicas: Mapping[str, Replicas]
    clean_pod_policy: str = "None"
    success_policy: str = ""
    backoff_limit: int | None = None
    deadline_s: int | None = None
    suspended: bool = False
    dynamic_workers: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def leader(self) -> str | None:
        """Chief or Master where there is one; else worker-0 leads."""
        return next((kind for kind in ("Chief", "Master") if kind in self.replicas), None)

    @property
    def distributed(self) -> bool:
        """Whether replicas get a TF_CONFIG: not where there is only one."""
        return sum(each.count for each in self.replicas.values()) != 1


def read(values: Mapping[str, Any]) -> Job:
    """Read a TFJob object.

    Raises:
        InputError: It is no TFJob, breaks a rule of Kubernetes, or holds what a laptop would do wrong.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"expected a TFJob, a mapping (key: value), got {shown(values)}")
    job = Fields(values)
    if (values.get("apiVersion"), values.get("kind")) != ("kubeflow.org/v1", "TFJob"):
        found = f"{values.get('apiVersion')} {values.get('kind')}"
        raise InputError(f"kind: expected a TFJob of kubeflow.org/v1, got {found}")
    metadata, spec = job.inner("metadata"), job.inner("spec")
    for key in (*_DONE, *_NOT_DONE):
        if key in spec.values:
            raise InputError(f"{spec.where(key)}: no such field; it belongs into spec.runPolicy")
    spec.only(_SPEC)
    policy = spec.inner("runPolicy")
    policy.only((*_DONE, *_NOT_DONE))
    left_out = [key for key in _NOT_DONE if policy.values.get(key) is not None]
    return Job(
        name=_name(metadata),
        namespace=metadata.text("namespace") or "default",
        replicas=_all_replicas(spec, left_out),
        clean_pod_policy=policy.choice("cleanPodPolicy", ("None", "Running", "All"), "None"),
        success_policy=spec.choice("successPolicy", ("", "AllWorkers"), ""),
        backoff_limit=policy.whole("backoffLimit", 0),
        deadline_s=policy.whole("activeDeadlineSeconds", 1),
        suspended=policy.flag("suspend"),
        dynamic_workers=spec.flag("enableDynamicWorker"),
        left_out=tuple(dict.fromkeys(left_out)),
    )


def _name(metadata: Fields) -> str:
    name = metadata.text("name")
    if not name:
        raise metadata.missing("name", "write one, such as ecg")
    if not _NAME.fullmatch(name):
        raise metadata.wrong("name", "expected at most 63 small letters, digits and inner -, beginning with a letter")
    return name


def _all_replicas(spec: Fields, left_out: list[str]) -> dict[str, Replicas]:
    specs = spec.inner("tfReplicaSpecs")
    found: dict[str, Replicas] = {}
    for key in specs.values:
        kind = next((known for known in TYPES if known.casefold() == str(key).casefold()), None)
        if kind is None:
            raise InputError(f"{specs.where(str(key))}: no such type of replica; {nearest(str(key), TYPES)}")
        if kind in found:
            raise InputError(f"{specs.where(str(key))}: {kind} is there twice; keep one of them")
        found[kind] = _replicas(kind, specs.inner(key), left_out)
    if {"Chief", "Master"} <= found.keys():
        raise InputError(f"{specs.path}: Chief and Master are the same; keep one of them")
    if not {"Chief", "Master", "Worker"} & found.keys():
        rule = "a job ends when its Chief or its Workers do"
        raise InputError(f"{specs.path}: {rule}; write one of them, got {', '.join(found) or 'nothing'}")
    return {kind: found[kind] for kind in TYPES if kind in found}


def _replicas(kind: str, fields: Fields, left_out: list[str]) -> Replicas:
    fields.only(_OF_REPLICAS)
    template = fields.inner("template")
    pod = template.inner("spec")
    container = _container(pod, left_out)
    left_out += [key for key, value in pod.values.items() if key not in _OF_POD and value not in (None, [], {})]
    labels = template.inner("metadata").inner("labels").values
    count, grace_s = fields.whole("replicas", 1, 1), pod.whole("terminationGracePeriodSeconds", 0, GRACE_S)
    assert count is not None
    assert grace_s is not None
    policy = fields.choice("restartPolicy", ("Always", "OnFailure", "Never", "ExitCode"), "Never")
    return Replicas(kind, count, policy, grace_s, container, labels)


def _container(pod: Fields, left_out: list[str]) -> Fields:
    """Return the container that the operator looks for; beside it, list what is left out."""
    containers = pod.each("containers")
    named = [each for each in containers if each.values.get("name") == CONTAINER]
    if len(named) != 1:
        names = ", ".join(str(each.values.get("name")) for each in containers)
        found = f"{names}; rename the one that trains" if names else "none; write it"
        raise InputError(f"{pod.where('containers')}: expected one named {CONTAINER}, got {found}")
    (container,) = named
    left_out += [f"the container {each.values.get('name')}" for each in containers if each is not container]
    left_out += [
        key for key, value in container.values.items() if key not in _OF_CONTAINER and value not in (None, [], {})
    ]
    return container
