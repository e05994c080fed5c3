"""Batch normalization of a batch that several devices share: N of them take the statistics that one takes.

They are those of the whole batch, or, with ``training.virtual_batch_size``, of each of the groups of rows that a batch
is cut into ("ghost batch normalization": Hoffer, Hubara and Soudry 2017, arXiv:1705.08741). The groups depend on the
batch alone. One that lies on several devices is put together from the moments of each device's rows (Chan, Golub and
LeVeque 1983, "Algorithms for computing the sample variance"); where none does, the devices tell each other nothing.

Keras can synchronize too, with three collectives for a layer on its way forward and two on the way back, each of which
costs round trips between the machines, and subtracts one mean square from another. Here one does each way; the way back
is written out, in two passes over the rows instead of TensorFlow's many.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import keras
import tensorflow as tf

from parak8s.training.groups import ManyGroups, OneGroup, sizes_of

if TYPE_CHECKING:
    from parak8s.training.draws import Rows

Moments = tuple[tf.Tensor, tf.Tensor]
Seen = list[tuple[keras.layers.BatchNormalization, tf.Tensor]]
"""Layers, with float32 (2, channels): this device's part of the means over the groups of their means and variances."""

log = logging.getLogger(__name__)
_here = threading.local()  # MirroredStrategy traces each replica in a thread of its own


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

    @property
    def cut(self) -> bool:
        """Whether some group has rows of several devices."""
        return len(self.sizes) % self.devices > 0

    @property
    def groups(self) -> OneGroup | ManyGroups:
        """Those that the rows lie in."""
        return OneGroup() if len(self.sizes) == self.devices else ManyGroups(self.sizes)

    def has_groups_for(self, layer: keras.layers.BatchNormalization, inputs: tf.Tensor, mask: Any) -> bool:
        """Return whether the layer takes the statistics of groups; else those of the whole batch."""
        if len(self.sizes) == 1:
            return False
        obstacles = {
            "has a mask": mask is not None,
            "renormalizes": layer.renorm,
            "sees other rows than one for each example": inputs.shape[0] != sum(self.sizes),
            "is called in a loop, or in a function of its own": tf.compat.v1.get_default_graph() is not self.graph,
        }
        obstacle = next((each for each, there in obstacles.items() if there), None)
        if obstacle and self.rows.start == 0:
            log.warning(
                "training.virtual_batch_size: layer %s %s, and so takes the statistics of whole batches",
                layer.name,
                obstacle,
            )
        return obstacle is None


@contextlib.contextmanager
def in_groups(rows: Rows, most: int | None) -> Iterator[Seen]:
    """Let batch normalization in this block, of a device's rows of a batch, take the statistics of the batch's groups.

    Yields what :func:`remember` is told of them when those of all devices have been added up.

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
    """Let :func:`in_groups` have its effect in this block, in all threads."""
    layer_type = keras.layers.BatchNormalization
    of_keras, of_rows = layer_type.call, layer_type._moments

    def call(
        layer: keras.layers.BatchNormalization, inputs: tf.Tensor, training: bool | None = None, mask: Any = None
    ) -> tf.Tensor:
        share = getattr(_here, "share", None)
        learns = training and layer.trainable
        if share is None or not learns or not share.has_groups_for(layer, inputs, mask):
            return of_keras(layer, inputs, training=training, mask=mask)
        return _normalized(layer, inputs, share)

    def of_batch(layer: keras.layers.BatchNormalization, inputs: tf.Tensor, mask: Any) -> Moments:
        share = getattr(_here, "share", None)
        if share is None or (share.devices == 1 and mask is not None):
            return of_rows(layer, inputs, mask)
        means, variances = moments(inputs, layer._reduction_axes, OneGroup(mask), told=share.devices > 1)
        return means[0], variances[0]

    with patch.object(layer_type, "call", call), patch.object(layer_type, "_moments", of_batch):
        yield


def _normalized(layer: keras.layers.BatchNormalization, inputs: tf.Tensor, share: Share) -> tf.Tensor:
    """Return what the layer makes of each group; keep what its moving statistics are to be told of it."""
    rows = tf.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
    means, variances = moments(rows, layer._reduction_axes, share.groups, share.cut)
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
    """Move the moving statistics of a layer towards float32 (2, channels), once for a batch.

    Hoffer et al. move them once for each group; the mean of the groups does not depend on their order.
    """
    for moving, now in zip((layer.moving_mean, layer.moving_variance), tf.unstack(statistics), strict=True):
        moved = keras.ops.cast(moving, tf.float32) * layer.momentum + now * (1 - layer.momentum)
        moving.assign(tf.cast(moved, moving.dtype))


def moments(inputs: tf.Tensor, axes: list[int], groups: OneGroup | ManyGroups, told: bool) -> Moments:
    """Return mean and variance of each group, (1, channels), or for each row those of its group, (rows, channels).

    Args:
        inputs: This device's rows, at least one: floating, of any shape.
        axes: All of its axes but that of the channels; the first one is among them.
        groups: That the rows lie in.
        told: Whether other devices have rows of these groups; then all of them call this at the same place.
    """
    channels = _along(axes, len(inputs.shape))

    @tf.custom_gradient
    def of_groups(rows: tf.Tensor) -> tuple[Moments, Callable[..., tf.Tensor]]:
        here = groups.moments(rows, axes)
        counts, mean, variance = _together(_told(here)) if told else _apart(here)

        def gradient(of_mean: tf.Tensor, of_variance: tf.Tensor) -> tf.Tensor:
            both = tf.stack([groups.added_up(of_mean), groups.added_up(of_variance)])
            both = tf.reduce_sum(_told(both), axis=0) if told else both
            of_mean, of_variance = tf.unstack(tf.math.divide_no_nan(both, counts))
            slope, rest = (groups.spread(each) for each in (2 * of_variance, of_mean - 2 * of_variance * mean))
            slope, rest = (tf.reshape(each, [each.shape[0], *channels[1:]]) for each in (slope, rest))
            return groups.left(rows * slope + rest)

        return (groups.spread(mean), groups.spread(variance)), gradient

    moments_of_groups: Moments = of_groups(inputs)
    return moments_of_groups


def _along(axes: list[int], rank: int) -> list[int]:
    """Return the shape in which (channels,) is broadcast over the other axes."""
    return [1 if axis in axes else -1 for axis in range(rank)]


def _apart(told: tf.Tensor) -> list[tf.Tensor]:
    """Return number, means and variances of (..., 1 + 2 * channels)."""
    channels = (told.shape[-1] - 1) // 2
    apart: list[tf.Tensor] = tf.split(told, [1, channels, channels], axis=-1)
    return apart


def _together(told: tf.Tensor) -> list[tf.Tensor]:
    """Return number, means and variances of the groups of which each device has told those of its rows."""
    counts, means, variances = _apart(told)
    total = tf.reduce_sum(counts, axis=0)
    mean = tf.math.divide_no_nan(tf.reduce_sum(means * counts, axis=0), total)
    variance = tf.math.divide_no_nan(tf.reduce_sum((variances + tf.square(means - mean)) * counts, axis=0), total)
    return [total, mean, variance]


def _told(mine: tf.Tensor) -> tf.Tensor:
    """Return what every device tells, (devices, ...); all of them tell values of one shape.

    Between machines TensorFlow's own gathering operation costs half of what a sum does, which goes round twice. Its
    public form asks for the shapes first, which are known here.
    """
    context = tf.distribute.get_replica_context()
    if isinstance(context.strategy, tf.distribute.MultiWorkerMirroredStrategy):
        launcher = context.strategy.extended._cross_device_ops._launchers[context._replica_id]
        return launcher._all_gather(mine[None], options=None)
    devices, index = context.num_replicas_in_sync, int(tf.get_static_value(context.replica_id_in_sync_group))
    others = [[index, devices - index - 1]] + [[0, 0]] * len(mine.shape)
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.pad(mine[None], others))
