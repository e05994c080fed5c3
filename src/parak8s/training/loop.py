"""The one training loop. It reads batches, keeps a checkpoint of every epoch and goes on where it was killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from parak8s.errors import InputError
from parak8s.training.devices import normalized_together, refuse_unshared, share
from parak8s.training.memory import Memory
from parak8s.training.optimizers import learning_rate_at, make_optimizer
from parak8s.training.progress import Record, validation_record
from parak8s.training.stages import Stage, stages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parak8s.data.batches import ArrayDataset
    from parak8s.experiment import Training


class Observer(Protocol):
    """Whoever wants to follow a training: a progress bar, MLflow, TensorBoard."""

    def on_steps(self, epoch: int, done: int, total: int) -> None:
        """``done`` of ``total`` optimizer steps of epoch ``epoch`` (from 1) are over."""

    def on_epoch(self, record: Record) -> None:
        """An epoch is over and its checkpoint is written."""


@dataclass(frozen=True)
class Outcome:
    """How a training went.

    Args:
        records: One for each epoch.
        kept_epoch: The epoch whose weights the model now has, from 1.
        stopped_early: Whether early stopping ended it, or one of its stages.
    """

    records: tuple[Record, ...]
    kept_epoch: int
    stopped_early: bool


class Loop:
    """Optimizer steps on one model, compiled once for each size of a batch.

    Args:
        model: Raw batch -> logits float32 (batch, classes); trained in place.
        spec: How to train.
        steps_per_epoch: Optimizer steps in an epoch, for the learning-rate schedule.

    Within the scope of a strategy its devices share every batch; see :mod:`parak8s.training.devices`.
    """

    def __init__(self, model: keras.Model, spec: Training, steps_per_epoch: int) -> None:
        self.model, self.spec, self.strategy = model, spec, tf.distribute.get_strategy()
        self.devices = self.strategy.num_replicas_in_sync
        self.optimizer = make_optimizer(spec, steps_per_epoch, self.devices)
        self.optimizer.build(model.trainable_variables)
        self.forward = tf.function(
            lambda inputs: model(inputs, training=False),
            input_signature=[tf.TensorSpec(model.input_shape, model.inputs[0].dtype)],
        )
        self._one_step = tf.function(self._step, jit_compile=spec.jit)
        self._compiled: dict[int, Callable[..., tf.Tensor]] = {}

    def steps(self, inputs: NDArray[Any], labels: NDArray[np.int32], weights: NDArray[np.float32]) -> tf.Tensor:
        """Take one optimizer step for each of the (k, batch, ...) batches; return float32 (3,) sums, see _step."""
        size = labels.shape[1]
        if size not in self._compiled:
            # Kernels are faster when the graph knows the size; an epoch has two at most.
            shapes = ((size, *self.model.input_shape[1:]), (size,), (size,))
            dtypes = (self.model.inputs[0].dtype, tf.int32, tf.float32)
            signature = [tf.TensorSpec((None, *shape), dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
            self._compiled[size] = tf.function(self._steps, input_signature=signature)
        return self._compiled[size](inputs, labels, weights)

    def _steps(self, inputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        sums = tf.zeros(3)
        for index in tf.range(tf.shape(labels)[0]):
            sums += self._one_step(inputs[index], labels[index], weights[index])
        return sums

    def _step(self, inputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Take one optimizer step; return the batch's sums of loss, of right answers and of examples."""
        sums, *gradients = self.strategy.run(self._gradients, (inputs, labels, weights))
        if self._adds_up_first:
            gradients = [self._sum(parts) / self.devices for parts in gradients]
        self.strategy.run(self._apply, (gradients,))
        return self._sum(sums)

    @property
    def _adds_up_first(self) -> bool:
        """Whether devices must see the gradients of all before the optimizer adds them up: their norm, or an overflow.

        Then each has their mean, which the optimizer adds up to their sum.
        """
        return self.devices > 1 and (self.spec.clip_norm is not None or self.spec.precision == "mixed_float16")

    def _sum(self, parts: tf.Tensor) -> tf.Tensor:
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None)

    def _apply(self, gradients: Sequence[tf.Tensor]) -> None:
        self.optimizer.apply(gradients, self.model.trainable_variables)

    def _gradients(self, inputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Return this device's part of the sums of the batch, and then of each gradient of its mean loss."""
        count = tf.cast(tf.shape(labels)[0], tf.float32)
        inputs, labels, weights = share(inputs, labels, weights)
        with tf.GradientTape() as tape:
            logits = self.model(inputs, training=True)
            losses = cross_entropy(logits, labels, self.spec.label_smoothing) * weights
            penalties = tf.add_n([tf.zeros(()), *self.model.losses]) / self.devices
            loss = tf.reduce_sum(losses) / count + penalties
            scaled = self.optimizer.scale_loss(loss)
        right = tf.reduce_sum(tf.cast(tf.argmax(logits, -1, output_type=tf.int32) == labels, tf.float32))
        sums = tf.stack([loss * count, right, tf.cast(tf.shape(labels)[0], tf.float32)])
        return sums, *tape.gradient(scaled, self.model.trainable_variables)

    def epoch(self, batches: ArrayDataset, observe: Callable[[int, int], None]) -> dict[str, float]:
        """Train on every batch once; return the mean loss and the accuracy, as they were seen while training.

        Raises:
            InputError: TensorFlow has no deterministic form of an operation, and is told to be deterministic.
        """
        sums, done = np.zeros(3), 0
        for chunk in _chunks(batches, self.spec.steps_per_call):
            try:
                sums += self.steps(*chunk).numpy()
            except tf.errors.UnimplementedError as error:
                reason = next((line.strip() for line in str(error).splitlines() if "determinis" in line), str(error))
                raise InputError(f"{reason} Write reproducibility: close, or training.jit: false") from error
            done += len(chunk[0])
            observe(done, len(batches))
        loss, right, count = sums.tolist()
        return {"loss": loss / count, "accuracy": right / count}


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor, smoothing: float) -> tf.Tensor:
    """Return the cross-entropy (batch,) of logits (batch, classes) with labels int32 (batch,)."""
    if not smoothing:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    classes = logits.shape[-1]
    targets = tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
    return tf.nn.softmax_cross_entropy_with_logits(targets, logits)


def _chunks(batches: ArrayDataset, size: int) -> Iterator[list[NDArray[Any]]]:
    """Yield stacks of up to ``size`` equally large batches, the next one being read while one is trained on."""
    total, rows = batches.examples, batches.batch_size
    whole = total - total % rows
    bounds = [*range(0, whole, size * rows), whole] + [total] * (total > whole)  # a smaller last batch goes alone

    def read(start: int, stop: int) -> list[NDArray[Any]]:
        shape = (-1, min(rows, stop - start))
        return [column.reshape(*shape, *column.shape[1:]) for column in batches.take(start, stop)]

    with ThreadPoolExecutor(1, thread_name_prefix="batches") as reader:
        first, *others = pairwise(bounds)
        coming = reader.submit(read, *first)
        for bound in others:
            ready, coming = coming, reader.submit(read, *bound)
            yield ready.result()
        yield coming.result()


def fit(
    model: keras.Model,
    spec: Training,
    train: ArrayDataset,
    validation: ArrayDataset,
    directory: Path,
    observers: Sequence[Observer] = (),
) -> Outcome:
    """Train ``model`` in place, stage by stage; each begins with the weights that are kept of those before it.

    Args:
        model: Raw batch -> logits float32 (batch, classes).
        spec: How to train.
        train: Batches to learn from.
        validation: Batches to measure on after each epoch.
        directory: Where checkpoints are kept; a training that was killed there goes on after its last whole epoch.
        observers: Told of every step and epoch.

    Raises:
        InputError: There is nothing to learn from or to measure on, the loss is no longer a number, TensorFlow
            has no deterministic form of an operation, or there is nothing to fine-tune.
    """
    for name, batches in (("train", train), ("validation", validation)):
        if not batches.examples:
            raise InputError(f"the {name} split is empty; raise data.split.{name}, or give more data")
    refuse_unshared(train.examples, train.batch_size, tf.distribute.get_strategy().num_replicas_in_sync)
    plan = stages(model, spec)
    memory = Memory(model, directory, spec.keep_best)
    records, kept = memory.records(), 0
    for stage in plan:
        stage.begin()
        latest = records[-1].stage if records else 0
        if latest > stage.number:
            continue
        loop = Loop(model, stage.spec, len(train))
        memory.follow(loop.optimizer, restore=latest == stage.number)
        while stage.goes_on(records):
            with normalized_together(model):
                records = [*records, one_epoch(stage, loop, len(records), train, validation, observers)]
            memory.save(records)
            for observer in observers:
                observer.on_epoch(records[-1])
        kept = memory.keep_best(records)
    return Outcome(tuple(records), kept, len(records) < sum(stage.spec.epochs for stage in plan))


def one_epoch(
    stage: Stage,
    loop: Loop,
    done: int,
    train: ArrayDataset,
    validation: ArrayDataset,
    observers: Sequence[Observer],
) -> Record:
    """Train for the epoch that follows ``done`` others, and measure.

    Raises:
        InputError: The loss is no longer a number.
    """
    train.start_epoch(done)
    started = time.perf_counter()

    def observe(steps: int, total: int) -> None:
        for observer in observers:
            observer.on_steps(done + 1, steps, total)

    seen = loop.epoch(train, observe)
    if not np.isfinite(seen["loss"]):
        raise InputError(
            f"the loss became {seen['loss']} in epoch {done + 1}; lower {stage.rate}, or set training.clip_norm: 1.0"
        )
    return Record(
        epoch=done + 1,
        **seen,
        **validation_record(logits_of(loop, validation), np.asarray(validation.labels)),
        learning_rate=learning_rate_at(loop.optimizer),
        seconds=time.perf_counter() - started,
        timestamp_ms=int(time.time() * 1000),
        stage=stage.number,
    )


def logits_of(loop: Loop, batches: ArrayDataset) -> NDArray[np.float32]:
    """Return the logits float32 (n, classes) of all examples of an unshuffled dataset."""
    return np.concatenate([loop.forward(batches[index][0]).numpy() for index in range(len(batches))])
