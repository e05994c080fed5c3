"""Points of the space: dotted paths into the experiment file and the values that override it."""

from collections.abc import Iterable, Mapping
from typing import Any

from parak8s.errors import InputError
from parak8s.experiment import documents
from parak8s.experiment.mistakes import shown


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``training.epochs=2`` into the path and the value, read by the rules of the file.

    Raises:
        InputError: There is no ``=``, no path, or the value is not YAML.
    """
    path, equals, value = text.partition("=")
    if not equals or not all(key.strip() for key in path.split(".")):
        raise InputError(f"-s {text}: expected path=value, such as -s training.epochs=2")
    return path.strip(), documents.scalar(value.strip(), f"-s {text}")


def override(data: Mapping[str, Any], overrides: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return a copy of ``data`` with each value put at its dotted path; ``data`` is not changed.

    A key that has dots itself, as those of ``search.parameters``, is found where it stands.

    Raises:
        InputError: A path leads through a value that has no keys.
    """
    result = dict(data)
    for path, value in overrides:
        place, rest = result, path
        while (key := _first_key(rest, place)) != rest:
            inner = place.get(key)
            if inner is not None and not isinstance(inner, Mapping):
                above = path.removesuffix(rest.removeprefix(key))
                raise InputError(f"-s {path}={shown(value)}: {above} is {shown(inner)} and has no keys below it")
            place[key] = dict(inner or {})
            place, rest = place[key], rest.removeprefix(f"{key}.")
        place[rest] = value
    return result


def _first_key(path: str, place: Mapping[str, Any]) -> str:
    """Return the key of ``place`` with which ``path`` begins, or its part before the first dot."""
    known = [key for key in place if f"{path}.".startswith(f"{key}.")]
    return max(known, key=len, default=path.partition(".")[0])
