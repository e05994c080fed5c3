"""Hears from the output of KFP's local runner which task starts, ends, is reused or fails, and why."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import time
from typing import Protocol, TextIO

from parak8s.components.runtime import EXIT_CODE, SENTENCE

_COLOUR = re.compile(r"\x1b\[\d+m")
_STARTED = re.compile(r"INFO - Executing task '([\w-]+)'")
_ENDED = re.compile(r"- Task '([\w-]+)' finished with status (\w+)")
_REUSED = re.compile(r"Task ([\w-]+) cache hit")
_EXIT = re.compile(rf"{EXIT_CODE}[0-9]+\s*")
_SPOKEN = re.compile(r"^(epoch +\d+  .*)$")


class Narrator(Protocol):
    """Tells the user what happens."""

    def started(self, step: str) -> None:
        """A task begins."""

    def finished(self, step: str, summary: str, seconds: float | None) -> None:
        """A task is over; ``seconds`` is None when it is reused."""

    def failed(self, step: str, reason: str) -> None:
        """A task failed, for the last time or not."""

    def said(self, line: str) -> None:
        """A task says how far it is."""


class Listener(io.TextIOBase):
    """Takes the place of standard output: writes all of it into a log, and tells the narrator what it means.

    Args:
        narrator: Told of tasks and epochs.
        log: Gets every line.
    """

    def __init__(self, narrator: Narrator, log: TextIO) -> None:
        self.failed: str | None = None
        """The task that failed first."""
        self.sentence = ""
        """What it said."""
        self.exit_code = 1
        self._narrator, self._log, self._screen = narrator, log, sys.stdout
        self._line, self._said, self._since = "", list[str](), 0.0

    def write(self, text: str) -> int:
        """Take a piece of output."""
        *lines, self._line = (self._line + text).split("\n")
        with contextlib.redirect_stdout(self._screen):  # the narrator speaks to the terminal, not to itself
            for line in lines:
                self._hear(_COLOUR.sub("", line))
        return len(text)

    def _hear(self, line: str) -> None:
        self._log.write(f"{line}\n")
        self._log.flush()
        if found := _STARTED.search(line):
            self._said, self._since = [], time.perf_counter()
            self._narrator.started(found[1])
        elif found := _REUSED.search(line):
            self._narrator.finished(found[1], "", None)
        elif found := _ENDED.search(line):
            self._end(found[1], found[2])
        else:
            self._said.append(line.removeprefix("    "))
            if spoken := _SPOKEN.match(self._said[-1]):
                self._narrator.said(spoken[1])

    def _end(self, task: str, status: str) -> None:
        if status == "SUCCESS":
            self._narrator.finished(task, "", time.perf_counter() - self._since)
            return
        sentence, exit_code = _reason(self._said)
        self._narrator.failed(task, sentence)
        if self.failed is None:
            self.failed, self.sentence, self.exit_code = task, sentence, exit_code


def _reason(lines: list[str]) -> tuple[str, int]:
    """Return the sentence with which a task ended, and its exit code; else the last line of its traceback."""
    begins = [place for place, line in enumerate(lines) if line.startswith(SENTENCE)]
    if not begins:
        spoken = [line for line in lines if line.strip()]
        return (spoken[-1] if spoken else "", 1)
    said = lines[begins[-1] :]
    ends = [place for place, line in enumerate(said) if _EXIT.fullmatch(line)]
    sentence = "\n".join(said[: ends[-1]] if ends else said).removeprefix(SENTENCE)
    return sentence, int(said[ends[-1]].removeprefix(EXIT_CODE)) if ends else 1
