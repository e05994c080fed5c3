"""What replicas write: every byte into a file for each, and whole lines for the terminal."""

from __future__ import annotations

import os
import re
from pathlib import Path

LONGEST = 8192
"""Bytes of a line that are shown at once; a longer one is shown in pieces."""

_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-_])")


class Log:
    """The file of one replica: what was there stays, and every start begins with a line that says so.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)
        self._whole = self._file.seek(0, os.SEEK_END) == 0
        if not self._whole:
            self._file.seek(-1, os.SEEK_END)
            self._whole = self._file.read(1) == b"\n"

    def write(self, data: bytes) -> None:
        """Keep what the replica wrote, as it is."""
        if data:
            self._whole = data.endswith(b"\n")
            while data:
                data = data[self._file.write(data) :]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def mark(self, text: str) -> None:
        """Keep a line of the engine's own."""
        self.write(f"{'' if self._whole else chr(10)}=== {text} ===\n".encode())


class Lines:
    """Cuts a stream into lines that a terminal can show, whatever the stream holds."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that are complete with ``data``; of a line longer than :data:`LONGEST` the pieces."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        shown = [piece for line in lines for piece in _pieces(line)]
        *pieces, self._rest = _pieces(_last_state(self._rest))
        return [_printable(line) for line in (*shown, *pieces)]

    def end(self) -> list[str]:
        """Return the last line, if it has no end of its own."""
        rest, self._rest = self._rest, b""
        return [_printable(rest)] if rest else []


def _last_state(line: bytes) -> bytes:
    """Return what a terminal would show of a line that is written over again and again, such as a progress bar."""
    kept = line.removesuffix(b"\r")
    return kept[kept.rfind(b"\r") + 1 :] + line[len(kept) :]


def _pieces(line: bytes) -> list[bytes]:
    """Return the line in pieces that end between characters."""
    line, pieces = _last_state(line), []
    while len(line) > LONGEST:
        end = LONGEST
        while end > LONGEST - 4 and 0x80 <= line[end] < 0xC0:  # the middle of a character of UTF-8
            end -= 1
        pieces.append(line[:end])
        line = line[end:]
    return [*pieces, line]


def _printable(line: bytes) -> str:
    """Return text that cannot change the terminal: no colours, no cursor, no bells."""
    text = _ESCAPE.sub("", line.decode("utf-8", "replace").removesuffix("\r")).replace("\t", "    ")
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
