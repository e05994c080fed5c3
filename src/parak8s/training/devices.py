"""The devices of one training: one, or several GPUs that share every batch."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from parak8s.errors import InputError
from parak8s.training.stages import layers_in

if TYPE_CHECKING:
    from parak8s.experiment import Compute

log = logging.getLogger(__name__)


def strategy_for(compute: Compute, kind: str = "GPU") -> tf.distribute.Strategy:
    """Return how a training uses the devices of this machine: as many as ``compute.gpus`` asks for, or as there are.

    Args:
        compute: Section of the file.
        kind: ``GPU``; tests share batches between virtual ``CPU``.
    """
    there = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices(kind)]
    if len(there) < compute.gpus:
        log.warning("compute.gpus asks for %d, TensorFlow sees %d here", compute.gpus, len(there))
    used = there[: compute.gpus]
    return tf.distribute.MirroredStrategy(used) if len(used) > 1 else tf.distribute.get_strategy()


def refuse_unshared(examples: int, batch_size: int, devices: int) -> None:
    """Refuse batches of which a device would get nothing.

    Raises:
        InputError: The batch, or the smaller last one of an epoch, has fewer examples than there are devices.
    """
    last = examples % batch_size or batch_size
    if min(batch_size, last) < devices:
        raise InputError(
            f"data.batch_size {batch_size}: the last batch of {examples} examples has {last}, and {devices} devices "
            f"share each batch; write another size, such as {batch_size + 1}, or fewer compute.gpus"
        )


def share(*columns: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Return this device's rows of a batch; all of them where there is one device."""
    context = tf.distribute.get_replica_context()
    devices, rows = context.num_replicas_in_sync, tf.shape(columns[0])[0]
    if devices == 1:
        return columns
    index = context.replica_id_in_sync_group
    start, stop = rows * index // devices, rows * (index + 1) // devices
    return tuple(column[start:stop] for column in columns)


@contextlib.contextmanager
def normalized_together(model: keras.Model) -> Iterator[None]:
    """Let batch normalization take its statistics over the whole batch, not over each device's share of it."""
    shared = tf.distribute.get_strategy().num_replicas_in_sync > 1
    layers: list[Any] = [each for each in layers_in(model) if isinstance(each, keras.layers.BatchNormalization)]
    before = [layer.synchronized for layer in layers]
    try:
        for layer in layers:
            layer.synchronized = shared or layer.synchronized
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer.synchronized = was
