"""What the terminal shows: steps, progress, the verdict, the places, differences, lineage."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich import console, progress
from rich.markup import escape

from parak8s import files, provenance
from parak8s.experiment import Experiment, flatten
from parak8s.layout import Layout
from parak8s.secrets import without_passwords

if TYPE_CHECKING:
    from parak8s.pipelines.plan import Plan
    from parak8s.tracking.lineage import Lineage
    from parak8s.training.progress import Record

_out = console.Console(highlight=False)


class Console:
    """Narrates a run: a line for each step and epoch, and a bar while one works."""

    def __init__(self) -> None:
        columns = (progress.TextColumn("  {task.description}"), progress.BarColumn(), progress.TimeRemainingColumn())
        self._bar = progress.Progress(*columns, console=_out, transient=True, disable=not _out.is_terminal)
        self._task: progress.TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def started(self, step: str) -> None:
        """Show a moving bar for the step."""
        self._replace(self._bar.add_task(step, total=None))

    def finished(self, step: str, summary: str, seconds: float | None) -> None:
        """Print the step's line."""
        self._replace(None)
        took = "    reused" if seconds is None else f"{seconds:8.1f} s"
        _out.print(f"[green]✓[/] {step:<10}{took}  {escape(summary)}", soft_wrap=True)

    def failed(self, step: str, reason: str) -> None:
        """Print the line of a step that failed."""
        self._replace(None)
        _out.print(f"[red]✗[/] {step:<10}    failed  {escape(reason)}", soft_wrap=True)

    def skipped(self, step: str) -> None:
        """Print the line of a step whose condition was not met."""
        _out.print(f"[dim]- {step:<10}   skipped[/]", soft_wrap=True)

    def waiting(self, reason: str) -> None:
        """Say that the server does not answer."""
        _out.print(f"  [yellow]waiting[/] {escape(reason)}", soft_wrap=True)

    def said(self, line: str) -> None:
        """Print a line that a step says."""
        _out.print(f"  {escape(line)}", soft_wrap=True)

    def on_steps(self, epoch: int, done: int, total: int) -> None:
        """Move the bar of an epoch."""
        if self._task is not None:
            self._bar.update(self._task, description=f"epoch {epoch}", completed=done, total=total)

    def on_epoch(self, record: Record) -> None:
        """Print the epoch's line."""
        _out.print(
            f"  epoch {record.epoch:>3}  loss {record.loss:.4f}  val_loss {record.val_loss:.4f}  "
            f"val_accuracy {record.val_accuracy:.4f}  val_auc {record.val_auc:.4f}  val_f1 {record.val_f1:.4f}  "
            f"{record.seconds:.1f} s",
            soft_wrap=True,
        )

    def _replace(self, task: progress.TaskID | None) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = task


def print_verdict(path: Path) -> bool:
    """Print every check with its reason; return whether the gate said no."""
    verdict = files.read_json(path)
    for check in verdict["checks"]:
        mark = "[green]yes[/]" if check["passed"] else "[red]NO [/]"
        _out.print(f"  {mark} {escape(check['check'])}: {escape(check['reason'])}", soft_wrap=True)
    return not verdict["passed"]


def print_certificate(path: Path) -> bool:
    """Print how far a training of many workers is from that of one; return whether that is near enough."""
    found = files.read_json(path)
    mark = "[green]yes[/]" if found["passed"] else "[red]NO [/]"
    _out.print(
        f"  {mark} certificate: the losses of {len(found['epochs'])} epochs differ from those of one worker by at most "
        f"{found['largest_loss_difference']:.1e} (allowed {found['tolerance']:g}), the weights by "
        f"{found['weights']['relative']:.1e}, relative",
        soft_wrap=True,
    )
    return bool(found["passed"])


def print_places(layout: Layout) -> None:
    """Print where the results are."""
    for path in (layout.report, layout.result, layout.model / "saved_model"):
        if path.exists():
            _out.print(f"{path.stem:<12}{path}", soft_wrap=True)
    _out.print(f"{'directory':<12}{layout.root}", soft_wrap=True)


def print_differences(first: Experiment, second: Experiment) -> None:
    """Print every path whose value differs, and what that means for the fingerprint."""
    old, new = (flatten(without_passwords(experiment.canonical())) for experiment in (first, second))
    paths = [path for path in dict.fromkeys([*old, *new]) if old.get(path) != new.get(path)]
    if not paths:
        _out.print("no difference: the same point")
        return
    width, digests = max(map(len, paths)), {first.data.digest, second.data.digest}
    other_data = len(digests) == 2 and None not in digests
    changes = {path: _change(path, other_data) for path in paths}
    for path, change in changes.items():
        values = f"{json.dumps(old.get(path))} -> {json.dumps(new.get(path))}"
        _out.print(escape(f"{path:<{width}}  {values}  (fingerprint {change})"), soft_wrap=True)
    if "changes" in changes.values():
        _out.print("another fingerprint: another point of the space")
    elif "data.source" in changes and None in digests:
        _out.print("same fingerprint if both sources hold the same data")
    else:
        _out.print("same fingerprint on the same data")


def _change(path: str, other_data: bool) -> str:
    """Return what a difference at ``path`` does to the fingerprint, in which the data counts by its digest."""
    if path in ("data.digest", "data.source"):
        return "changes" if other_data else "depends on the data"
    return "stays" if provenance.is_outside(path) else "changes"


def print_plan(made: Plan) -> None:
    """Print every task with what it takes and whether it would be reused, then the sizes against their limits."""
    _out.print(f"point {made.fingerprint}, data {made.digest}", soft_wrap=True)
    _out.print(f"[bold]{'task':<12}{'pods':>5}  {'cpus':>5}  {'memory':>8}  {'gpus':>4}  {'on a cluster':<14}here[/]")
    for task in made.tasks:
        cluster = "if unchanged" if task.cached else "always"
        here = {True: "reused", False: "would run", None: ""}[task.reused]
        needs = task.resources
        _out.print(
            f"{task.name:<12}{task.times:>5}  {needs.cpus:>5g}  {needs.memory:>8}  {needs.gpus:>4}  "
            f"{f'runs {cluster}' if cluster == 'always' else 'reused ' + cluster:<14}  {here}",
            soft_wrap=True,
        )
    _out.print(f"here: parak8s run in {made.directory}", soft_wrap=True)
    for what, (size, limit) in made.sizes.items():
        _out.print(f"{what:<12}{size:>9,} bytes of {limit:,}", soft_wrap=True)


def print_lineage(found: Lineage) -> None:
    """Print the lineage of a run or model version, section by section."""
    for section, values in found.to_json().items():
        if not isinstance(values, dict):
            _out.print(f"[bold]{section:<14}[/]{escape(str(values))}", soft_wrap=True)
            continue
        _out.print(f"[bold]{section}[/]")
        for key, value in flatten(values).items():
            for line in value if isinstance(value, list) else [value]:
                text = line.get("reason", line) if isinstance(line, dict) else line
                _out.print(f"  {escape(key):<44} {escape(str(text))}", soft_wrap=True)
