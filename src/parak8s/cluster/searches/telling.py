"""What is told of a search at its end: its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parak8s.cluster.searches.conditions import SUCCEEDED
from parak8s.cluster.searches.trials import Metrics, Trial, assignments_of, metrics_of, objective_of
from parak8s.errors import DONE
from parak8s.errors import FAILED as EXIT_FAILED


@dataclass(frozen=True)
class Best:
    """The best trial.

    Args:
        trial: Its name.
        assignments: Parameter -> its value, as text.
        metrics: What was observed.
        objective: The value that counts.
    """

    trial: str
    assignments: Mapping[str, str]
    metrics: Metrics
    objective: float | None

    @classmethod
    def of(cls, experiment: Mapping[str, Any]) -> Best | None:
        """Return the best trial that an experiment knows; None before there is one."""
        found = (experiment.get("status") or {}).get("currentOptimalTrial") or {}
        if not found.get("bestTrialName"):
            return None
        observed = metrics_of(found.get("observation"))
        objective = objective_of(experiment["spec"].get("objective") or {}, observed)
        return cls(found["bestTrialName"], assignments_of(found.get("parameterAssignments")), observed, objective)


@dataclass(frozen=True)
class Outcome:
    """How a search ended.

    Args:
        name: Of the experiment.
        state: Succeeded, Failed or Deleted.
        reasons: Sentences about what went wrong; empty when nothing did.
        best: The best trial; None where no trial has a value.
        trials: All, in the order in which they were made.
        status: The last one that was seen, in Katib's words.
    """

    name: str
    state: str
    reasons: tuple[str, ...]
    best: Best | None
    trials: tuple[Trial, ...]
    status: Mapping[str, Any]

    @property
    def succeeded(self) -> bool:
        """Whether the search did what it is for: it is over, and knows a best trial."""
        return self.state == SUCCEEDED and self.best is not None

    @property
    def exit_code(self) -> int:
        """0 when the search succeeded, else 1."""
        return DONE if self.succeeded else EXIT_FAILED

    @property
    def reason(self) -> str:
        """What went wrong in one line; empty when nothing did."""
        return "" if self.succeeded else f"the Experiment {self.name} is {self.state}: {'; '.join(self.reasons)}"
