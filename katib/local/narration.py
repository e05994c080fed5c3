"""What the engine tells, and to whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from parak8s.katib.local.reading import Search
from parak8s.katib.local.trials import Trial


class Narrator(Protocol):
    """Tells the user what happens. All calls come from one thread, in the order in which things happened."""

    def opened(self, search: Search, trials: Sequence[Trial]) -> None:
        """The search begins, or goes on; ``trials`` is the list that grows as it does."""

    def began(self, trial: Trial) -> None:
        """A trial runs."""

    def measured(self, trial: Trial, metric: str, value: str) -> None:
        """A trial has printed a metric."""

    def ended(self, trial: Trial) -> None:
        """A trial is over."""

    def told(self, sentence: str) -> None:
        """The engine itself has something to say."""


class Quiet:
    """Says nothing; the logs and the status have it all."""

    def opened(self, search: Search, trials: Sequence[Trial]) -> None:
        """Say nothing."""

    def began(self, trial: Trial) -> None:
        """Say nothing."""

    def measured(self, trial: Trial, metric: str, value: str) -> None:
        """Say nothing."""

    def ended(self, trial: Trial) -> None:
        """Say nothing."""

    def told(self, sentence: str) -> None:
        """Say nothing."""
