"""A process that trains one trial after the other, with TensorFlow loaded once. The search's engine starts it.

It connects to the socket that its argument names. A request is a line of JSON with the arguments of ``parak8s step
trial`` and the variables of the trial; the answer is a line with its exit code, and the memory that the process takes.
What the trial prints goes to standard output, as it would from a process of its own.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def main() -> None:
    """Serve until the engine hangs up."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.connect(sys.argv[1])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _warm_up()
    with line.makefile("r", encoding="utf-8") as requests:
        for request in requests:
            asked = json.loads(request)
            code = _do(asked["arguments"], asked["environment"])
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one that comes too late means nobody
            sys.stdout.flush()
            sys.stderr.flush()
            _forget()
            line.sendall(json.dumps({"code": code, "memory": _memory()}).encode() + b"\n")


def _warm_up() -> None:
    """Load what every trial needs, before the first one is asked for."""
    from parak8s.training import heap

    heap.keep()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow  # noqa: F401

    from parak8s.training import fitting  # noqa: F401


def _do(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Do a trial as the command line does; return its exit code."""
    from parak8s import cli

    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGTERM, _leave)
    try:
        return cli.run_command(["step", "trial", *arguments])
    except _Asked:
        return 128 + signal.SIGTERM


class _Asked(BaseException):
    """SIGTERM came where there is nothing to save; a training listens for itself."""


def _leave(*_: Any) -> None:
    raise _Asked


def _memory() -> int:
    """Return the bytes of memory that this process takes; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _forget() -> None:
    """Let go of the model and of what TensorFlow keeps for it.

    What is left after the first trial, the libraries above all, is not looked at again: that would take a second.
    """
    import keras

    from parak8s.training import heap

    keras.backend.clear_session()
    gc.collect()
    heap.give_back()
    if not gc.get_freeze_count():
        gc.freeze()


if __name__ == "__main__":
    main()
