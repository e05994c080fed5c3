"""A training that is asked to stop saves what it has done: Kubernetes sends SIGTERM before it takes a pod away."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from parak8s.errors import EnvironmentFault


class Interrupted(EnvironmentFault):
    """The training was asked to stop and has remembered how far it came; its exit code is that of SIGTERM."""

    exit_code = 128 + signal.SIGTERM

    def __init__(self, epoch: int, done: int, total: int) -> None:
        super().__init__(
            f"asked to stop after {done} of {total} steps of epoch {epoch}; all is saved, and the same command goes on "
            "from there"
        )


_told: list[Callable[[], None]] = []


@contextlib.contextmanager
def told_first(hear: Callable[[], None]) -> Iterator[None]:
    """Call ``hear`` whenever SIGTERM comes in the block, also where :func:`termination` listens within.

    That it cannot write, say, is no reason not to stop: an OSError is passed over. Outside of the main thread Python
    lets nobody listen: then nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def heard(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            hear()
        signal.signal(number, before)
        signal.raise_signal(number)

    before = signal.signal(signal.SIGTERM, heard)
    _told.append(hear)
    try:
        yield
    finally:
        _told.remove(hear)
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def termination() -> Iterator[Callable[[], bool]]:
    """Yield what tells whether SIGTERM came; a second one ends the process as ever.

    Outside of the main thread Python lets nobody listen: then nothing changes.
    """
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came.is_set
        return

    def note(_number: int, _frame: FrameType | None) -> None:
        came.set()
        signal.signal(signal.SIGTERM, before)
        for hear in _told:
            with contextlib.suppress(OSError):
                hear()

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
    if came.is_set():  # too late to stop in the training: whoever listened before hears of it
        signal.raise_signal(signal.SIGTERM)
