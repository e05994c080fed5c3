"""Where replicas find each other: a port of this machine for each, and the TF_CONFIG that tells them.

Source: kubeflow/training-operator v1.9, pkg/controller.v1/tensorflow/tensorflow.go.
"""

from __future__ import annotations

import contextlib
import errno
import json
import random
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from parak8s.errors import EnvironmentFault
from parak8s.tfjobs.local.reading import Job

HOST = "127.0.0.1"
FIRST, LAST = 10_000, 65_535
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")

Addresses = Mapping[str, list[str]]
"""Type in lower case, such as worker -> host:port of each replica."""


@contextlib.contextmanager
def reserved(job: Job) -> Iterator[Addresses]:
    """Yield an address for every replica. It is theirs until the block ends, also while one starts again.

    Ports are not those that the system hands out by itself, so that no connection takes one while its replica is
    away; and other engines on this machine see that they are taken.

    Raises:
        EnvironmentFault: This machine has no free ports.
    """
    with contextlib.ExitStack() as held:
        free = _free_ports(held)
        yield {kind.lower(): [f"{HOST}:{next(free)}" for _ in each.names] for kind, each in job.replicas.items()}


def tf_config(job: Job, kind: str, index: int, of: Addresses) -> str | None:
    """Return the text that the operator sets as TF_CONFIG; None for a job of one replica, which gets none."""
    if not job.distributed:
        return None
    cluster = {each: of[each] for each in sorted(of) if each != "evaluator"}
    task = {"type": kind.lower(), "index": index}
    values: dict[str, Any] = {"cluster": cluster, "task": task, "environment": "cloud"}
    if job.dynamic_workers:
        values = {"sparseCluster": _sparse(cluster, kind.lower(), index), "task": task}
    return json.dumps(values, separators=(",", ":"))


def _sparse(cluster: Addresses, kind: str, index: int) -> dict[str, Any]:
    """Return what a replica is told of a cluster whose workers come and go: the parameter servers and itself."""
    if kind == "ps":
        return {"worker": {}, "ps": [cluster["ps"][index]]}
    if kind == "worker":
        return {"worker": {str(index): cluster["worker"][index]}, "ps": cluster.get("ps")}
    return {"worker": {}, "ps": []}


def _free_ports(held: contextlib.ExitStack) -> Iterator[int]:
    candidates = _candidates()
    for port in random.SystemRandom().sample(candidates, len(candidates)):
        lock = _lock(port)
        if lock is None:
            continue
        held.enter_context(lock)
        if _is_free(port):
            yield port
    raise EnvironmentFault(f"no free port between {FIRST} and {LAST}; end programs that hold them")


def _candidates() -> list[int]:
    """Return the ports that the system does not hand out by itself."""
    try:
        low, high = map(int, _EPHEMERAL.read_text().split())
    except (OSError, ValueError):
        low, high = 49_152, 65_535  # IANA's, and those of macOS
    outside = [port for port in range(FIRST, LAST + 1) if not low <= port <= high]
    return outside if len(outside) >= 1000 else list(range(FIRST, LAST + 1))


def _lock(port: int) -> socket.socket | None:
    """Return what shows other engines that a port is taken, also if this one is killed; None if one of them has it."""
    lock = socket.socket(socket.AF_UNIX)
    if sys.platform == "linux":
        try:
            lock.bind(f"\0parak8s-tfjob-port-{port}")  # in no folder: the system takes it away with the process
        except OSError as error:
            lock.close()
            if error.errno != errno.EADDRINUSE:
                raise
            return None
    return lock


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        try:
            trial.bind(("", port))
        except OSError:
            return False
    return True
