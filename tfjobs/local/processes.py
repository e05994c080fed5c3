"""One start of a replica, seen from the engine: a keeper, a socket to it, and the replica's output."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from parak8s.tfjobs.local.containers import Launch
from parak8s.tfjobs.local.keeper import KILL, TERMINATE, message

KEEPER = Path(__file__).with_name("keeper.py")
KILLED = 128 + signal.SIGKILL
_PIECE = 1 << 16


class Process:
    """A replica that runs under its keeper (:mod:`parak8s.tfjobs.local.keeper`).

    Args:
        name: Of the replica; the list of processes shows it beside the keeper.
        launch: What to run.
    """

    def __init__(self, name: str, launch: Launch) -> None:
        self.control, theirs = socket.socketpair()
        with theirs:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(KEEPER), str(theirs.fileno()), name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                env=dict(launch.environment),
                cwd=launch.directory,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C reaches the engine alone
            )
        assert self._keeper.stdout is not None
        self.output = self._keeper.stdout
        os.set_blocking(self.output.fileno(), False)
        self.pid: int | None = None
        """Number of the replica's process; None until the keeper has told."""
        self.code: int | None = None
        """Exit code; None while it runs."""
        self._heard = b""
        self._order(message(launch.arguments))

    def listen(self) -> None:
        """Take what the keeper says. A keeper that is gone was killed, and its replica with it."""
        try:
            said = self.control.recv(_PIECE)
        except OSError:
            said = b""
        *lines, self._heard = (self._heard + said).split(b"\n")
        for word, number in (line.split() for line in lines):
            if word == b"pid":
                self.pid = int(number)
            else:
                self.code = int(number)
        if not said and self.code is None:
            self.code = KILLED
            if self.pid is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)

    def read(self) -> bytes | None:
        """Return what the replica wrote; nothing at its end, None where there is nothing at the moment."""
        return self.output.read(_PIECE)

    def terminate(self) -> None:
        """Send SIGTERM to the replica."""
        self._order(TERMINATE)

    def kill(self) -> None:
        """Kill the replica with all that it started."""
        self._order(KILL)

    def close(self) -> None:
        """Let go of the replica; whatever of it still runs is killed."""
        self.control.close()
        self.output.close()
        self._keeper.wait()

    def _order(self, order: bytes) -> None:
        with contextlib.suppress(OSError):  # a keeper that is gone is heard of in listen
            self.control.sendall(order)
