"""The one training loop: the optimizer steps of an epoch, on one device or on many that share every batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from parak8s.errors import InputError
from parak8s.training import draws, normalization
from parak8s.training.crew import Crew
from parak8s.training.devices import rows_here
from parak8s.training.memory import Headway
from parak8s.training.optimizers import make_optimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parak8s.data.batches import ArrayDataset
    from parak8s.experiment import Training


class Loop:
    """Optimizer steps on one model, compiled once for each size of a batch.

    Args:
        model: Raw batch -> logits float32 (batch, classes); trained in place.
        spec: How to train.
        steps_per_epoch: Optimizer steps in an epoch, for the learning-rate schedule.

    Within the scope of a strategy all its devices, of one machine or of many, share every batch. Each takes its rows;
    the sum of all gradients is that of the whole batch, and so are the random draws (see :mod:`parak8s.training.draws`)
    and the statistics of batch normalization, or of groups of it (see :mod:`parak8s.training.normalization`).
    """

    def __init__(self, model: keras.Model, spec: Training, steps_per_epoch: int) -> None:
        self.model, self.spec, self.strategy = model, spec, tf.distribute.get_strategy()
        self.crew, self.devices = Crew(), self.strategy.num_replicas_in_sync
        self.optimizer = make_optimizer(spec, steps_per_epoch)
        self.optimizer.build(model.trainable_variables)
        self.forward = tf.function(
            lambda inputs: model(inputs, training=False),
            input_signature=[tf.TensorSpec(model.input_shape, model.inputs[0].dtype)],
        )
        self._compiled: dict[int, Callable[..., tf.Tensor]] = {}

    def steps(
        self,
        inputs: NDArray[Any],
        labels: NDArray[np.int32],
        weights: NDArray[np.float32],
        size: int | None = None,
    ) -> tf.Tensor:
        """Take one optimizer step for each of k batches; return float32 (3,) sums, see _step.

        Args:
            inputs: (k, rows, ...), this worker's rows of each batch.
            labels: (k, rows).
            weights: (k, rows).
            size: Rows of a whole batch; None where this worker has them all.
        """
        return self.compiled(size or labels.shape[1])(inputs, labels, weights)

    def compiled(self, size: int) -> Callable[..., tf.Tensor]:
        """Return the steps for batches of ``size`` rows."""
        if size not in self._compiled:
            # Kernels are faster when the graph knows the size; an epoch has two at most.
            start, stop = self.rows(size)
            shapes = ((stop - start, *self.model.input_shape[1:]), (stop - start,), (stop - start,))
            dtypes = (self.model.inputs[0].dtype, tf.int32, tf.float32)
            signature = [tf.TensorSpec((None, *shape), dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
            one_step = tf.function(partial(self._step, size), jit_compile=self.spec.jit)
            self._compiled[size] = tf.function(partial(_steps, one_step), input_signature=signature)
        return self._compiled[size]

    def rows(self, size: int) -> tuple[int, int]:
        """Return the first of this worker's rows of a batch of ``size``, and the one after the last."""
        return size * self.crew.index // self.crew.count, size * (self.crew.index + 1) // self.crew.count

    def _step(self, size: int, inputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Take one optimizer step; return the batch's sums of loss, of right answers and of examples."""
        with draws.shared(), normalization.shared():
            sums = self.strategy.run(partial(self._step_here, size), (inputs, labels, weights))
        return self.strategy.experimental_local_results(sums)[0]

    def _step_here(self, size: int, inputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Take this device's part of the step; return what _step does.

        Everything is added up over the devices at once: the sums, what batch normalization has seen, and the gradients,
        so that the optimizer sees those of the whole batch when it clips their norm or looks for an overflow.
        """
        sums, seen, gradients = self._gradients(size, inputs, labels, weights)
        sums, statistics, gradients = _added_up((sums, [each for _, each in seen], gradients))
        for (layer, _), each in zip(seen, statistics, strict=True):
            normalization.remember(layer, each)
        self.optimizer.apply(gradients, self.model.trainable_variables)
        return sums

    def _gradients(
        self, size: int, inputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, normalization.Seen, list[tf.Tensor | None]]:
        """Return this device's part of the sums of the batch, of what normalization has seen, and of each gradient."""
        rows, (first, _) = rows_here(size), self.rows(size)
        inputs, labels, weights = (each[rows.start - first : rows.stop - first] for each in (inputs, labels, weights))
        statistics = normalization.in_groups(rows, self.spec.virtual_batch_size)
        with tf.GradientTape() as tape, draws.of_the_whole_batch(rows), statistics as seen:
            logits = self.model(inputs, training=True)
            losses = cross_entropy(logits, labels, self.spec.label_smoothing) * weights
            penalties = tf.add_n([tf.zeros(()), *self.model.losses]) / self.devices
            loss = tf.reduce_sum(losses) / size + penalties
            scaled = self.optimizer.scale_loss(loss)
        right = tf.reduce_sum(tf.cast(tf.argmax(logits, -1, output_type=tf.int32) == labels, tf.float32))
        sums = tf.stack([loss * size, right, tf.cast(rows.stop - rows.start, tf.float32)])
        return sums, seen, tape.gradient(scaled, self.model.trainable_variables)

    def epoch(
        self,
        batches: ArrayDataset,
        observe: Callable[[int, int], None],
        begun: Headway = Headway(),  # noqa: B008 - frozen
        stop: Callable[[], bool] = lambda: False,
    ) -> Headway:
        """Train on every batch once that ``begun`` leaves; return how far the epoch has come.

        Args:
            batches: Whole batches; a worker reads its rows of them.
            observe: Told how many steps of how many are over.
            begun: How far the epoch had come when the training was stopped in it.
            stop: Asked now and then whether to stop here; when it says so on one worker, all stop after the same step.

        Raises:
            InputError: TensorFlow has no deterministic form of an operation, and is told to be deterministic.
        """
        started, sums, done = time.perf_counter(), np.array([begun.loss, begun.right, begun.examples]), begun.steps
        for size, (inputs, labels, weights) in self.chunks(batches, done):
            try:
                sums += self.steps(inputs, labels, weights, size).numpy()
            except tf.errors.UnimplementedError as error:
                reason = next((line.strip() for line in str(error).splitlines() if "determinis" in line), str(error))
                raise InputError(f"{reason} Write reproducibility: close, or training.jit: false") from error
            done += len(labels)
            observe(done, len(batches))
            if done < len(batches) and self.crew.any(stop()):
                break
        loss, right, examples = sums.tolist()
        return Headway(done, loss, right, examples, begun.seconds + time.perf_counter() - started)

    def chunks(self, batches: ArrayDataset, done: int) -> Iterator[tuple[int, list[NDArray[Any]]]]:
        """Yield the rows of a whole batch, and this worker's rows of up to ``steps_per_call`` such batches.

        The next ones are read while these are trained on. The first ``done`` batches are left out.
        """
        total, rows = batches.examples, batches.batch_size
        whole = total - total % rows
        calls = [*range(done * rows, whole, self.spec.steps_per_call * rows), whole]
        bounds = [*calls, total] if total > whole and done < len(batches) else calls  # a smaller last batch goes alone

        def read(start: int, stop: int) -> tuple[int, list[NDArray[Any]]]:
            size = min(rows, stop - start)
            first, last = self.rows(size)
            places = np.arange(start, stop).reshape(-1, size)[:, first:last]
            return size, [column.reshape(*places.shape, *column.shape[1:]) for column in batches.at(places.ravel())]

        with ThreadPoolExecutor(1, thread_name_prefix="batches") as reader:
            coming = None
            for bound in pairwise(bounds):
                ready, coming = coming, reader.submit(read, *bound)
                if ready is not None:
                    yield ready.result()
            if coming is not None:
                yield coming.result()

    def logits(self, batches: ArrayDataset, alive: Callable[[], None] = lambda: None) -> NDArray[np.float32]:
        """Return the logits float32 (n, classes) of all examples of an unshuffled dataset; the workers share it.

        Args:
            batches: Of the examples.
            alive: Called after every batch.
        """
        found = np.zeros((batches.examples, self.model.output_shape[-1]))
        for index in range(self.crew.index, len(batches), self.crew.count):
            start = index * batches.batch_size
            found[start : start + batches.batch_size] = self.forward(batches[index][0]).numpy()
            alive()
        return self.crew.total(found).astype(np.float32)


def _steps(one_step: Callable[..., tf.Tensor], inputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    sums = tf.zeros(3)
    for index in tf.range(tf.shape(labels)[0]):
        sums += one_step(inputs[index], labels[index], weights[index])
    return sums


def _added_up(parts: Any) -> Any:
    """Return nested parts, each the sum over all devices; None, the gradient of what the loss does not see, stays."""
    flat = tf.nest.flatten(parts)
    there = [part for part in flat if part is not None]
    sums = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, there))
    return tf.nest.pack_sequence_as(parts, [None if part is None else next(sums) for part in flat])


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor, smoothing: float) -> tf.Tensor:
    """Return the cross-entropy (batch,) of logits (batch, classes) with labels int32 (batch,)."""
    if not smoothing:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    classes = logits.shape[-1]
    targets = tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
    return tf.nn.softmax_cross_entropy_with_logits(targets, logits)
