"""What the engine and an algorithm say to each other.

A suggestion depends on nothing but the settings, its number, and the trials before it: no clock, no order in which
trials happen to end. That is why the same search gives the same suggestions, killed and resumed or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from parak8s.experiment.dimensions import Dimension

State = Literal["Running", "Succeeded", "EarlyStopped", "MetricsUnavailable", "Failed", "Killed"]


@dataclass(frozen=True)
class Past:
    """A trial that was suggested before.

    Args:
        number: From 0, in the order of suggestion.
        name: Of the trial.
        assignments: Parameter -> its value, as text.
        state: ``Running`` stands for every trial whose outcome this suggestion may not look at.
        value: The objective; None where there is none.
        memory: What the algorithm noted down when it suggested the trial; JSON values.
    """

    number: int
    name: str
    assignments: Mapping[str, str]
    state: State
    value: float | None = None
    memory: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Suggestion:
    """What to try.

    Args:
        assignments: Parameter -> its value, as text.
        memory: What the algorithm wants to find again in :class:`Past`; JSON values.
        labels: Of the trial, as Katib's population based training gives them.
        parent: Name of the trial with whose checkpoints this one begins.
    """

    assignments: Mapping[str, str]
    memory: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None


@dataclass(frozen=True)
class Problem:
    """What is searched, and how.

    Args:
        space: The parameters.
        maximize: Whether a larger objective is better.
        settings: Of the algorithm, as text; checked.
        seed: For all draws.
        parallel: Trials that run at the same time on this machine.
    """

    space: tuple[Dimension, ...]
    maximize: bool
    settings: Mapping[str, str]
    seed: int
    parallel: int = 1


class Algorithm(Protocol):
    """Suggests points. May keep what makes it fast, but nothing that changes a suggestion."""

    def horizon(self, number: int) -> int:
        """Return how many of the first trials must be over before trial ``number`` can be suggested."""

    def suggest(self, number: int, past: Sequence[Past]) -> Suggestion | None:
        """Return what trial ``number`` tries; None when there is nothing left to try.

        Args:
            number: From 0.
            past: All ``number`` trials before it; those from :meth:`horizon` on as ``Running``, without a value. The
                engine gives the same list again, grown, so that its beginning need not be read twice.
        """
