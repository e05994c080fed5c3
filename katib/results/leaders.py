"""The best trials, and why others have no value: for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parak8s.katib.results.records import Search, TrialRecord
from parak8s.report.words import count, duration

if TYPE_CHECKING:
    from rich.table import Table

STATES = {
    "Running": "running",
    "Succeeded": "succeeded",
    "EarlyStopped": "stopped early",
    "MetricsUnavailable": "no metrics",
    "Failed": "failed",
    "Killed": "killed",
}
"""Katib's states in plain words."""
LONGEST = 60
"""Letters of a value that are shown; trials.csv has them all."""


@dataclass(frozen=True)
class Row:
    """One trial of the leaderboard, as text.

    Args:
        rank: From 1.
        trial: Its name.
        objective: Its value, to six digits.
        parameters: The values, in the order of :attr:`Board.parameters`, numbers to three digits.
        time: How long it ran, or empty.
        state: In plain words.
    """

    rank: int
    trial: str
    objective: str
    parameters: tuple[str, ...]
    time: str
    state: str


@dataclass(frozen=True)
class Board:
    """The leaderboard.

    Args:
        parameters: What the columns of the parameters are called, by their dotted paths.
        rows: The best trials.
    """

    parameters: Mapping[str, str]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Failure:
    """Trials that have no value for the same reason.

    Args:
        state: In plain words.
        reason: What was said; the name of the trial in it is left out, so that equal reasons meet.
        trials: Their names.
    """

    state: str
    reason: str
    trials: tuple[str, ...]


def board(search: Search, rows: int = 10) -> Board:
    """Return the best ``rows`` trials."""
    names = short_names(search.paths())
    best = enumerate(search.ranked()[:rows], start=1)
    return Board(names, tuple(_row(rank, trial, search, tuple(names)) for rank, trial in best))


def _row(rank: int, trial: TrialRecord, search: Search, paths: tuple[str, ...]) -> Row:
    seconds, values = trial.seconds, shown(search, trial)
    time = "" if seconds is None else duration(seconds)
    shortened = tuple(values.get(path, "") for path in paths)
    return Row(rank, trial.name, number(trial.value), shortened, time, STATES[trial.state])


def leaderboard(search: Search, rows: int = 10) -> Table:
    """Return the best ``rows`` trials as a table for the terminal, below it a line about those without a value.

    Trials are named without the search's name before them; ``◦`` marks those that were stopped early.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    made, line = board(search, rows), failed_line(search)
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        caption=escape(line) or None,
        caption_justify="left",
        caption_style="dim",
    )
    table.add_column("trial", no_wrap=True)
    table.add_column(escape(search.objective), justify="right", style="bold", no_wrap=True)
    for name in made.parameters.values():
        table.add_column(escape(name).replace("_", "_\n"), justify="right", overflow="ellipsis")  # headers of two lines
    table.add_column("time", justify="right", no_wrap=True)
    for row in made.rows:
        mark = "◦" if row.state == STATES["EarlyStopped"] else ""
        trial = row.trial.removeprefix(f"{search.name}-")
        cells = (trial, row.objective + mark, *row.parameters, row.time)
        table.add_row(*map(escape, cells), style="green" if row.rank == 1 else None)
    return table


def failures(search: Search) -> list[Failure]:
    """Return the trials that failed, were killed or gave no metrics, by their reasons, the most frequent first."""
    groups: dict[tuple[str, str], list[str]] = {}
    for trial in search.ordered():
        if trial.state in ("Failed", "Killed", "MetricsUnavailable"):
            reason = " ".join(trial.reason.replace(trial.name, "…").split())
            groups.setdefault((STATES[trial.state], reason or "no reason is known"), []).append(trial.name)
    found = [Failure(state, reason, tuple(names)) for (state, reason), names in groups.items()]
    return sorted(found, key=lambda failure: -len(failure.trials))


def failed_line(search: Search) -> str:
    """Return how many trials have no value and why, in one line; empty where all are well."""
    found = failures(search)
    if not found:
        return ""
    first = [f"{len(each.trials)} {each.state}: {shortened(each.reason)}" for each in found[:3]]
    more = [f"and {count(len(found) - 3, 'other reason')}"] if len(found) > 3 else []
    return f"{count(sum(len(each.trials) for each in found), 'trial')} without a value: {'; '.join([*first, *more])}"


def short_names(paths: Collection[str]) -> dict[str, str]:
    """Return for each dotted path its last parts, as few as tell it from the others."""
    return {path: _short(path, [other.split(".") for other in paths if other != path]) for path in paths}


def _short(path: str, others: Collection[list[str]]) -> str:
    parts = path.split(".")
    sizes = range(2 if parts[-1] == "name" else 1, len(parts) + 1)  # "name" alone says nothing
    fit = (size for size in sizes if not any(other[-size:] == parts[-size:] for other in others))
    return ".".join(parts[-next(fit, len(parts)) :])


def shown(search: Search, trial: TrialRecord) -> dict[str, str]:
    """Return the assignments of a trial, rounded and shortened for people."""
    ranges = {parameter.name for parameter in search.space if parameter.kind == "double"}
    return {
        path: f"{float(text):.3g}" if path in ranges else shortened(text) for path, text in trial.assignments.items()
    }


def shortened(text: str, longest: int = LONGEST) -> str:
    """Return the beginning of a long text."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def number(value: float | None) -> str:
    """Return six digits, or a dash where there is none."""
    return "–" if value is None else f"{value:.6g}"
