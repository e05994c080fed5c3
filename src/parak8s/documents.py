"""Reads YAML as plain values and remembers where each was written; refuses what is made to do harm."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from parak8s.errors import EnvironmentFault, ExperimentError, InputError, Mistake

MAX_BYTES = 1 << 18
MAX_DEPTH = 20

_SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)
"""The scalars of YAML 1.2: 1e-3 is a number; yes, no, on, off and dates are text."""

_HINTS = (
    ("chomping or indentation", "put a value that begins with > or | in quotes, for example '>= 0.95'"),
    ("mapping values are not allowed", "quote a value that holds ': ', correct the indentation, or end the key above with ':'"),
    ("could not find expected ':'", "a line has no ': ' after its key"),
    ("'\\t'", "indent with spaces, not with a tab"),
    ("cannot start any token", "put a value that begins with this character in quotes"),
    ("alphabetic or numeric character", "put a value that begins with * or & in quotes"),
    ("<block end>", "write the keys of one section in the same column"),
    ("unexpected end of stream", "a quote is not closed"),
    ("expected ',' or", "a bracket is not closed, or a comma is missing"),
)
"""What to do about the complaints of PyYAML that users meet most."""


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
        InputError: There is no such file, it is larger than 256 KiB, or it is not UTF-8.
        ExperimentError: It is not a YAML mapping of plain values; see :func:`parse`.
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
        return parse(content.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def parse(text: str, name: str) -> Document:
    """Parse ``text``; messages call it ``name``.

    Raises:
        ExperimentError: It is not a YAML mapping; it repeats a key; it holds an alias, a tag, a key that is not text,
            a number that JSON does not have, or more than 20 levels.
    """
    value, lines, mistakes = _parse(text)
    if not mistakes and not isinstance(value, dict):
        found = "nothing is written here" if value is None else f"got {_kind(value)}"
        mistakes = [Mistake("", f"expected lines of 'key: value', beginning with 'name: ...'; {found}", "line 1")]
    if mistakes:
        raise ExperimentError(name, mistakes)
    return Document(name, value, lines)


def scalar(text: str, name: str) -> Any:
    """Parse one value by the rules of the file: ``2``, ``1e-3``, ``[a, b]``, ``null``; ``>= 0.9`` needs no quotes.

    Raises:
        InputError: ``text`` is not such a value; ``name`` is what the message calls it.
    """
    if text.startswith((">", "|")):  # the marks of a block of lines, which one line cannot hold
        return text
    value, _, mistakes = _parse(text)
    if mistakes:
        raise InputError(f"{name}: {'; '.join(mistake.message for mistake in mistakes[:3])}")
    return value


def dump(values: Mapping[str, Any]) -> str:
    """Return YAML text that :func:`parse` reads as the same plain values."""
    return yaml.dump(dict(values), Dumper=_Writer, sort_keys=False, allow_unicode=True)


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else f"{value!r:.60}"


def _parse(text: str) -> tuple[Any, Mapping[str, int], list[Mistake]]:
    try:
        reader = _Reader(text)
        try:
            return reader.document(), reader.written, reader.mistakes
        finally:
            reader.dispose()
    except yaml.reader.ReaderError as error:
        where = f"line {text.count(chr(10), 0, error.position) + 1}"
        message = f"the character U+{ord(text[error.position]):04X} is not text; save the file as UTF-8 without it"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = str(error.problem or error.context)
        hint = next((f"; {fix}" for sign, fix in _HINTS if sign in problem), "")
        message = f"not YAML: {problem}{hint}"
    except (ValueError, OverflowError):  # from chr() inside PyYAML
        where, message = "", r"not YAML: an escape such as \U00110000 stands for no character"
    return None, {}, [Mistake("", message, where)]


class _Reader(yaml.SafeLoader):
    """Builds plain values from the parser's events: nothing is built that could explode, nothing is called."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own name; filled below

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.written: dict[str, int] = {}
        self.mistakes: list[Mistake] = []

    def document(self) -> Any:
        """Return the value of the only document; note lines and mistakes on the way."""
        self.get_event()
        if self.check_event(yaml.StreamEndEvent):
            return None
        self.get_event()
        value = self._value("", 0)
        self.get_event()
        if not self.check_event(yaml.StreamEndEvent):
            self._refuse("", "a second document begins here (---); keep one", self.peek_event())
        return value

    def _value(self, path: str, depth: int) -> Any:
        event = self.get_event()
        self.written.setdefault(path, event.start_mark.line + 1)
        if depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=event.start_mark
            )
        if isinstance(event, yaml.AliasEvent):
            message = f"the alias *{event.anchor} is refused, because a few can fill the memory; write the value out"
            return self._refuse(path, message, event)
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._refuse(path, f"the tag {tag:.60} is refused; write a plain value, text in quotes", event)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path, depth)
        return self._scalar(path, event)

    def _mapping(self, path: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self.check_event(yaml.MappingEndEvent):
            event = self.peek_event()
            key = self._key(path, depth)
            here = f"{path}.{key}" if path else key
            if key in found:
                self._refuse(here, f"given twice, first on line {self.written[here]}; keep one", event)
            self.written.setdefault(here, event.start_mark.line + 1)
            found[key] = self._value(here, depth + 1)
        self.get_event()
        return found

    def _key(self, path: str, depth: int) -> str:
        event = self.peek_event()
        if not isinstance(event, yaml.ScalarEvent):
            self._value(path, depth + 1)
            self._refuse(path, "a key must be plain text", event)
            return ""
        self.get_event()
        key = str(event.value)
        if key == "<<":
            self._refuse(path, "the merge key << is refused; write the keys out", event)
        elif not key or not key.isprintable() or len(key) > 200:
            self._refuse(path, f"a key must be plain text, at most 200 characters, got {key!r:.60}", event)
        return key

    def _sequence(self, path: str, depth: int) -> list[Any]:
        found: list[Any] = []
        while not self.check_event(yaml.SequenceEndEvent):
            found.append(self._value(f"{path}.{len(found)}", depth + 1))
        self.get_event()
        return found

    def _scalar(self, path: str, event: yaml.ScalarEvent) -> Any:
        kind = self.resolve(yaml.ScalarNode, event.value, event.implicit).rpartition(":")[2]
        try:
            return _plain(kind, event.value)
        except ValueError as error:
            return self._refuse(path, str(error), event)

    def _refuse(self, path: str, message: str, event: yaml.Event) -> None:
        self.mistakes.append(Mistake(path, message, f"line {event.start_mark.line + 1}"))


class _Writer(yaml.SafeDumper):
    """Quotes the text that the reader would take for something else; writes no aliases."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


for _kind_name, _pattern, _first in _SCALARS:
    for _class in (_Reader, _Writer):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_kind_name}", re.compile(rf"^(?:{_pattern})$"), _first)


def _plain(kind: str, text: str) -> Any:
    """Return the value of a scalar.

    Raises:
        ValueError: JSON has no such value.
    """
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        base = {"0x": 16, "0o": 8}.get(text[:2], 10)
        if len(text) > 25 or not -(2**63) <= int(text, base) < 2**63:
            raise ValueError(f"{text:.30} is out of range; a whole number has at most 64 bits")
        return int(text, base)
    if kind == "float":
        number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        if not math.isfinite(number):
            raise ValueError(f"{text:.30} is not a finite number")
        return number
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        raise ValueError("half of a surrogate pair is not text; write the character itself")
    return text
