"""Brings the replicas of a job together for a training, and says in plain words when one is lost."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from parak8s import files
from parak8s.data.prepared import MANIFEST
from parak8s.errors import EnvironmentFault
from parak8s.rendezvous import Meeting, PeerLost, wait_for
from parak8s.team import Team
from parak8s.training.cores import take_share
from parak8s.training.devices import strategy_for
from parak8s.training.memory import pause_in, records_in
from parak8s.training.stages import are_over
from parak8s.training.watchdog import Watchdog

if TYPE_CHECKING:
    from parak8s.experiment import Experiment

LOST = tuple(
    getattr(tf.errors, f"{name}Error")
    for name in ("Aborted", "Cancelled", "DeadlineExceeded", "Internal", "InvalidArgument", "Unavailable", "Unknown")
)
"""What TensorFlow says when a peer does not answer, or no longer, or was started anew in the meantime."""
LATE_S = 90.0
"""How long a network file system may show an old state: NFS looks again after 60 s by default (acdirmax)."""
_OF_ANYTHING = (tf.errors.InternalError, tf.errors.UnknownError)
_OF_PEERS = re.compile(r"collective|connection|coordination|grpc|nccl|peer|remote|socket", re.IGNORECASE)
_OF_A_GRAPH = ("Graph execution error:", "Detected at node ", 'File "')
_STARTED_ANEW = re.compile(
    "unable to find the relevant tensor remote_handle|unable to find a context_id|primary device is not remote",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Together:
    """One replica's part in a training of many.

    Args:
        team: Who they are, and which one this is.
        start_s: How long the leader waits for the others.
        hang_s: How long no step may happen.
        meeting: Where the leader meets them.
        told: What the leader told this one; empty for the leader.
        certify: Whether the leader trains alone too, afterwards, and compares.
        ready: Called by the leader before it tells the others to begin.
    """

    team: Team
    start_s: float
    hang_s: float
    meeting: Meeting | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    certify: bool = False
    ready: Callable[[], None] = lambda: None


@contextlib.contextmanager
def strategy(
    experiment: Experiment, dataset: Path, training: Path, together: Together | None, kind: str = "GPU"
) -> Iterator[tuple[tf.distribute.Strategy, list[Watchdog]]]:
    """Yield how the training uses devices and machines, and observers that it needs; returns when all are there.

    A training of which only the end is left, because the leader was killed there, needs nobody else.

    Raises:
        PeerLost: A replica does not come, or is lost while the block runs.
        EnvironmentFault: The replicas see different folders.
    """
    if together is None:
        yield strategy_for(experiment.compute, kind), []
        return
    over = together.team.leads and are_over(records_in(training), experiment.training)
    if not over:
        _meet(together, dataset, training, experiment.model.params)
    take_share(together.team)
    if over:
        yield strategy_for(experiment.compute, kind), []
        return
    with Watchdog(together.hang_s) as watchdog:
        try:
            yield strategy_for(experiment.compute, team=together.team), [watchdog]
        except LOST as error:
            if not is_loss(error):
                raise
            raise PeerLost(
                f"another replica was lost ({_first_words(error)}); the job goes on from its last checkpoint when all "
                "start again"
            ) from error


def is_loss(error: tf.errors.OpError) -> bool:
    """Return whether TensorFlow speaks of another replica, not of a fault that every new start would meet again."""
    if isinstance(error, tf.errors.InvalidArgumentError):
        return bool(_STARTED_ANEW.search(error.message))
    return isinstance(error, LOST) and (not isinstance(error, _OF_ANYTHING) or bool(_OF_PEERS.search(error.message)))


def _first_words(error: tf.errors.OpError) -> str:
    """Return the first line of an error that says anything; a graph's begins with where it was built."""
    lines = (line.strip() for line in error.message.splitlines())
    return next((line for line in lines if line and not line.startswith(_OF_A_GRAPH)), type(error).__name__)[:300]


def _meet(together: Together, dataset: Path, training: Path, params: Mapping[str, Any]) -> None:
    team = together.team
    if team.leads:
        together.ready()
    if team.coordinated:
        others = {name: address for name, address in team.addresses() if name != team.name}
        wait_for({name: address for name, address in others.items() if "evaluator" not in name}, together.start_s)
    elif together.meeting is not None:
        facts = {"dataset": str(dataset), "training": str(training), "state": state_of(dataset, training)}
        together.meeting.begin({**facts, "params": dict(params)}, within_s=together.start_s)
    elif (seen := seen_in_time(dataset, training, together.told["state"])) != together.told["state"]:
        raise EnvironmentFault(
            f"{training}: {team.name} sees {seen} here, {team.leader} {together.told['state']}; all replicas must see "
            "one folder, or one object store: mount the same volume (ReadWriteMany) at the same path in all of them"
        )


def seen_in_time(dataset: Path, training: Path, expected: dict[str, Any]) -> dict[str, Any]:
    """Return what is in the folders; a network file system may show it late what others have written."""
    given_up = time.monotonic() + LATE_S
    while (seen := state_of(dataset, training)) != expected and time.monotonic() < given_up:
        time.sleep(1)
    return seen


def state_of(dataset: Path, training: Path) -> dict[str, Any]:
    """Return what is in the folders, in short: the version of the dataset, and what the training remembers."""
    manifest, paused = dataset / MANIFEST, pause_in(training) or {}
    version = files.sha256_of(manifest)[:12] if manifest.is_file() else None
    return {
        "dataset": version,
        "epochs": len(records_in(training)),
        "paused_at": [paused.get("epochs"), paused.get("checkpoint")],
    }
