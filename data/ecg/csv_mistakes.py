"""Finds the first mistake in a CSV file of numbers whose last column is a label: slow, exact, for messages only."""

import math
from typing import TextIO

import numpy as np

from parak8s.data.ecg.beats import CLASSES, NAMED_CLASSES

MAX_LINE = 1 << 16
FLOAT32_MAX = float(np.finfo(np.float32).max)
CUT = "the file ends in the middle of this row; copy or download it again"


def first_mistake(lines: TextIO, columns: int) -> str | None:
    """Return ``row 3, column 5: ...`` (both from 1; a row is a line of the file), or None."""
    number, rows, above = 0, 0, ""
    while line := lines.readline(MAX_LINE):
        number += 1
        text = line.rstrip("\r\n").removeprefix("\xef\xbb\xbf" if number == 1 else "")
        if not text:
            continue
        mistake = _mistake(text, columns) or _cut_label(line, above, columns)
        if mistake:
            ending = "" if line.endswith("\n") or len(line) == MAX_LINE or CUT in mistake else f"; {CUT}"
            return f"row {number}{mistake}{ending}"
        rows, above = rows + 1, text
    return None if rows else "no rows, only empty lines"


def is_cut(tail: bytes) -> bool:
    """Return whether the text that ends in ``tail`` stops within the label of its last row.

    It does when its last line has no end and a shorter label than the line above: where numbers are written with many
    digits, a part of a label is still a number. A hand-written file without a last line end passes.
    """
    if tail.endswith((b"\n", b"\r")):
        return False
    *above, last = tail.splitlines()
    above = [line for line in above if line]
    return bool(above) and len(_label(last.decode("latin-1"))) < len(_label(above[-1].decode("latin-1")))


def _label(row: str) -> str:
    return row.rpartition(",")[2]


def _mistake(text: str, columns: int) -> str:
    if len(text) >= MAX_LINE - 2:
        return f": longer than {MAX_LINE - 2:,} characters; expected {columns} numbers with commas between them"
    cells = text.split(",")
    if len(cells) != columns:
        return f": expected {columns} columns, got {len(cells)}"
    for column, cell in enumerate(cells, 1):
        if problem := _problem(cell):
            return f", column {column}: {problem}"
    if float(cells[-1]) not in range(len(CLASSES)):
        return f", column {columns}: label {cells[-1].strip()} is not a class; allowed: {NAMED_CLASSES}"
    return ""


def _problem(cell: str) -> str:
    try:
        value = float(cell.replace("_", "?"))
    except ValueError:
        shown = f"{cell[:40]!a}{'...' if len(cell) > 40 else ''}"
        return f"expected a number, got {shown}" if cell.strip() else "expected a number, got nothing"
    if not math.isfinite(value):
        return f"expected a finite number, got {cell.strip()}"
    return "" if abs(value) <= FLOAT32_MAX else f"{cell.strip()} is too large for float32"


def _cut_label(line: str, above: str, columns: int) -> str:
    if line.endswith("\n") or not is_cut(f"{above}\n{line}".encode("latin-1")):
        return ""
    label = f"the label {_label(line)!a} is shorter than the one above it, and no line end follows"
    return f", column {columns}: {label}: {CUT}"
