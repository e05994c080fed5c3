"""Runs a TFJob on this machine: the very object that a cluster gets, one process for each replica."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from parak8s.errors import Stopped, from_os_error
from parak8s.tfjobs.local.addresses import reserved, tf_config
from parak8s.tfjobs.local.book import Book
from parak8s.tfjobs.local.containers import launch
from parak8s.tfjobs.local.engine import Engine
from parak8s.tfjobs.local.gpus import dealt
from parak8s.tfjobs.local.interrupts import caught
from parak8s.tfjobs.local.members import Member
from parak8s.tfjobs.local.narration import Narrator, Quiet
from parak8s.tfjobs.local.reading import Job, read
from parak8s.tfjobs.local.status import Status

__all__ = ["Narrator", "Quiet", "run"]


def run(
    job: Mapping[str, Any],
    *,
    logs: Path,
    narrator: Narrator | None = None,
    on_status: Callable[[dict[str, Any]], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run a TFJob on this machine and return the object with its status.

    The object is taken as it is, also one that others wrote; docs/tfjob-engine.md says what a laptop does otherwise
    than a cluster. When this returns or raises, nothing of the job runs any more.

    Args:
        job: The TFJob, plain values as from YAML; it is not changed.
        logs: Folder for one file of each replica, ``worker-0.log``; what is in a file stays.
        narrator: Told of every line and event; None for silence.
        on_status: Given the object with each new status; what it raises ends the job.
        environment: Variables that replicas get, and where secrets are looked up; None for those of this process.

    Raises:
        InputError: The object is no TFJob, or this machine cannot run it; nothing was started.
        EnvironmentFault: This machine has no ports, no processes or no disk left.
        Stopped: Ctrl-C or a signal stopped the job; the last status says so. Only in the main thread.
    """
    wanted, teller = read(job), narrator or Quiet()
    around = os.environ if environment is None else environment

    def write(status: Status) -> None:
        if on_status is not None:
            on_status(_with(job, status))

    try:
        with reserved(wanted) as found, caught() as stops:
            members = [] if wanted.suspended else _members(wanted, found, around, logs, teller)
            book = Book(wanted, members, write)
            book.created()
            if wanted.left_out:
                teller.told(f"a laptop leaves out: {', '.join(wanted.left_out)}")
            engine = Engine(wanted, members, book, teller, stops)
            if wanted.suspended:
                book.suspended()
                teller.told(f"Suspended: {wanted.name} does not start while spec.runPolicy.suspend is true")
            else:
                engine.run()
    except OSError as error:
        raise from_os_error(error, logs) from error
    if engine.stopped_by is not None:
        stopped = Stopped(f"{engine.stopped_by.name} stopped the job {wanted.name}; all replicas have ended")
        stopped.exit_code = 128 + engine.stopped_by
        raise stopped
    return _with(job, book.status)


def _members(
    job: Job, found: Mapping[str, list[str]], around: Mapping[str, str], logs: Path, narrator: Narrator
) -> list[Member]:
    gpus = dealt(job, around)
    return [
        Member(
            kind=kind,
            index=index,
            name=name,
            launch=launch(job, kind, index, tf_config(job, kind, index, found), {**around, **gpus.get(name, {})}),
            grace_s=replicas.grace_s,
            log=logs / f"{name}.log",
            narrator=narrator,
        )
        for kind, replicas in job.replicas.items()
        for index, name in enumerate(replicas.names)
    ]


def _with(job: Mapping[str, Any], status: Status) -> dict[str, Any]:
    return {**copy.deepcopy(dict(job)), "status": status.to_json()}
