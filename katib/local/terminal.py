"""Shows a search in the terminal: a live table where there is one, else a line for each trial that ends."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from parak8s.katib.local.reading import Search
from parak8s.katib.local.status import optimum
from parak8s.katib.local.trials import Trial
from parak8s.katib.results.leaders import number, short_names
from parak8s.report.words import duration

RECENT = 20
"""Trials whose mean time tells how long the rest will take."""
_MARKS = {"Succeeded": "[green]✓[/]", "EarlyStopped": "[yellow]◦[/]", "Killed": "[dim]-[/]"}


class Terminal:
    """A narrator for people.

    Args:
        console: Where to; None for standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, force_jupyter=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._search: Search | None = None
        self._trials: Sequence[Trial] = ()
        self._latest: dict[str, str] = {}
        self._seconds: list[float] = []
        self._clocks: dict[str, float] = {}
        self._drawn = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def opened(self, search: Search, trials: Sequence[Trial]) -> None:
        """Say what is searched, and where it goes on."""
        self._search, self._trials = search, trials
        over = sum(trial.is_over for trial in trials)
        going_on = f"; goes on after {over} trials" if trials else ""
        many = f"{search.most} trials" if search.most is not None else "trials until the space is searched"
        self._print(f"search {search.name}: {search.algorithm}, {many}, {search.parallel} at a time{going_on}")
        if search.left_out:
            self._print(f"a laptop leaves out: {', '.join(search.left_out)}")

    def began(self, trial: Trial) -> None:
        """Show a trial that runs."""
        self._clocks[trial.name] = time.monotonic()
        self._draw()

    def measured(self, trial: Trial, metric: str, value: str) -> None:
        """Show the last value of a trial's objective."""
        if self._search is not None and metric == self._search.objective.metric:
            self._latest[trial.name] = value
            self._draw(at_most_every_s=0.2)

    def ended(self, trial: Trial) -> None:
        """Print the trial's line."""
        self._latest.pop(trial.name, None)
        seconds = time.monotonic() - self._clocks.pop(trial.name, time.monotonic())
        if trial.state == "Succeeded":
            self._seconds = [*self._seconds, seconds][-RECENT:]
        mark = _MARKS.get(trial.state, "[red]✗[/]")
        said = f"{self._objective} {number(trial.value)}" if trial.value is not None else trial.message
        also = f" ({trial.message})" if trial.state == "EarlyStopped" else ""
        point = "  ".join(f"{name}={value}" for name, value in self._point(trial).items())
        line = (
            f"{mark} {trial.number + 1:>4}  {escape(trial.name)}  {escape(said)}{escape(also)}  [dim]{escape(point)}[/]"
        )
        self._console.print(line, soft_wrap=True)
        self._draw()

    def told(self, sentence: str) -> None:
        """Print what the engine says."""
        self._print(sentence)

    @property
    def _objective(self) -> str:
        assert self._search is not None
        return self._search.objective.metric

    def _point(self, trial: Trial) -> dict[str, str]:
        names = short_names(list(trial.suggestion.assignments))
        return {names[path]: _short(value) for path, value in trial.suggestion.assignments.items()}

    def _print(self, text: str) -> None:
        self._console.print(Text(text, "bold"), soft_wrap=True)

    def _draw(self, at_most_every_s: float = 0.0) -> None:
        if self._live.is_started and time.monotonic() - self._drawn >= at_most_every_s:
            self._drawn = time.monotonic()
            self._live.update(Group(self._table(), Text(self._summary())), refresh=True)

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD)
        for column in ("running", self._objective, "point", "time"):
            table.add_column(escape(column))
        for trial in self._trials:
            if trial.name in self._clocks:
                point = " ".join(f"{name}={value}" for name, value in self._point(trial).items())
                seconds = duration(time.monotonic() - self._clocks[trial.name])
                table.add_row(*map(escape, (trial.name, self._latest.get(trial.name, ""), point, seconds)))
        return table

    def _summary(self) -> str:
        assert self._search is not None
        over = [trial for trial in self._trials if trial.is_over]
        best = optimum(over, self._search.objective)
        failed = sum(trial.state in ("Failed", "MetricsUnavailable") for trial in over)
        parts = [f"{len(over)} of {self._search.most or '?'} done"]
        parts += [f"best {self._objective} {number(best.value)} ({best.name})"] if best else []
        parts += [f"{failed} failed"] if failed else []
        left = self._left(len(over))
        return ", ".join([*parts, *([f"about {duration(left)} left"] if left else [])])

    def _left(self, over: int) -> float | None:
        assert self._search is not None
        if not self._seconds or self._search.most is None:
            return None
        mean = sum(self._seconds) / len(self._seconds)
        return mean * (self._search.most - over) / self._search.parallel


def _short(text: str) -> str:
    """Return a number to four digits; other text as it is."""
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return text
