"""What is told of a TFJob: while it is followed to a narrator, and at its end as its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from parak8s.cluster.jobs.conditions import SUCCEEDED
from parak8s.errors import DONE
from parak8s.errors import FAILED as EXIT_FAILED


class Narrator(Protocol):
    """Tells the user what happens on the cluster; a step is a replica, such as ``worker-0``."""

    def started(self, step: str) -> None:
        """A replica begins, or begins again: ``worker-0, attempt 2``."""

    def finished(self, step: str, summary: str, seconds: float | None) -> None:
        """A replica succeeded."""

    def failed(self, step: str, reason: str) -> None:
        """A replica failed; it may be started again."""

    def waiting(self, reason: str) -> None:
        """Something hinders the job, or the server cannot be reached now."""

    def said(self, line: str) -> None:
        """The leader wrote a line into its log; told from another thread, but never two at a time."""


@dataclass(frozen=True)
class Outcome:
    """How a TFJob ended.

    Args:
        name: Of the job.
        state: Succeeded, Failed or Deleted.
        reasons: Sentences about what went wrong; empty when nothing did.
        status: The last one that was seen, in the operator's words.
    """

    name: str
    state: str
    reasons: tuple[str, ...]
    status: Mapping[str, Any]

    @property
    def succeeded(self) -> bool:
        """Whether the job did what it is for."""
        return self.state == SUCCEEDED

    @property
    def exit_code(self) -> int:
        """0 when the job succeeded, else 1."""
        return DONE if self.succeeded else EXIT_FAILED

    @property
    def reason(self) -> str:
        """What went wrong in one line; empty when nothing did."""
        return "" if self.succeeded else f"the TFJob {self.name} is {self.state}: {'; '.join(self.reasons)}"
