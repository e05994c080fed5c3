"""Tells in a task's log what a distributed training or a search does, on a cluster or on this machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from parak8s.components.runtime import SENTENCE
from parak8s.secrets import redacted

if TYPE_CHECKING:
    from parak8s.katib.local.reading import Search
    from parak8s.katib.local.trials import Trial


def say(line: str) -> None:
    """Write a line into the task's log."""
    print(redacted(line), file=sys.stderr, flush=True)  # noqa: T201 - a pod's log is its voice


class OfCluster:
    """A narrator of :mod:`parak8s.cluster.jobs` and :mod:`parak8s.cluster.searches`; a step is a replica or a trial."""

    def started(self, step: str) -> None:
        """Tell that a replica begins."""
        say(f"{step} begins")

    def finished(self, step: str, summary: str, seconds: float | None) -> None:
        """Tell that a replica succeeded."""
        took = "" if seconds is None else f" after {seconds:.0f} s"
        say(f"{step} is done{took} {summary}".rstrip())

    def failed(self, step: str, reason: str) -> None:
        """Tell why a replica failed."""
        say(f"{step}: {reason}")

    def waiting(self, reason: str) -> None:
        """Tell what hinders the job."""
        say(f"waiting: {reason}")

    def said(self, line: str) -> None:
        """Repeat what the leader says."""
        say(line.strip())


class OfThisMachine:
    """A narrator of :mod:`parak8s.tfjobs.local`."""

    def __init__(self) -> None:
        self.endings: dict[str, str] = {}
        """Replica -> how it failed last."""
        self._leader = ""
        self._last: dict[str, str] = {}

    def opened(self, replicas: Sequence[str]) -> None:
        """Remember who leads: the chief, else the first worker."""
        self._leader = next((name for name in replicas if name.startswith("chief")), "worker-0")

    def began(self, replica: str, start: int, process: int) -> None:
        """Tell that a replica begins."""
        say(f"{replica} begins{f', attempt {start}' if start > 1 else ''} (process {process})")

    def said(self, replica: str, line: str) -> None:
        """Repeat what the leader says; remember why others end."""
        if line.startswith(SENTENCE):
            self._last[replica] = line.removeprefix(SENTENCE)
        if replica == self._leader:
            say(line.strip())

    def ended(self, replica: str, code: int, then: str) -> None:
        """Tell how a replica ended."""
        why = f": {self._last[replica]}" if replica in self._last else ""
        if code and then != "stopped":
            self.endings[replica] = redacted(f"{replica}: ended with exit code {code}{why}")
        say(f"{replica} ended with exit code {code}{why}; {then}" if code else f"{replica} is done")

    def told(self, sentence: str) -> None:
        """Tell what the engine says."""
        say(sentence)


class OfSearchHere:
    """A narrator of :mod:`parak8s.katib.local`."""

    def opened(self, search: Search, trials: Sequence[Trial]) -> None:
        """Tell how far an earlier attempt came."""
        say(f"{search.name}: {len(trials)} trials are known" if trials else f"{search.name} begins")

    def began(self, trial: Trial) -> None:
        """Tell the point of a trial."""
        point = ", ".join(f"{name}={value}" for name, value in trial.suggestion.assignments.items())
        say(f"{trial.name} begins: {point}")

    def measured(self, trial: Trial, metric: str, value: str) -> None:
        """Say nothing: the trial's log has it."""

    def ended(self, trial: Trial) -> None:
        """Tell how a trial ended."""
        value = "" if trial.value is None else f" with {trial.value:.6g}"
        reason = "" if trial.state in ("Succeeded", "EarlyStopped") else f": {trial.message}"
        say(f"{trial.name} is {trial.state}{value}{reason}")

    def told(self, sentence: str) -> None:
        """Tell what the engine says."""
        say(sentence)
