"""Runs a search to its end: suggests, starts, listens, judges, writes down."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from parak8s.errors import InputError
from parak8s.katib.local import status as words
from parak8s.katib.local.events import Loop
from parak8s.katib.local.launching import Launcher
from parak8s.katib.local.narration import Narrator
from parak8s.katib.local.reading import Search
from parak8s.katib.local.running import Running
from parak8s.katib.local.runs import Pool
from parak8s.katib.local.stopping import MedianStop, RuleSet
from parak8s.katib.local.suggestions.algorithm import Algorithm, Past
from parak8s.katib.local.trials import Journal, Trial, name_of, now
from parak8s.tfjobs.local.interrupts import Interrupts


class Engine:
    """Runs trials until the search is over, in one thread.

    Args:
        search: What is searched.
        algorithm: What it suggests.
        journal: What is known of it.
        launcher: Makes trials runnable.
        directory: Where logs go.
        narrator: Told of what happens.
        interrupts: Signals that ask for a stop.
        changed: Called after each change.
    """

    def __init__(
        self,
        search: Search,
        algorithm: Algorithm,
        journal: Journal,
        launcher: Launcher,
        directory: Path,
        narrator: Narrator,
        interrupts: Interrupts,
        changed: Callable[[], None],
    ) -> None:
        self._search, self._algorithm, self._journal, self._launcher = search, algorithm, journal, launcher
        self._directory, self._narrator, self._interrupts, self._changed = directory, narrator, interrupts, changed
        self._loop = Loop()
        self._pool = Pool(self._loop, directory / "logs")
        self._stopper = MedianStop.of(search.stopping) if search.stopping is not None else None
        self._running: dict[int, Running] = {}
        self._past: list[Past] = [trial.masked() for trial in journal.trials]
        self._seen = 0
        self._exhausted = False
        self._waiting = [trial.number for trial in reversed(journal.trials) if not trial.is_over]

    @property
    def stopped_by(self) -> signal.Signals | None:
        """The signal that stopped the search."""
        return self._interrupts.received[0] if self._interrupts.received else None

    def run(self) -> str | None:
        """Run the search; return Katib's reason of its end, None when a signal stopped it. Nothing runs any more."""
        try:
            self._loop.watch(self._interrupts.source, self._interrupts.clear)
            reason = self._over()
            while reason is None and self.stopped_by is None:
                self._fill()
                reason = self._over()
                if reason is None:
                    self._loop.step()
                    reason = self._over()
            return reason
        finally:
            for running in list(self._running.values()):
                running.close()
            self._pool.close()
            self._loop.close()

    def _over(self) -> str | None:
        """Return why the search is over, by Katib's rules and in their order; None while it is not."""
        trials, search = self._journal.trials, self._search
        ended = [trial for trial in trials if trial.is_over]
        if any(trial.value is not None and search.objective.reaches(trial.value) for trial in ended):
            return words.GOAL
        failed = sum(trial.state in ("Failed", "MetricsUnavailable") for trial in ended)
        if search.most_failed is not None and failed and failed >= search.most_failed:
            return words.FAILED
        if search.most is not None and len(ended) >= search.most:
            return words.MOST
        if self._exhausted and not self._running and not self._waiting:
            return words.EXHAUSTED
        return None

    def _fill(self) -> None:
        """Start as many trials as may run."""
        while len(self._running) < self._search.parallel and self.stopped_by is None and self._over() is None:
            number = self._waiting.pop() if self._waiting else self._next()
            if number is None:
                return
            self._start(self._journal.trials[number])

    def _next(self) -> int | None:
        """Return the number of a new trial; None where there is none, or none yet."""
        number = len(self._journal.trials)
        if self._exhausted or (self._search.most is not None and number >= self._search.most):
            return None
        horizon = self._horizon(number)
        if not all(trial.is_over for trial in self._journal.trials[self._seen : horizon]):
            return None
        self._look(horizon)
        suggestion = self._algorithm.suggest(number, self._past)
        if suggestion is None:
            self._exhausted = True
            return None
        trial = Trial(number, name_of(self._search.name, number), suggestion)
        self._journal.suggested(trial)
        self._past.append(trial.masked())
        return number

    def _horizon(self, number: int) -> int:
        """Return how many trials must be over before a new one: for its point, and for what stops it early."""
        needed = self._algorithm.horizon(number)
        return max(needed, number - 2 * self._search.parallel + 2) if self._stopper else needed

    def _look(self, horizon: int) -> None:
        """Let the algorithm see the outcome of the first trials, and of no others."""
        for number in range(self._seen, horizon):
            self._past[number] = self._journal.trials[number].past()
        self._seen = max(self._seen, horizon)

    def _rules(self, trial: Trial) -> RuleSet:
        """Return what stops a trial early, by the outcome of those that its suggestion could see."""
        objective, rule = self._search.objective, None
        if self._stopper is not None:
            seen = self._journal.trials[: max(0, trial.number - 2 * self._search.parallel + 2)]
            succeeded = [each.first for each in seen if each.state == "Succeeded"]
            rule = self._stopper.rule(objective.metric, succeeded, maximize=objective.maximize)
        return RuleSet([rule] if rule else [], objective=objective.metric, maximize=objective.maximize)

    def _start(self, trial: Trial) -> None:
        begun = replace(trial, started=now())
        self._journal.began(begun)
        slot = min(set(range(self._search.parallel)) - self._running.keys())
        running = Running(
            trial=begun,
            slot=slot,
            search=self._search,
            rules=self._rules(trial),
            log=self._directory / "logs" / f"{trial.name}.log",
            narrator=self._narrator,
            over=self._ended,
            keep=self._stopper.start_step if self._stopper else 0,
        )
        self._running[slot] = running
        self._narrator.began(begun)
        try:
            running.start(self._loop, self._launcher, self._pool)
        except (InputError, OSError) as error:
            running.close()
            message = str(error)
            failed = replace(begun, state="Failed", reason="TrialFailed", message=message, ended=now())
            self._ended(running, failed)
        self._changed()

    def _ended(self, running: Running, trial: Trial) -> None:
        del self._running[running.slot]
        self._journal.ended(trial)
        self._narrator.ended(trial)
        self._changed()
