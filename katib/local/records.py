"""What is known of a search on this machine, for the leaderboard, the table and the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parak8s import files
from parak8s.katib.local import status as words
from parak8s.katib.local.collector import number
from parak8s.katib.local.reading import read
from parak8s.katib.local.trials import Journal, Trial
from parak8s.katib.results import Metric, Search, TrialRecord


def found(directory: Path) -> Search:
    """Return the search that a directory holds, with all its trials."""
    values = files.read_json(directory / "experiment.json")
    search = read(values)
    journal = Journal.read(directory / ".state" / "trials.jsonl")
    return Search(
        name=search.name,
        objective=search.objective.metric,
        maximize=search.objective.maximize,
        goal=search.objective.goal,
        algorithm=search.algorithm,
        space=search.space,
        trials=[_record(trial) for trial in journal.trials],
        status=last_words(values),
    )


def last_words(values: Mapping[str, Any]) -> str:
    """Return the message of the condition that holds."""
    ended = words.ending(values)
    conditions = values.get("status", {}).get("conditions", [])
    return str((ended or (conditions[-1] if conditions else {})).get("message", ""))


def _record(trial: Trial) -> TrialRecord:
    went_well = trial.state in ("Running", "Succeeded")
    return TrialRecord(
        name=trial.name,
        number=trial.number,
        state=trial.state,
        assignments=trial.suggestion.assignments,
        metrics={metric["name"]: _metric(metric) for metric in trial.metrics},
        objective=trial.value,
        started=trial.started or None,
        ended=trial.ended or None,
        reason="" if went_well else trial.message,
    )


def _metric(metric: Mapping[str, str]) -> Metric:
    return Metric(*(number(metric[kind]) for kind in ("min", "max", "latest")))
