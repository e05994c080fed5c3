"""Ends a process that waits for others in vain: a peer that hangs must not hang the job for ever."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from parak8s.rendezvous import PeerLost

if TYPE_CHECKING:
    from parak8s.training.progress import Record


FIRST_S = 900.0


class Watchdog:
    """Ends the process with a retryable exit code when nothing happened for a while. It is an observer of the training.

    TensorFlow waits in C++, where no exception reaches it; so the process is left at once. What counts is on the disk.

    Args:
        limit_s: How long nothing may happen; before the first step, which compiles the network, FIRST_S at least, and
            later twice as long as it has once taken until the next sign of progress.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._happened, self._over, self._began = threading.Event(), False, False
        self._longest_s = 0.0

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._happened.set()

    def happened(self) -> None:
        """Hear that there is progress."""
        self._happened.set()

    def on_steps(self, epoch: int, done: int, total: int) -> None:  # noqa: ARG002
        """Something happened."""
        self._began = True
        self._happened.set()

    def on_epoch(self, record: Record) -> None:  # noqa: ARG002
        """Something happened."""
        self._happened.set()

    def _patience(self) -> float:
        return max(self.limit_s, 2 * self._longest_s if self._began else FIRST_S)

    def _watch(self) -> None:
        since = time.monotonic()
        while self._happened.wait(self._patience()):
            if self._over:
                return
            self._happened.clear()
            now = time.monotonic()
            self._longest_s, since = max(self._longest_s, now - since), now
        print(  # noqa: T201 - the last words of the process
            f"parak8s: no step for {self._patience():g} s: another replica hangs, or cannot be reached. The job goes "
            "on from its last checkpoint when it is started again; compute.job.peer_timeout_s says how long to wait",
            file=sys.stderr,
            flush=True,
        )
        os._exit(PeerLost.exit_code)
