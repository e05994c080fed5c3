"""Says in plain words why a replica ended, and what to change."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from types import MappingProxyType

from parak8s.cluster.api.troubles import Trouble, said
from parak8s.cluster.jobs.replicas import FAILED, Replica

PEER_LOST = 200
"""With it a replica of ours ends when another one is lost or never came, so that it is started again."""
DISRUPTED: Mapping[str, str] = MappingProxyType(
    {
        "PreemptionByScheduler": "gave way to a pod of higher priority (preempted)",
        "EvictionByEvictionAPI": "had to leave its node, which is being emptied (evicted)",
        "DeletionByTaintManager": "had to leave its node, which got a taint or was lost",
        "DeletionByPodGC": "is gone with its node",
        "TerminationByKubelet": "had to leave its node, which shuts down or is short of something",
    }
)
"""Reason of the condition DisruptionTarget -> in plain words. Source: kubernetes.io/docs, "Disruptions"."""
_AGAIN = "it is started again if the job's restart policy says so"


def ended(replica: Replica, last_words: str = "") -> Trouble | None:
    """Return why a replica failed, now or before its last restart; None when it did not.

    Args:
        replica: Any.
        last_words: What its log says last; empty when that is not known.
    """
    code = replica.ended.get("exitCode", 0)
    if replica.phase != FAILED and code == 0:
        return None
    kind, words = _why(replica, int(code))
    own = said(replica.ended.get("message") or last_words)
    return Trouble(replica.name, kind, f"{words}{f': {own}' if own and kind == 'Error' else ''}")


def _why(replica: Replica, code: int) -> tuple[str, str]:
    status, reason = replica.status, str(replica.ended.get("reason", ""))
    if reason == "OOMKilled":
        now = replica.asks_for("memory") or "not limited: the node's own was full"
        fix = "raise compute.memory, or lower data.batch_size"
        return reason, f"took more memory than compute.memory allows (now {now}) and was killed (OOMKilled); {fix}"
    disruption = replica.condition("DisruptionTarget")
    if status.get("reason") == "Evicted":
        return "Evicted", f"was evicted: {said(status.get('message', '')).rstrip('.')}; {_eviction_fix(replica)}"
    if disruption.get("status") == "True":
        return "Disrupted", f"{DISRUPTED.get(disruption.get('reason', ''), 'was disrupted')}; {_AGAIN}"
    if status.get("reason") == "DeadlineExceeded":
        return "DeadlineExceeded", "ran longer than compute.job.deadline_s allows"
    if status.get("reason") and not replica.ended:
        return str(status["reason"]), f"failed ({status['reason']}): {said(status.get('message', ''))}"
    if reason in ("StartError", "ContainerCannotRun"):
        fix = "is ParaK8s in compute.image?" if replica.is_ours else "check its command"
        return reason, f"could not start: {said(replica.ended.get('message', ''))}; {fix}"
    return "Error", f"ended with exit code {code}{_meaning(replica, code)}"


def _eviction_fix(replica: Replica) -> str:
    words = str(replica.status.get("message", ""))
    if "memory" in words:
        return f"raise compute.memory (now {replica.asks_for('memory') or 'nothing'})"
    if "ephemeral-storage" in words or "disk" in words.lower():
        return "let it write to a volume of compute.volumes and not into the pod"
    return _AGAIN


def _meaning(replica: Replica, code: int) -> str:
    if code == PEER_LOST and replica.is_ours:
        return f" (another replica was lost or never came; {_AGAIN})"
    names = {each.value + 128: each.name for each in signal.Signals}
    return f" ({names[code]}; {_AGAIN})" if code in names else ""
