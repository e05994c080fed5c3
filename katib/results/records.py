"""What is known of a search and its trials when something is written for people: plain, and frozen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from parak8s.experiment.dimensions import Dimension
from parak8s.katib.local.suggestions.algorithm import State

Moment = datetime | str
"""A time with its zone, or its RFC 3339 text."""


@dataclass(frozen=True)
class Metric:
    """One metric over the epochs of a trial, as Katib keeps it; None where it has no value."""

    min: float | None
    max: float | None
    latest: float | None


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Args:
        name: Of the trial.
        number: From 0, in the order of suggestion.
        state: In Katib's words.
        assignments: Parameter -> its value, as text.
        metrics: The objective's metric and the additional ones, by name.
        objective: The value that counts, taken from the metric by its strategy; None where there is none.
        started: When it began; None before.
        ended: When it was over; None before.
        reason: Why it failed, or was ended.
    """

    name: str
    number: int
    state: State
    assignments: Mapping[str, str]
    metrics: Mapping[str, Metric]
    objective: float | None
    started: Moment | None
    ended: Moment | None
    reason: str = ""

    def __post_init__(self) -> None:
        for moment in (self.started, self.ended):
            if moment is not None and _utc(moment) is None:
                raise ValueError(f"{self.name}: expected a time with its zone, as 2026-03-14T15:09:26Z, got {moment!r}")

    @property
    def value(self) -> float | None:
        """The objective of a trial that counts: one that ended with a number, stopped early or not."""
        counts = self.state in ("Succeeded", "EarlyStopped")
        return self.objective if counts and self.objective is not None and math.isfinite(self.objective) else None

    @property
    def seconds(self) -> float | None:
        """How long it ran; None while it does."""
        start, end = (None if moment is None else _utc(moment) for moment in (self.started, self.ended))
        return None if start is None or end is None else (end - start).total_seconds()


@dataclass(frozen=True)
class Search:
    """A search, finished or running.

    Args:
        name: Of the Experiment.
        objective: Name of the metric that counts.
        maximize: Whether a larger value is better.
        goal: Value at which the search ends; None for none.
        algorithm: As Katib calls it.
        space: What is searched.
        trials: All of them, in any order.
        status: In Katib's words, such as the message of the last condition.
    """

    name: str
    objective: str
    maximize: bool
    goal: float | None
    algorithm: str
    space: tuple[Dimension, ...]
    trials: Sequence[TrialRecord]
    status: str

    def ordered(self) -> list[TrialRecord]:
        """Return the trials in the order of suggestion."""
        return sorted(self.trials, key=lambda trial: trial.number)

    def ranked(self) -> list[TrialRecord]:
        """Return the trials that have a value, the best first; of equals the one suggested first."""
        sign = -1 if self.maximize else 1
        valued = [(sign * trial.value, trial.number, trial) for trial in self.ordered() if trial.value is not None]
        return [trial for *_, trial in sorted(valued, key=lambda each: each[:2])]

    def paths(self) -> list[str]:
        """Return every parameter: those of the space, then those that only a trial knows."""
        known = [parameter.name for parameter in self.space]
        return list(dict.fromkeys([*known, *(path for trial in self.ordered() for path in trial.assignments)]))


def written(moment: Moment | None) -> str:
    """Return the RFC 3339 text of a time, in UTC and to the second; nothing for None."""
    time = None if moment is None else _utc(moment)
    return "" if time is None else time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _utc(moment: Moment) -> datetime | None:
    """Return a time in UTC; None where it is none, or has no zone."""
    try:
        time = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    except ValueError:
        return None
    return time.astimezone(UTC) if time.tzinfo else None
