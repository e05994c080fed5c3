"""Says in plain words why the service that suggests the trials does not come up, and what to change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from parak8s.cluster.api.troubles import Trouble, said
from parak8s.cluster.jobs.replicas import Replica
from parak8s.cluster.jobs.waiting import IMAGE, QUIET, last_warning
from parak8s.cluster.searches.conditions import FAILED, condition
from parak8s.cluster.searches.connection import DEPLOYMENT, deployment

if TYPE_CHECKING:
    from parak8s.cluster.searches.connection import Connection

Json = Mapping[str, Any]
SLOW_S = 120
"""After so long it is told that a service is not ready for which nothing else says why."""


def hindered(connection: Connection, experiment: Json, seconds: float, **options: Any) -> Trouble | None:
    """Return why no trial is suggested; None when nothing hinders that, or it is not known yet.

    Args:
        connection: Where.
        experiment: As the server gives it.
        seconds: How long there has been nothing to do but to wait.
        options: Of :meth:`Connection.ask`.
    """
    name = str(experiment["metadata"]["name"])
    suggestion = connection.suggestion(name, **options)
    if suggestion is None:
        return _warned(connection, "Experiment", name)
    if words := refused(suggestion):
        return Trouble(about(experiment), FAILED, words)
    if condition(suggestion, "DeploymentReady"):
        return _warned(connection, "Suggestion", name, about(experiment))
    for pod in connection.pods(f"{DEPLOYMENT}={deployment(dict(experiment))}", **options):
        if found := _pod(connection, experiment, Replica(pod)):
            return found
    if found := _warned(connection, "Suggestion", name, about(experiment)):
        return found
    if seconds < SLOW_S:
        return None
    more = f"kubectl describe suggestion {name} -n {connection.namespace} says more"
    return Trouble(about(experiment), "Slow", f"is not ready after {SLOW_S:g} s; {more}")


def about(experiment: Json) -> str:
    """Return what the algorithm of an experiment is called in messages."""
    return f"the algorithm {experiment['spec']['algorithm']['algorithmName']}"


def refused(suggestion: Json | None) -> str:
    """Return why the algorithm does not take the experiment; empty when it does."""
    failed = condition(suggestion or {}, FAILED)
    if not failed:
        return ""
    words = said(failed.get("message", "")).removeprefix("Validation failed: ")
    return f"does not take this search: {words or 'Katib does not say why'}"


def _pod(connection: Connection, experiment: Json, pod: Replica) -> Trouble | None:
    """Return why the pod of the algorithm does not run."""
    name, scheduled = about(experiment), pod.condition("PodScheduled")
    if scheduled.get("status") == "False":
        words = said(scheduled.get("message", "")).partition(" preemption:")[0].rstrip(".")
        if "persistentvolumeclaim" in words.lower():
            fix = f"kubectl describe pvc {deployment(dict(experiment))} says why; resumePolicy FromVolume asks for it"
            return Trouble(name, "Claim", f"waits for its volume: {words}; {fix}")
        return Trouble(name, "Unschedulable", f"waits for a node: {words}; wait, or make room in the cluster")
    reason, words = str(pod.waits.get("reason", "")), said(pod.waits.get("message", "")).rstrip(".")
    if reason in IMAGE:
        words = last_warning(connection.events("Pod", pod.pod_name), "Failed to pull image") or words
        fix = "whoever runs Katib names it in its ConfigMap katib-config"
        return Trouble(name, "Image", f"its image {pod.image} cannot be pulled ({reason}): {words}; {fix}")
    if reason == "CrashLoopBackOff" or pod.ended.get("exitCode"):
        killed = pod.ended.get("reason") == "OOMKilled"
        how = "was killed for lack of memory" if killed else f"ended with exit code {pod.ended.get('exitCode', '?')}"
        fix = f"kubectl logs {pod.pod_name} says why"
        return Trouble(name, "Crash", f"its service {how} and is started again; {fix}")
    if reason not in QUIET:
        return Trouble(name, reason, f"its service cannot start ({reason}): {words or 'no reason given'}")
    return None


def _warned(connection: Connection, kind: str, name: str, about: str = "the search") -> Trouble | None:
    """Return what Katib warns of."""
    words = last_warning(connection.events(kind, name))
    return Trouble(about, "Warning", words) if words else None
