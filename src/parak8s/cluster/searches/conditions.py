"""What state an experiment and a trial are in, in Katib's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parak8s.cluster.jobs.conditions import DELETED, FAILED, PENDING, SUCCEEDED, condition

Json = Mapping[str, Any]
STATES = (FAILED, SUCCEEDED, "Restarting", "Running", "Created")
"""Conditions of an experiment, the one first that says most."""
KILLED, STOPPED, UNAVAILABLE, RUNNING = "Killed", "EarlyStopped", "MetricsUnavailable", "Running"
TRIAL_STATES = (KILLED, FAILED, SUCCEEDED, STOPPED, UNAVAILABLE, RUNNING)
"""Conditions of a trial in the order in which Katib counts them (pkg/controller.v1beta1/experiment/util)."""
WITH_VALUE = (SUCCEEDED, STOPPED)
"""States of a trial that ended with an objective."""
OVER = (*WITH_VALUE, KILLED, FAILED, UNAVAILABLE)
"""States in which a trial stays."""
ALL_DONE = "ExperimentMaxTrialsReached"
"""Reason of an experiment that succeeded because it made all its trials."""
RESUMABLE = ("LongRunning", "FromVolume")
"""Policies with which such an experiment goes on when it may make more of them."""

__all__ = ["DELETED", "FAILED", "PENDING", "SUCCEEDED", "condition"]


def state_of(experiment: Json) -> str:
    """Return the condition of an experiment that says most; Pending before there is one."""
    return next((state for state in STATES if condition(experiment, state)), PENDING)


def is_resumable(experiment: Json) -> bool:
    """Return whether an experiment that is over goes on when it may make more trials."""
    policy = experiment["spec"].get("resumePolicy")
    return condition(experiment, SUCCEEDED).get("reason") == ALL_DONE and policy in RESUMABLE


def is_over(experiment: Json) -> bool:
    """Return whether the experiment succeeded or failed; not when Katib is about to make more trials."""
    return state_of(experiment) in (SUCCEEDED, FAILED) and not resumes(experiment)


def resumes(experiment: Json) -> bool:
    """Return whether it was given more trials after it was over, so that Katib will restart it."""
    made, allowed = (experiment.get("status") or {}).get("trials") or 0, experiment["spec"].get("maxTrialCount")
    return is_resumable(experiment) and allowed is not None and allowed > made


def trial_state(trial: Json) -> str:
    """Return the state of a trial; Pending before it runs."""
    state = next((state for state in TRIAL_STATES if condition(trial, state)), PENDING)
    conditions = (trial.get("status") or {}).get("conditions") or []
    if any(  # as Katib before 0.13 says it
        each.get("type") == SUCCEEDED and str(each.get("reason", "")).startswith(UNAVAILABLE) for each in conditions
    ):
        return UNAVAILABLE
    return state
