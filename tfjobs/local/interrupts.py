"""Ctrl-C, SIGTERM and the end of the terminal, as something to wait for."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Signals that ask the engine to stop.

    Args:
        source: Readable when one has come.
    """

    def __init__(self, source: socket.socket) -> None:
        self.source = source
        self.received: list[signal.Signals] = []

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        self.received.append(signal.Signals(number))

    def clear(self) -> None:
        """Make the source unreadable until the next signal."""
        with contextlib.suppress(BlockingIOError):
            self.source.recv(4096)


@contextlib.contextmanager
def caught() -> Iterator[Interrupts]:
    """Yield the signals that come during a block; none in a thread beside the main one, which gets none."""
    source, wake = socket.socketpair()
    with source, wake:
        source.setblocking(False)
        wake.setblocking(False)
        found = Interrupts(source)
        if threading.current_thread() is not threading.main_thread():
            yield found
            return
        # nohup: what is ignored stays ignored
        heeded = [
            number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP
        ]
        before = {number: signal.signal(number, found.note) for number in heeded}
        wakeup = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        try:
            yield found
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
