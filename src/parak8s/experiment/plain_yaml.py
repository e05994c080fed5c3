"""Builds plain values from YAML text, event by event; refuses what is made to do harm, and what JSON cannot hold."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from parak8s.errors import Mistake

MAX_DEPTH = 20
MAX_KEY = 200

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
    (
        "mapping values are not allowed",
        "quote a value that holds ': ', correct the indentation, or end the key above with ':'",
    ),
    ("could not find expected ':'", "a line has no ': ' after its key"),
    ("'\\t'", "indent with spaces, not with a tab"),
    ("cannot start any token", "put a value that begins with this character in quotes"),
    ("alphabetic or numeric character", "put a value that begins with * or & in quotes"),
    ("<block end>", "write the keys of one section in the same column"),
    ("unexpected end of stream", "a quote is not closed"),
    ("expected ',' or", "a bracket is not closed, or a comma is missing"),
)
"""What to do about the complaints of PyYAML that users meet most."""


def read(text: str) -> tuple[Any, Mapping[str, int], list[Mistake]]:
    """Return the value of the only document, the line (from 1) of each dotted path, and all that is wrong."""
    try:
        reader = _Reader(text)
        return reader.document(), reader.lines, reader.mistakes
    except _TrapError as trap:
        return None, {}, [trap.mistake]
    except yaml.reader.ReaderError as error:
        where = f"line {text.count(chr(10), 0, error.position) + 1}"
        message = f"the character U+{ord(text[error.position]):04X} is not text; save the file as UTF-8 without it"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = str(error.problem or error.context)
        message = "; ".join([f"not YAML: {problem}", *[fix for sign, fix in _HINTS if sign in problem][:1]])
    except (ValueError, OverflowError):  # from chr() inside PyYAML
        where, message = "", r"not YAML: an escape such as \U00110000 stands for no character"
    return None, {}, [Mistake("", message, where)]


def write(values: Mapping[str, Any]) -> str:
    """Return YAML text that :func:`read` takes for the same plain values."""
    return yaml.dump(dict(values), Dumper=_Writer, sort_keys=False, allow_unicode=True)


class _TrapError(Exception):
    """The text is made to do harm: reading stops at once."""

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(str(mistake))
        self.mistake = mistake


class _Reader:
    """Builds plain values from the parser's events: nothing is built that could explode, nothing is called."""

    def __init__(self, text: str) -> None:
        self.lines: dict[str, int] = {}
        self.mistakes: list[Mistake] = []
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=yaml.SafeLoader))
        self._next = next(self._events)

    def document(self) -> Any:
        """Return the value of the only document; note lines and mistakes on the way."""
        self._take()
        if isinstance(self._next, yaml.StreamEndEvent):
            return None
        self._take()
        value = self._value("", 0)
        self._take()
        if not isinstance(self._next, yaml.StreamEndEvent):
            self._refuse("", "a second document begins here (---); keep one", self._next)
        return value

    def _take(self) -> Any:
        event, self._next = self._next, next(self._events, None)
        return event

    def _value(self, path: str, depth: int) -> Any:
        event = self._take()
        self.lines.setdefault(path, _line(event))
        if depth > MAX_DEPTH:
            raise _TrapError(Mistake("", f"nested deeper than {MAX_DEPTH} levels", f"line {_line(event)}"))
        if isinstance(event, yaml.AliasEvent):
            message = f"the alias *{event.anchor} is refused: a few of them can fill the memory; write the value out"
            raise _TrapError(Mistake(path, message, f"line {_line(event)}"))
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
        while not isinstance(self._next, yaml.MappingEndEvent):
            event = self._next
            key = self._key(path, depth)
            here = f"{path}.{key}" if path else key
            if key in found:
                self._refuse(here, f"given twice, first on line {self.lines[here]}; keep one", event)
            self.lines.setdefault(here, _line(event))
            value = self._value(here, depth + 1)
            if key:
                found[key] = value
        self._take()
        return found

    def _key(self, path: str, depth: int) -> str:
        """Return the next key; an empty one when it is refused."""
        event = self._next
        if not isinstance(event, yaml.ScalarEvent):
            self._value(path, depth + 1)
            self._refuse(path, "a key must be plain text", event)
            return ""
        self._take()
        key = str(event.value)
        if key == "<<":
            self._refuse(path, "the merge key << is refused; write the keys out", event)
        elif not key or not key.isprintable() or len(key) > MAX_KEY:
            self._refuse(path, f"a key must be plain text, at most {MAX_KEY} characters, got {key!r:.60}", event)
        else:
            return key
        return ""

    def _sequence(self, path: str, depth: int) -> list[Any]:
        found: list[Any] = []
        while not isinstance(self._next, yaml.SequenceEndEvent):
            found.append(self._value(f"{path}.{len(found)}", depth + 1))
        self._take()
        return found

    def _scalar(self, path: str, event: yaml.ScalarEvent) -> Any:
        try:
            return _plain(event.value) if event.implicit[0] else _text(event.value)
        except ValueError as error:
            self._refuse(path, str(error), event)
            return None

    def _refuse(self, path: str, message: str, event: yaml.Event) -> None:
        self.mistakes.append(Mistake(path, message, f"line {_line(event)}"))


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _plain(text: str) -> Any:
    """Return the value of a scalar without quotes.

    Raises:
        ValueError: JSON has no such value.
    """
    kind = next((kind for kind, pattern, _ in _SCALARS if re.fullmatch(pattern, text)), "str")
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
    return _text(text)


def _text(text: str) -> str:
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        raise ValueError("half of a surrogate pair is not text; write the character itself")
    return text


class _Writer(yaml.SafeDumper):
    """Quotes the text that the reader would take for something else; writes no aliases."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _as_text(writer: _Writer, value: str) -> yaml.ScalarNode:
    """Escape the line breaks that YAML knows and Python's writer does not keep within quotes."""
    style = '"' if any(mark in value for mark in "\x85\u2028\u2029") else None
    return writer.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Writer.add_representer(str, _as_text)
for _kind, _pattern, _first in _SCALARS:
    _Writer.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"^(?:{_pattern})$"), _first)
