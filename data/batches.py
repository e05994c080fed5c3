"""Batches from memory-mapped arrays: shuffled reproducibly, sharded over workers, weighted by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from parak8s.data import prepared
from parak8s.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf

Batch = tuple[NDArray[Any], NDArray[np.int32], NDArray[np.float32]]

ROWS, VALUES = 1024, 1 << 22
"""Most examples, and about the most of their values, that a model is asked about at once."""


def rows_at_once(input_shape: Sequence[int]) -> int:
    """Return how many examples a model is to be asked about at once: a network needs many times their memory."""
    return max(min(ROWS, VALUES // max(math.prod(input_shape), 1)), 1)


class ArrayDataset(keras.utils.PyDataset):
    """Batches of one split of a prepared dataset: ``(inputs, labels, weights)``.

    Inputs are (batch, *input_shape), labels int32 (batch,), weights float32 (batch,). An epoch holds every example of
    the shard once; the last batch may be smaller.

    Args:
        directory: A prepared dataset.
        split: ``train``, ``validation``, ``calibration`` or ``test``.
        batch_size: Examples in a batch of one shard.
        shuffle: Draw a new order for every epoch. It depends on ``seed`` and the epoch alone, not on what came before.
        seed: Seed of the order.
        class_weights: Weight of each class; None for 1.
        shard: ``(index, count)``: this worker takes rows index, index + count, ... of the epoch's order.
    """

    def __init__(
        self,
        directory: Path,
        split: str,
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        class_weights: Sequence[float] | None = None,
        shard: tuple[int, int] = (0, 1),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if batch_size < 1 or not 0 <= shard[0] < shard[1]:
            raise InputError(f"expected batch_size >= 1 and 0 <= index < count, got {batch_size=}, {shard=}")
        self.inputs, self.labels, self.patients = prepared.read_split(directory, split)
        classes = int(self.labels.max(initial=-1)) + 1
        if class_weights is not None and len(class_weights) < classes:
            raise InputError(f"{directory}: labels of {classes} classes, but {len(class_weights)} class weights")
        self.batch_size, self.shuffle, self.seed, self.shard = batch_size, shuffle, seed, shard
        self.class_weights = np.asarray(np.ones(classes) if class_weights is None else class_weights, np.float32)
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Set the order of epoch ``epoch``, counted from 0."""
        self.epoch = epoch
        rows = np.arange(len(self.labels))
        if self.shuffle:
            rows = np.random.default_rng((self.seed, epoch)).permutation(rows)
        self._rows = rows[self.shard[0] :: self.shard[1]]

    def on_epoch_end(self) -> None:
        """Go on to the next epoch's order; Keras calls it."""
        self.start_epoch(self.epoch + 1)

    @property
    def examples(self) -> int:
        """How many examples an epoch holds."""
        return len(self._rows)

    def __len__(self) -> int:
        return -(-self.examples // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index}: this epoch has batches 0 to {len(self) - 1}")
        return self.take(index * self.batch_size, (index + 1) * self.batch_size)

    def take(self, start: int, stop: int) -> Batch:
        """Return the examples from ``start`` up to ``stop`` of the epoch's order, read in one go."""
        return self.at(slice(start, stop))

    def at(self, places: slice | NDArray[np.intp]) -> Batch:
        """Return the examples at ``places`` of the epoch's order, read in one go."""
        rows = self._rows[places]
        labels = self.labels[rows]
        return self.inputs[rows], labels, self.class_weights[labels]

    def as_tf_data(self) -> tf.data.Dataset:
        """Return the same batches as tf.data, for strategies with several workers; an iteration is the current epoch.

        Give each worker its own ``shard``: TensorFlow is told to shard no further.
        """
        import tensorflow as tf

        columns = (self.inputs, self.labels, self.class_weights)
        signature = tuple(tf.TensorSpec((None, *column.shape[1:]), column.dtype) for column in columns)
        batches = tf.data.Dataset.from_generator(
            lambda: map(self.__getitem__, range(len(self))), output_signature=signature
        )
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return batches.apply(tf.data.experimental.assert_cardinality(len(self))).with_options(options).prefetch(2)


class ECGDataset(ArrayDataset):
    """Batches of heartbeats: inputs float32 (batch, 187), labels int32 (batch,), weights float32 (batch,)."""


class XRayDataset(ArrayDataset):
    """Batches of X-rays: inputs uint8 (batch, size, size, 1), labels int32 (batch,), weights float32 (batch,).

    The images were decoded once, when the dataset was prepared: an epoch reads grey squares from the disk's cache.
    """
