"""A trial while it runs: its program, its log, its metrics, and what may end it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from parak8s.katib.local.collector import Collector, number, value_of
from parak8s.katib.local.events import Act, Loop, Moment
from parak8s.katib.local.launching import Launcher, said_last
from parak8s.katib.local.narration import Narrator
from parak8s.katib.local.reading import Search
from parak8s.katib.local.runs import Pool, Program, Run, is_own
from parak8s.katib.local.stopping import RuleSet
from parak8s.katib.local.suggestions.algorithm import State
from parak8s.katib.local.trials import Trial, now
from parak8s.tfjobs.local.logs import Lines, Log
from parak8s.tfjobs.local.members import in_words

POLL_S = 0.2
"""How often a metrics file is looked at."""
_TAIL = 1 << 16
_CAUSES = {
    127: "no such command",
    128: "the program cannot be started",
    137: "killed; most often the memory ran out",
    139: "the program crashed",
}


@dataclass
class Running:
    """One trial that runs.

    Args:
        trial: As the journal has it.
        slot: Its place among those that run at the same time.
        search: Whose trial it is.
        rules: What stops it early.
        log: Its file.
        narrator: Told of its metrics.
        over: Given the trial when it has ended.
    """

    trial: Trial
    slot: int
    search: Search
    rules: RuleSet
    log: Path
    narrator: Narrator
    over: Callable[[Running, Trial], None]
    keep: int = 0
    run: Run | None = None
    metrics_file: Path | None = None
    _verdict: tuple[State, str, str] | None = None
    _lines: Lines = field(default_factory=Lines)
    _tail: bytes = b""
    _read: int = 0
    _moments: list[Moment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._collector = Collector(self.search.format, keep=self.keep)
        self._file = Log(self.log)

    def start(self, loop: Loop, launcher: Launcher, pool: Pool) -> None:
        """Start its program.

        Raises:
            InputError: This machine cannot run it.
        """
        suggestion = self.trial.suggestion
        self._loop, self._grace_s = loop, launcher.grace_s()
        launch = launcher.launch(self.trial.name, suggestion, self.slot)
        if self.search.algorithm == "pbt" and not (mine := launcher.checkpoints(self.trial.name)).exists():
            _begin(mine, launcher.checkpoints(suggestion.parent) if suggestion.parent else None)
        self.metrics_file = launcher.metrics_file(self.trial.name)
        if self.metrics_file is not None:
            self.metrics_file.parent.mkdir(parents=True, exist_ok=True)
            self.metrics_file.unlink(missing_ok=True)
        self._file.mark(f"{self.trial.name}, {now()}")
        own = is_own(launch)
        self.run = pool.run(self.slot, launch, self) if own else Program(loop, self.trial.name, launch, self)
        if (deadline_s := launcher.deadline_s()) is not None:
            message = f"ran longer than {deadline_s} s (activeDeadlineSeconds)"
            self._in_time(loop, deadline_s, lambda: self.stop("Failed", "DeadlineExceeded", message))
        if self.metrics_file is not None:
            self._follow(loop)

    def stop(self, state: State, reason: str, message: str) -> None:
        """End it: SIGTERM, and SIGKILL when its grace is over; it ends as ``state`` whatever its exit code."""
        if self._verdict is not None or self.run is None:
            return
        self._verdict = (state, reason, message)
        self.run.terminate()
        self._in_time(self._loop, self._grace_s, self._kill)

    def wrote(self, data: bytes) -> None:
        """Take what the program wrote."""
        self._file.write(data)
        self._tail = (self._tail + data)[-_TAIL:]
        if self.metrics_file is None:
            for line in self._lines.feed(data):
                self._hear(line)

    def ended(self, code: int) -> None:
        """Take the end of the program."""
        self.run = None
        self._forget_moments()
        self._poll()
        for line in self._lines.end():
            self._hear(line)
        self._file.mark(f"{self.trial.name} ended with exit code {in_words(code)}, {now()}")
        self._file.close()
        self.over(self, self._judged(code))

    def close(self) -> None:
        """Let go of it, as if it had never begun."""
        self._forget_moments()
        if self.run is not None:
            self.run.close()
            self.run = None
        self._file.close()

    def _in_time(self, loop: Loop, seconds: float, act: Act) -> None:
        """Do something later, unless the trial is over by then."""
        self._moments.append(loop.after(seconds, act))

    def _forget_moments(self) -> None:
        while self._moments:
            self._moments.pop().cancel()

    def _kill(self) -> None:
        if self.run is not None:
            self.run.kill()

    def _hear(self, line: str) -> None:
        for name, text in self._collector.feed(line):
            self.narrator.measured(self.trial, name, text)
            value = number(text)
            if value is not None and self.rules.take(name, value):
                words = f"medianstop: {name} was worse than the median of other trials"
                self.stop("EarlyStopped", "TrialEarlyStopped", words)

    def _follow(self, loop: Loop) -> None:
        if self.run is not None:
            self._poll()
            loop.after(POLL_S, lambda: self._follow(loop))

    def _poll(self) -> None:
        """Read what is new in the metrics file."""
        if self.metrics_file is None or not self.metrics_file.is_file():
            return
        with self.metrics_file.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        for line in self._lines.feed(data):
            self._hear(line)

    def _judged(self, code: int) -> Trial:
        """Return the trial with its state, as Katib's trial controller would find it."""
        metrics = tuple(self._collector.observation())
        objective = self.search.objective
        value = value_of(metrics, objective.metric, objective.strategies[objective.metric])
        if self._verdict is not None:
            state, reason, message = self._verdict
        elif code != 0:
            said = said_last(self._tail)
            cause = _CAUSES.get(code, said)
            state, reason = "Failed", "TrialFailed"
            message = f"exit code {in_words(code)}" + (f": {cause}" if cause else "")
        elif value is None:
            state, reason = "MetricsUnavailable", "TrialMetricsUnavailable"
            message = f"Metrics are not available: {self._collector.why_unavailable()}"
        else:
            state, reason, message = "Succeeded", "TrialSucceeded", "Trial has succeeded"
        return replace(
            self.trial,
            ended=now(),
            state=state,
            reason=reason,
            message=message,
            metrics=metrics,
            value=value if state in ("Succeeded", "EarlyStopped") else None,
            first=tuple(self._collector.first),
        )


def _begin(child: Path, parent: Path | None) -> None:
    """Make the folder of a trial's checkpoints, with those of another trial in it where it begins with them."""
    aside = child.with_name(f".{child.name}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    if parent is not None and parent.is_dir():
        shutil.copytree(parent, aside, symlinks=True, dirs_exist_ok=True)
    aside.rename(child)
