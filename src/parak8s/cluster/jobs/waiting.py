"""Says in plain words why a replica does not start, and what to change."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from parak8s.cluster.api.troubles import Trouble, said
from parak8s.cluster.jobs.replicas import PENDING, Replica

IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
CONFIG = ("CreateContainerConfigError",)
QUIET = ("ContainerCreating", "PodInitializing", "CrashLoopBackOff", "")
"""Reasons to wait that say nothing by themselves; what lies behind the last one is in :mod:`endings`."""
_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)"')


def waiting(replica: Replica, namespace: str, events: Callable[[], Sequence[Mapping[str, Any]]]) -> Trouble | None:
    """Return why a replica does not start; None when nothing hinders it.

    Args:
        replica: Any.
        namespace: Of the job.
        events: Of its pod; asked for only when the pod itself does not say.
    """
    if replica.phase != PENDING:
        return None
    scheduled = replica.condition("PodScheduled")
    if scheduled.get("status") == "False":
        return _unscheduled(replica, scheduled)
    reason, words = replica.waits.get("reason", ""), said(replica.waits.get("message", ""))
    if reason in IMAGE:
        return Trouble(replica.name, "Image", _image(replica, reason, words, events))
    if reason in CONFIG:
        return Trouble(replica.name, reason, f"cannot start: {words}; {_config_fix(words, namespace)}")
    if reason not in QUIET:
        return Trouble(replica.name, reason, f"cannot start ({reason}): {words or 'no reason given'}")
    return _from_events(replica, events())


def _unscheduled(replica: Replica, condition: Mapping[str, Any]) -> Trouble:
    words = said(condition.get("message", "")).partition(" preemption:")[0]
    if condition.get("reason") == "SchedulingGated":
        return Trouble(replica.name, "SchedulingGated", f"waits until a queue lets it in: {words}")
    if "PersistentVolumeClaim" in words or _CLAIM.search(words):
        return Trouble(replica.name, "Claim", f"waits for its volume: {words} Fix: {_claim_fix(words)}")
    hints = ", ".join(_scheduling_hints(replica, words)) or "wait, or ask for less in compute"
    return Trouble(replica.name, "Unschedulable", f"waits for a node: {words} Fix: {hints}")


def _claim_fix(words: str) -> str:
    name = _CLAIM.search(words)
    if name and "not found" in words:
        return f"create the claim {name[1]}, or correct compute.volumes"
    return "kubectl describe pvc says why the claims of compute.volumes are not bound: its class, or its size"


def _scheduling_hints(replica: Replica, words: str) -> list[str]:
    hints = []
    for resource in dict.fromkeys(re.findall(r"Insufficient ([\w./-]*\w)", words)):
        key = {"cpu": "compute.cpus", "memory": "compute.memory"}.get(resource, "compute.gpus or compute.workers")
        hints.append(f"lower {key} (now {replica.asks_for(resource) or 'nothing'} of {resource} for each replica)")
    taints = dict.fromkeys(re.findall(r"untolerated taint \{([^}]*)\}", words))
    hints += [f"bear the taint {taint.strip(': ')} in compute.tolerations" for taint in taints]
    if "node affinity/selector" in words or "node selector" in words:
        hints.append("correct compute.node_selector, whose labels no free node has")
    if "volume node affinity" in words:
        hints.append("take a claim of compute.volumes that the nodes reach: it lies in another zone")
    if "gang" in words or "pod group" in words:
        hints.append("lower compute.workers: all replicas must fit at once")
    return hints


def _image(replica: Replica, reason: str, words: str, events: Callable[[], Sequence[Mapping[str, Any]]]) -> str:
    if reason == "ErrImageNeverPull":
        fix = "load it onto the nodes, or change compute.image_pull_policy"
        return f"the image {replica.image} is not on the node, and may not be pulled; {fix}"
    if reason == "ImagePullBackOff":  # what was wrong stands in the event before it
        words = last_warning(events(), "Failed to pull image") or words
    fix = "check compute.image; for a private registry, compute.image_pull_secrets"
    return f"the image {replica.image} cannot be pulled ({reason}): {words.rstrip('.')}; {fix}"


def _config_fix(words: str, namespace: str) -> str:
    if "runAsNonRoot" in words or "non-root" in words:
        return "the image runs as root, which the job forbids: give it a USER that is a number"
    if re.search("configmap", words, re.IGNORECASE):
        return f"create it in the namespace {namespace}"
    return f"create the Secret or the key in the namespace {namespace}, or correct compute.secrets"


def _from_events(replica: Replica, events: Sequence[Mapping[str, Any]]) -> Trouble | None:
    words = last_warning(events, "Multi-Attach")
    if words:
        fix = "its claim is for one node alone; give compute.volumes a claim with ReadWriteMany"
        return Trouble(replica.name, "Volume", f"waits for its volume: {words.rstrip('.')}; {fix}")
    for reason in ("FailedMount", "FailedAttachVolume"):
        words = last_warning(events, reason=reason)
        if words:
            fix = "check the claims of compute.volumes"
            return Trouble(replica.name, "Volume", f"waits for its volume: {words.rstrip('.')}; {fix}")
    words = last_warning(events)
    return Trouble(replica.name, "Warning", f"waits: {words}") if words else None


def last_warning(events: Sequence[Mapping[str, Any]], begin: str = "", *, reason: str | None = None) -> str:
    """Return the newest warning whose words begin like this; empty when there is none."""
    found = [
        each
        for each in sorted(events, key=when)
        if each.get("type") == "Warning"
        and str(each.get("message", "")).startswith(begin)
        and reason in (None, each.get("reason"))
    ]
    return said(found[-1]["message"]) if found else ""


def when(event: Mapping[str, Any]) -> str:
    """Return the moment of an event as text that can be sorted."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp") or "")
