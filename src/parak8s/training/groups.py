"""The groups of rows of a batch that batch normalization treats apart, as one device sees them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from parak8s.training.draws import Rows


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


class OneGroup:
    """All rows that a layer sees belong together.

    Args:
        mask: Which of (rows, ...), without the channels, count; None: all.
    """

    def __init__(self, mask: tf.Tensor | None = None) -> None:
        self.mask = None if mask is None else tf.cast(mask, tf.bool)[..., None]

    def moments(self, rows: tf.Tensor, axes: list[int]) -> tf.Tensor:
        """Return number, means and variances (1, 1 + 2 * channels) of the values here."""
        if self.mask is None:
            mean, variance = tf.nn.moments(rows, axes)
            count = tf.cast(tf.size(rows) / tf.size(mean), rows.dtype)
        else:
            count = tf.reduce_sum(self.left(tf.ones_like(rows[..., :1])))
            mean = tf.math.divide_no_nan(tf.reduce_sum(self.left(rows), axes), count)
            variance = tf.math.divide_no_nan(tf.reduce_sum(self.left(tf.square(rows - mean)), axes), count)
        return tf.concat([[count], mean, variance], axis=0)[None]

    def left(self, values: tf.Tensor) -> tf.Tensor:
        """Return the values with 0 for those that do not count."""
        return values if self.mask is None else tf.where(self.mask, values, tf.zeros_like(values))

    def added_up(self, values: tf.Tensor) -> tf.Tensor:
        """Return (1, channels) as it is."""
        return values

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        """Return (1, channels) as it is."""
        return values


class ManyGroups:
    """The rows here, one for each example, lie in several groups.

    Args:
        sizes: How many of them in each group, none in some.
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        starts, places = np.cumsum([0, *sizes[:-1]])[:, None], np.arange(max(sizes))
        self.group_of, self.counts = np.repeat(np.arange(len(sizes)), sizes), np.array(sizes)[:, None]
        self.there = places < self.counts
        self.rows_of = np.where(self.there, starts + places, 0)

    def moments(self, rows: tf.Tensor, axes: list[int]) -> tf.Tensor:
        """Return number, means and variances (groups, 1 + 2 * channels) of the values here."""
        of_each = tf.nn.moments(rows, axes[1:], keepdims=True)
        mean, variance = (tf.reshape(each, [rows.shape[0], -1]) for each in of_each)
        counts = tf.constant(self.counts, rows.dtype)
        means = tf.math.divide_no_nan(self.added_up(mean), counts)
        deviations = self.added_up(variance + tf.square(mean - self.spread(means)))
        values_in_row = tf.cast(tf.size(rows) / tf.size(mean), rows.dtype)
        return tf.concat([counts * values_in_row, means, tf.math.divide_no_nan(deviations, counts)], axis=1)

    def left(self, values: tf.Tensor) -> tf.Tensor:
        """Return the values as they are: all count."""
        return values

    def added_up(self, values: tf.Tensor) -> tf.Tensor:
        """Return (groups, channels) of (rows, channels), added up in an order that is always the same."""
        return tf.reduce_sum(tf.gather(values, self.rows_of) * tf.constant(self.there[..., None], values.dtype), axis=1)

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        """Return (rows, channels) of (groups, channels): each row has that of its group."""
        return tf.gather(values, self.group_of)
