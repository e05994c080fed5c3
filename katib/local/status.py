"""The status of an Experiment in Katib's words.

Source: kubeflow/katib v0.19, pkg/apis/controller/experiments/v1beta1/experiment_types.go and
pkg/controller.v1beta1/experiment/util/status_util.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from parak8s.katib.local.reading import Objective
from parak8s.katib.local.suggestions.algorithm import State
from parak8s.katib.local.trials import Trial, now

GOAL, MOST, EXHAUSTED = "ExperimentGoalReached", "ExperimentMaxTrialsReached", "ExperimentSuggestionEndReached"
FAILED = "ExperimentFailed"
ENDINGS = {
    GOAL: ("Succeeded", "Experiment has succeeded because Objective goal has reached"),
    MOST: ("Succeeded", "Experiment has succeeded because max trial count has reached"),
    EXHAUSTED: ("Succeeded", "Experiment has succeeded because suggestion service has reached the end"),
    FAILED: ("Failed", "Experiment has failed because max failed count has reached"),
}
"""Reason -> the condition, and its message."""

_LISTS: dict[State, tuple[str, str]] = {
    "Running": ("runningTrialList", "trialsRunning"),
    "Succeeded": ("succeededTrialList", "trialsSucceeded"),
    "Failed": ("failedTrialList", "trialsFailed"),
    "Killed": ("killedTrialList", "trialsKilled"),
    "EarlyStopped": ("earlyStoppedTrialList", "trialsEarlyStopped"),
    "MetricsUnavailable": ("metricsUnavailableTrialList", "trialMetricsUnavailable"),
}


@dataclass
class Status:
    """Conditions and times; the trials are counted when it is written."""

    conditions: list[dict[str, str]] = field(default_factory=list)
    started: str = ""
    completed: str = ""

    def hold(self, kind: str, reason: str, message: str) -> None:
        """Let a condition hold; Running ends with the Experiment, and Restarting with the next one."""
        moment = _seconds(now())
        for each in self.conditions:
            if each["type"] == kind or (each["type"] in ("Running", "Restarting") and kind != "Created"):
                each["status"] = "False"
        self.conditions = [each for each in self.conditions if each["type"] != kind]
        self.conditions.append(
            {
                "type": kind,
                "status": "True",
                "reason": reason,
                "message": message,
                "lastUpdateTime": moment,
                "lastTransitionTime": moment,
            }
        )

    def restart(self) -> None:
        """Begin again after an end: Succeeded no longer holds."""
        self.completed = ""
        self.conditions = [each for each in self.conditions if each["type"] not in ("Succeeded", "Failed")]
        self.hold("Restarting", "ExperimentRestarting", "Experiment is restarted")

    def to_json(self, trials: Sequence[Trial], objective: Objective) -> dict[str, Any]:
        """Return the status as Katib writes it; lists and counts of nothing are left out."""
        best = optimum(trials, objective)
        times = {"startTime": self.started, "completionTime": self.completed, "lastReconcileTime": now()}
        return {
            **{name: _seconds(moment) for name, moment in times.items() if moment},
            "conditions": self.conditions,
            **({"currentOptimalTrial": _optimal(best)} if best else {}),
            **dict(_counted(trials)),
            "trials": len(trials),
        }

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Status:
        """Return the status that :meth:`to_json` has written."""
        conditions = list(values.get("conditions", []))
        return cls(conditions, values.get("startTime", ""), values.get("completionTime", ""))


def ending(values: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the condition with which an Experiment ended; None while it has not."""
    for each in values.get("status", {}).get("conditions", []):
        if each["type"] in ("Succeeded", "Failed") and each["status"] == "True":
            return dict(each)
    return None


def optimum(trials: Sequence[Trial], objective: Objective) -> Trial | None:
    """Return the best trial, the first of equals; None where none has a value."""
    with_value = [trial for trial in trials if trial.value is not None and trial.is_over]
    sign = 1 if objective.maximize else -1
    return max(with_value, key=lambda trial: (sign * (trial.value or 0.0), -trial.number), default=None)


def _optimal(best: Trial) -> dict[str, Any]:
    return {
        "bestTrialName": best.name,
        "parameterAssignments": [{"name": name, "value": value} for name, value in best.suggestion.assignments.items()],
        "observation": {"metrics": list(best.metrics)},
    }


def _counted(trials: Sequence[Trial]) -> Iterator[tuple[str, Any]]:
    for state, (list_, count) in _LISTS.items():
        names = [trial.name for trial in trials if trial.state == state and (trial.started or trial.is_over)]
        if names:
            yield list_, names
            yield count, len(names)
    waiting = [trial.name for trial in trials if not trial.is_over and not trial.started]
    if waiting:
        yield "pendingTrialList", waiting
        yield "trialsPending", len(waiting)


def _seconds(moment: str) -> str:
    return f"{moment.partition('.')[0].removesuffix('Z')}Z"
