"""The devices of one training: one, several that share every batch, on one machine or many, or servers of a chief."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import tensorflow as tf

from parak8s.errors import InputError
from parak8s.rendezvous import listens
from parak8s.training.draws import Rows
from parak8s.training.interruption import termination

if TYPE_CHECKING:
    from parak8s.experiment import Compute
    from parak8s.team import Team

log = logging.getLogger(__name__)


def strategy_for(compute: Compute, kind: str = "GPU", team: Team | None = None) -> tf.distribute.Strategy:
    """Return how a training uses the devices of this machine, and those of the others of its team.

    Each machine uses as many as ``compute.gpus`` asks for, or as there are.

    Args:
        compute: Section of the file.
        kind: ``GPU``; tests share batches between virtual ``CPU``.
        team: The replicas of the job; None for a training on this machine alone.
    """
    if team is not None and team.coordinated:
        _leave_only(0)  # the chief computes nothing
        return tf.distribute.ParameterServerStrategy(_resolver(team))
    if team is not None:
        _leave_only(compute.gpus)
        return tf.distribute.MultiWorkerMirroredStrategy(_resolver(team))
    there = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices(kind)]
    if len(there) < compute.gpus:
        log.warning("compute.gpus asks for %d, TensorFlow sees %d here", compute.gpus, len(there))
    used = there[: compute.gpus]
    return _mirrored(used) if len(used) > 1 else tf.distribute.get_strategy()


def _mirrored(devices: list[str]) -> tf.distribute.MirroredStrategy:
    """Return a strategy whose collectives have keys of their own.

    TensorFlow numbers those of each strategy from the beginning, and remembers their shapes as long as a process lives.
    A second network on the same devices would end with "Shape mismatch in the collective instance".
    """
    tf.distribute.MirroredStrategy._collective_key_base += 1000
    return tf.distribute.MirroredStrategy(devices)


def _leave_only(gpus: int) -> None:
    """Hide the GPUs beyond those that are asked for: TensorFlow takes all that it sees, the same number everywhere."""
    there = tf.config.get_visible_devices("GPU")
    if len(there) < gpus:
        log.warning("compute.gpus asks for %d, TensorFlow sees %d here", gpus, len(there))
    tf.config.set_visible_devices(there[:gpus], "GPU")


def _resolver(team: Team) -> tf.distribute.cluster_resolver.ClusterResolver:
    """Return what TensorFlow wants to know of the team, without the evaluators, who take no part."""
    cluster = {role: list(addresses) for role, addresses in team.cluster.items() if role != "evaluator"}
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster), task_type=team.role, task_id=team.index, rpc_layer="grpc"
    )


def serve(team: Team, gpus: int = 0) -> None:
    """Do what the chief says, as one of its workers or parameter servers, until the process is ended.

    When a whole job is asked to stop (SIGTERM), the chief still needs the weights that lie here to save them: this one
    ends when the chief is gone. Where the chief goes on, it does so until it is killed.

    Args:
        team: The replicas of the job.
        gpus: That a worker uses; parameter servers use none.
    """
    _leave_only(gpus if team.role == "worker" else 0)
    cluster = {role: list(addresses) for role, addresses in team.cluster.items() if role != "evaluator"}
    tf.distribute.Server(
        tf.train.ClusterSpec(cluster), job_name=team.role, task_index=team.index, protocol="grpc", start=True
    )
    with termination() as asked:  # Server.join would hear no signal
        while not (asked() and not listens(team.address_of(team.leader))):
            time.sleep(1)


def refuse_unshared(examples: int, batch_size: int, devices: int) -> None:
    """Refuse batches of which a device would get nothing.

    Raises:
        InputError: The batch, or the smaller last one of an epoch, has fewer examples than there are devices.
    """

    def smallest(size: int) -> int:
        return min(size, examples % size or size)

    if smallest(batch_size) < devices:
        fits = next((size for size in range(batch_size + 1, examples + 1) if smallest(size) >= devices), examples)
        raise InputError(
            f"data.batch_size: in batches of {batch_size} the last of {examples} examples has {smallest(batch_size)}, "
            f"and {devices} devices share each batch; batches of {fits} would do, or fewer compute.gpus or workers"
        )


def rows_here(size: int) -> Rows:
    """Return which rows of a batch of ``size`` this device takes; all where there is one device."""
    context = tf.distribute.get_replica_context()
    devices, index = context.num_replicas_in_sync, int(tf.get_static_value(context.replica_id_in_sync_group))
    return Rows(size * index // devices, size * (index + 1) // devices, size)
