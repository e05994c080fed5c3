"""What is known of a search on a cluster, for the leaderboard, the table and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from parak8s.cluster.searches import Trial
from parak8s.katib.local.parameters import read_parameters
from parak8s.katib.local.suggestions.algorithm import State
from parak8s.katib.results import Metric, Search, TrialRecord
from parak8s.tfjobs.local.fields import Fields


def found(wanted: Mapping[str, Any], trials: Sequence[Trial], status: str) -> Search:
    """Return a search on a cluster as :func:`parak8s.katib.local.records.found` returns one on this machine.

    What a laptop could not run is no hindrance.

    Args:
        wanted: The Experiment as it was created.
        trials: Of :class:`parak8s.cluster.searches.Outcome`.
        status: How it ended, in words.
    """
    spec = wanted["spec"]
    objective = spec["objective"]
    return Search(
        name=str(wanted["metadata"]["name"]),
        objective=str(objective["objectiveMetricName"]),
        maximize=objective["type"] == "maximize",
        goal=objective.get("goal"),
        algorithm=str(spec["algorithm"]["algorithmName"]),
        space=read_parameters(Fields(wanted).inner("spec")),
        trials=[_record(number, trial) for number, trial in enumerate(trials)],
        status=status,
    )


def _record(number: int, trial: Trial) -> TrialRecord:
    return TrialRecord(
        name=trial.name,
        number=number,
        state=cast("State", trial.state if trial.state != "Pending" else "Running"),
        assignments=trial.assignments,
        metrics={name: Metric(**values) for name, values in trial.metrics.items()},
        objective=trial.objective,
        started=trial.started,
        ended=trial.ended,
        reason=trial.reason,
    )
