"""Runs a search on this machine and leaves what people want to see of it."""

from __future__ import annotations

import logging
from pathlib import Path

from rich.console import Console

from parak8s import files, provenance
from parak8s.errors import EnvironmentFault, InputError
from parak8s.katib import local, results
from parak8s.katib.local import records
from parak8s.katib.local.terminal import Terminal
from parak8s.tuning.wanted import Wanted

log = logging.getLogger(__name__)


def search_here(wanted: Wanted, output: Path | None, parallel: int | None) -> Path:
    """Run a search to its end; return the folder that holds it.

    Raises:
        InputError: The search breaks a rule, or the folder holds another one.
        EnvironmentFault: The search failed, or no trial has a value.
        Stopped: Ctrl-C; the same call goes on.
    """
    directory = output or place(wanted)
    with Terminal() as terminal:
        try:
            done = local.run(wanted.object, directory, parallel=parallel, narrator=terminal)
        finally:
            if (directory / ".state").is_dir():
                results.write_trials_csv(directory / "trials.csv", records.found(directory))
    return conclude(wanted, directory, failed="Failed" in _holding(done))


def place(wanted: Wanted) -> Path:
    """Return the folder of a search: the same for the same search, also with more trials."""
    spec = {key: value for key, value in wanted.object["spec"].items() if key not in local.EDITABLE}
    return Path("runs") / wanted.name / f"search-{provenance.digest(spec)[:8]}"


def conclude(wanted: Wanted, directory: Path, *, failed: bool) -> Path:
    """Write the page and the best point, tell MLflow, print the leaderboard; say so where the search came to nothing.

    Raises:
        EnvironmentFault: The search failed, or no trial has a value.
    """
    found = records.found(directory)
    console, ranked = Console(highlight=False, force_jupyter=False), found.ranked()
    results.write_report(directory / "report.html", found)
    if ranked:
        console.print(results.leaderboard(found))
        _write_best(wanted, directory, found)
        _tell(wanted, directory, found)
    for name in ("best.yaml", "report.html", "trials.csv", "experiment.json"):
        if (directory / name).is_file():
            console.print(f"{Path(name).stem:<12}{directory / name}", soft_wrap=True)
    if failed:
        raise EnvironmentFault(f"the search {found.name} failed: {found.status}. {_why(found)}")
    if not ranked:
        raise EnvironmentFault(f"no trial of {found.name} has a value of {found.objective}. {_why(found)}")
    return directory


def _holding(done: dict[str, dict[str, list[dict[str, str]]]]) -> set[str]:
    return {each["type"] for each in done["status"]["conditions"] if each["status"] == "True"}


def _why(found: results.Search) -> str:
    reasons = [trial.reason for trial in found.ordered() if trial.reason]
    return f"The last one: {reasons[-1]}" if reasons else "Their logs are beside the report"


def _write_best(wanted: Wanted, directory: Path, found: results.Search) -> None:
    best = found.ranked()[0]
    reached = f"{best.name}, {found.objective} {best.value:.6g}"
    comment = f"{found.name}, with the best point of {len(found.trials)} trials: {reached}"
    try:
        text = wanted.best(best.assignments, f"# {comment}")
    except InputError as error:
        log.warning("best.yaml is not written: %s", error)
        return
    if text is not None:
        files.write_text(directory / "best.yaml", text)


def _tell(wanted: Wanted, directory: Path, found: results.Search) -> None:
    """Write the outcome into the search's run in MLflow, where trials of ours are nested."""
    if wanted.point is None:
        return
    from parak8s.tracking.trials import conclude_search

    best = found.ranked()[0]
    documents = [directory / name for name in ("best.yaml", "report.html", "trials.csv", "experiment.json")]
    try:
        conclude_search(wanted.point, found.name, best.assignments, best.value, [d for d in documents if d.is_file()])
    except (EnvironmentFault, InputError) as fault:
        log.warning("%s", fault)
