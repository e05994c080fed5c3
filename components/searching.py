"""Searches from within a task: by Katib on a cluster, by the very same Experiment on this machine elsewhere."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from parak8s import files, promotion
from parak8s.components import cancelling, markdown
from parak8s.components.voices import OfCluster, OfSearchHere
from parak8s.errors import EnvironmentFault, InputError
from parak8s.experiment import Experiment, documents, space
from parak8s.experiment.compute import is_store
from parak8s.katib import results
from parak8s.katib.building import katib_experiment
from parak8s.katib.results.leaders import board, failed_line
from parak8s.loading import parse

ROWS = 20
"""Trials on the leaderboard."""


def counted(point: Experiment, trials: int | None, parallel: int | None) -> Experiment:
    """Return the experiment whose search makes so many trials, and so many at the same time; None as it is written.

    Raises:
        InputError: There is no section ``search``, or a number is none.
    """
    if point.search is None:
        raise InputError(f"{point.name} has no section search: write what to search, and by which metric")
    values = point.canonical()
    search = values["search"]
    search["trials"] = search["trials"] if trials is None else trials
    search["parallel"] = min(search["parallel"], search["trials"]) if parallel is None else parallel
    return parse(documents.dump(values), "settings with max_trials and parallel")


def search(point: Experiment, folder: Path, *, task: str, code: Any = None) -> results.Search:
    """Search and write ``trials.csv`` and ``report.html`` into a folder; return what was found.

    Args:
        point: With the sections ``search`` and ``compute`` of the trials.
        folder: Where; it is there.
        task: Names this execution of the task, and nothing else.
        code: Artifact with modules of the user's own; None without any.

    Raises:
        InputError: The Experiment cannot be built, or Katib does not take it.
        EnvironmentFault: The search failed, or no trial has a value; what is known of it is written all the same.
        Stopped: The run was cancelled; the Experiment is deleted.
    """
    name = f"tune-{hashlib.sha256(task.encode()).hexdigest()[:12]}"
    if cancelling.on_cluster():
        found, failure = _on_cluster(point, name)
    else:
        found, failure = _here(point, name, folder.with_name(name), code)
    results.write_trials_csv(folder / "trials.csv", found)
    results.write_report(folder / "report.html", found)
    if failure or not found.ranked():
        lost = failed_line(found) or "its trials have no value"
        raise EnvironmentFault(failure or f"the search {name} has no best trial: {lost}")
    return found


def _on_cluster(point: Experiment, name: str) -> tuple[results.Search, str]:
    """Let Katib search; return what was found, and why it failed."""
    from parak8s.cluster.searches import connect
    from parak8s.katib import watched

    searches = connect()
    wanted = katib_experiment(point, namespace=searches.namespace, name=name)
    if wanted["spec"]["resumePolicy"] == "LongRunning":  # nobody resumes the search of a task
        wanted["spec"]["resumePolicy"] = "Never"
    by_hand = f"kubectl delete experiment {name} -n {searches.namespace}"
    with cancelling.together("the search", partial(searches.delete, name), by_hand):
        searches.delete(name)  # of an earlier attempt of this task
        created = searches.create(cancelling.ours(wanted))
        outcome = searches.follow(name, OfCluster(), uid=created.uid)
    found = watched.found(wanted, outcome.trials, outcome.reason or outcome.state)
    runs = point.compute.runs
    if outcome.succeeded and runs and not is_store(runs):  # the trials' checkpoints, if this pod sees them
        shutil.rmtree(Path(runs) / name, ignore_errors=True)
    return found, outcome.reason


def _here(point: Experiment, name: str, folder: Path, code: Any) -> tuple[results.Search, str]:
    """Search on this machine; a folder that is left by a failure is gone on with."""
    from parak8s.cluster.jobs.conditions import FAILED, condition
    from parak8s.katib import local
    from parak8s.katib.local import records

    wanted = katib_experiment(point, name=name, on_cluster=False)
    done = local.run(wanted, folder, narrator=OfSearchHere(), environment=_environment(code))
    found, failed = records.found(folder), condition(done, FAILED)
    if not failed:
        shutil.rmtree(folder, ignore_errors=True)
    return found, f"the search {name} failed: {failed['message']}; see {folder}" if failed else ""


def _environment(code: Any) -> Mapping[str, str]:
    """Return the variables of trials on this machine: they find modules of the user's own."""
    paths = [code.path] if code is not None else []
    path = os.pathsep.join(filter(None, [*paths, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, **({"PYTHONPATH": path} if path else {})}


def best_text(text: str, overrides: list[str], found: results.Search) -> str:
    """Return the text of the experiment with the best point in it.

    Args:
        text: As it was written.
        overrides: ``path=value`` each; they are put in too.
        found: With a best trial.
    """
    best = found.ranked()[0]
    comment = f"# {found.name}, the best of {len(found.trials)} trials: {best.name}, {found.objective} {best.value:.6g}"
    given = dict(space.parse_override(each) for each in overrides)
    return promotion.promoted(text, {**given, **promotion.values_of(best.assignments)}, comment)


def page(found: results.Search, title: str) -> str:
    """Return Markdown with the best trials."""
    made = board(found, ROWS)
    names = [markdown.cell(name) for name in made.parameters.values()]
    head = ["rank", "trial", markdown.cell(found.objective), *names, "time", "state"]
    rows = [(str(row.rank), row.trial, row.objective, *row.parameters, row.time, row.state) for row in made.rows]
    lines = [f"| {' | '.join(map(markdown.cell, row))} |" for row in rows]
    lost = failed_line(found)
    return "\n".join(
        [
            f"# {title}: {len(found.trials)} trials by {found.objective}, {found.algorithm}",
            "",
            f"| {' | '.join(head)} |",
            f"|{' --- |' * len(head)}",
            *lines,
            "",
            *([lost, ""] if lost else []),
        ]
    )


def log(metrics: Any, found: results.Search) -> None:
    """Put the best value and the counts into a Metrics artifact."""
    from parak8s.components import pictures

    values = [trial for trial in found.trials if trial.value is not None]
    metrics.log_metric(f"best {found.objective}", found.ranked()[0].value)
    metrics.log_metric("trials", len(found.trials))
    metrics.log_metric("trials without a value", len(found.trials) - len(values))
    pictures.keep(metrics)


def write_best(folder: Path, text: str) -> None:
    """Write the experiment with the best point beside the table of the trials."""
    files.write_text(folder / "best.yaml", text)
