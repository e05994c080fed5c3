"""The leader's log, line by line as it is written: over restarts, and over connections that break."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from parak8s.cluster.api.faults import Forbidden, NotFound, reaching
from parak8s.cluster.connection import CONNECT_S
from parak8s.cluster.faults import Unavailable
from parak8s.cluster.jobs.replicas import CONTAINER, Replica
from parak8s.cluster.patience import persistently
from parak8s.errors import EnvironmentFault, InputError
from parak8s.secrets import redacted

if TYPE_CHECKING:
    from parak8s.cluster.api.connection import Connection

SILENCE_S = 300
"""After so long without a line the connection may be dead: it is opened again."""
TO_THE_END_S, LINGERING_S = 30, 1
"""How long the last lines may take: of a leader that ended, and of one that a job that failed left running."""
TAIL = 20
"""Lines of a replica that failed among which its reason is looked for."""
_STAMPED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d) (.*)", re.DOTALL)
SENTENCE = "parak8s: "
"""How ParaK8s begins the line that says why it ends."""

Stamp = tuple[float, int]
"""Seconds since 1970 and nanoseconds."""


@dataclass
class _Seen:
    """Up to where the log of a pod is read. A log that is opened again starts with its first line.

    Args:
        uid: Of the pod.
        stamp: Of the newest line.
        lines: How many lines bear that stamp.
    """

    uid: str
    stamp: Stamp = (0, 0)
    lines: int = 0

    def unread(self, stamped: Iterator[str]) -> Iterator[str]:
        """Yield the lines that are new, without their stamps."""
        same, catching_up = 0, True
        for line in stamped:
            stamp, text = _split(line)
            same += stamp == self.stamp
            if catching_up and (stamp < self.stamp or (stamp == self.stamp and same <= self.lines)):
                continue
            catching_up = False
            if stamp > self.stamp:
                self.stamp, self.lines = stamp, 0
            self.lines += stamp == self.stamp
            yield text


class LeaderLog:
    """Reads the log of the replica that leads in a thread of its own.

    Args:
        connection: Where.
        say: Takes each line, in that thread.
    """

    def __init__(self, connection: Connection, say: Callable[[str], None]) -> None:
        self._connection, self._say = connection, say
        self._changed = threading.Condition()
        self._now: Replica | None = None
        self._looks = 0
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._attempt: tuple[str, int] | None = None
        self._seen = _Seen("")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def at(self, leader: Replica | None) -> None:
        """Say which pod leads now, at every look at the job; when its container ended, return with its last line."""
        with self._changed:
            self._now = leader
            self._looks += 1
            self._changed.notify_all()
        if leader is None or leader.attempt != self._attempt or _is_over(leader):
            self._finish(TO_THE_END_S)

    def begin(self) -> None:
        """Read what the leader says, when this is a new attempt of it: from its first line."""
        leader = self._now
        if leader is not None and leader.has_begun and leader.attempt != self._attempt:
            self._attempt = leader.attempt
            if leader.uid != self._seen.uid:
                self._seen = _Seen(leader.uid)
            self._thread = threading.Thread(target=self._read, args=(leader,), daemon=True)
            self._thread.start()

    def read_to_the_end(self) -> None:
        """Wait until every line is read, now that the job is over; not for a leader that goes on all the same."""
        with self._changed:
            within_s = TO_THE_END_S if self._now is None or _is_over(self._now) else LINGERING_S
            self._now = None
            self._looks += 1
            self._changed.notify_all()
        self._finish(within_s)

    def _finish(self, within_s: float) -> None:
        if self._thread is not None:
            self._thread.join(within_s)

    def _read(self, replica: Replica) -> None:
        try:
            if replica.restarts:  # what the container before said after the connection broke
                self._persistently(replica, previous=True)
            while not self._stopped and self._goes_on(replica):
                self._follow(replica)
            if self._now is None or self._now.attempt == replica.attempt:
                self._persistently(replica)
        except Forbidden as fault:
            self._say(f"the log of {replica.name} cannot be read: {fault}")

    def _follow(self, replica: Replica) -> None:
        """Read while the container runs; then, or when the connection breaks, wait for the next look at the job."""
        with self._changed:
            looks = self._looks
        with contextlib.suppress(Unavailable, NotFound, InputError):
            self._take(replica, follow=True)
        with self._changed:
            while not self._stopped and self._looks == looks and self._goes_on(replica):
                self._changed.wait()

    def _persistently(self, replica: Replica, **options: Any) -> None:
        """Read what is there; nothing where the pod is gone."""
        with contextlib.suppress(Unavailable, NotFound, InputError):
            persistently(lambda: self._take(replica, **options), self._connection.patience)

    def _goes_on(self, replica: Replica) -> bool:
        """Return whether the container that is read still ran when the job was last looked at."""
        return self._now is not None and self._now.attempt == replica.attempt and not _is_over(self._now)

    def _take(self, replica: Replica, **options: Any) -> None:
        """Say the lines that are new."""
        with reaching(self._connection.host):
            for line in self._seen.unread(_lines(self._connection, replica, timestamps=True, **options)):
                if self._stopped:
                    return
                self._say(redacted(line.rstrip("\r").rpartition("\r")[2]))


def last_words(connection: Connection, replica: Replica) -> str:
    """Return the line of a replica that says why it failed, else its last one; empty when there is no log."""
    again = "terminated" not in (replica.container.get("state") or {})
    return why_of(tail(connection, replica, previous=again))


def tail(connection: Connection, replica: Replica, **options: Any) -> list[str]:
    """Return the last lines of a replica that are not blank; none when there is no log."""
    try:
        with reaching(connection.host):
            return [line for line in _lines(connection, replica, tail_lines=TAIL, **options) if line.strip()]
    except (EnvironmentFault, InputError):
        return []


def why_of(lines: Sequence[str]) -> str:
    """Return the last line by which ParaK8s says why it ends, else the last one; empty when there is none."""
    sentences = [line for line in lines if line.startswith(SENTENCE)]
    return next(iter([*sentences[-1:], *lines[-1:]]), "").strip().removeprefix(SENTENCE)


def _lines(connection: Connection, replica: Replica, *, container: str | None = None, **options: Any) -> Iterator[str]:
    """Yield whole lines as they come. A line that is cut off by a broken connection is not one."""
    answer = connection.client.core_api.read_namespaced_pod_log(
        replica.pod_name,
        connection.namespace,
        container=container or replica.container.get("name", CONTAINER),
        _preload_content=False,
        _request_timeout=(CONNECT_S, SILENCE_S),
        **options,
    )
    try:
        rest = b""
        for piece in answer.stream(None):
            *whole, rest = (rest + piece).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in whole)
        if rest:
            yield rest.decode("utf-8", "replace")
    finally:
        answer.close()
        answer.release_conn()


def _is_over(replica: Replica) -> bool:
    return "terminated" in (replica.container.get("state") or {})


def _split(line: str) -> tuple[Stamp, str]:
    """Return the stamp of a line and its text; infinity for a line without one, which is then always new."""
    found = _STAMPED.fullmatch(line)
    if not found:
        return (float("inf"), 0), line
    seconds = datetime.fromisoformat(found[1] + found[3]).timestamp()
    return (seconds, int((found[2] or "0").ljust(9, "0"))), found[4]
