"""Reads an experiment file with overrides and reports all its mistakes together."""

import contextlib
import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from parak8s import data, models, plugins, provenance
from parak8s.errors import ExperimentError, InputError, Mistake, nearest
from parak8s.experiment import Experiment, Parameter, algorithms, documents, space
from parak8s.experiment.dimensions import Dimension
from parak8s.experiment.mistakes import mistakes_of, paths, shown
from parak8s.experiment.search import written


def load(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Return the experiment in ``path`` with each ``path=value`` of ``overrides`` put in its place.

    The settings of the loader and of the builder come back complete, with the defaults that the file leaves out.

    Raises:
        InputError: The file cannot be read, or an override is not ``path=value``.
        ExperimentError: Every mistake, with its line, path, value and what is allowed.
        EnvironmentFault: The file may not be read.
    """
    return _experiment(documents.read(path), overrides)


def parse(text: str, name: str, overrides: Sequence[str] = ()) -> Experiment:
    """Return the experiment in the YAML ``text``; messages call it ``name``. Otherwise as :func:`load`."""
    return _experiment(documents.parse(text, name), overrides)


def parse_sections(text: str, name: str) -> Experiment:
    """Return the experiment in ``text`` with the settings of its loader and builder as they are written.

    For steps that use neither: code of the user's own is not imported, nor Keras with it.

    Raises:
        ExperimentError: Every mistake in the sections themselves.
    """
    document = documents.parse(text, name)
    experiment, mistakes = _validated(document.data)
    if experiment is None:
        raise ExperimentError(name, sorted((_placed(mistake, document, {}) for mistake in mistakes), key=_order))
    return experiment


def mistakes_with(experiment: Experiment, values: Mapping[str, Any]) -> list[Mistake]:
    """Return what is wrong with a valid experiment once each value of ``values`` stands at its dotted path.

    Raises:
        InputError: A path leads through a value that has no keys.
    """
    return _checked(space.override(experiment.canonical(), values.items()))[1]


def axes(experiment: Experiment) -> tuple[Dimension, ...]:
    """Return what the section ``search`` of a valid experiment searches, in the words of Katib; nothing without one.

    A range is one of whole numbers where the value refuses fractions. A list is one of numbers, or else of words.
    """
    if experiment.search is None:
        return ()
    alone = experiment.model_copy(update={"search": None})
    return tuple(_axis(alone, path, parameter) for path, parameter in experiment.search.parameters.items())


def _axis(experiment: Experiment, path: str, parameter: Parameter) -> Dimension:
    if parameter.values is not None:
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in parameter.values)
        choices = tuple(written(value) for value in parameter.values)
        return Dimension(path, "discrete" if numbers else "categorical", choices=choices)
    low, high = parameter.min or 0.0, parameter.max or 0.0
    fraction = low + (high - low) / math.pi  # is no whole number
    refused = any("a whole number" in m.message for m in mistakes_with(experiment, {path: fraction}) if m.path == path)
    return Dimension(path, "int" if refused else "double", low, high, parameter.step, parameter.drawn)


def _experiment(document: documents.Document, overrides: Sequence[str]) -> Experiment:
    pairs = [space.parse_override(text) for text in overrides]
    experiment, mistakes = _checked(space.override(document.data, pairs), frozenset(path for path, _ in pairs))
    if experiment is None or mistakes:
        written = {path: text for (path, _), text in zip(pairs, overrides, strict=True)}
        placed = [_placed(mistake, document, written) for mistake in mistakes]
        raise ExperimentError(document.name, sorted(placed, key=_order))
    return experiment


def _checked(
    values: Mapping[str, Any], overridden: frozenset[str] = frozenset()
) -> tuple[Experiment | None, list[Mistake]]:
    experiment, mistakes = _validated(values)
    found = {mistake.path for mistake in mistakes}
    mistakes += [mistake for mistake in _plugin_mistakes(values) if mistake.path not in found]
    mistakes += _search_path_mistakes(values)
    if experiment and not mistakes:
        experiment = _completed(experiment)
        mistakes += _need_mistakes(experiment)
        if not _is_point(experiment, overridden):
            mistakes += list(_search_value_mistakes(experiment)) or _search_algorithm_mistakes(experiment)
    return experiment, mistakes


def _validated(values: Mapping[str, Any]) -> tuple[Experiment | None, list[Mistake]]:
    try:
        return Experiment.model_validate_json(json.dumps(values)), []
    except ValidationError as error:
        return None, mistakes_of(error, Experiment)


_PLUGINS = (
    ("data", "loader", "options", data.loader_type),
    ("model", "builder", "params", models.settings_type),
)
"""Section, key of the name, key of the settings, and what gives the record of those settings."""


def _plugin_mistakes(values: Mapping[str, Any]) -> Iterator[Mistake]:
    """Check the settings of the loader and of the builder against their signatures."""
    for section, key, options, settings_type in _PLUGINS:
        part = values.get(section)
        name, settings = (part.get(key), part.get(options, {})) if isinstance(part, Mapping) else (None, {})
        if not isinstance(name, str) or not isinstance(settings, Mapping):
            continue
        try:
            plugins.with_settings(settings_type(name), settings, name)
        except ExperimentError as error:
            yield from (Mistake(f"{section}.{options}.{m.path}", m.message) for m in error.mistakes)
        except InputError as error:
            yield Mistake(f"{section}.{key}", str(error))


def _completed(experiment: Experiment) -> Experiment:
    """Return the experiment with every setting of its loader and builder written out."""
    parts = {}
    for section, key, options, settings_type in _PLUGINS:
        part = getattr(experiment, section)
        record = plugins.with_settings(settings_type(getattr(part, key)), getattr(part, options), section)
        parts[section] = part.model_copy(update={options: plugins.written_out(record)})
    return experiment.model_copy(update=parts)


def _need_mistakes(experiment: Experiment) -> Iterator[Mistake]:
    """Check that the loader is set as the builder needs it."""
    builder, options = experiment.model.builder, experiment.data.options
    for key, needed in models.NEEDS.get(builder, {}).items():
        if options.get(key, needed) != needed:
            message = f"must be {needed} for the builder {builder}, got {shown(options[key])}"
            yield Mistake(f"data.options.{key}", message)


def _search_path_mistakes(values: Mapping[str, Any]) -> Iterator[Mistake]:
    """Check that every searched path leads to a value of this file that changes the numbers."""
    search = values.get("search")
    searched = search.get("parameters") if isinstance(search, Mapping) else None
    if not isinstance(searched, Mapping):
        return
    known = set(_known_paths(values))
    inside = {path for path in known if not provenance.is_outside(path)}
    for path in searched:
        if path not in known:
            yield Mistake(f"search.parameters.{path}", f"no such path; {_nearest_path(path, inside)}")
        elif path not in inside:
            yield Mistake(
                f"search.parameters.{path}", "does not change the model: there is nothing to search; remove it"
            )


def _known_paths(values: Mapping[str, Any]) -> Iterator[str]:
    yield from paths(Experiment)
    for section, key, options, settings_type in _PLUGINS:
        part = values.get(section)
        name = part.get(key) if isinstance(part, Mapping) else None
        with contextlib.suppress(InputError):  # of a name that is reported on its own
            yield from paths(settings_type(str(name)), f"{section}.{options}")


def _nearest_path(path: str, known: set[str]) -> str:
    section = path.rpartition(".")[0]
    beside = [candidate for candidate in known if candidate.rpartition(".")[0] == section]
    if beside:
        return nearest(path, beside)
    near = difflib.get_close_matches(path, known, n=1)
    return (
        f"did you mean {near[0]!r}?" if near else "write a path of this file, such as training.optimizer.learning_rate"
    )


def _is_point(experiment: Experiment, overridden: frozenset[str]) -> bool:
    """Return whether each searched value was chosen, as in a trial: then the ends of the ranges need not fit to it."""
    return experiment.search is not None and overridden.issuperset(experiment.search.parameters)


def _search_value_mistakes(experiment: Experiment) -> Iterator[Mistake]:
    """Check that the file would be valid with each searched value, or with both ends of its range."""
    if experiment.search is None:
        return
    alone = experiment.model_copy(update={"search": None})
    for path, parameter in experiment.search.parameters.items():
        for value in _extremes(parameter):
            yield from (
                Mistake(f"search.parameters.{path}", f"with {shown(value)}: {m.path}: {m.message}")
                for m in mistakes_with(alone, {path: value})[:1]
            )


def _extremes(parameter: Parameter) -> Iterator[Any]:
    if parameter.values is not None:
        yield from parameter.values
        return
    for end in (parameter.min, parameter.max):
        yield int(end) if end is not None and end.is_integer() else end


def _search_algorithm_mistakes(experiment: Experiment) -> Iterator[Mistake]:
    """Check that the algorithm can search these parameters, with these settings."""
    search, dimensions = experiment.search, axes(experiment)
    if search is None:
        return
    settings = algorithms.completed(search.algorithm, search.settings, experiment.seed)
    found = algorithms.check(
        search.algorithm, settings, dimensions, parallel=search.parallel, trials=search.trials
    ) or algorithms.surprises(search.algorithm, dimensions)
    yield from (Mistake(f"search.{m.path}" if m.path else "search", m.message) for m in found)
    if search.algorithm == "hyperband" and not found:
        alone, path = experiment.model_copy(update={"search": None}), settings["resource_name"]
        for value in algorithms.budgets(settings):
            for m in mistakes_with(alone, {path: value})[:1]:
                yield Mistake("search.settings.r_l", f"gives {path} {value}: {m.message}")


def _placed(mistake: Mistake, document: documents.Document, overridden: Mapping[str, str]) -> Mistake:
    """Return the mistake with the override that brought it in, else with its line."""
    if not mistake.path:
        return mistake
    own = f"{mistake.path}."
    guilty = [path for path in overridden if own.startswith(f"{path}.") or f"{path}.".startswith(own)]
    where = f"-s {overridden[max(guilty, key=len)]}" if guilty else document.where(mistake.path)
    return Mistake(mistake.path, mistake.message, where)


def _order(mistake: Mistake) -> int:
    return int(mistake.where.removeprefix("line ")) if mistake.where.startswith("line ") else 10**9
