"""Reads YAML as plain values and remembers where each was written; refuses what is made to do harm."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from parak8s.errors import ExperimentError, InputError, Mistake

MAX_BYTES = 1 << 20
MAX_DEPTH = 20

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A parsed YAML document.

    Args:
        name: What messages call it, usually the file's path.
        data: Mappings, lists and scalars.
        lines: Line (from 1) on which the value at each path starts.
    """

    name: str
    data: dict[str, Any]
    lines: Mapping[KeyPath, int]

    def where(self, path: KeyPath) -> str:
        """Return ``line N`` of the value at ``path``, or of the nearest mapping around it."""
        while path not in self.lines and path:
            path = path[:-1]
        return f"line {self.lines.get(path, 1)}"


class _Scalars(yaml.SafeLoader):
    """YAML 1.2 scalars: 1e-3 is a number; yes, no, on, off and dates are text."""


_Scalars.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    _Scalars.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))
_Scalars.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])


def read(path: Path) -> Document:
    """Read the YAML mapping in ``path``.

    Raises:
        InputError: The file cannot be read, is larger than 1 MiB, or is not UTF-8.
        ExperimentError: It is not a YAML mapping, repeats a key, or uses an alias.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path}: a directory; name the experiment file in it")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{path}: {size:,} bytes; an experiment file has at most {MAX_BYTES:,}")
        return parse(path.read_text(encoding="utf-8-sig"), str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def parse(text: str, name: str) -> Document:
    """Parse ``text``; see :func:`read`."""
    try:
        _refuse_traps(text, name)
        root = yaml.compose(text, Loader=_Scalars)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ExperimentError(name, [Mistake("", f"not YAML: {error.problem or error.context}", where)]) from None
    except yaml.YAMLError as error:
        raise ExperimentError(name, [Mistake("", f"not YAML: {error}")]) from None
    if not isinstance(root, yaml.MappingNode):
        raise ExperimentError(name, [Mistake("", "expected 'key: value' lines, beginning with 'name: ...'", "line 1")])
    lines: dict[KeyPath, int] = {}
    repeated = [
        Mistake(".".join(map(str, at)), "key given twice; keep one", f"line {line}")
        for at, line in _walk(root, (), lines)
    ]
    if repeated:
        raise ExperimentError(name, repeated)
    return Document(name, _construct(root, name), lines)


def scalar(text: str, name: str) -> Any:
    """Parse one value by the rules of the file: ``2``, ``1e-3``, ``[a, b]``, ``null``.

    Raises:
        InputError: ``text`` is not YAML; ``name`` is what the message calls it.
    """
    try:
        _refuse_traps(text, name)
        return _text_keys(yaml.load(text, Loader=_Scalars))  # noqa: S506 - _Scalars is a SafeLoader
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error)
        raise InputError(f"{name}: not a YAML value: {problem}") from None


def _refuse_traps(text: str, name: str) -> None:
    """Refuse aliases (they can explode) and deep nesting, before anything is built."""
    depth = 0
    for event in yaml.parse(text, Loader=_Scalars):
        if isinstance(event, yaml.AliasEvent):
            message = f"alias *{event.anchor}: refused, because a few aliases can fill the memory; write the value out"
            raise ExperimentError(name, [Mistake("", message, f"line {event.start_mark.line + 1}")])
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ExperimentError(
                    name, [Mistake("", f"nested deeper than {MAX_DEPTH} levels", f"line {event.start_mark.line + 1}")]
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _walk(node: yaml.Node, at: KeyPath, lines: dict[KeyPath, int]) -> Iterator[tuple[KeyPath, int]]:
    """Note the line of every value in ``lines``; yield the repeated keys."""
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            here = (*at, key.value if isinstance(key, yaml.ScalarNode) else str(key.value))
            if here[-1] in seen:
                yield here, key.start_mark.line + 1
            seen.add(str(here[-1]))
            lines[here] = key.start_mark.line + 1
            yield from _walk(value, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _walk(value, (*at, index), lines)


def _construct(root: yaml.Node, name: str) -> dict[str, Any]:
    loader = _Scalars("")
    try:
        data = loader.construct_document(root)
    except yaml.constructor.ConstructorError as error:
        mark = error.problem_mark
        raise ExperimentError(
            name, [Mistake("", str(error.problem), f"line {mark.line + 1}" if mark else "")]
        ) from None
    finally:
        loader.dispose()
    return _text_keys(data)


def _text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _text_keys(item) for key, item in value.items()}
    return [_text_keys(item) for item in value] if isinstance(value, list) else value
