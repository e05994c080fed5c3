"""Documents of plain values: YAML files, and single values written on the command line."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from parak8s.errors import EnvironmentFault, ExperimentError, InputError, Mistake
from parak8s.experiment import plain_yaml

MAX_BYTES = 1 << 18


@dataclass(frozen=True)
class Document:
    """A parsed YAML document.

    Args:
        name: What messages call it, usually the file's path.
        data: Mappings, lists and scalars.
        lines: Line (from 1) on which the value at each dotted path starts.
    """

    name: str
    data: dict[str, Any]
    lines: Mapping[str, int]

    def where(self, path: str) -> str:
        """Return ``line N`` of the value at the dotted ``path``, or of the nearest mapping around it."""
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        return f"line {self.lines.get(path, 1)}"


def read(path: Path) -> Document:
    """Read the YAML mapping in ``path``.

    Raises:
        InputError: See :func:`read_text`.
        ExperimentError: It is not a YAML mapping of plain values; see :func:`parse`.
        EnvironmentFault: The file may not be read.
    """
    return parse(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Return the text in ``path``.

    Raises:
        InputError: There is no such file, it is larger than 256 KiB, or it is not UTF-8.
        EnvironmentFault: The file may not be read.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path}: a folder; name the experiment file in it")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)  # a pipe or a device does not tell its size
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except PermissionError:
        raise EnvironmentFault(f"{path}: no permission to read; change its owner or mode (chmod u+r)") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES:,} bytes, the most an experiment file may have")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def parse(text: str, name: str) -> Document:
    """Parse ``text``; messages call it ``name``.

    Raises:
        ExperimentError: It is not a YAML mapping; it repeats a key; it holds an alias, a tag, a key that is not text,
            a number that JSON does not have, or more than 20 levels.
    """
    value, lines, mistakes = _read_once(text)
    if not mistakes and not isinstance(value, dict):
        found = "nothing is written here" if value is None else f"got {_kind(value)}"
        mistakes = [Mistake("", f"expected lines of 'key: value', beginning with 'name: ...'; {found}", "line 1")]
    if mistakes:
        raise ExperimentError(name, mistakes)
    return Document(name, copy.deepcopy(value), lines)


@lru_cache(maxsize=8)
def _read_once(text: str) -> tuple[Any, Mapping[str, int], list[Mistake]]:
    """Read a text that several checks ask for; a sweep's is long."""
    return plain_yaml.read(text)


def scalar(text: str, name: str) -> Any:
    """Parse one value by the rules of the file: ``2``, ``1e-3``, ``[a, b]``, ``null``; ``>= 0.9`` needs no quotes.

    Raises:
        InputError: ``text`` is not such a value; ``name`` is what the message calls it.
    """
    if text.startswith((">", "|")):  # the marks of a block of lines, which one line cannot hold
        return text
    value, _, mistakes = plain_yaml.read(text)
    if mistakes:
        raise InputError(f"{name}: {'; '.join(mistake.message for mistake in mistakes[:3])}")
    return value


def dump(values: Mapping[str, Any]) -> str:
    """Return YAML text that :func:`parse` reads as the same plain values."""
    return plain_yaml.write(values)


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else f"{value!r:.60}"
