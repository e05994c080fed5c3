"""Puts text of any kind into Markdown without breaking what stands around it."""

from __future__ import annotations

import re


def cell(text: str) -> str:
    """Return text for a cell of a table."""
    return text.replace("\n", " ").replace("|", "\\|")


def code(text: str) -> str:
    """Return text as code within a line, between more backticks than it has in a row."""
    fence = "`" * (_longest(text) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    line = text.replace("\n", " ")
    return f"{fence}{space}{line}{space}{fence}"


def block(text: str) -> str:
    """Return text as lines of code."""
    fence = "`" * max(3, _longest(text) + 1)
    return f"{fence}\n{text}\n{fence}"


def _longest(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
