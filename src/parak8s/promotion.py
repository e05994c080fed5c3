"""Writes points into the text of an experiment file: what is not set stays as somebody wrote it, to the byte."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from parak8s.errors import ExperimentError, InputError
from parak8s.experiment import documents, space

_BARE = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
"""Text that needs no quotes wherever it stands, unless YAML has another meaning for it."""
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]|$")


def promoted(text: str, values: Mapping[str, Any], comment: str | None = None) -> str:
    """Return the text of an experiment file with each value at its dotted path.

    Comments, blank lines, order, quotes and styles stay. What the file does not write yet is added at the end of its
    section; a section that is missing, at the end of the file. A value that stands there already is left as it is
    written: ``2.0e-3`` does not become ``0.002``.

    Args:
        text: A file that :func:`parak8s.experiment.documents.parse` reads.
        values: Dotted path -> number, boolean, text, null, or a list or mapping of those; as for ``-s``.
        comment: Lines that are put at the top, each behind ``#``.

    Raises:
        InputError: The text is no experiment file (it may have an anchor, or a key twice); a path leads through a value
            that has no keys; JSON lacks a value; or the way the file is written leaves no place for one.
    """
    text = text.removeprefix("\ufeff")
    old = documents.parse(text, "the experiment file").data
    try:
        new = space.override(old, values.items())
    except InputError as error:
        raise InputError(str(error).removeprefix("-s ")) from None
    line_break = next((found[0] for found in _BREAK.finditer(text) if found[0]), "\n")
    result, root = text, yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)  # or it could not have been parsed
    edits = _Editor(text, line_break).changes(root, old, new, "")
    for edit in sorted(edits, key=lambda edit: -edit.start):  # from the back: the places before it stay what they are
        result = result[: edit.start] + edit.text + result[edit.end :]
    if _unlike(_reread(result), new):
        paths = ", ".join(values)
        raise InputError(f"{paths}: cannot be set in the way this file is written; write its sections as 'key: value'")
    return _header(comment, line_break) + result


def values_of(assignments: Mapping[str, str]) -> dict[str, Any]:
    """Return the values that a trial has read from its assignments, which Katib keeps as text.

    Raises:
        InputError: One is no value of an experiment file.
    """
    return {path: documents.scalar(text.strip(), path) for path, text in assignments.items()}


def _reread(text: str) -> Mapping[str, Any] | None:
    try:
        return documents.parse(text, "the promoted file").data
    except ExperimentError:
        return None


def _header(comment: str | None, line_break: str) -> str:
    lines = (comment or "").splitlines()
    return "".join(f"{line if line.startswith('#') else f'# {line}'.rstrip()}{line_break}" for line in lines)


def _unlike(one: object, other: object) -> bool:
    """Return whether two values differ; unlike for Python, 1, 1.0 and true do."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() != other.keys() or any(_unlike(value, other[key]) for key, value in one.items())
    return json.dumps(one, default=repr) != json.dumps(other, default=repr)


@dataclass(frozen=True)
class _Edit:
    """``text`` stands where the characters from ``start`` to ``end`` stood."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class _Editor:
    """Finds what to change in ``text``, by the marks of its parser."""

    text: str
    line_break: str

    def changes(
        self, node: yaml.MappingNode, old: Mapping[str, Any], new: Mapping[str, Any], prefix: str
    ) -> Iterator[_Edit]:
        """Yield the edits of a mapping; one that comes after another at the same place first."""
        added = {key: value for key, value in new.items() if key not in old}
        if added:
            yield self._addition(node, added, prefix)
        for key_node, value_node in node.value:
            key = key_node.value
            before, after, path = old[key], new[key], f"{prefix}{key}"
            if isinstance(before, Mapping) and isinstance(after, Mapping) and before.keys() <= after.keys():
                yield from self.changes(value_node, before, after, f"{path}.")
            elif _unlike(before, after):
                yield self._replacement(
                    value_node, key_node.start_mark.column, _written(after, path, _style(value_node))
                )

    def _replacement(self, node: yaml.Node, column: int, written: str) -> _Edit:
        """Put ``written`` in the place of a value whose key begins in ``column``."""
        start, end = node.start_mark.index, self._end(node)
        if start == end:  # nothing stands there
            return _Edit(start, end, f" {written}" if self.text[start - 1] == ":" else f": {written}")
        own_line = not self.text[start - node.start_mark.column : start].strip()
        return _Edit(start, end, " " * max(0, column + 2 - node.start_mark.column) * own_line + written)

    def _addition(self, node: yaml.MappingNode, added: Mapping[str, Any], prefix: str) -> _Edit:
        if node.flow_style:
            at = self._end(node.value[-1][1]) if node.value else node.start_mark.index + 1
            return _Edit(at, at, (", " if node.value else "") + _entries(added, prefix))
        at, on_new_line = self._after(node)
        indent, lines = " " * node.value[0][0].start_mark.column, []
        for key, value in added.items():
            if prefix or not isinstance(value, Mapping) or not value:
                lines.append(indent + _entries({key: value}, prefix))
            else:
                inner = [f"{indent}  {_entries({name: below}, f'{key}.')}" for name, below in value.items()]
                lines += ["", f"{indent}{_written(key, key)}:", *inner]
        written = self.line_break.join(lines)
        return _Edit(at, at, written + self.line_break if on_new_line else self.line_break + written)

    def _after(self, node: yaml.Node) -> tuple[int, bool]:
        """Return the place behind the last line of a block, and whether a line begins there."""
        last = _last(node)
        if _is_block_text(last):
            end = last.end_mark.index
            return end, bool(_BREAK.fullmatch(self.text[end - 1 : end]))
        found = _BREAK.search(self.text, last.end_mark.index)
        assert found is not None  # the end of the text is one
        return found.start(), False

    def _end(self, node: yaml.Node) -> int:
        """Return where the last letter of a value ends; the parser counts what follows a block as a part of it."""
        last = _last(node)
        end: int = last.end_mark.index
        return len(self.text[:end].rstrip()) if _is_block_text(last) else end


def _last(node: yaml.Node) -> yaml.Node:
    """Return the last value within a block; what has brackets or quotes ends where it says so."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style:
        node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
    return node


def _style(node: yaml.Node) -> str | None:
    """Return the quotes or the sign of a block of text; None where there are none."""
    return node.style if isinstance(node, yaml.ScalarNode) else None


def _is_block_text(node: yaml.Node) -> bool:
    return _style(node) in ("|", ">")


def _entries(values: Mapping[str, Any], prefix: str) -> str:
    """Return ``key: value, other: value``."""
    return ", ".join(f"{_written(key, key)}: {_written(value, f'{prefix}{key}')}" for key, value in values.items())


def _written(value: Any, path: str, style: str | None = None) -> str:
    """Return one line that reads as ``value`` in a block and between braces; text in the quotes that it had.

    Raises:
        InputError: There is none.
    """
    if isinstance(value, Mapping):
        return f"{{{_entries(value, f'{path}.')}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_written(each, path) for each in value)}]"
    candidates = []
    if isinstance(value, str):
        single = "'" + value.replace("'", "''") + "'"
        candidates = [single] if style == "'" else [value] if style != '"' and _BARE.fullmatch(value) else []
    if value is None or isinstance(value, str | bool | int | float):
        quoted = json.dumps(value, ensure_ascii=False)  # YAML too, but for characters that only YAML refuses or folds
        candidates.append("".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in quoted))
    for candidate in candidates:
        try:
            read = documents.scalar(candidate, path)
        except InputError:
            continue
        if not _unlike(read, value):
            return candidate
    raise InputError(
        f"{path}: {value!r:.60} cannot be written in an experiment file; expected null, true or false, a "
        "finite number of at most 64 bits, or text"
    )
