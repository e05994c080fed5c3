"""Named points of a sweep: each a few values that the training reads, put over one experiment."""

import contextlib
import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from parak8s.errors import ExperimentError, InputError, Mistake
from parak8s.experiment import Experiment, documents, flatten, space
from parak8s.loading import mistakes_with

READ_BY_TRAINING = ("seed", "data.batch_size", "model", "training")


def read_points(experiment: Experiment, text: str, file: str = "points") -> dict[str, str]:
    """Return the overrides of each named point as one line, in the order of ``text``.

    Args:
        experiment: What the points are put over.
        text: YAML such as ``small: {model.params.filters: 8, training.epochs: 5}``; ``default: {}`` changes nothing.
        file: What messages call ``text``.

    Raises:
        ExperimentError: Every mistake of every point.
    """
    document = documents.parse(text, file)
    mistakes, lines = [], {}
    for name, values in document.data.items():
        found = list(_mistakes(experiment, name, values))
        mistakes += [Mistake(mistake.path, mistake.message, document.where(name)) for mistake in found]
        if not found:
            lines[name] = " ".join(shlex.quote(f"{path}={_written(value)}") for path, value in flatten(values).items())
    twice = {line: name for name, line in lines.items()}
    mistakes += [
        Mistake(name, f"is the same point as {twice[line]}; remove one", document.where(name))
        for name, line in lines.items()
        if twice[line] != name
    ]
    if mistakes or not lines:
        raise ExperimentError(file, mistakes or [Mistake("", "no point is written here; write name: {path: value}")])
    return lines


def _mistakes(experiment: Experiment, name: str, values: Any) -> list[Mistake]:
    if not isinstance(values, Mapping):
        return [Mistake(name, f"expected a mapping such as {{training.epochs: 5}}, got {values!r}")]
    flat = flatten(values)
    given = list(_paths(values))
    for path in given:
        if given.count(path) > 1 or any(other.startswith(f"{path}.") for other in given):
            return [Mistake(f"{name}.{path}", "given twice, such as once with dots and once nested; keep one")]
        if not _survives(path, flat[path]):
            return [Mistake(f"{name}.{path}", "cannot be written as path=value: a key of it holds = or a blank")]
    for path in flat:
        if not any(path == read or path.startswith(f"{read}.") for read in READ_BY_TRAINING):
            message = f"the points of a sweep share data and evaluation; vary {', '.join(READ_BY_TRAINING)}"
            return [Mistake(f"{name}.{path}", message)]
    try:
        found = mistakes_with(experiment, flat)
    except InputError as error:
        return [Mistake(name, str(error))]
    return [Mistake(f"{name}.{mistake.path}", mistake.message) for mistake in found]


def _paths(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the paths of :func:`flatten`, one that is given twice twice."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _survives(path: str, value: Any) -> bool:
    """Return whether a pod reads what was written."""
    with contextlib.suppress(InputError):
        return space.parse_override(f"{path}={_written(value)}") == (path, value)
    return False


def _written(value: Any) -> str:
    """Return what :func:`parak8s.experiment.space.parse_override` reads as ``value``; text bare where that is text."""
    with contextlib.suppress(InputError):
        if isinstance(value, str) and value.isprintable() and documents.scalar(value.strip(), "") == value:
            return value
    quoted = json.dumps(value, ensure_ascii=False)  # YAML too, but for characters that only YAML refuses or folds
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in quoted)
