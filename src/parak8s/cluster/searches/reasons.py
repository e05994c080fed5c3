"""Says in plain words why trials have no value, why a search failed, and what to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parak8s.cluster.api.troubles import Trouble, said
from parak8s.cluster.searches.conditions import FAILED, KILLED, UNAVAILABLE, condition, trial_state
from parak8s.cluster.searches.pods import TrialPod, limit_of
from parak8s.cluster.searches.trials import Trial

Json = Mapping[str, Any]
NAMED, GROUPS = 3, 3
"""Trials of one reason that are named, and reasons that are."""
LABEL = "katib.kubeflow.org/metrics-collector-injection=enabled"


def reason_of(trial: Json, pods: Sequence[TrialPod], ending: Trouble | None, hindrance: Trouble | None) -> str:
    """Return why a trial that is over has no value; empty when it has one.

    Args:
        trial: As the server gives it.
        pods: Of it, as far as they were seen.
        ending: Why one of its pods failed.
        hindrance: What it waited for last.
    """
    state = trial_state(trial)
    if state == UNAVAILABLE:
        return unavailable(trial, pods)
    if state == KILLED:
        return said(condition(trial, KILLED).get("message", "")) or "was killed"
    return failure(trial, ending, hindrance) if state == FAILED else ""


def failure(trial: Json, ending: Trouble | None, hindrance: Trouble | None) -> str:
    """Return why a trial failed: in the words of its pod, else of its job, which Katib repeats."""
    found = condition(trial, FAILED)
    job, because = (
        said(str(found.get(key, "")).partition(f"Job {key}: ")[2]).rstrip(".") for key in ("message", "reason")
    )
    if because == "DeadlineExceeded" or "deadline" in job:
        late = f"its job took longer than activeDeadlineSeconds ({limit_of(trial, 'activeDeadlineSeconds')}) allows"
        return f"{late}: {hindrance.words}" if hindrance else late
    if ending is not None:
        return ending.words
    if because == "BackoffLimitExceeded" or "backoff limit" in job:
        return f"its job failed more often than backoffLimit ({limit_of(trial, 'backoffLimit')}) allows"
    return f"its job failed{f' ({because})' if because else ''}: {job or 'Katib does not say why'}"


def unavailable(trial: Json, pods: Sequence[TrialPod]) -> str:
    """Return why Katib has no value of a trial that ended well."""
    metric = (trial["spec"].get("objective") or {}).get("objectiveMetricName")
    if any(pod.lacks_collector for pod in pods):
        return f"ended, but Katib has no {metric} of it: {uncollected(pods[-1].pod['metadata'].get('namespace'))}"
    fix = f"does it print {metric}=NUMBER on a line of its own, and is objectiveMetricName the name that it prints?"
    if any(pod.collector for pod in pods):
        return f"ended without reporting {metric}: {fix}"
    return f"ended without reporting {metric}: {fix} Does the namespace have the label {LABEL}?"


def uncollected(namespace: str | None) -> str:
    """Return that Katib put no collector into a pod, and what to do."""
    return (
        "nobody collects its metrics, since Katib put no collector into its pod: kubectl label namespace "
        f"{namespace or 'NAMESPACE'} {LABEL}"
    )


def of_search(experiment: Json, refused: str) -> str:
    """Return why a search failed as a whole; empty when it did not.

    Args:
        experiment: As the server gives it.
        refused: Why its algorithm does not take it; empty when it does.
    """
    found, status = condition(experiment, FAILED), experiment.get("status") or {}
    if not found:
        return ""
    words = said(found.get("message", ""))
    if "max failed" in words:
        limit = experiment["spec"].get("maxFailedTrialCount")
        lost = (status.get("trialsFailed") or 0) + (status.get("trialMetricsUnavailable") or 0)
        made = status.get("trials") or 0
        return f"more trials failed than maxFailedTrialCount ({limit}) allows: {lost} of {made}"
    if "Suggestion" in words and refused:
        return f"the algorithm {experiment['spec']['algorithm']['algorithmName']} {refused}"
    return words or "it failed, and Katib does not say why"


def shared(trials: Sequence[Trial]) -> list[str]:
    """Return why trials have no value: each reason once, with the trials that share it; the most frequent first."""
    groups: dict[str, list[str]] = {}
    for trial in trials:
        if trial.reason:
            groups.setdefault(trial.reason, []).append(trial.name)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return [f"{_names(names)}: {reason}" for reason, names in ordered[:GROUPS]]


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"
