"""Deals out this machine's GPUs among the replicas of a job, as the device plugin of a cluster would."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path

from parak8s.errors import InputError
from parak8s.tfjobs.local.fields import Fields
from parak8s.tfjobs.local.reading import Job

RESOURCE = "nvidia.com/gpu"
VARIABLE = "CUDA_VISIBLE_DEVICES"


def dealt(job: Job, around: Mapping[str, str], devices: Path = Path("/dev")) -> dict[str, dict[str, str]]:
    """Return replica -> variables that show it GPUs of its own.

    A job that asks for none, or a machine that has none, changes nothing.

    Args:
        job: The TFJob.
        around: Variables of this machine, whose CUDA_VISIBLE_DEVICES says which GPUs the job may have.
        devices: Where the driver lists what there is.

    Raises:
        InputError: There are GPUs, but fewer than the job asks for.
    """
    wanted = {
        name: _asked(replicas.container.inner("resources").inner("limits"))
        for replicas in job.replicas.values()
        for name in replicas.names
    }
    here, asked = _here(around, devices), sum(wanted.values())
    if not asked or not here:
        return {}
    if asked > len(here):
        raise InputError(
            f"the job asks for {asked} GPUs in all ({RESOURCE}), this machine has {len(here)}; ask for fewer workers "
            f"or GPUs, or write {VARIABLE}=-1 before the command to train on processors"
        )
    left = iter(here)
    return {name: {VARIABLE: ",".join(itertools.islice(left, count)) or "-1"} for name, count in wanted.items()}


def _asked(limits: Fields) -> int:
    count = str(limits.values.get(RESOURCE) or 0)  # a quantity is text or a number
    if not count.isdecimal():
        raise limits.wrong(RESOURCE, "expected a whole number")
    return int(count)


def _here(around: Mapping[str, str], devices: Path) -> list[str]:
    if VARIABLE in around:
        named = [name.strip() for name in around[VARIABLE].split(",")]
        return list(itertools.takewhile(lambda name: name not in ("", "-1"), named))  # CUDA stops there, too
    numbers = (re.fullmatch(r"nvidia(\d+)", path.name) for path in devices.glob("nvidia*"))
    return [str(index) for index in range(sum(number is not None for number in numbers))]
