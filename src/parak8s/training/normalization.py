"""Batch normalization of a batch that several devices share: its mean and variance are those of the whole batch.

Keras can synchronize too, with three collectives for a layer on its way forward and two on the way back, each of which
costs round trips between the machines, and subtracts one mean square from another. Here one does each way. Every device
finds the moments of its own rows, and all hear of all of them (Chan, Golub and LeVeque 1983, "Algorithms for computing
the sample variance"); the way back is written out, in two passes over the rows instead of TensorFlow's many.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import keras
import tensorflow as tf

Moments = tuple[tf.Tensor, tf.Tensor]


@contextlib.contextmanager
def normalized_together() -> Iterator[None]:
    """Let batch normalization that is traced in this block see the whole batch, not a device's share of it."""
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        yield
        return
    of_share = keras.layers.BatchNormalization._moments

    def of_batch(layer: keras.layers.BatchNormalization, inputs: tf.Tensor, mask: Any) -> Moments:
        context = tf.distribute.get_replica_context()
        if mask is not None or context is None:
            return of_share(layer, inputs, mask)
        return moments(inputs, layer._reduction_axes, context)

    with patch.object(keras.layers.BatchNormalization, "_moments", of_batch):
        yield


def moments(inputs: tf.Tensor, axes: list[int], context: tf.distribute.ReplicaContext) -> Moments:
    """Return mean and variance float32 (channels,) over ``axes`` of the rows of all devices.

    Args:
        inputs: This device's rows, at least one: float32, of any shape.
        axes: All of its axes but that of the channels.
        context: Of this device; all of them call this at the same place.
    """
    of_channels = [1 if axis in axes else -1 for axis in range(len(inputs.shape))]

    @tf.custom_gradient
    def of_all(rows: tf.Tensor) -> tuple[Moments, Callable[..., tf.Tensor]]:
        mean, variance = tf.nn.moments(rows, axes)
        count, channels = tf.cast(tf.size(rows) / tf.size(mean), mean.dtype), mean.shape[0]
        told = _told(tf.concat([[count], mean, variance], axis=0), context)
        counts, means, variances = tf.split(told, [1, channels, channels], axis=1)
        total = tf.reduce_sum(counts)
        mean = tf.reduce_sum(means * counts, axis=0) / total
        variance = tf.reduce_sum((variances + tf.square(means - mean)) * counts, axis=0) / total

        def gradient(of_mean: tf.Tensor, of_variance: tf.Tensor) -> tf.Tensor:
            of_mean, of_variance = tf.unstack(
                tf.reduce_sum(_told(tf.stack([of_mean, of_variance]), context), axis=0) / total
            )
            slope = 2 * of_variance
            return rows * tf.reshape(slope, of_channels) + tf.reshape(of_mean - slope * mean, of_channels)

        return (mean, variance), gradient

    moments_of_all: Moments = of_all(inputs)
    return moments_of_all


def _told(mine: tf.Tensor, context: tf.distribute.ReplicaContext) -> tf.Tensor:
    """Return what every device tells, (devices, ...); all of them tell values of one shape.

    Between machines TensorFlow's own gathering operation costs half of what a sum does, which goes round twice. Its
    public form asks for the shapes first, which are known here.
    """
    if isinstance(context.strategy, tf.distribute.MultiWorkerMirroredStrategy):
        launcher = context.strategy.extended._cross_device_ops._launchers[context._replica_id]
        return launcher._all_gather(mine[None], options=None)
    devices, index = context.num_replicas_in_sync, int(tf.get_static_value(context.replica_id_in_sync_group))
    others = [[index, devices - index - 1]] + [[0, 0]] * len(mine.shape)
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.pad(mine[None], others))
