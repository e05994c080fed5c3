"""Named points of a sweep: each a few values that the training reads, put over one experiment."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from parak8s.errors import ExperimentError, InputError, Mistake
from parak8s.experiment import Experiment, documents, flatten
from parak8s.loading import mistakes_with

READ_BY_TRAINING = ("seed", "data.batch_size", "model", "training")


def read_points(experiment: Experiment, text: str) -> dict[str, str]:
    """Return the overrides of each named point as one line, in the order of ``text``.

    Args:
        experiment: What the points are put over.
        text: YAML such as ``small: {model.params.filters: 8, training.epochs: 5}``; ``default: {}`` changes nothing.

    Raises:
        ExperimentError: Every mistake of every point.
    """
    document = documents.parse(text, "points")
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
        raise ExperimentError(
            "points", mistakes or [Mistake("", "no point is written here; write name: {path: value}")]
        )
    return lines


def _mistakes(experiment: Experiment, name: str, values: Any) -> list[Mistake]:
    if not isinstance(values, Mapping):
        return [Mistake(name, f"expected a mapping such as {{training.epochs: 5}}, got {values!r}")]
    flat = flatten(values)
    for path in flat:
        if not any(path == read or path.startswith(f"{read}.") for read in READ_BY_TRAINING):
            message = f"the points of a sweep share data and evaluation; vary {', '.join(READ_BY_TRAINING)}"
            return [Mistake(f"{name}.{path}", message)]
    try:
        found = mistakes_with(experiment, flat)
    except InputError as error:
        return [Mistake(name, str(error))]
    return [Mistake(f"{name}.{mistake.path}", mistake.message) for mistake in found]


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
