"""Runs a search on this machine and leaves what people want to see of it."""

from __future__ import annotations

from pathlib import Path

from parak8s import provenance
from parak8s.errors import EnvironmentFault, Stopped
from parak8s.katib import local, results
from parak8s.katib.local import records
from parak8s.katib.local.status import ending
from parak8s.katib.local.terminal import Terminal
from parak8s.tuning.results import leave
from parak8s.tuning.wanted import Wanted


def search_here(wanted: Wanted, output: Path | None, parallel: int | None) -> Path:
    """Run a search to its end; return the folder that holds it.

    Raises:
        InputError: The search breaks a rule, or the folder holds another one.
        EnvironmentFault: The search failed, or no trial has a value.
        Stopped: Ctrl-C; the same call goes on.
    """
    directory = output or place(wanted)
    try:
        with Terminal() as terminal:
            done = local.run(wanted.object, directory, parallel=parallel, narrator=terminal)
    except Stopped:
        results.write_trials_csv(directory / "trials.csv", records.found(directory))
        raise
    found = records.found(directory)
    leave(wanted, directory, found, done)
    _refuse_nothing(found, done, directory)
    return directory


def place(wanted: Wanted) -> Path:
    """Return the folder of a search: the same for the same search, also with more trials."""
    spec = {key: value for key, value in wanted.object["spec"].items() if key not in local.EDITABLE}
    return Path("runs") / wanted.name / f"search-{provenance.digest(spec)[:8]}"


def _refuse_nothing(found: results.Search, done: dict[str, object], directory: Path) -> None:
    """Say why a search came to nothing."""
    lost = ("Failed", "MetricsUnavailable")
    reasons = [trial.reason for trial in found.ordered() if trial.reason and trial.state in lost]
    why = f"the last one: {reasons[-1]}; logs are in {directory / 'logs'}" if reasons else f"see {directory / 'logs'}"
    ended = ending(done)
    if ended is not None and ended["type"] == "Failed":
        raise EnvironmentFault(f"the search {found.name} failed: {ended['message']}; {why}")
    if not found.ranked():
        raise EnvironmentFault(f"no trial of {found.name} has a value of {found.objective}; {why}")
