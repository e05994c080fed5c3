"""Reads ``spec.parameters`` of an Experiment."""

from __future__ import annotations

import math

from parak8s.errors import InputError
from parak8s.experiment.dimensions import Dimension
from parak8s.tfjobs.local.fields import Fields

_KINDS = ("double", "int", "discrete", "categorical")
_DISTRIBUTIONS = ("uniform", "logUniform", "normal", "logNormal")


def read_parameters(spec: Fields) -> tuple[Dimension, ...]:
    """Return the searched parameters.

    Raises:
        InputError: There are none, or one breaks a rule of Katib.
    """
    found = [_parameter(each) for each in spec.each("parameters")]
    if not found:
        raise spec.missing("parameters", "write what is searched")
    names = [each.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{spec.where('parameters')}: {name!r} is there twice; keep one of them")
    return tuple(found)


def _parameter(fields: Fields) -> Dimension:
    fields.only(("name", "parameterType", "feasibleSpace"))
    name, kind = fields.text("name"), fields.choice("parameterType", _KINDS, "")
    if not name:
        raise fields.missing("name", "write one")
    space = fields.inner("feasibleSpace")
    space.only(("min", "max", "step", "list", "distribution"))
    if kind not in ("double", "int"):
        return _list(name, kind, space)
    if space.words("list"):
        raise space.wrong("list", f"a {kind} has min and max, and no list")
    low, high = _number(space, "min", kind), _number(space, "max", kind)
    if low is None or high is None:
        raise InputError(f"{space.path}: give both min and max")
    distribution = space.choice("distribution", _DISTRIBUTIONS, "uniform")
    step = _number(space, "step", kind)
    if low > high:
        raise InputError(f"{space.path}: min must not be above max, got min {low:g} and max {high:g}")
    if distribution.startswith("log") and low <= 0:
        raise space.wrong("min", f"must be above 0 for {distribution}")
    if step is not None and step <= 0:
        raise space.wrong("step", "must be above 0")
    return Dimension(name, kind, low, high, step, distribution)  # type: ignore[arg-type]


def _list(name: str, kind: str, space: Fields) -> Dimension:
    choices = space.words("list")
    if any(space.values.get(key) for key in ("min", "max", "step")):
        raise InputError(f"{space.path}: a {kind} has a list, and no min, max or step")
    if not choices:
        raise space.missing("list", "write the values")
    for choice in choices:
        if choices.count(choice) > 1:
            raise InputError(f"{space.where('list')}: {choice!r} is there twice; keep one of them")
    return Dimension(name, kind, choices=choices)  # type: ignore[arg-type]


def _number(space: Fields, key: str, kind: str) -> float | None:
    text = space.text(key)
    if not text:
        return None
    try:
        value = float(int(text)) if kind == "int" else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise space.wrong(key, f"expected {'a whole number' if kind == 'int' else 'a number'} in quotes")
    return value
