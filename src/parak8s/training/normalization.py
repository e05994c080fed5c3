"""Batch normalization of a batch that several devices share: N of them take the statistics that one takes.

They are those of the whole batch, or, with ``training.virtual_batch_size``, of each of the groups of rows that a batch
is cut into ("ghost batch normalization": Hoffer, Hubara and Soudry 2017, arXiv:1705.08741). The groups depend on the
batch alone. One that lies on several devices is put together from the moments of each device's rows (Chan, Golub and
LeVeque 1983, "Algorithms for computing the sample variance"); where none does, the devices tell each other nothing.

Keras can synchronize too, with three collectives for a layer on its way forward and two on the way back, each of which
costs round trips between the machines, and subtracts one mean square from another. Here one does each way; the way back
is written out, in two passes over the rows instead of TensorFlow's many, which is faster on one device, too.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import keras
import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from parak8s.training.draws import Rows

Moments = tuple[tf.Tensor, tf.Tensor]
Seen = list[tuple[keras.layers.BatchNormalization, tf.Tensor]]
"""Layers, with float32 (2, channels): what the rows here contribute to mean and variance of the batch."""

log = logging.getLogger(__name__)
_here = threading.local()  # MirroredStrategy traces each replica in a thread of its own


class Whole:
    """All rows that a layer sees are one group.

    Args:
        mask: Which of (rows, ...), without the channels, count; None: all.
    """

    def __init__(self, mask: tf.Tensor | None = None) -> None:
        self.weights = None if mask is None else tf.cast(mask, tf.float32)[..., None]

    def moments(self, rows: tf.Tensor, axes: list[int]) -> tf.Tensor:
        """Return number, means and variances (1, 1 + 2 * channels) of the values here."""
        if self.weights is None:
            mean, variance = tf.nn.moments(rows, axes)
            count = tf.cast(tf.size(rows) / tf.size(mean), rows.dtype)
        else:
            mean, variance = tf.nn.weighted_moments(rows, axes, tf.cast(self.weights, rows.dtype))
            count = tf.reduce_sum(tf.cast(self.weights, rows.dtype))
        return tf.concat([[count], mean, variance], axis=0)[None]

    def added_up(self, values: tf.Tensor) -> tf.Tensor:
        """Return (1, channels) as it is."""
        return values

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        """Return (1, channels) as it is."""
        return values


class Groups:
    """The device's rows lie in several groups of the batch, one row for each example.

    Args:
        sizes: How many of them in each group, none in some.
    """

    weights = None

    def __init__(self, sizes: tuple[int, ...]) -> None:
        starts, most = np.cumsum([0, *sizes[:-1]])[:, None], np.arange(max(sizes))
        self.of_rows, self.counts = np.repeat(np.arange(len(sizes)), sizes), np.array(sizes)[:, None]
        self.there = most < self.counts
        self.places = np.where(self.there, starts + most, 0)

    def moments(self, rows: tf.Tensor, axes: list[int]) -> tf.Tensor:
        """Return number, means and variances (groups, 1 + 2 * channels) of the values here."""
        mean, variance = tf.nn.moments(rows, axes[1:])  # of each row
        counts = tf.constant(self.counts, rows.dtype)
        means = tf.math.divide_no_nan(self.added_up(mean), counts)
        deviations = self.added_up(variance + tf.square(mean - self.spread(means)))
        values_in_row = tf.cast(tf.size(rows) / tf.size(mean), rows.dtype)
        return tf.concat([counts * values_in_row, means, tf.math.divide_no_nan(deviations, counts)], axis=1)

    def added_up(self, values: tf.Tensor) -> tf.Tensor:
        """Return (groups, channels) of (rows, channels), added up in an order that is always the same."""
        return tf.reduce_sum(tf.gather(values, self.places) * tf.constant(self.there[..., None], values.dtype), axis=1)

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        """Return (rows, channels) of (groups, channels): each row has that of its group."""
        return tf.gather(values, self.of_rows)


@dataclass(frozen=True)
class Share:
    """A device's rows of a batch.

    Args:
        rows: Which ones.
        sizes: How many of them lie in each group, none in some.
        devices: How many share the batch.
        graph: In which the model is called; what is computed in another one, such as that of a loop, cannot leave it.
        seen: Filled while the model is called, where there are several groups.
    """

    rows: Rows
    sizes: tuple[int, ...]
    devices: int
    graph: tf.Graph
    seen: Seen = field(default_factory=list)

    def is_cut_for(self, layer: keras.layers.BatchNormalization, inputs: tf.Tensor, mask: Any) -> bool:
        """Return whether the layer takes its statistics of groups; else of the whole batch."""
        if len(self.sizes) == 1:
            return False
        sees_examples = inputs.shape[0] == sum(self.sizes) and tf.compat.v1.get_default_graph() is self.graph
        fits: bool = sees_examples and mask is None and not layer.renorm
        if not fits:
            _warn_of(layer.name)
        return fits

    def cut(self) -> tuple[Whole | Groups, bool]:
        """Return the groups that the rows lie in, and whether other devices have rows of these groups."""
        apart = len(self.sizes) % self.devices == 0
        in_one = apart and len(self.sizes) == self.devices
        return (Whole() if in_one else Groups(self.sizes)), not apart


@functools.cache
def _warn_of(name: str) -> None:
    log.warning(
        "training.virtual_batch_size: layer %s takes the statistics of whole batches: it has a mask or renorm, sees "
        "other rows than one for each example, or is called in a loop",
        name,
    )


def sizes_of(rows: Rows, most: int | None) -> tuple[int, ...]:
    """Return how many of a device's rows lie in each group of the batch: as few groups as possible, of nearly one size.

    Where their number is a multiple of that of the devices, each group lies on one device.

    Args:
        rows: The device's.
        most: Rows in a group; None: any number.
    """
    count = -(-rows.total // (most or rows.total))
    bounds = [rows.total * index // count for index in range(count + 1)]
    return tuple(max(0, min(stop, rows.stop) - max(start, rows.start)) for start, stop in pairwise(bounds))


@contextlib.contextmanager
def of_the_whole_batch(rows: Rows, most: int | None = None) -> Iterator[Seen]:
    """Let batch normalization in this block, of a device's rows, take the statistics of the batch, or of its groups.

    Yields what the groups' statistics are, for :func:`remember`, when all devices' have been added up.

    Args:
        rows: The device's.
        most: Rows in a group; None: the whole batch is one.
    """
    devices = tf.distribute.get_replica_context().num_replicas_in_sync
    _here.share = Share(rows, sizes_of(rows, most), devices, tf.compat.v1.get_default_graph())
    try:
        yield _here.share.seen
    finally:
        _here.share = None


@contextlib.contextmanager
def shared() -> Iterator[None]:
    """Let :func:`of_the_whole_batch` have its effect in this block, in all threads."""
    layer_type = keras.layers.BatchNormalization
    of_keras, of_rows = layer_type.call, layer_type._moments

    def call(
        layer: keras.layers.BatchNormalization, inputs: tf.Tensor, training: bool | None = None, mask: Any = None
    ) -> tf.Tensor:
        share = getattr(_here, "share", None)
        learns = training and layer.trainable
        if share is None or not learns or not share.is_cut_for(layer, inputs, mask):
            return of_keras(layer, inputs, training=training, mask=mask)
        return _normalized(layer, inputs, share)

    def of_batch(layer: keras.layers.BatchNormalization, inputs: tf.Tensor, mask: Any) -> Moments:
        share = getattr(_here, "share", None)
        if share is None or (share.devices == 1 and mask is not None):
            return of_rows(layer, inputs, mask)
        means, variances = moments(inputs, layer._reduction_axes, Whole(mask), told=share.devices > 1)
        return means[0], variances[0]

    with patch.object(layer_type, "call", call), patch.object(layer_type, "_moments", of_batch):
        yield


def _normalized(layer: keras.layers.BatchNormalization, inputs: tf.Tensor, share: Share) -> tf.Tensor:
    """Return what the layer makes of each group; remember what its moving statistics are to be told of it."""
    rows = tf.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
    cut, told = share.cut()
    means, variances = moments(rows, layer._reduction_axes, cut, told)
    part = tf.reduce_mean(tf.stack([means, variances]), axis=1) * (sum(share.sizes) / share.rows.total)
    share.seen.append((layer, tf.cast(part, tf.float32)))
    channels = _along(layer._reduction_axes, len(rows.shape))
    offset, scale = (
        None if weight is None else tf.reshape(keras.ops.cast(weight, rows.dtype), channels)
        for weight in (layer.beta, layer.gamma)
    )
    means, variances = (tf.reshape(each, [each.shape[0], *channels[1:]]) for each in (means, variances))
    normalized = tf.nn.batch_normalization(rows, means, variances, offset, scale, layer.epsilon)
    return tf.cast(normalized, layer.compute_dtype)


def remember(layer: keras.layers.BatchNormalization, statistics: tf.Tensor) -> None:
    """Move the moving statistics of a layer towards float32 (2, channels): mean and variance of a whole batch."""
    for moving, now in zip((layer.moving_mean, layer.moving_variance), tf.unstack(statistics), strict=True):
        moved = keras.ops.cast(moving, tf.float32) * layer.momentum + now * (1 - layer.momentum)
        moving.assign(tf.cast(moved, moving.dtype))


def moments(inputs: tf.Tensor, axes: list[int], cut: Whole | Groups, told: bool) -> Moments:
    """Return mean and variance for the rows here, (1, channels) or (rows, channels), of the groups that they lie in.

    Args:
        inputs: This device's rows, at least one: floating, of any shape.
        axes: All of its axes but that of the channels; the first one is among them.
        cut: The groups.
        told: Whether other devices have rows of these groups; then all of them call this at the same place.
    """
    channels = _along(axes, len(inputs.shape))

    def of_all_devices(mine: tf.Tensor) -> tf.Tensor:
        return _told(mine, tf.distribute.get_replica_context()) if told else mine[None]

    @tf.custom_gradient
    def of_groups(rows: tf.Tensor) -> tuple[Moments, Callable[..., tf.Tensor]]:
        here = cut.moments(rows, axes)
        width = (here.shape[1] - 1) // 2
        counts, means, variances = tf.split(of_all_devices(here), [1, width, width], axis=2)
        total = tf.reduce_sum(counts, axis=0)
        mean = tf.math.divide_no_nan(tf.reduce_sum(tf.math.multiply_no_nan(means, counts), axis=0), total)
        deviations = tf.math.multiply_no_nan(variances + tf.square(means - mean), counts)
        variance = tf.math.divide_no_nan(tf.reduce_sum(deviations, axis=0), total)

        def gradient(of_mean: tf.Tensor, of_variance: tf.Tensor) -> tf.Tensor:
            both = tf.stack([cut.added_up(of_mean), cut.added_up(of_variance)])
            of_mean, of_variance = tf.unstack(tf.math.divide_no_nan(tf.reduce_sum(of_all_devices(both), axis=0), total))
            slope, rest = (cut.spread(each) for each in (2 * of_variance, of_mean - 2 * of_variance * mean))
            slope, rest = (tf.reshape(each, [each.shape[0], *channels[1:]]) for each in (slope, rest))
            to_rows = rows * slope + rest
            return to_rows if cut.weights is None else to_rows * tf.cast(cut.weights, rows.dtype)

        return (cut.spread(mean), cut.spread(variance)), gradient

    moments_of_groups: Moments = of_groups(inputs)
    return moments_of_groups


def _along(axes: list[int], rank: int) -> list[int]:
    """Return the shape in which (channels,) is broadcast over the other axes."""
    return [1 if axis in axes else -1 for axis in range(rank)]


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
