"""Keeps one replica: starts it, passes signals on, and ends with all that the replica ever started.

The engine runs this file as a program of its own for each replica, as a container runtime runs a shim for each
container. It needs little of Python's standard library and nothing of ParaK8s, so that it starts in 40 ms. Both ends
hold a socket:

- the engine sends the arguments, then ``T`` for SIGTERM and ``K`` for SIGKILL;
- the keeper sends ``pid N`` and at the end ``exit N``; a process that a signal N ended counts as 128 + N.

When the engine is gone, however it went, the socket ends and the keeper kills everything; the kernel tells it too, as
forks of the engine may hold its end. When the keeper is killed, the kernel kills the replica. Both are
``PR_SET_PDEATHSIG``, which means the thread of the engine that waits for the job. Processes that a replica leaves
behind become the keeper's (``PR_SET_CHILD_SUBREAPER``), also those with a session of their own; it kills them when the
replica itself has ended, as they would go with a container. On systems other than Linux the socket and the replica's
process group must do.
"""

# pathlib alone would take 11 ms
# ruff: noqa: PTH123, PTH208
from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
TERMINATE, KILL = b"T", b"K"
NOT_STARTED = 128
"""Exit code of a container whose program cannot be started."""

_SIZE = 8


def message(arguments: Sequence[str]) -> bytes:
    """Return how the engine sends arguments: the size in bytes, then each with a zero byte behind it."""
    text = b"".join(os.fsencode(argument) + b"\0" for argument in arguments)
    return len(text).to_bytes(_SIZE, "big") + text


def main() -> None:
    """Keep the replica that the engine describes on the socket whose number is the first argument."""
    engine = int(sys.argv[1])
    os.set_inheritable(engine, False)
    size = int.from_bytes(_received(engine, _SIZE), "big")
    arguments = _received(engine, size).split(b"\0")[:-1]
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # only what is handled wakes
    signal.signal(signal.SIGTERM, _lose_engine)
    signal.set_wakeup_fd(wake)
    _control(PR_SET_PDEATHSIG, signal.SIGTERM)
    _control(PR_SET_CHILD_SUBREAPER, 1)
    replica = _start(arguments)
    _tell(engine, b"pid %d\n" % replica)
    code = _wait(replica, engine, woken)
    _end_the_rest(replica)
    _tell(engine, b"exit %d\n" % code)


def _lose_engine(*_: object) -> None:
    """The engine is gone, or somebody wants the keeper to be: what it still reads is the end."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, int(sys.argv[1]))


def _received(engine: int, size: int) -> bytes:
    read = b""
    while len(read) < size:
        piece = os.read(engine, size - len(read))
        if not piece:
            sys.exit()  # the engine ended before it had said what to start
        read += piece
    return read


def _tell(engine: int, text: bytes) -> None:
    with contextlib.suppress(OSError):  # an engine that is gone is noticed where its orders are read
        os.write(engine, text)


def _start(arguments: list[bytes]) -> int:
    keeper = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # an early SIGTERM waits for the replica's program
    replica = os.fork()
    if replica:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
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
        os.write(2, b"%s: %s\n" % (arguments[0], os.strerror(error.errno or 0).encode()))
    finally:
        os._exit(NOT_STARTED)


def _begin_afresh() -> None:
    """Take back what Python, or who started the engine, changed about signals."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _wait(replica: int, engine: int, woken: int) -> int:
    """Pass signals on until the replica has ended; return its exit code."""
    sources = [engine, woken]
    while True:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == replica:
                code = os.waitstatus_to_exitcode(ended[1])
                return code if code >= 0 else 128 - code
        ready = select.select(sources, [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
        if engine in ready:
            orders = _orders(engine)
            os.kill(replica, signal.SIGKILL if KILL in orders else signal.SIGTERM)
            if KILL in orders:
                sources.remove(engine)


def _orders(engine: int) -> bytes:
    try:
        return os.read(engine, 4096) or KILL
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
    for name in os.listdir("/proc") if sys.platform == "linux" else ():
        if name.isdecimal():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == os.getpid():
                    found.append(int(name))
    return found


def _control(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
