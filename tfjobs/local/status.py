"""The status of a TFJob in the operator's words.

Source: kubeflow/training-operator v1.9, pkg/util/status.go, pkg/controller.v1/common/job.go and
pkg/controller.v1/tensorflow/tfjob_controller.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

CREATED, RUNNING, RESTARTING = "Created", "Running", "Restarting"
SUCCEEDED, FAILED, SUSPENDED = "Succeeded", "Failed", "Suspended"
_INSTEAD = {RESTARTING: RUNNING, RUNNING: RESTARTING}


@dataclass(frozen=True)
class Counts:
    """How many replicas of a type are in which state."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Condition:
    """What holds, or held, of the job.

    Args:
        type: Such as Running.
        status: Whether it holds.
        reason: Its name, such as TFJobRunning.
        message: In words.
        updated: When it was last written.
        changed: When it last began or ceased to hold.
    """

    type: str
    status: bool
    reason: str
    message: str
    updated: datetime
    changed: datetime

    def to_json(self) -> dict[str, str]:
        """Return the condition as Kubernetes writes it."""
        return {
            "type": self.type,
            "status": str(self.status),
            "reason": self.reason,
            "message": self.message,
            "lastUpdateTime": _text(self.updated),
            "lastTransitionTime": _text(self.changed),
        }


@dataclass(frozen=True)
class Status:
    """The status of a TFJob.

    Args:
        conditions: In the order in which they were written.
        replicas: Type -> how many are in which state; empty before the start.
        started: When the replicas began.
        completed: When the job ended.
    """

    conditions: tuple[Condition, ...] = ()
    replicas: Mapping[str, Counts] = field(default_factory=dict)
    started: datetime | None = None
    completed: datetime | None = None

    def holds(self, kind: str) -> bool:
        """Return whether a condition holds."""
        return any(each.type == kind and each.status for each in self.conditions)

    def having(self, kind: str, message: str, now: datetime, *, status: bool = True, reason: str = "") -> Status:
        """Return the status with a condition written, by the operator's rules.

        A job that failed stays as it is. Running and Restarting replace each other, and Running ends with the job.
        A condition that holds already for the same reason is not written again.
        """
        reason = reason or f"TFJob{kind}"
        before = next((each for each in self.conditions if each.type == kind), None)
        same = before is not None and before.status == status
        if self.holds(FAILED) or (before is not None and same and before.reason == reason):
            return self
        changed = before.changed if before is not None and same else now
        kept = [each for each in self.conditions if each.type not in (kind, _INSTEAD.get(kind))]
        if kind in (SUCCEEDED, FAILED):
            kept = [replace(each, status=False) if each.type == RUNNING else each for each in kept]
        return replace(self, conditions=(*kept, Condition(kind, status, reason, message, now, changed)))

    def to_json(self) -> dict[str, Any]:
        """Return the status as Kubernetes writes it: counts of 0 and times that are not yet are left out."""
        times = {"startTime": self.started, "completionTime": self.completed}
        return {
            "conditions": [each.to_json() for each in self.conditions],
            "replicaStatuses": {
                kind: {name: count for name, count in asdict(self.replicas[kind]).items() if count}
                for kind in sorted(self.replicas)
            },
            **{name: _text(time) for name, time in times.items() if time is not None},
        }


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
