"""A replica over all its starts: its process, its log, and what is to happen with it next."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from parak8s.tfjobs.local.containers import Launch
from parak8s.tfjobs.local.logs import Lines, Log
from parak8s.tfjobs.local.narration import Narrator
from parak8s.tfjobs.local.processes import Process

_PIPE = 1 << 20
"""Bytes that a pipe holds at most."""


class State(Enum):
    """Where a replica is."""

    RUNNING = "running"
    IN_PLACE = "waits to start again in its pod"
    ANEW = "waits to start again in a new pod"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass
class Member:
    """One replica.

    Args:
        kind: Its type, such as Worker.
        index: In its type.
        name: Such as worker-0.
        launch: What it runs.
        grace_s: Seconds from SIGTERM to SIGKILL.
        log: Its file.
        narrator: Told of what it does.
    """

    kind: str
    index: int
    name: str
    launch: Launch
    grace_s: int
    log: Path
    narrator: Narrator
    state: State = State.RUNNING
    starts: int = 0
    quick_ends: int = 0
    began: float = 0.0
    process: Process | None = None
    due: tuple[float, Callable[[], None]] | None = None
    """When something is to happen with the replica, and what."""
    _file: Log | None = None
    _lines: Lines = field(default_factory=Lines)

    def start(self, now: float) -> Process:
        """Start the replica."""
        self._file = self._file or Log(self.log)
        self.process = Process(self.name, self.launch)
        self.state, self.began, self.due = State.RUNNING, now, None
        self.starts += 1
        return self.process

    def introduce(self) -> None:
        """Write the line with which a start begins, into the log and to the narrator."""
        assert self.process is not None
        assert self.process.pid is not None
        assert self._file is not None
        self._file.mark(f"{self.name}, start {self.starts}, process {self.process.pid}, {_now()}")
        self.narrator.began(self.name, self.starts, self.process.pid)

    def read(self) -> int:
        """Pass on what the replica wrote; return how many bytes that were, 0 at the end, -1 if nothing is there."""
        assert self.process is not None
        assert self._file is not None
        data = self.process.read()
        if data is None:
            return -1
        self._file.write(data)
        for line in self._lines.feed(data):
            self.narrator.said(self.name, line)
        return len(data)

    def finish(self) -> int:
        """Read what is left of a replica that has ended, and let go of it; return its exit code."""
        assert self.process is not None
        assert self.process.code is not None
        assert self._file is not None
        left = _PIPE
        while left > 0 and (size := self.read()) > 0:
            left -= size
        for line in self._lines.end():
            self.narrator.said(self.name, line)
        code = self.process.code
        self._file.mark(f"{self.name} ended with exit code {in_words(code)}, {_now()}")
        self.process.close()
        self.process = self.due = None
        return code

    def close(self) -> None:
        """Kill what still runs, and close the log."""
        if self.process is not None:
            self.process.close()
            self.process = None
        if self._file is not None:
            self._file.close()
            self._file = None


def in_words(code: int) -> str:
    """Return an exit code, with the signal's name where one ended the process: ``137 (SIGKILL)``."""
    with contextlib.suppress(ValueError):
        return f"{code} ({signal.Signals(code - 128).name})"
    return str(code)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
