"""What the engine waits for: files that can be read, and moments that come."""

from __future__ import annotations

import heapq
import itertools
import selectors
import time
from collections.abc import Callable
from typing import Any

Act = Callable[[], None]


class Moment:
    """Something that is to be done at a moment."""

    def __init__(self, act: Act) -> None:
        self._act: Act | None = act

    def cancel(self) -> None:
        """Let go of it."""
        self._act = None

    def come(self) -> None:
        """Do it, unless it was cancelled."""
        if self._act is not None:
            self._act()


class Loop:
    """Calls what is to be done, in one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._moments: list[tuple[float, int, Moment]] = []
        self._count = itertools.count()

    def watch(self, file: Any, act: Act) -> None:
        """Call ``act`` whenever ``file`` can be read, or has ended."""
        self._selector.register(file, selectors.EVENT_READ, act)

    def unwatch(self, file: Any) -> None:
        """Stop watching; a file that is not watched, or closed, is no error."""
        if file.fileno() >= 0 and file.fileno() in self._selector.get_map():
            self._selector.unregister(file)

    def after(self, seconds: float, act: Act) -> Moment:
        """Call ``act`` once, when ``seconds`` are over."""
        moment = Moment(act)
        heapq.heappush(self._moments, (time.monotonic() + seconds, next(self._count), moment))
        return moment

    def step(self) -> None:
        """Wait for something to happen, and answer it."""
        wait = max(0.0, self._moments[0][0] - time.monotonic()) if self._moments else None
        for key, _ in self._selector.select(wait):
            if key.fd in self._selector.get_map():  # an act before this one may have ended it
                key.data()
        while self._moments and self._moments[0][0] <= time.monotonic():
            heapq.heappop(self._moments)[2].come()

    def close(self) -> None:
        """Let go of everything."""
        self._selector.close()
