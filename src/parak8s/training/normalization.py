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
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import keras
import tensorflow as tf

from parak8s.errors import InputError

if TYPE_CHECKING:
    from parak8s.training.draws import Rows

Moments = tuple[tf.Tensor, tf.Tensor]

_here = threading.local()  # MirroredStrategy traces each replica in a thread of its own


@dataclass(frozen=True)
class Groups:
    """The groups of rows of a batch whose statistics are taken apart, as one device sees them.

    Args:
        sizes: How many of the device's rows lie in each group, none in some.
        total: Rows of the whole batch.
        context: Of the device, where others have rows of its groups; all of them normalize at the same places.
        seen: What the device's rows contribute to the moving statistics, float32 (2, channels), by layer; filled while
            the model is called, where there are several groups.
    """

    sizes: tuple[int, ...]
    total: int
    context: tf.distribute.ReplicaContext | None
    seen: list[tuple[keras.layers.BatchNormalization, tf.Tensor]] = field(default_factory=list)

    def scaled(self, layer: keras.layers.BatchNormalization, rows: int | None) -> tuple[int, ...]:
        """Return the sizes where a layer sees ``rows`` for the device's, several for each example.

        Raises:
            InputError: It sees another number.
        """
        times, left = divmod(rows or 0, sum(self.sizes))
        if left or not times:
            raise InputError(
                f"training.virtual_batch_size: layer {layer.name} normalizes {rows or 'nobody knows how many'} rows, "
                f"the batch has {sum(self.sizes)} here; write null, which takes the statistics of all rows"
            )
        return tuple(size * times for size in self.sizes)


@contextlib.contextmanager
def normalized_in(rows: Rows, most: int | None) -> Iterator[Groups]:
    """Let batch normalization in this block, of a device's rows of a batch, see the groups that the batch is cut into.

    Args:
        rows: The device's.
        most: Rows in a group; None: the whole batch is one.
    """
    context = tf.distribute.get_replica_context()
    groups = groups_of(rows, most)
    _here.groups = Groups(groups, rows.total, context if len(groups) % context.num_replicas_in_sync else None)
    try:
        yield _here.groups
    finally:
        _here.groups = None


def groups_of(rows: Rows, most: int | None) -> tuple[int, ...]:
    """Return how many of a device's rows lie in each group of the batch: as few groups as possible, of nearly one size.

    Where their number is a multiple of that of the devices, each group lies on one device.
    """
    count = -(-rows.total // (most or rows.total))
    bounds = [rows.total * index // count for index in range(count + 1)]
    return tuple(max(0, min(stop, rows.stop) - max(start, rows.start)) for start, stop in pairwise(bounds))


@contextlib.contextmanager
def shared() -> Iterator[None]:
    """Let :func:`normalized_in` have its effect in this block, in all threads."""
    layer_type = keras.layers.BatchNormalization
    of_keras, of_rows = layer_type.call, layer_type._moments

    def call(
        layer: keras.layers.BatchNormalization, inputs: tf.Tensor, training: bool | None = None, mask: Any = None
    ) -> tf.Tensor:
        groups = getattr(_here, "groups", None)
        learns = training and layer.trainable and mask is None and not layer.renorm
        if groups is None or len(groups.sizes) == 1 or not learns:
            return of_keras(layer, inputs, training=training, mask=mask)
        return _normalized(layer, inputs, groups)

    def of_batch(layer: keras.layers.BatchNormalization, inputs: tf.Tensor, mask: Any) -> Moments:
        groups, context = getattr(_here, "groups", None), tf.distribute.get_replica_context()
        if groups is None or mask is not None or context.num_replicas_in_sync == 1:
            return of_rows(layer, inputs, mask)
        means, variances = moments(inputs, layer._reduction_axes, groups.sizes, context)
        return means[0], variances[0]

    with patch.object(layer_type, "call", call), patch.object(layer_type, "_moments", of_batch):
        yield


def _normalized(layer: keras.layers.BatchNormalization, inputs: tf.Tensor, groups: Groups) -> tf.Tensor:
    """Return what the layer makes of each group; remember what its moving statistics are told of the rows here."""
    rows = tf.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
    sizes = groups.scaled(layer, rows.shape[0])
    means, variances = moments(rows, layer._reduction_axes, sizes, groups.context)
    normalized = [
        keras.ops.batch_normalization(
            part, means[index], variances[index], layer.axis, layer.beta, layer.gamma, layer.epsilon
        )
        for index, part in _cut(rows, sizes).items()
    ]
    shares = tf.constant(groups.sizes, tf.float32) / groups.total
    groups.seen.append((layer, tf.einsum("g,sgc->sc", shares, tf.stack([means, variances]))))
    return tf.cast(tf.concat(normalized, axis=0), layer.compute_dtype)


def remember(layer: keras.layers.BatchNormalization, statistics: tf.Tensor) -> None:
    """Move the moving statistics of a layer towards float32 (2, channels): mean and variance of a whole batch."""
    for moving, now in zip((layer.moving_mean, layer.moving_variance), tf.unstack(statistics), strict=True):
        moving.assign(moving * layer.momentum + now * (1 - layer.momentum))


def moments(
    inputs: tf.Tensor, axes: list[int], sizes: tuple[int, ...], context: tf.distribute.ReplicaContext | None
) -> Moments:
    """Return mean and variance float32 (groups, channels) of each group, over ``axes`` of the rows of all devices.

    Args:
        inputs: This device's rows, at least one: float32, of any shape.
        axes: All of its axes but that of the channels; the first one is among them.
        sizes: Rows here of each group. Groups that are not here at all get any numbers where there is no ``context``.
        context: Of this device, where others have rows of these groups; all of them call this at the same place.
    """
    of_channels = [1 if axis in axes else -1 for axis in range(len(inputs.shape))]

    def told(mine: tf.Tensor) -> tf.Tensor:
        return mine[None] if context is None else _told(mine, context)

    @tf.custom_gradient
    def of_all(rows: tf.Tensor) -> tuple[Moments, Callable[..., tf.Tensor]]:
        parts, channels = _cut(rows, sizes), rows.shape[of_channels.index(-1)]
        nothing = tf.zeros(1 + 2 * channels, rows.dtype)
        mine = tf.stack([_of(parts[index], axes) if index in parts else nothing for index in range(len(sizes))])
        counts, means, variances = tf.split(told(mine), [1, channels, channels], axis=-1)
        total = tf.reduce_sum(counts, axis=0)
        mean = tf.math.divide_no_nan(tf.reduce_sum(means * counts, axis=0), total)
        deviations = (variances + tf.square(means - mean)) * counts
        variance = tf.math.divide_no_nan(tf.reduce_sum(deviations, axis=0), total)

        def gradient(of_mean: tf.Tensor, of_variance: tf.Tensor) -> tf.Tensor:
            of_both = tf.reduce_sum(told(tf.stack([of_mean, of_variance])), axis=0)
            of_mean, of_variance = tf.unstack(tf.math.divide_no_nan(of_both, total))
            slopes = 2 * of_variance
            return tf.concat(
                [
                    part * tf.reshape(slope, of_channels) + tf.reshape(rest, of_channels)
                    for index, part in parts.items()
                    for slope, rest in [(slopes[index], of_mean[index] - slopes[index] * mean[index])]
                ],
                axis=0,
            )

        return (mean, variance), gradient

    moments_of_all: Moments = of_all(inputs)
    return moments_of_all


def _cut(rows: tf.Tensor, sizes: tuple[int, ...]) -> dict[int, tf.Tensor]:
    """Return the rows of each group that has any here, by its index."""
    here = [index for index, size in enumerate(sizes) if size]
    return dict(zip(here, tf.split(rows, [sizes[index] for index in here]) if len(here) > 1 else [rows], strict=True))


def _of(rows: tf.Tensor, axes: list[int]) -> tf.Tensor:
    """Return number, means and variances of rows as one row (1 + 2 * channels,)."""
    mean, variance = tf.nn.moments(rows, axes)
    count = tf.cast(tf.size(rows) / tf.size(mean), mean.dtype)
    return tf.concat([[count], mean, variance], axis=0)


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
