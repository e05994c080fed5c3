"""Asks a server again that cannot answer now, with growing pauses and an end."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from parak8s.cluster.faults import ServerError, Unavailable, Unreachable

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long a server is asked again.

    Args:
        first_s: The first pause, in seconds; each is twice the one before.
        longest_s: No pause is longer.
        total_s: When to give up, counted from the first question.
        server_errors: How often an answer 500 of Kubeflow Pipelines itself is taken; it gives one for lasting mistakes
            too. None for no limit.
        unreachable: Ask again too when nothing listens at the address.
    """

    first_s: float = 1
    longest_s: float = 30
    total_s: float = 120
    server_errors: int | None = 3
    unreachable: bool = False

    def once(self) -> "Patience":
        """Return the same, but for asking a single time."""
        return replace(self, total_s=0)


BRIEF = Patience()
"""Somebody waits for the answer, and can give the command again."""
LASTING = Patience(total_s=900, server_errors=None, unreachable=True)
"""The run goes on whether it is watched or not: a server that restarts, a laptop that sleeps."""


def persistently(
    act: Callable[[], T], patience: Patience, on_pause: Callable[[Unavailable], None] = lambda _: None
) -> T:
    """Return what ``act`` returns, and call it again while it raises that the server is not available.

    Args:
        act: Must be harmless when done twice.
        patience: How long.
        on_pause: Told why, before each pause.
    """
    started, pause, server_errors = time.monotonic(), patience.first_s, 0
    while True:
        try:
            return act()
        except Unavailable as fault:
            server_errors += isinstance(fault, ServerError)
            lasting = patience.server_errors is not None and server_errors >= patience.server_errors
            late = time.monotonic() - started + pause > patience.total_s
            if lasting or late or (isinstance(fault, Unreachable) and not patience.unreachable):
                raise
            on_pause(fault)
        time.sleep(pause)
        pause = min(2 * pause, patience.longest_s)
