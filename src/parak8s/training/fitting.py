"""Trains a model stage by stage and epoch by epoch, remembers each, and goes on where it was killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import keras
import numpy as np
import tensorflow as tf

from parak8s.errors import InputError
from parak8s.training.coordinated import CoordinatedLoop
from parak8s.training.devices import refuse_unshared
from parak8s.training.interruption import Interrupted, termination
from parak8s.training.loop import Loop
from parak8s.training.memory import Headway, Memory
from parak8s.training.optimizers import learning_rate_at
from parak8s.training.progress import Record, best_epoch, validation_record
from parak8s.training.stages import Stage, stages
from parak8s.training.watchdog import Watchdog

if TYPE_CHECKING:
    from pathlib import Path

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


def fit(
    model: keras.Model,
    spec: Training,
    train: ArrayDataset,
    validation: ArrayDataset,
    directory: Path,
    observers: Sequence[Observer] = (),
) -> Outcome:
    """Train ``model`` in place, stage by stage; each begins with the weights that are kept of those before it.

    Within the scope of a strategy with several workers each of them calls this with the same arguments.

    Args:
        model: Raw batch -> logits float32 (batch, classes).
        spec: How to train.
        train: Batches to learn from.
        validation: Batches to measure on after each epoch.
        directory: Where checkpoints are kept; a training that was killed there goes on after its last whole epoch, one
            that was asked to stop (SIGTERM) where it was. What lies there at the beginning all workers see; what comes
            is the leader's alone.
        observers: Told of every step and epoch.

    Raises:
        InputError: There is nothing to learn from or to measure on, the loss is no longer a number, TensorFlow
            has no deterministic form of an operation, or there is nothing to fine-tune.
        Interrupted: The process, or another worker's, was asked to stop.
    """
    for name, batches in (("train", train), ("validation", validation)):
        if not batches.examples:
            raise InputError(f"the {name} split is empty; raise data.split.{name}, or give more data")
    refuse_unshared(train.examples, train.batch_size, tf.distribute.get_strategy().num_replicas_in_sync)
    plan = stages(model, spec)
    fitting = _Fitting(model, train, validation, directory, observers, spec)
    with termination() as stop:
        for stage in plan:
            stage.begin()
            if fitting.memory.stage(fitting.records) <= stage.number:
                fitting.go_through(stage, stop)
    records = tuple(fitting.records)
    return Outcome(records, fitting.kept, len(records) < sum(stage.spec.epochs for stage in plan))


class _Fitting:
    """A training on its way through the stages."""

    def __init__(
        self,
        model: keras.Model,
        train: ArrayDataset,
        validation: ArrayDataset,
        directory: Path,
        observers: Sequence[Observer],
        spec: Training,
    ) -> None:
        self.model, self.train, self.validation, self.observers = model, train, validation, observers
        self.memory = Memory(model, directory, spec.keep_best)
        self.records, self.kept = self.memory.records(), 0

    def go_through(self, stage: Stage, stop: Callable[[], bool]) -> None:
        """Train for the epochs of ``stage`` that are not over yet; the model ends with the weights that are kept.

        Raises:
            Interrupted: ``stop`` said so, here or on another worker; what was done is remembered.
        """
        loop = make_loop(self.model, stage.spec, len(self.train))
        crew, self.memory.writes = loop.crew, loop.crew.leads
        begun = self.memory.follow(loop.optimizer, stage.number, self.records)
        while crew.agree(stage.goes_on(self.records)):  # all wait here until the leader has saved the epoch
            if crew.any(stop()):
                raise Interrupted(len(self.records) + 1, begun.steps, len(self.train))
            headway = self._epoch(stage, loop, begun, stop)
            if headway.steps < len(self.train):
                self.memory.pause(stage.number, self.records, headway)
                crew.agree(True)
                raise Interrupted(len(self.records) + 1, headway.steps, len(self.train))
            self.records.append(self._record(stage, loop, headway))
            begun = Headway()
            self.memory.save(self.records)
            for observer in self.observers:
                observer.on_epoch(self.records[-1])
        self.kept = round(crew.agree(best_epoch(self.records, self.memory.monitor)))
        if self.kept != len(self.records):
            self.memory.recall(self.kept)
            crew.share(self.model.variables)

    def _epoch(self, stage: Stage, loop: Loop, begun: Headway, stop: Callable[[], bool]) -> Headway:
        done = len(self.records)
        self.train.start_epoch(done)

        def observe(steps: int, total: int) -> None:
            for observer in self.observers:
                observer.on_steps(done + 1, steps, total)

        headway = loop.epoch(self.train, observe, begun, stop)
        if not np.isfinite(headway.loss):
            raise InputError(
                f"the loss became {headway.loss} in epoch {done + 1}; lower {stage.rate}, or set "
                "training.clip_norm: 1.0"
            )
        return headway

    def _alive(self) -> None:
        """Tell who watches that there is progress, although no step is taken."""
        for observer in self.observers:
            if isinstance(observer, Watchdog):
                observer.happened()

    def _record(self, stage: Stage, loop: Loop, headway: Headway) -> Record:
        """Measure after an epoch; return what is known of it."""
        started = time.perf_counter()
        logits = loop.logits(self.validation, self._alive)
        measured = validation_record(logits, np.asarray(self.validation.labels))
        return Record(
            epoch=len(self.records) + 1,
            loss=headway.loss / headway.examples,
            accuracy=headway.right / headway.examples,
            **measured,
            learning_rate=learning_rate_at(loop.optimizer),
            seconds=headway.seconds + time.perf_counter() - started,
            timestamp_ms=int(time.time() * 1000),
            stage=stage.number,
        )


def make_loop(model: keras.Model, spec: Training, steps_per_epoch: int) -> Loop:
    """Return the loop for the strategy in whose scope this is called."""
    coordinated = isinstance(tf.distribute.get_strategy(), tf.distribute.ParameterServerStrategy)
    return (CoordinatedLoop if coordinated else Loop)(model, spec, steps_per_epoch)
