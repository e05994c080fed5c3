"""What the engine tells, and to whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Narrator(Protocol):
    """Tells the user what happens. All calls come from one thread, in the order in which things happened."""

    def opened(self, replicas: Sequence[str]) -> None:
        """The job begins; ``replicas`` are the names of all that it will have."""

    def began(self, replica: str, start: int, process: int) -> None:
        """A replica runs as process number ``process``; its first start is 1."""

    def said(self, replica: str, line: str) -> None:
        """A replica wrote a line; the text holds nothing that could change a terminal."""

    def ended(self, replica: str, code: int, then: str) -> None:
        """A replica ended with an exit code; ``then`` says in words what follows."""

    def told(self, sentence: str) -> None:
        """The engine itself has something to say: what it leaves out, how the job goes on or ended."""


class Quiet:
    """Says nothing; the logs and the status have it all."""

    def opened(self, replicas: Sequence[str]) -> None:
        """Say nothing."""

    def began(self, replica: str, start: int, process: int) -> None:
        """Say nothing."""

    def said(self, replica: str, line: str) -> None:
        """Say nothing."""

    def ended(self, replica: str, code: int, then: str) -> None:
        """Say nothing."""

    def told(self, sentence: str) -> None:
        """Say nothing."""
