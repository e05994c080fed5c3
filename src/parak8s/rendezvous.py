"""Where the replicas of a job meet before they train: the leader learns who is there, the others when to begin.

TensorFlow waits for ever, and in silence, for a worker that does not come. So the leader listens at its own address
first, while TensorFlow does not need it yet, and says who is missing when the time is over. The others stay connected
while the leader prepares the data: whoever dies then is noticed at once, and a leader that hangs by its silence.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from parak8s.errors import EnvironmentFault
from parak8s.team import Team

LIMIT, PAUSE_S, TALK_S = 1 << 16, 0.2, 10.0
"""Longest message in bytes; how long to wait before asking again whether somebody is there; for an answer."""
BEAT_S, SILENT_S = 5.0, 60.0
"""How often the leader gives a sign of life, an empty line, while it prepares; how long it may be silent."""


class PeerLost(EnvironmentFault):
    """A replica is missing or died: the job can go on when all start again (exit codes from 128 on are retried)."""

    exit_code = 200


class PeerMissing(PeerLost):
    """A replica did not come in time."""


@dataclass
class Meeting:
    """The leader's side. Others may come as soon as it is open.

    Args:
        team: Who is expected.
    """

    team: Team
    _present: dict[str, socket.socket] = field(default_factory=dict, init=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)
    _closed: threading.Event = field(default_factory=threading.Event, init=False)

    def __enter__(self) -> Self:
        """Listen at the leader's address.

        Raises:
            EnvironmentFault: Something else listens there.
        """
        port = int(self.team.address_of(self.team.leader).rpartition(":")[2])
        try:
            self._door = _listening(port)
        except OSError as error:
            raise EnvironmentFault(
                f"port {port} of the job is taken ({error.strerror}); end what listens there"
            ) from error
        for task in (self._welcome, self._beat):
            threading.Thread(target=task, name="rendezvous", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send everybody home who still waits, unless something went wrong: then they wait for the next leader."""
        if error is None:
            self._tell(json.dumps({"begin": False}))
        self._close()

    @property
    def expected(self) -> set[str]:
        """Names of all but the leader, and the evaluators, who take no part."""
        return {name for name, _ in self.team.addresses() if "evaluator" not in name} - {self.team.leader}

    def begin(self, facts: Mapping[str, Any], within_s: float) -> None:
        """Wait until all are there, tell them ``facts`` and leave the address to TensorFlow.

        Raises:
            PeerMissing: Somebody does not come within ``within_s`` seconds; the message says who.
        """
        with self._changed:
            if not self._changed.wait_for(self._complete, within_s):
                missing = ", ".join(sorted(self.expected - self._present.keys()))
                raise PeerMissing(
                    f"{missing} did not come within {within_s:g} s; look at the pods' events and logs. "
                    "The job goes on from its last checkpoint when it is started again"
                )
        self._tell(json.dumps({"begin": True, **facts}))
        self._close()

    def _complete(self) -> bool:
        for name, connection in list(self._present.items()):
            if _has_hung_up(connection):
                self._present.pop(name).close()
        return self.expected <= self._present.keys()

    def _welcome(self) -> None:
        while True:
            try:
                connection, _ = self._door.accept()
            except OSError:
                return  # the door is closed
            threading.Thread(target=self._note, args=(connection,), daemon=True).start()

    def _note(self, connection: socket.socket) -> None:
        """Remember who came. Whoever says nothing that is understood, a port scanner say, is not let in."""
        try:
            connection.settimeout(TALK_S)
            name = str(_receive(connection)["name"])
        except (OSError, ValueError, KeyError, TypeError):
            connection.close()
            return
        connection.settimeout(None)
        _keep_alive(connection)
        with self._changed:
            if (earlier := self._present.get(name)) is not None:
                earlier.close()
            self._present[name] = connection
            self._changed.notify_all()

    def _beat(self) -> None:
        while not self._closed.wait(BEAT_S):
            self._tell("")

    def _tell(self, line: str) -> None:
        with self._changed:
            for connection in self._present.values():
                with contextlib.suppress(OSError):
                    connection.sendall(line.encode() + b"\n")

    def _close(self) -> None:
        self._closed.set()
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        with self._changed:
            for connection in self._present.values():
                connection.close()
            self._present.clear()


def attend(team: Team, within_s: float) -> dict[str, Any]:
    """Wait at the leader's door until it says that the training begins, or that it is over; return what it says.

    The leader may take its time: ``within_s`` counts while it cannot be reached, or gives no sign of life.

    Raises:
        PeerLost: It could not be reached for ``within_s`` seconds.
    """
    address, heard = team.address_of(team.leader), time.monotonic()
    while time.monotonic() - heard < within_s:
        for message in _said(address, team.name):
            if message is not None:
                return message
            heard = time.monotonic()
        time.sleep(PAUSE_S)
    raise PeerLost(
        f"{team.leader} cannot be reached at {address} for {within_s:g} s; look at its events and its log. "
        "The job goes on from its last checkpoint when it is started again"
    )


def _said(address: str, name: str) -> Iterator[dict[str, Any] | None]:
    """Yield what the leader says, None for a sign of life, as long as there is a leader that is not silent."""
    try:
        with socket.create_connection(_host_and_port(address), timeout=TALK_S) as connection:
            _keep_alive(connection)
            connection.sendall(json.dumps({"name": name}).encode() + b"\n")
            connection.settimeout(SILENT_S)
            with connection.makefile("rb") as stream:
                while line := stream.readline(LIMIT):
                    message = json.loads(line) if line.strip() else None
                    if message is not None and not (isinstance(message, dict) and type(message.get("begin")) is bool):
                        return
                    yield message
    except (OSError, ValueError):
        return


def wait_for(addresses: Mapping[str, str], within_s: float) -> None:
    """Wait until something listens at each of ``addresses``, by name.

    Raises:
        PeerMissing: Somebody does not within ``within_s`` seconds; the message says who.
    """
    started, missing = time.monotonic(), dict(addresses)
    while missing:
        missing = {name: address for name, address in missing.items() if not listens(address)}
        if missing and time.monotonic() - started > within_s:
            raise PeerMissing(
                f"{', '.join(sorted(missing))} did not come within {within_s:g} s; look at the pods' events and logs"
            )
        time.sleep(PAUSE_S if missing else 0)


def listens(address: str) -> bool:
    """Return whether somebody accepts connections at ``HOST:PORT``."""
    try:
        socket.create_connection(_host_and_port(address), timeout=TALK_S).close()
    except OSError:
        return False
    return True


def _listening(port: int) -> socket.socket:
    """Return what accepts connections at all addresses of this machine: a cluster may have IPv6 alone."""
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    return socket.create_server(("", port), family=family, backlog=1024, dualstack_ipv6=both)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _receive(connection: socket.socket) -> Any:
    with connection.makefile("rb") as stream:
        line = stream.readline(LIMIT)
    return json.loads(line.decode())


def _keep_alive(connection: socket.socket) -> None:
    """Let the kernel notice within about a minute that the other machine is gone: it asks where nothing is sent.

    Where something was sent, a sign of life, it does not ask, and would wait a quarter of an hour for the answer.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    gone_ms = round(1000 * SILENT_S)
    for option, value in (
        ("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 4), ("TCP_USER_TIMEOUT", gone_ms)
    ):  # fmt: skip
        if hasattr(socket, option):  # not on every system
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _has_hung_up(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
