"""What a search leaves: the table of trials, the page, the best point, and its run in MLflow."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from parak8s import files
from parak8s.errors import EnvironmentFault, InputError
from parak8s.katib import results
from parak8s.katib.local.status import ending
from parak8s.tuning.wanted import PROMOTED, Wanted

log = logging.getLogger(__name__)

DOCUMENTS = ("best.yaml", "report.html", "trials.csv", "experiment.json")


def leave(wanted: Wanted, directory: Path, found: results.Search, experiment: Mapping[str, Any]) -> None:
    """Write everything into ``directory``, tell MLflow, print the leaderboard and where things are.

    Args:
        wanted: The search.
        directory: Where to.
        found: Its trials.
        experiment: The object with its status.
    """
    directory.mkdir(parents=True, exist_ok=True)
    files.write_json(directory / "experiment.json", experiment)
    results.write_trials_csv(directory / "trials.csv", found)
    results.write_report(directory / "report.html", found)
    screen = Console(highlight=False, force_jupyter=False)
    (directory / "best.yaml").unlink(missing_ok=True)  # of fewer trials
    if found.ranked():
        screen.print(results.leaderboard(found))
        _write_best(wanted, directory, found)
    _tell(wanted, directory, found, experiment)
    for name in DOCUMENTS:
        if (directory / name).is_file():
            screen.print(f"{Path(name).stem:<12}{directory / name}", soft_wrap=True)


def _write_best(wanted: Wanted, directory: Path, found: results.Search) -> None:
    best = found.ranked()[0]
    reached = f"{best.name}, {found.objective} {best.value:.6g}"
    try:
        text = wanted.best(best.assignments, f"# {found.name}{PROMOTED}{len(found.trials)} trials, {reached}")
    except InputError as error:
        log.warning("best.yaml is not written: %s", error)
        return
    if text is not None:
        files.write_text(directory / "best.yaml", text)


def _tell(wanted: Wanted, directory: Path, found: results.Search, experiment: Mapping[str, Any]) -> None:
    """Write the outcome into the search's run in MLflow, where trials of ours are nested."""
    if wanted.point is None:
        return
    from parak8s.tracking.trials import conclude_search

    ended = ending(experiment)
    ranked, documents = found.ranked(), [directory / name for name in DOCUMENTS]
    try:
        conclude_search(
            wanted.point,
            found.name,
            ranked[0].assignments if ranked else {},
            ranked[0].value if ranked else None,
            [each for each in documents if each.is_file()],
            uid=experiment["metadata"].get("uid"),
            succeeded=bool(ranked) and not (ended and ended["type"] == "Failed"),
        )
    except (EnvironmentFault, InputError) as fault:
        log.warning("%s", fault)
