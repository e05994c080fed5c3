"""Says in plain words why a job has no pods, why it failed as a whole, and what to change."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from parak8s.cluster.api.troubles import Trouble, said
from parak8s.cluster.jobs.conditions import condition
from parak8s.cluster.jobs.connection import TFJOB
from parak8s.cluster.jobs.waiting import when

QUEUE = "kueue.x-k8s.io/queue-name"
"""Label of a job that waits in a queue of Kueue."""
JOB = "the job"
"""What a trouble is about that is no replica's."""
Json = Mapping[str, Any]


def expected_pods(job: Json) -> int:
    """Return how many replicas the job asks for."""
    return sum(int(each.get("replicas", 1)) for each in job["spec"].get("tfReplicaSpecs", {}).values())


def suspended(job: Json, workloads: Callable[[], Sequence[Json]]) -> Trouble | None:
    """Return why a suspended job waits; None when it is not suspended.

    Args:
        job: The TFJob.
        workloads: What Kueue knows of it; asked for only when it waits in a queue.
    """
    policy = job["spec"].get("runPolicy") or {}
    if not policy.get("suspend") and not condition(job, "Suspended"):
        return None
    queue = (job["metadata"].get("labels") or {}).get(QUEUE)
    if not queue:
        patch = '{"spec": {"runPolicy": {"suspend": false}}}'
        fix = f"kubectl patch tfjob {job['metadata']['name']} --type merge -p '{patch}'"
        return Trouble(JOB, "Suspended", f"suspended, and in no queue; it goes on after: {fix}")
    conditions = [each for workload in workloads() for each in (workload.get("status") or {}).get("conditions") or []]
    words = [said(each.get("message", "")) for each in conditions if each.get("status") == "False"]
    why = f": {words[0].rstrip('.')}" if words else ""
    return Trouble(JOB, "Queued", f"waits in the queue {queue}{why}; kubectl describe workload says more")


def not_created(events: Sequence[Json]) -> Trouble | None:
    """Return why the operator could not make pods; None when it did not say."""
    failed = [each for each in sorted(events, key=when) if str(each.get("reason", "")).startswith("FailedCreate")]
    if not failed:
        return None
    words = said(failed[-1].get("message", "")).removeprefix("Error creating: ")
    return Trouble(JOB, "FailedCreate", f"a pod could not be made: {words.rstrip('.')}; {_creation_fix(words)}")


def _creation_fix(words: str) -> str:
    if "exceeded quota" in words:
        return "lower compute.workers or what each asks for in compute, or ask for a larger quota"
    if "must specify" in words:
        return "the quota wants every pod to say how much it takes: compute.cpus and compute.memory"
    if found := re.search(r'serviceaccount "([^"]+)" not found', words):
        return f"create the account {found[1]}, or correct compute.service_account"
    if "PodSecurity" in words:
        return "the namespace does not allow pods like that: see its label pod-security.kubernetes.io/enforce"
    if "usage per" in words:
        return "keep compute.cpus and compute.memory within the namespace's LimitRange"
    return "kubectl describe tfjob says more"


def silent(seconds: float) -> Trouble:
    """Return what it means that nobody takes up a job."""
    return Trouble(JOB, "Silent", f"nobody has taken it up for {seconds:g} s; does {TFJOB.operator} run?")


def failed(job: Json) -> str:
    """Return why the job failed as a whole, as its operator says; empty when it did not fail."""
    found, policy = condition(job, "Failed"), job["spec"].get("runPolicy") or {}
    words = said(found.get("message", "")) if found else ""
    if "backoff limit" in words:
        limit = policy.get("backoffLimit")
        return f"its replicas failed more often than runPolicy.backoffLimit ({limit}) allows"
    if "deadline" in words:
        limit = policy.get("activeDeadlineSeconds")
        return f"it took longer than runPolicy.activeDeadlineSeconds ({limit}) allows"
    return words or ("it failed, and its operator does not say why" if found else "")


def exits(events: Sequence[Json], name: str) -> list[str]:
    """Return how replicas ended, also those whose pods are gone: ``worker-1: ended with exit code 137``."""
    found = []
    for event in sorted(events, key=when):
        words = re.match(rf"Pod: \S+?\.{re.escape(name)}-(\S+) exited with code (\d+)", str(event.get("message", "")))
        if event.get("reason") == "ExitedWithCode" and words and words[2] != "0":
            found.append(f"{words[1]}: ended with exit code {words[2]}")
    return [*dict.fromkeys(found)]
