"""What follows when a replica ends: the rules of the operator and of the kubelet, without any process.

Source: kubeflow/training-operator v1.9, pkg/controller.v1/common/job.go and pod.go, pkg/core/job.go and
pkg/controller.v1/tensorflow/tfjob_controller.go; kubernetes.io/docs, "Pod Lifecycle".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from parak8s.tfjobs.local.reading import Job
from parak8s.tfjobs.local.status import FAILED, SUCCEEDED, Counts

RETRYABLE = 128
"""Exit codes from here on are tried again under ExitCode."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0
STEADY_S = 600
"""A replica that ran this long may start again at once, as under the kubelet."""


class Next(Enum):
    """What becomes of a replica that ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    IN_PLACE = "starts again in its pod"
    """The kubelet does that; the operator sees a pod that goes on running."""
    ANEW = "starts again in a new pod"
    """The operator does that."""


@dataclass(frozen=True)
class Verdict:
    """How a job ended.

    Args:
        condition: Succeeded or Failed.
        message: The operator's words.
        at_once: Whether replicas that still run are stopped whatever cleanPodPolicy says.
    """

    condition: str
    message: str
    at_once: bool = False


def next_of(restart_policy: str, code: int) -> Next:
    """Return what becomes of a replica that ended with an exit code."""
    if restart_policy == "Always":
        return Next.IN_PLACE
    if code == 0:
        return Next.SUCCEEDED
    if restart_policy == "OnFailure":
        return Next.IN_PLACE
    return Next.ANEW if restart_policy == "ExitCode" and code >= RETRYABLE else Next.FAILED


def pause_s(quick_ends: int) -> float:
    """Return how long a replica waits that has ended early so many times in a row: not at all, 0.1 s, 0.2 s, ..."""
    return 0.0 if quick_ends <= 1 else min(FIRST_PAUSE_S * 2 ** min(quick_ends - 2, 20), LONGEST_PAUSE_S)


def past_backoff_limit(limit: int | None, restarts: int, failed: bool) -> Verdict | None:
    """Return the end of a job that has no more tries.

    Args:
        limit: ``backoffLimit``.
        restarts: Of all replicas together, the one that is due included.
        failed: Whether a replica ended for good; that counts only where the limit is 0.
    """
    if limit is None or not (restarts >= max(limit, 1) or (limit == 0 and failed)):
        return None
    return Verdict(FAILED, "Job {name} has failed because it has reached the specified backoff limit", at_once=True)


PAST_DEADLINE = Verdict(
    FAILED, "Job {name} has failed because it was active longer than specified deadline", at_once=True
)


def verdict(job: Job, counts: Mapping[str, Counts], first_worker_succeeded: bool) -> Verdict | None:
    """Return how the job ended, or None while it goes on.

    Args:
        job: The TFJob.
        counts: Type -> how many replicas are in which state; one that waits for its start is active.
        first_worker_succeeded: Whether worker-0 ended well.
    """
    if _succeeded(job, counts, first_worker_succeeded):
        return Verdict(SUCCEEDED, "TFJob {namespace}/{name} successfully completed.")
    for kind, each in job.replicas.items():
        failed = counts[kind].failed
        if failed and each.restart_policy == "ExitCode":
            return Verdict(FAILED, f'job "{{name}}" is failing because "{kind}" replica(s) failed.')
        if failed and not (job.dynamic_workers and kind == "Worker"):
            return Verdict(
                FAILED, f"TFJob {{namespace}}/{{name}} has failed because {failed} {kind} replica(s) failed."
            )
    if not any(each.active for each in counts.values()):
        return Verdict(FAILED, "TFJob {namespace}/{name} has failed because no replica is left.")
    return None


def _succeeded(job: Job, counts: Mapping[str, Counts], first_worker_succeeded: bool) -> bool:
    if job.leader is not None:
        return counts[job.leader].succeeded == job.replicas[job.leader].count
    all_workers = counts["Worker"].succeeded == job.replicas["Worker"].count
    return all_workers or (first_worker_succeeded and job.success_policy != "AllWorkers")


def may_run_on(job: Job, kind: str, end: Verdict) -> bool:
    """Return whether a replica that still runs may end by itself: where a cluster would let it run on.

    Parameter servers never end by themselves.
    """
    goes_on = job.clean_pod_policy == "None" and end.condition == SUCCEEDED and not end.at_once
    return goes_on and kind != "PS"
