"""Reads an experiment file with overrides and reports all its mistakes together."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from parak8s import data, documents, models, plugins, space
from parak8s.errors import ExperimentError, InputError, Mistake, nearest
from parak8s.experiment import Experiment
from parak8s.mistakes import fields_of, mistakes_of


def load(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Return the experiment in ``path`` with each ``path=value`` of ``overrides`` put in its place.

    Raises:
        InputError: The file cannot be read, or an override is not ``path=value``.
        ExperimentError: Every mistake, with its line, path, value and what is allowed.
    """
    document = documents.read(path)
    pairs = [space.parse_override(text) for text in overrides]
    values = space.override(document.data, pairs)
    experiment, mistakes = _checked(values)
    if experiment is None or mistakes:
        overridden = {path: f"-s {text}" for (path, _), text in zip(pairs, overrides, strict=True)}
        raise ExperimentError(document.name, sorted((_placed(m, document, overridden) for m in mistakes), key=_order))
    return experiment


def parse(text: str, name: str) -> Experiment:
    """Return the experiment in the YAML ``text``; messages call it ``name``."""
    experiment, mistakes = _checked(documents.parse(text, name).data)
    if experiment is None or mistakes:
        raise ExperimentError(name, mistakes)
    return experiment


def _checked(values: Mapping[str, Any]) -> tuple[Experiment | None, list[Mistake]]:
    experiment, mistakes = None, []
    try:
        experiment = Experiment.model_validate_json(json.dumps(values))
    except ValidationError as error:
        mistakes = mistakes_of(error, Experiment)
    found = {mistake.path for mistake in mistakes}
    mistakes += [m for m in _plugin_mistakes(values) if m.path not in found]
    if experiment and experiment.search:
        mistakes += _search_mistakes(experiment)
    return experiment, mistakes


def _plugin_mistakes(values: Mapping[str, Any]) -> Iterator[Mistake]:
    """Check the settings of the loader and of the builder against their signatures."""
    for section, key, options, settings_type in (
        ("data", "loader", "options", data.loader_type),
        ("model", "builder", "params", models.settings_type),
    ):
        part = values.get(section)
        name, settings = (part.get(key), part.get(options) or {}) if isinstance(part, Mapping) else (None, {})
        if not isinstance(name, str) or not isinstance(settings, Mapping):
            continue
        try:
            plugins.with_settings(settings_type(name), settings, name)
        except ExperimentError as error:
            yield from (Mistake(f"{section}.{options}.{m.path}", m.message) for m in error.mistakes)
        except InputError as error:
            yield Mistake(f"{section}.{key}", str(error))


def _search_mistakes(experiment: Experiment) -> Iterator[Mistake]:
    """Check that every searched path leads to a value of this file."""
    assert experiment.search
    free = {
        "data.options": data.loader_type(experiment.data.loader),
        "model.params": models.settings_type(experiment.model.builder),
    }
    known = set(_paths(Experiment)) | {
        f"{prefix}.{field}" for prefix, record in free.items() for field in record.model_fields
    }
    for path in experiment.search.parameters:
        if path not in known:
            yield Mistake(f"search.parameters.{path}", f"no such path; {_nearest_path(path, known)}")


def _nearest_path(path: str, known: set[str]) -> str:
    section = path.rpartition(".")[0]
    beside = [candidate for candidate in known if candidate.rpartition(".")[0] == section]
    return nearest(path, beside or known)


def _paths(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        path = f"{prefix}.{name}" if prefix else name
        inner = fields_of(field.annotation)
        if inner is None:
            yield path
        else:
            yield from _paths(inner, path)


def _placed(mistake: Mistake, document: documents.Document, overridden: Mapping[str, str]) -> Mistake:
    for path, text in overridden.items():
        if mistake.path == path or mistake.path.startswith(f"{path}."):
            return Mistake(mistake.path, mistake.message, text)
    keys = tuple(int(key) if key.isdigit() else key for key in mistake.path.split(".")) if mistake.path else ()
    return Mistake(mistake.path, mistake.message, document.where(keys))


def _order(mistake: Mistake) -> int:
    return int(mistake.where.removeprefix("line ")) if mistake.where.startswith("line ") else 10**9
