"""Keeps the status of a running job, and hands on every new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from parak8s.tfjobs.local.members import Member, State
from parak8s.tfjobs.local.policy import Verdict
from parak8s.tfjobs.local.reading import Job
from parak8s.tfjobs.local.status import CREATED, RESTARTING, RUNNING, SUCCEEDED, SUSPENDED, Counts, Status

_ACTIVE = (State.RUNNING, State.IN_PLACE)
"""What the operator counts as active: a pod goes on running while its container starts again."""


class Book:
    """The status of a job.

    Args:
        job: The TFJob.
        members: Its replicas.
        on_status: Given every new status.
    """

    def __init__(self, job: Job, members: Sequence[Member], on_status: Callable[[Status], None]) -> None:
        self.status = Status()
        self._job, self._members, self._on_status = job, members, on_status

    def created(self) -> None:
        """The object was taken."""
        self._take(self._having(CREATED, "TFJob {name} is created."))

    def suspended(self, why: str = ".") -> None:
        """The job does not start, or was stopped before it ended."""
        message, status = f"TFJob {{name}} is suspended{why}", self.status
        if status.holds(RUNNING):
            status = self._having(RUNNING, message, status, holds=False, reason="TFJobSuspended")
        self._take(self._having(SUSPENDED, message, replace(status, replicas=_without_active(status))))

    def started(self) -> None:
        """All replicas begin."""
        self._go_on(replace(self.status, started=_now()))

    def going_on(self) -> None:
        """A replica ended or began, and the job goes on."""
        self._go_on(self.status)

    def restarting(self, kind: str) -> None:
        """A replica failed and gets a new pod."""
        status = replace(self.status, replicas=self.counts())
        self._take(self._having(RESTARTING, f"job {{name}} is restarting because {kind} replica(s) failed.", status))

    def ended(self, end: Verdict) -> None:
        """The job is over; some of its replicas may still run."""
        status = self._having(end.condition, end.message, replace(self.status, replicas=self.counts()))
        self._take(replace(status, completed=_now()))

    def left(self) -> None:
        """No replica of a job that is over runs any more; in one that succeeded, all count as succeeded."""
        counts = _without_active(self.status)
        if self.status.holds(SUCCEEDED):
            before = self.status.replicas
            counts = {
                kind: replace(each, succeeded=each.succeeded + before[kind].active) for kind, each in counts.items()
            }
        self._take(replace(self.status, replicas=counts))

    def counts(self, *, expected: bool = False) -> dict[str, Counts]:
        """Return how many replicas of each type are in which state.

        Args:
            expected: Count one that waits for a new pod as active; the operator sees the one that failed.
        """
        found = {kind: Counts() for kind in self._job.replicas}
        for member in self._members:
            known = found[member.kind]
            if member.state in _ACTIVE or (expected and member.state is State.ANEW):
                known = replace(known, active=known.active + 1)
            elif member.state is State.SUCCEEDED:
                known = replace(known, succeeded=known.succeeded + 1)
            else:
                known = replace(known, failed=known.failed + 1)
            found[member.kind] = known
        return found

    def named(self, message: str) -> str:
        """Return a message with the job's name and namespace."""
        return message.format(name=self._job.name, namespace=self._job.namespace)

    def _go_on(self, status: Status) -> None:
        """Write Running, if a replica that leads runs and none waits for a new pod."""
        status, leading = replace(status, replicas=self.counts()), self._job.leader or "Worker"
        waits = any(member.state is State.ANEW for member in self._members)
        if status.replicas[leading].active and not waits:
            status = self._having(RUNNING, "TFJob {namespace}/{name} is running.", status)
        self._take(status)

    def _having(
        self, kind: str, message: str, status: Status | None = None, *, holds: bool = True, reason: str = ""
    ) -> Status:
        return (status or self.status).having(kind, self.named(message), _now(), status=holds, reason=reason)

    def _take(self, status: Status) -> None:
        if status != self.status:
            self.status = status
            self._on_status(status)


def _without_active(status: Status) -> dict[str, Counts]:
    return {kind: replace(each, active=0) for kind, each in status.replicas.items()}


def _now() -> datetime:
    return datetime.now(UTC)
