"""Shares this machine's cores among replicas that compute in step on it, as limits do on a cluster.

Otherwise each of them takes as many threads as the machine has cores, and all threads contend for all cores; in step
the slowest replica sets the pace.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence

from parak8s.team import Team


def take_share(team: Team) -> None:
    """Keep this process, and the threads that it starts from now on, to its share of the cores.

    TensorFlow takes as many threads as there are when it begins. Where the replicas are on several machines, or do not
    wait for each other, nothing changes.
    """
    if hasattr(os, "sched_setaffinity") and (share := share_of(team, sorted(os.sched_getaffinity(0)))):
        os.sched_setaffinity(0, share)


def share_of(team: Team, cores: Sequence[int]) -> list[int]:
    """Return which of ``cores`` a replica has alone, as many as each other replica; none where it may use all.

    As many, because sums depend on the number of threads in their last bit, and all replicas train the same.
    """
    in_step = [(name, address) for name, address in team.addresses() if name.startswith(("chief-", "worker-"))]
    names, each = sorted(name for name, _ in in_step), len(cores) // max(len(in_step), 1)
    if team.in_step == 1 or not each or not all(_is_here(address) for _, address in in_step):
        return []
    place = names.index(team.name)
    return list(cores[place * each : (place + 1) * each])


def _is_here(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
