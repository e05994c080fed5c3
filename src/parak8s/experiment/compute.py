"""The sections about where and when an experiment runs. None of their values changes what it is."""

import posixpath
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from parak8s.experiment.cron import six_fields
from parak8s.experiment.pods import Cpus, Image, Label, LabelValue, Quantity, Resource
from parak8s.experiment.rules import (
    AbsolutePath,
    Count,
    Moment,
    Name,
    Place,
    RuleError,
    Section,
    Text,
    Variable,
)

NotBelowZero = Annotated[int, Field(ge=0)]
GREATEST = 2**31 - 1
"""Of an int32, which most numbers of Kubernetes are."""
RESTARTS_EACH = 6
"""Restarts of each replica until a job has failed, where the file says nothing: one fault restarts all of them."""
Seconds = Annotated[int, Field(ge=1, le=GREATEST)]


def lies_in(path: str, folder: str) -> bool:
    """Return whether the absolute ``path`` is ``folder`` or lies below it, as paths in a pod are written."""
    inner, outer = posixpath.normpath(path), posixpath.normpath(folder)
    return inner == outer or inner.startswith(f"{outer.rstrip('/')}/")


def is_store(place: str) -> bool:
    """Return whether a place is an address in an object store, not a path."""
    return "://" in place


class Toleration(Section):
    """A taint of nodes that the pods bear (Kubernetes ``core/v1`` Toleration)."""

    key: Label | None = None
    """The taint's key; null bears every taint, with operator Exists."""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    @model_validator(mode="after")
    def _value_goes_with_operator(self) -> Self:
        if self.operator == "Exists" and self.value is not None:
            raise RuleError("value", f"stands with operator Equal alone, got {self.value!r} with Exists; leave it out")
        if self.key is None and self.operator == "Equal":
            raise RuleError("key", "operator Equal needs a key; write one, or operator: Exists")
        return self


class Volume(Section):
    """A PersistentVolumeClaim that is there already, mounted into every pod."""

    claim: Name
    path: AbsolutePath
    """Absolute path in the pods; ``data.source`` may lie below it."""


class Secret(Section):
    """Keys of a Kubernetes Secret as environment variables: their values stand in no file and no spec."""

    name: Name
    env: Annotated[dict[Variable, Text], Field(min_length=1)]
    """Environment variable -> key in the Secret, such as ``{AWS_SECRET_ACCESS_KEY: secretkey}``."""


class Gang(Section):
    """All pods of a job are placed together or none is. The operator must have been started with a gang scheduler."""

    queue: Name | None = None
    """Queue of Volcano; null: its default."""
    timeout_s: Seconds | None = None
    """How long the scheduler plugins try to place all pods before they begin anew."""


class Job(Section):
    """How a distributed training lives and ends: the ``runPolicy`` of a TFJob, and how long replicas wait."""

    rendezvous_s: Seconds = 600
    """How long a replica waits for the others to come before it ends with 200, to be started again."""
    peer_timeout_s: Seconds = 300
    """How long a replica waits for a peer that has fallen silent before it ends with 200."""
    grace_s: Seconds = 120
    """Time to save in, from SIGTERM (a preemption, say) to SIGKILL."""
    backoff_limit: Annotated[int, Field(ge=0, le=GREATEST)] | None = None
    """Restarts after which the job has failed; null: six for each replica."""
    deadline_s: Seconds | None = None
    """Longest life of the job, with all restarts; null: none."""
    clean_pods: Literal["Running", "All", "None"] = "Running"
    """Pods that are deleted when the job has ended: ``Running`` keeps those that have ended too, for their logs."""
    ttl_s: Annotated[int, Field(ge=0, le=GREATEST)] | None = None
    """When an ended job is deleted, with its pods; null: never."""
    success_policy: Literal["AllWorkers"] | None = None
    """Who must end well for the job to have succeeded; null: the leader (chief, or worker 0)."""
    suspend: bool = False
    """Create the job without pods; it begins when somebody sets this to false."""
    queue: Name | None = None
    """LocalQueue of Kueue: the job is created suspended, and Kueue lets it begin."""
    priority_class: Name | None = None
    """PriorityClass of the pods."""
    gang: Gang | None = None
    """``{}`` or more: all pods start together; null: as the nodes have room."""
    user: Annotated[int, Field(ge=1, le=GREATEST)] | None = 1000
    """Number of the user and group that the pods run as; null: the platform chooses (OpenShift)."""


class Compute(Section):
    """What one training takes on a cluster."""

    image: Image | None = None
    """Container image with ParaK8s; null: the image of this version."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    image_pull_secrets: tuple[Name, ...] = ()
    gpus: NotBelowZero = 0
    gpu_type: Resource = "nvidia.com/gpu"
    """Resource name of the accelerators."""
    cpus: Cpus = 4.0
    memory: Quantity = "8Gi"
    shared_memory: Quantity | None = None
    """Size of ``/dev/shm`` in the training pod: NCCL and data workers use it."""
    workers: Count = 1
    parameter_servers: NotBelowZero = 0
    node_selector: dict[Label, LabelValue] = Field(default_factory=dict)
    """Labels of the nodes on which the model is trained, such as ``{accelerator: a100}``."""
    tolerations: tuple[Toleration, ...] = ()
    volumes: tuple[Volume, ...] = ()
    runs: Place | None = None
    """Where a distributed training works, in a folder named after the job: on one of ``volumes``, or ``s3://``."""
    job: Job = Job()
    """How a distributed training lives and ends."""
    secrets: tuple[Secret, ...] = ()
    service_account: Name | None = None
    """Kubernetes account that the pods run as; null: the server's default."""
    env: dict[Variable, str] = Field(default_factory=dict)
    """Environment variables of every pod. Passwords belong into ``secrets``."""
    retries: Annotated[int, Field(ge=0, le=100)] = 2
    """How often a step that talks to the network is tried again."""

    @property
    def distributed(self) -> bool:
        """Whether more than one replica trains."""
        return self.workers > 1 or self.parameter_servers > 0

    @model_validator(mode="after")
    def _variables_are_set_once(self) -> Self:
        names = [*self.env, *(name for secret in self.secrets for name in secret.env)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise RuleError("env", f"{', '.join(twice)} is set twice, here and in secrets; keep one")
        return self

    @model_validator(mode="after")
    def _each_path_is_mounted_once(self) -> Self:
        paths = [posixpath.normpath(volume.path) for volume in self.volumes]
        paths += ["/dev/shm"] if self.shared_memory else []  # noqa: S108
        twice = sorted({path for path in paths if paths.count(path) > 1})
        if twice:
            raise RuleError("volumes", f"{', '.join(twice)} is mounted twice; give each volume a path of its own")
        return self

    @model_validator(mode="after")
    def _runs_are_kept(self) -> Self:
        shared = not self.runs or is_store(self.runs) or any(lies_in(self.runs, each.path) for each in self.volumes)
        if not shared:
            raise RuleError("runs", f"must lie on one of compute.volumes, got {self.runs}; mount a claim there")
        return self

    @model_validator(mode="after")
    def _parameter_servers_are_ended(self) -> Self:
        if self.parameter_servers and self.job.clean_pods == "None":
            message = "with parameter servers write Running or All: they would go on for ever after the training"
            raise RuleError("job.clean_pods", message)
        return self


class Recurrence(Section):
    """When the pipeline runs again by itself (a recurring run of KFP)."""

    cron: Text | None = None
    """``30 2 * * *`` is every night at 02:30, in the server's time zone; six fields begin with the seconds."""
    every_s: Annotated[int, Field(ge=60)] | None = None
    """Seconds between two starts; instead of ``cron``."""
    start: Moment | None = None
    """RFC 3339, such as 2026-12-01T00:00:00Z."""
    end: Moment | None = None
    max_concurrency: Annotated[int, Field(ge=1, le=10)] = 1
    catch_up: bool = False
    """Whether starts that were missed, while it was paused, say, are made up for."""
    enabled: bool = True

    @field_validator("cron")
    @classmethod
    def _is_read_by_the_scheduler(cls, cron: str | None) -> str | None:
        if cron is not None:
            six_fields(cron)
        return cron

    @model_validator(mode="after")
    def _one_rhythm(self) -> Self:
        if (self.cron is None) == (self.every_s is None):
            raise ValueError("give one of cron and every_s")
        if self.start and self.end and datetime.fromisoformat(self.start) >= datetime.fromisoformat(self.end):
            raise RuleError("end", f"must come after start ({self.start}), got {self.end}")
        return self
