"""What every component does around its step: reads its settings, and ends with one sentence where they are wrong."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parak8s import files
from parak8s.errors import InputError, ParaK8sError
from parak8s.experiment import Experiment, documents
from parak8s.layout import Layout
from parak8s.loading import parse, parse_sections
from parak8s.secrets import redacted, without_passwords

if TYPE_CHECKING:
    from parak8s.training.fitting import Observer

SENTENCE, EXIT_CODE = "parak8s: ", "exit code "
"""How a task's log begins the lines that say why it failed."""


@contextlib.contextmanager
def experiment(settings: str, code: Any = None, overrides: str = "", *, name: str = "settings") -> Iterator[Experiment]:
    """Yield the experiment in ``settings``; an error of the block ends the task with its sentence and exit code.

    Args:
        settings: Text of an experiment file, or of the part of one that a step needs.
        code: Artifact with modules of the user's own, for ``package.module:function``; None without any.
        overrides: ``path=value`` separated by spaces or lines; quoted as in a shell where a value has spaces.
        name: What messages call ``settings``.
    """
    _importable(code)
    with sentences():
        yield parse(settings, name, split_overrides(overrides))


def _importable(code: Any) -> None:
    if code is not None:
        sys.path.append(code.path)


@contextlib.contextmanager
def sections(settings: str, code: Any = None) -> Iterator[Experiment]:
    """Yield the experiment in ``settings`` for a task that uses neither its loader nor its builder.

    Otherwise as :func:`experiment`; code of the user's own is not imported, nor the TensorFlow that it may import.
    """
    _importable(code)
    with sentences():
        yield parse_sections(settings, "settings")


@contextlib.contextmanager
def sentences() -> Iterator[None]:
    """End the task with the sentence and the exit code of a known error; any other one keeps its traceback."""
    try:
        yield
    except ParaK8sError as error:
        text = f"{SENTENCE}{redacted(str(error))}\n{EXIT_CODE}{error.exit_code}"
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - a pod's log is its voice
        sys.exit(error.exit_code)


def split_overrides(line: str) -> list[str]:
    """Return each ``path=value`` of a line.

    Raises:
        InputError: A quotation mark is not closed.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        message = f"overrides {line!r}: {error}; write path=value, with quotes around a value that has spaces"
        raise InputError(message) from None


def observers(point: Experiment, *, is_point_of_sweep: bool) -> list[Observer]:
    """Return who is told of every epoch: the pod's log, and the MLflow run that the platform injects, if it does.

    The points of a sweep share that run: their epochs would be mixed, so that they tell the log alone.
    """
    from parak8s.components.live import Log, Platform

    joined = os.environ.get("MLFLOW_RUN_ID") and not is_point_of_sweep
    return [Log(), *([Platform(point)] if joined else [])]


def addresses(**artifacts: Any) -> dict[str, str]:
    """Return where each artifact lies."""
    return {name: artifact.uri for name, artifact in artifacts.items()}


def run_directory(root: Path, point: Experiment, *, fingerprint: str, digest: str, **artifacts: Any) -> Layout:
    """Make of artifacts a run directory as ``parak8s run`` leaves it, by links, in the empty folder ``root``.

    Args:
        root: Where.
        point: The whole experiment.
        fingerprint: Of the point.
        digest: Of the data.
        artifacts: ``dataset``, ``training``, ``model``, ``evaluation``, ``gate``: the artifacts of these steps.
    """
    layout = Layout(root)
    for name, artifact in artifacts.items():
        (root / name).symlink_to(Path(artifact.path).absolute())
    layout.environment.symlink_to(layout.training / "environment.json")
    files.write_text(layout.experiment, documents.dump(without_passwords(point.canonical())))
    files.write_json(layout.identity, {"fingerprint": fingerprint, "data_digest": digest})
    return layout
