"""Follows a run to its end, and tells of every task on the way."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from parak8s.cluster.faults import SHOWN, Unavailable
from parak8s.cluster.patience import LASTING, Patience
from parak8s.cluster.tasks import CANCELED, FAILED, REUSED, RUNNING, SKIPPED, SUCCEEDED, Task, tasks
from parak8s.errors import DONE, EnvironmentFault
from parak8s.errors import FAILED as EXIT_FAILED
from parak8s.secrets import redacted

if TYPE_CHECKING:
    from parak8s.cluster.connection import Connection

OVER = (SUCCEEDED, SKIPPED, FAILED, CANCELED)
"""States in which a run, or a task, stays."""


class Narrator(Protocol):
    """Tells the user what happens on the cluster. The first two are those of :class:`parak8s.run.Narrator`."""

    def started(self, step: str) -> None:
        """A task begins."""

    def finished(self, step: str, summary: str, seconds: float | None) -> None:
        """A task succeeded; ``seconds`` is None when an earlier run's outputs were reused."""

    def failed(self, step: str, reason: str) -> None:
        """A task failed or was stopped."""

    def skipped(self, step: str) -> None:
        """A task does not run, because another failed before it."""

    def waiting(self, reason: str) -> None:
        """The server cannot be reached now; the run goes on, and it is asked again."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Args:
        run_id: Of the run.
        state: SUCCEEDED, FAILED, CANCELED or SKIPPED.
        tasks: Name of every task that was reached -> its last state; CACHED where it was reused, and the worst one
            where a loop has several of a name.
        failures: Name of every task that failed -> the server's words, which may be empty.
        error: The server's words about the run as a whole; empty when it says none.
    """

    run_id: str
    state: str
    tasks: Mapping[str, str]
    failures: Mapping[str, str]
    error: str = ""

    @property
    def exit_code(self) -> int:
        """0 when the run succeeded, else 1."""
        return DONE if self.state == SUCCEEDED else EXIT_FAILED

    @property
    def reason(self) -> str:
        """One sentence about what went wrong; empty when nothing did."""
        if self.state == SUCCEEDED:
            return ""
        parts = [f"{name}: {words}" if words else name for name, words in self.failures.items()]
        words = "; ".join(filter(None, [f"failed in {', '.join(parts)}" if parts else "", self.error]))
        return f"the run is {self.state}{f': {words}' if words else ''}"


def follow(
    connection: Connection,
    run_id: str,
    narrator: Narrator,
    *,
    poll_s: float = 5,
    timeout_s: float | None = None,
    patience: Patience = LASTING,
) -> Outcome:
    """Watch a run until it is over.

    Args:
        connection: Where.
        run_id: Of the run.
        narrator: Told of every task that begins and ends.
        poll_s: Pause between two looks, in seconds.
        timeout_s: When to stop watching; None for never. The run goes on.
        patience: How long the server may be out of reach.

    Raises:
        EnvironmentFault: The run is not over in time, or the server stayed out of reach.
    """
    started, story = time.monotonic(), _Story(narrator)
    while True:
        call = connection.client.runs.run_service_get_run
        run = connection.ask(call, run_id, patience=patience, on_pause=story.pause)
        story.tell(tasks(run))
        if run.state in OVER:
            return story.outcome(run)
        if timeout_s is not None and time.monotonic() - started + poll_s > timeout_s:
            link = connection.target.page(f"runs/details/{run_id}")
            raise EnvironmentFault(f"the run is still {run.state} after {timeout_s:g} s; it goes on: {link}")
        time.sleep(poll_s)


@dataclass
class _Story:
    """What the narrator was told already."""

    narrator: Narrator
    told: dict[str, Task] = field(default_factory=dict)

    def pause(self, fault: Unavailable) -> None:
        self.narrator.waiting(str(fault))

    def tell(self, seen: list[Task]) -> None:
        for task in seen:
            before = self.told.get(task.id)
            if before is None or before.state != task.state:
                self._tell(task, before)
                self.told[task.id] = task

    def _tell(self, task: Task, before: Task | None) -> None:
        if task.state == SKIPPED:
            self.narrator.skipped(task.name)
            return
        if task.state == REUSED:
            self.narrator.finished(task.name, "", None)
            return
        if task.state in (RUNNING, *OVER) and (before is None or before.state not in (RUNNING, *OVER)):
            self.narrator.started(task.name)
        if task.state == SUCCEEDED:
            self.narrator.finished(task.name, "", task.seconds)
        elif task.state in (FAILED, CANCELED):
            self.narrator.failed(task.name, _words(task.error) or task.state.lower())

    def outcome(self, run: Any) -> Outcome:
        states: dict[str, str] = {}
        for task in self.told.values():
            if states.get(task.name) in (None, REUSED, SUCCEEDED):
                states[task.name] = task.state
        failures = {task.name: _words(task.error) for task in self.told.values() if task.state == FAILED}
        error = _words(run.error.message if run.error else "")
        return Outcome(str(run.run_id), str(run.state), states, failures, error)


def _words(text: str | None) -> str:
    line = redacted(" ".join((text or "").split()))
    return line if len(line) <= SHOWN else f"{line[:SHOWN]} …"
