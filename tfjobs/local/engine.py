"""Runs a TFJob to its end: starts replicas, obeys the policies, keeps the status."""

from __future__ import annotations

import selectors
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from parak8s.tfjobs.local import policy
from parak8s.tfjobs.local.interrupts import Interrupts
from parak8s.tfjobs.local.members import Member, State
from parak8s.tfjobs.local.narration import Narrator
from parak8s.tfjobs.local.policy import Next, Verdict
from parak8s.tfjobs.local.reading import Job
from parak8s.tfjobs.local.status import CREATED, RESTARTING, RUNNING, SUCCEEDED, SUSPENDED, Counts, Status

_SHOWN = {State.RUNNING: "active", State.IN_PLACE: "active", State.ANEW: "failed"}
"""What the operator counts a replica as: it sees the pod that failed until there is a new one."""

_STANDING = {State.RUNNING: "active", State.IN_PLACE: "active", State.ANEW: "active"}
"""What a replica counts as when it is asked whether the job goes on."""


class Engine:
    """Supervises the replicas of a job, in one thread.

    Args:
        job: The TFJob.
        members: Its replicas.
        narrator: Told of what happens.
        on_status: Given every new status.
        interrupts: Signals that ask for a stop.
    """

    def __init__(
        self,
        job: Job,
        members: Sequence[Member],
        narrator: Narrator,
        on_status: Callable[[Status], None],
        interrupts: Interrupts,
    ) -> None:
        self.status = Status()
        self._job, self._members, self._narrator, self._on_status = job, members, narrator, on_status
        self._interrupts, self._obeyed = interrupts, 0
        self._selector = selectors.DefaultSelector()
        self._verdict: Verdict | None = None
        self._stopping = False
        self._restarts = 0
        self._deadline: float | None = None

    @property
    def stopped_by(self) -> signal.Signals | None:
        """The signal that stopped the job before it ended by itself."""
        return self._interrupts.received[0] if self._interrupts.received and self._verdict is None else None

    def run(self) -> None:
        """Run the job to its end; nothing of it is left then, however this ends."""
        try:
            self._change(self._having(CREATED, "TFJob {name} is created."))
            if self._job.suspended:
                self._change(self._having(SUSPENDED, "TFJob {name} is suspended."))
                return
            self._selector.register(self._interrupts.source, selectors.EVENT_READ)
            self._narrator.opened([member.name for member in self._members])
            self._begin()
            while any(member.process or member.due for member in self._members):
                self._step()
            self._conclude()
        finally:
            for member in self._members:
                member.close()
            self._selector.close()

    def _begin(self) -> None:
        for member in self._members:
            self._start(member)
        self._deadline = time.monotonic() + self._job.deadline_s if self._job.deadline_s else None
        self._change(self._going_on(replace(self.status, started=_now())))

    def _start(self, member: Member) -> None:
        process = member.start(time.monotonic())
        self._selector.register(process.control, selectors.EVENT_READ, member)

    def _start_again(self, member: Member) -> None:
        self._start(member)
        self._change(self._going_on(self.status))

    def _step(self) -> None:
        """Wait for something to happen, and answer it."""
        times = [member.due[0] for member in self._members if member.due]
        if self._deadline is not None and not self._stopping:
            times.append(self._deadline)
        timeout = max(min(times) - time.monotonic(), 0) if times else None
        ready = self._selector.select(timeout)
        for key, _ in ready:
            member = key.data
            if member is None:
                self._interrupts.clear()
            elif member.process is not None and key.fileobj is member.process.control:
                self._listen(member)
            elif member.process is not None and member.read() == 0:
                self._selector.unregister(key.fileobj)
        self._obey()
        self._keep_time()

    def _listen(self, member: Member) -> None:
        """Hear from the keeper that its replica began or ended."""
        process = member.process
        assert process is not None
        known = process.pid is not None
        process.listen()
        if process.pid is not None and not known:
            member.introduce()
            self._selector.register(process.output, selectors.EVENT_READ, member)
        if process.code is not None:
            self._selector.unregister(process.control)
            if process.output in self._selector.get_map():
                self._selector.unregister(process.output)
            self._ended(member, member.finish())

    def _ended(self, member: Member, code: int) -> None:
        """Decide what follows when a replica has ended."""
        if self._stopping:
            self._narrator.ended(member.name, code, "stopped" if code else "done")
            return
        following = policy.next_of(self._job.replicas[member.kind].restart_policy, code)
        if following in (Next.IN_PLACE, Next.ANEW):
            self._restarts += 1
        member.state = State[following.name]
        end = policy.past_backoff_limit(self._job.backoff_limit, self._restarts, following is Next.FAILED)
        end = end or policy.verdict(self._job, self._counts(_STANDING), self._first_worker_succeeded())
        pause = self._pause(member) if end is None and following in (Next.IN_PLACE, Next.ANEW) else None
        self._narrator.ended(member.name, code, _then(following, pause))
        if end is not None:
            self._end(end)
        elif pause is not None:
            self._plan_restart(member, pause)
        else:
            self._change(self._going_on(self.status))

    def _pause(self, member: Member) -> float:
        steady = time.monotonic() - member.began >= policy.STEADY_S
        member.quick_ends = 1 if steady else member.quick_ends + 1
        return policy.pause_s(member.quick_ends)

    def _plan_restart(self, member: Member, pause: float) -> None:
        member.due = (time.monotonic() + pause, lambda: self._start_again(member))
        if member.state is State.ANEW:
            message = f"job {{name}} is restarting because {member.kind} replica(s) failed."
            self._change(self._having(RESTARTING, message))

    def _end(self, end: Verdict) -> None:
        """Write how the job ended, and stop what still runs by its policies."""
        self._verdict, self._stopping = end, True
        self._change(replace(self._having(end.condition, end.message), completed=_now()))
        self._narrator.told(f"{end.condition}: {self._named(end.message)}")
        for member in self._members:
            member.due = None
            if member.process is not None and policy.waits_for(self._job, member.kind, end):
                self._narrator.told(f"{member.name} still runs; it has {member.grace_s} s to end by itself")
                self._later(member, self._terminate)
            else:
                self._terminate(member)

    def _obey(self) -> None:
        """Stop at the first signal, kill at the second."""
        new = self._interrupts.received[self._obeyed :]
        for number in new:
            self._obeyed += 1
            act = self._terminate if self._obeyed == 1 else _kill
            self._narrator.told(f"{number.name}: {'stopping; again to kill' if self._obeyed == 1 else 'killing'}")
            self._stopping = True
            for member in self._members:
                member.due = None
                act(member)

    def _keep_time(self) -> None:
        now = time.monotonic()
        if self._deadline is not None and now >= self._deadline and not self._stopping:
            self._end(policy.PAST_DEADLINE)
        for member in self._members:
            if member.due is not None and member.due[0] <= now:
                act, member.due = member.due[1], None
                act()

    def _terminate(self, member: Member) -> None:
        if member.process is not None:
            member.process.terminate()
            self._later(member, _kill)

    def _later(self, member: Member, act: Callable[[Member], None]) -> None:
        member.due = (time.monotonic() + member.grace_s, lambda: act(member))

    def _conclude(self) -> None:
        """Write the last status: nothing runs any more."""
        counts = self.status.replicas
        if self._verdict is not None and self._verdict.condition == SUCCEEDED:
            ended = {
                kind: replace(each, active=0, succeeded=each.succeeded + each.active) for kind, each in counts.items()
            }
        else:
            ended = {kind: replace(each, active=0) for kind, each in counts.items()}
        status = replace(self.status, replicas=ended)
        if self._verdict is None:
            message = f"TFJob {{name}} is suspended: {self._interrupts.received[0].name} stopped the engine."
            status = self._having(RUNNING, message, status, holds=False, reason="TFJobSuspended")
            status = self._having(SUSPENDED, message, status)
        self._change(status, counted=True)

    def _going_on(self, status: Status) -> Status:
        """Return the status with Running, if the replicas that lead run and none waits for a new pod."""
        leading = self._job.leader or "Worker"
        runs = any(member.kind == leading and member.state is not State.ANEW for member in self._members)
        if not runs or any(member.state is State.ANEW for member in self._members):
            return status
        return self._having(RUNNING, "TFJob {namespace}/{name} is running.", status)

    def _having(
        self, kind: str, message: str, status: Status | None = None, *, holds: bool = True, reason: str = ""
    ) -> Status:
        return (status or self.status).having(kind, self._named(message), _now(), status=holds, reason=reason)

    def _named(self, message: str) -> str:
        return message.format(name=self._job.name, namespace=self._job.namespace)

    def _change(self, status: Status, *, counted: bool = False) -> None:
        """Take a new status and hand it on, if it differs."""
        if status.started is not None and not counted:
            status = replace(status, replicas=self._counts(_SHOWN))
        if status != self.status:
            self.status = status
            self._on_status(status)

    def _counts(self, words: dict[State, str]) -> dict[str, Counts]:
        found = {kind: Counts() for kind in self._job.replicas}
        for member in self._members:
            word = words.get(member.state, member.state.value)
            found[member.kind] = replace(found[member.kind], **{word: getattr(found[member.kind], word) + 1})
        return found

    def _first_worker_succeeded(self) -> bool:
        first = next((member for member in self._members if member.name == "worker-0"), None)
        return first is not None and first.state is State.SUCCEEDED


def _kill(member: Member) -> None:
    if member.process is not None:
        member.process.kill()


def _then(following: Next, pause: float | None) -> str:
    return f"{following.value} in {pause:g} s" if pause else following.value


def _now() -> datetime:
    return datetime.now(UTC)
