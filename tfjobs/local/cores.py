"""Deals out this machine's cores among replicas that compute in step, as limits do on a cluster.

Otherwise each of them takes as many threads as the machine has cores, and all threads contend for all cores. In step
the slowest replica sets the pace: on 2 cores two workers of the ECG experiment were 1.4 times as fast with a core each.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from parak8s.tfjobs.local.reading import Job

IN_STEP = ("Chief", "Master", "Worker")


def cores_here() -> list[int]:
    """Return the cores that this process may use; none where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def shares(job: Job, here: Collection[int]) -> dict[str, frozenset[int]]:
    """Return replica -> cores of its own, of which one has at most one more than another.

    A replica that is not named may use all: where there is one replica alone, or more of them than cores, and beside
    parameter servers, where nobody waits for the slowest.

    Args:
        job: The TFJob.
        here: Numbers of the cores that there are.
    """
    names = [name for kind in IN_STEP if kind in job.replicas for name in job.replicas[kind].names]
    if "PS" in job.replicas or not 1 < len(names) <= len(here):
        return {}
    cores, count = sorted(here), len(names)
    bounds = [len(cores) * place // count for place in range(count + 1)]
    return {name: frozenset(cores[bounds[place] : bounds[place + 1]]) for place, name in enumerate(names)}
