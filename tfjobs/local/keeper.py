"""Keeps one replica: starts it, passes signals on, and ends with all that the replica ever started.

The engine runs this file as a program of its own for each replica, as a container runtime runs a shim for each
container. It needs nothing but Python's standard library, and nothing of ParaK8s. Both ends hold a socket:

- the engine sends the arguments as one line of JSON, then ``T`` for SIGTERM and ``K`` for SIGKILL;
- the keeper sends ``pid N`` and at the end ``exit N``; a process that a signal N ended counts as 128 + N.

When the engine is gone, however it went, the socket ends and the keeper kills everything. When the keeper is killed,
the kernel kills the replica (``PR_SET_PDEATHSIG``). Processes that a replica leaves behind become the keeper's
(``PR_SET_CHILD_SUBREAPER``), also those with a session of their own; it kills them when the replica itself has ended,
as they would go with a container. Both are Linux's; elsewhere the replica's process group is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
TERMINATE, KILL = b"T", b"K"
NOT_STARTED = 128
"""Exit code of a container whose program cannot be started."""


def main() -> None:
    """Keep the replica that the engine describes on the socket whose number is the first argument."""
    with socket.socket(fileno=int(sys.argv[1])) as engine:
        engine.set_inheritable(False)
        arguments = json.loads(_line(engine))
        woken, wake = socket.socketpair()
        wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only what is handled wakes
        signal.set_wakeup_fd(wake.fileno())
        _control(PR_SET_CHILD_SUBREAPER, 1)
        replica = _start(arguments)
        with contextlib.suppress(OSError):  # the engine may be gone already: the next look at the socket tells
            engine.sendall(b"pid %d\n" % replica)
        code = _wait(replica, engine, woken)
        _end_the_rest(replica)
        with contextlib.suppress(OSError):
            engine.sendall(b"exit %d\n" % code)


def _line(engine: socket.socket) -> bytes:
    read = b""
    while not read.endswith(b"\n"):
        piece = engine.recv(65536)
        if not piece:
            sys.exit()  # the engine ended before it had said what to start
        read += piece
    return read


def _start(arguments: list[str]) -> int:
    keeper = os.getpid()
    replica = os.fork()
    if replica:
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):  # so that the engine sees the end of the replica's output
            os.dup2(nothing, stream)
        return replica
    try:
        os.setsid()
        _control(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == keeper:
            _begin_afresh()
            os.execvp(arguments[0], arguments)  # noqa: S606 - the user's own command
    except OSError as error:
        os.write(2, f"{arguments[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(NOT_STARTED)


def _begin_afresh() -> None:
    """Take back what Python, or who started the engine, changed about signals."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _wait(replica: int, engine: socket.socket, woken: socket.socket) -> int:
    """Pass signals on until the replica has ended; return its exit code."""
    sources = [engine, woken]
    while True:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == replica:
                code = os.waitstatus_to_exitcode(ended[1])
                return code if code >= 0 else 128 - code
        ready = select.select(sources, [], [])[0]
        if woken in ready:
            woken.recv(4096)
        if engine in ready:
            orders = _orders(engine)
            os.kill(replica, signal.SIGKILL if KILL in orders else signal.SIGTERM)
            if KILL in orders:
                sources.remove(engine)


def _orders(engine: socket.socket) -> bytes:
    try:
        return engine.recv(4096) or KILL
    except OSError:
        return KILL


def _end_the_rest(replica: int) -> None:
    """Kill what the replica started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(replica, signal.SIGKILL)
    while children := _children():
        for child in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        os.waitpid(-1, 0)


def _children() -> list[int]:
    """Return the processes whose parent is the keeper, as far as the system tells."""
    found = []
    for process in Path("/proc").iterdir() if sys.platform == "linux" else ():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):
                parent = (process / "stat").read_bytes().rpartition(b")")[2].split()[1]
                found += [int(process.name)] if int(parent) == os.getpid() else []
    return found


def _control(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
