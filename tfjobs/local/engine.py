"""Runs a TFJob to its end: starts replicas, obeys the policies, stops what still runs."""

from __future__ import annotations

import selectors
import signal
import time
from collections.abc import Callable, Sequence

from parak8s.tfjobs.local import policy
from parak8s.tfjobs.local.book import Book
from parak8s.tfjobs.local.interrupts import Interrupts
from parak8s.tfjobs.local.members import Member, State
from parak8s.tfjobs.local.narration import Narrator
from parak8s.tfjobs.local.policy import Next, Verdict
from parak8s.tfjobs.local.reading import Job


class Engine:
    """Supervises the replicas of a job, in one thread.

    Args:
        job: The TFJob.
        members: Its replicas.
        book: Where its status is kept.
        narrator: Told of what happens.
        interrupts: Signals that ask for a stop.
    """

    def __init__(
        self, job: Job, members: Sequence[Member], book: Book, narrator: Narrator, interrupts: Interrupts
    ) -> None:
        self._job, self._members, self._book, self._narrator = job, members, book, narrator
        self._interrupts, self._obeyed = interrupts, 0
        self._selector = selectors.DefaultSelector()
        self._deadline: float | None = None
        self._verdict: Verdict | None = None
        self._stopping = False
        self._restarts = 0

    @property
    def stopped_by(self) -> signal.Signals | None:
        """The signal that stopped the job before it ended by itself."""
        return self._interrupts.received[0] if self._interrupts.received and self._verdict is None else None

    def run(self) -> None:
        """Run the job to its end. However this ends, nothing of the job runs any more."""
        try:
            self._selector.register(self._interrupts.source, selectors.EVENT_READ)
            self._begin()
            while any(member.process or member.due for member in self._members):
                self._step()
            if self.stopped_by is None:
                self._book.left()
            else:
                self._book.suspended(f": {self.stopped_by.name} stopped the engine.")
        finally:
            for member in self._members:
                member.close()
            self._selector.close()

    def _begin(self) -> None:
        self._narrator.opened([member.name for member in self._members])
        for member in self._members:
            self._start(member)
        if self._job.deadline_s is not None:
            self._deadline = time.monotonic() + self._job.deadline_s
        self._book.started()

    def _start(self, member: Member) -> None:
        process = member.start(time.monotonic())
        self._selector.register(process.control, selectors.EVENT_READ, member)

    def _start_again(self, member: Member) -> None:
        self._start(member)
        self._book.going_on()

    def _step(self) -> None:
        """Wait for something to happen, and answer it."""
        times = [member.due[0] for member in self._members if member.due]
        if self._deadline is not None and not self._stopping:
            times.append(self._deadline)
        for key, _ in self._selector.select(max(min(times) - time.monotonic(), 0) if times else None):
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
        again = following in (Next.IN_PLACE, Next.ANEW)
        self._restarts += again
        member.state = State[following.name]  # they have the same names
        end = policy.past_backoff_limit(self._job.backoff_limit, self._restarts, following is Next.FAILED)
        end = end or policy.verdict(self._job, self._book.counts(expected=True), self._first_worker_succeeded())
        if end is not None:
            self._narrator.ended(member.name, code, "failed" if again else following.value)
            self._end(end)
        elif again:
            self._plan_restart(member, code, following)
        else:
            self._narrator.ended(member.name, code, following.value)
            self._book.going_on()

    def _plan_restart(self, member: Member, code: int, following: Next) -> None:
        now = time.monotonic()
        member.quick_ends = 1 if now - member.began >= policy.STEADY_S else member.quick_ends + 1
        pause = policy.pause_s(member.quick_ends)
        self._narrator.ended(member.name, code, f"starts again{f' in {pause:g} s' if pause else ''}")
        member.due = (now + pause, lambda: self._start_again(member))
        if following is Next.ANEW:
            self._book.restarting(member.kind)

    def _end(self, end: Verdict) -> None:
        """Write how the job ended, and stop what still runs by its policies."""
        self._verdict, self._stopping = end, True
        self._book.ended(end)
        self._narrator.told(f"{end.condition}: {self._book.named(end.message)}")
        for member in self._members:
            member.due = None
            if member.process is not None and policy.may_run_on(self._job, member.kind, end):
                self._narrator.told(f"{member.name} still runs; it has {member.grace_s} s to end by itself")
                self._later(member, self._terminate)
            else:
                self._terminate(member)

    def _obey(self) -> None:
        """Stop at the first signal, kill at the second."""
        for number in self._interrupts.received[self._obeyed :]:
            act, word = (_kill, "killing") if self._obeyed else (self._terminate, "stopping; once more to kill")
            self._obeyed += 1
            self._stopping = True
            self._narrator.told(f"{number.name}: {word}")
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

    def _first_worker_succeeded(self) -> bool:
        return any(member.name == "worker-0" and member.state is State.SUCCEEDED for member in self._members)


def _kill(member: Member) -> None:
    if member.process is not None:
        member.process.kill()
