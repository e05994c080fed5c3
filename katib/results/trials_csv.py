"""The trials as a table for programs: trials.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from parak8s import files
from parak8s.errors import from_os_error
from parak8s.katib.results.records import Search, TrialRecord, written

OF_METRIC = ("min", "max", "latest")


def write_trials_csv(path: Path, search: Search) -> None:
    """Write one line for each trial, in the order of suggestion, whole or not at all.

    The columns are name and state; each parameter by its dotted path; the objective by the name of its metric, as the
    search counts it; ``<metric>.min``, ``.max`` and ``.latest`` of the objective's metric and then of each additional
    one; started and ended (RFC 3339, UTC), seconds, reason. What there is not, is empty. Quoted as in RFC 4180.

    Raises:
        EnvironmentFault: The file cannot be written.
    """
    paths, trials = search.paths(), search.ordered()
    named = dict.fromkeys([search.objective, *(name for trial in trials for name in trial.metrics)])
    out = io.StringIO()
    writer = csv.writer(out)  # which ends lines with CRLF, as the RFC says
    each = [f"{metric}.{which}" for metric in named for which in OF_METRIC]
    writer.writerow(["name", "state", *paths, search.objective, *each, "started", "ended", "seconds", "reason"])
    writer.writerows(_row(trial, paths, list(named)) for trial in trials)
    try:
        files.write_text(path, out.getvalue())
    except OSError as error:
        raise from_os_error(error, path) from error


def _row(trial: TrialRecord, paths: Sequence[str], metrics: Sequence[str]) -> list[object]:
    """Return the cells of a trial; None is written as nothing, a float with all its digits."""
    values = (getattr(trial.metrics.get(metric), which, None) for metric in metrics for which in OF_METRIC)
    return [
        *(trial.name, trial.state),
        *(trial.assignments.get(path) for path in paths),
        *(trial.objective, *values),
        *(written(trial.started), written(trial.ended), trial.seconds, trial.reason),
    ]
