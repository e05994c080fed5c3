"""Ranks the points of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from parak8s import files
from parak8s.components import markdown
from parak8s.errors import InputError, nearest
from parak8s.experiment.sections import Monitor
from parak8s.training.progress import Record


@dataclass(frozen=True)
class Ranked:
    """A trained point.

    Args:
        name: Of the point.
        overrides: What it changes, as one line.
        folder: What the step train wrote.
        record: The epoch whose weights were kept.
    """

    name: str
    overrides: str
    folder: Path
    record: Record


def ranked(points: Sequence[Mapping[str, str]], trained: Sequence[Any], monitor: str) -> list[Ranked]:
    """Return the points, the best first; of equals, the one named first.

    Args:
        points: ``name`` and ``overrides`` of each.
        trained: Artifacts of the step train, in any order; their metadata holds the overrides.
        monitor: A value of an epoch.

    Raises:
        InputError: No such value.
    """
    refuse_unknown(monitor)
    folders = {artifact.metadata["overrides"]: Path(artifact.path) for artifact in trained}
    found = [Ranked(point["name"], point["overrides"], *_kept(folders[point["overrides"]])) for point in points]
    return sorted(found, key=lambda each: each.record.value(monitor), reverse=True)


def refuse_unknown(monitor: str) -> None:
    """Refuse what is no value of an epoch."""
    if monitor not in get_args(Monitor):
        raise InputError(f"monitor: no value {monitor!r} of an epoch; {nearest(monitor, get_args(Monitor))}")


def _kept(folder: Path) -> tuple[Path, Record]:
    history = files.read_json(folder / "history.json")
    return folder, Record.from_json(history["epochs"][history["kept_epoch"] - 1])


def page(name: str, monitor: str, found: Sequence[Ranked]) -> str:
    """Return Markdown with all points, the best first."""
    rows = [
        f"| {place} | {markdown.cell(each.name)} | {getattr(each.record, monitor):.6g} | {each.record.epoch} | "
        f"{markdown.cell(markdown.code(each.overrides))} |"
        for place, each in enumerate(found, start=1)
    ]
    head = [f"# {name}: {len(found)} points by {monitor}", "", f"| place | point | {monitor} | epoch | overrides |"]
    return "\n".join([*head, "| --- | --- | --- | --- | --- |", *rows, ""])
