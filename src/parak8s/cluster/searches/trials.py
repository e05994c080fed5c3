"""The trials of a search as plain records."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parak8s.cluster.api.troubles import said
from parak8s.cluster.searches.conditions import FAILED, KILLED, UNAVAILABLE, condition, trial_state

Json = Mapping[str, Any]
Metrics = Mapping[str, Mapping[str, float | None]]
"""Name -> ``min``, ``max`` and ``latest``; None where Katib has no number."""


@dataclass(frozen=True)
class Trial:
    """One trial.

    Args:
        name: Of the trial.
        state: Pending, Running, Succeeded, EarlyStopped, MetricsUnavailable, Failed or Killed.
        assignments: Parameter -> its value, as text.
        metrics: What was observed.
        objective: The value that counts, taken from its metric by the objective's strategy; None where there is none.
        started: When it began (RFC 3339); None before.
        ended: When it was over; None before.
        reason: Why it has no value; empty when nothing went wrong.
    """

    name: str
    state: str
    assignments: Mapping[str, str]
    metrics: Metrics
    objective: float | None
    started: str | None
    ended: str | None
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain values."""
        return dataclasses.asdict(self)


def trials_of(trials: Sequence[Json], reasons: Mapping[str, str] | None = None) -> tuple[Trial, ...]:
    """Return records of trials in the order in which they were made.

    Args:
        trials: Objects of ``kubeflow.org/v1beta1``.
        reasons: Name -> why it failed, where more is known than the trial says.
    """
    ordered = sorted(trials, key=lambda trial: str(trial["metadata"].get("creationTimestamp", "")))
    return tuple(_record(trial, (reasons or {}).get(trial["metadata"]["name"])) for trial in ordered)


def _record(trial: Json, reason: str | None) -> Trial:
    status, state = trial.get("status") or {}, trial_state(trial)
    observed = metrics_of(status.get("observation"))
    return Trial(
        name=str(trial["metadata"]["name"]),
        state=state,
        assignments=assignments_of(trial["spec"].get("parameterAssignments")),
        metrics=observed,
        objective=objective_of(trial["spec"].get("objective") or {}, observed),
        started=status.get("startTime"),
        ended=status.get("completionTime"),
        reason=_own_words(trial, state) if reason is None else reason,
    )


def _own_words(trial: Json, state: str) -> str:
    return said(condition(trial, state).get("message", "")) if state in (FAILED, KILLED, UNAVAILABLE) else ""


def assignments_of(given: Sequence[Json] | None) -> dict[str, str]:
    """Return parameter -> value of Katib's list."""
    return {str(each["name"]): str(each["value"]) for each in given or []}


def metrics_of(observation: Json | None) -> dict[str, dict[str, float | None]]:
    """Return the metrics of Katib's observation."""
    return {
        str(each["name"]): {which: _number(each.get(which)) for which in ("min", "max", "latest")}
        for each in (observation or {}).get("metrics") or []
    }


def objective_of(objective: Json, observed: Metrics) -> float | None:
    """Return the value that counts: the largest, the smallest or the latest of the objective's metric.

    Args:
        objective: Of an experiment or a trial. Without a strategy the largest counts, or the smallest to minimize.
        observed: From :func:`metrics_of`.
    """
    name = objective.get("objectiveMetricName")
    strategies = {each["name"]: each["value"] for each in objective.get("metricStrategies") or []}
    which = strategies.get(name, "min" if objective.get("type") == "minimize" else "max")
    values = observed.get(str(name)) or {}
    value = values.get(which)
    return values.get("latest") if value is None else value


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):  # "unavailable", or a word
        return None
    return value if math.isfinite(value) else None
