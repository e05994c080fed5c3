"""Points of the space: dotted paths into the experiment file and the values that override it."""

from collections.abc import Iterable, Mapping
from typing import Any

from parak8s import documents
from parak8s.errors import InputError


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``training.epochs=2`` into the path and the value, read by the rules of the file.

    Raises:
        InputError: There is no ``=``, no path, or the value is not YAML.
    """
    path, equals, value = text.partition("=")
    if not equals or not all(path.strip().split(".")):
        raise InputError(f"-s {text}: write path=value, for example -s training.epochs=2")
    return path.strip(), documents.scalar(value.strip(), f"-s {text}")


def override(data: Mapping[str, Any], overrides: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return a copy of ``data`` with each value put at its dotted path; ``data`` is not changed.

    Raises:
        InputError: A path leads through a value that has no keys.
    """
    result = dict(data)
    for path, value in overrides:
        keys = path.split(".")
        place = result
        for depth, key in enumerate(keys[:-1]):
            inner = place.get(key)
            if inner is not None and not isinstance(inner, Mapping):
                raise InputError(
                    f"-s {path}={value}: {'.'.join(keys[: depth + 1])} is {inner!r} and has no keys below it"
                )
            place[key] = dict(inner or {})
            place = place[key]
        place[keys[-1]] = value
    return result
