"""What a training remembers: a checkpoint of every epoch, of the one it was stopped in, and the best one's weights."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from parak8s import files
from parak8s.training.progress import Record, best_epoch

if TYPE_CHECKING:
    from parak8s.experiment.sections import Monitor


@dataclass(frozen=True)
class Headway:
    """How far an epoch had come when the training was stopped in it.

    Args:
        steps: Optimizer steps that were taken.
        loss: Sum of the losses of all examples so far.
        right: How many were classified rightly.
        examples: How many they were.
        seconds: How long it took.
    """

    steps: int = 0
    loss: float = 0.0
    right: float = 0.0
    examples: float = 0.0
    seconds: float = 0.0

    def plus(self, loss: float, right: float, examples: float) -> Headway:
        """Return the same with more examples counted."""
        return replace(self, loss=self.loss + loss, right=self.right + right, examples=self.examples + examples)


def records_in(directory: Path) -> list[Record]:
    """Return the records of all whole epochs that are remembered in ``directory``, none for a new training."""
    latest = tf.train.latest_checkpoint(str(directory / "checkpoints"))
    if latest is None:
        return []
    whole = int(latest.rpartition("-")[2])
    return [Record.from_json(record) for record in files.read_json(directory / "records.json")[:whole]]


def pause_in(directory: Path) -> dict[str, Any] | None:
    """Return ``stage``, ``epochs`` before it, and ``headway`` of the epoch in which a training was stopped, if any."""
    path = directory / "pause.json"
    return files.read_json(path) if path.is_file() else None


class Memory:
    """Checkpoints of one training, and the weights of its best epoch.

    After each epoch the best weights are written first, then the records, then the checkpoint that makes the epoch
    count: whatever happens in between, the epoch is either remembered whole or done again.

    Args:
        model: The model that is trained.
        directory: Where all of it lies. All workers see what lies there at the beginning.
        monitor: The value by which an epoch is the best; None for the last.

    Attributes:
        writes: Whether this is the worker that writes; all of them read what was there at the beginning.
    """

    def __init__(self, model: keras.Model, directory: Path, monitor: Monitor | None) -> None:
        self.model, self.directory, self.monitor, self.writes = model, directory, monitor, True
        self.folder = str(directory / "checkpoints")
        self.manager: tf.train.CheckpointManager | None = None
        self.checkpoint: tf.train.Checkpoint | None = None
        self.options = _written_here()

    def records(self) -> list[Record]:
        """Return the records of all whole epochs, none for a new training."""
        return records_in(self.directory)

    def stage(self, records: Sequence[Record]) -> int:
        """Return the number of the stage that the training had reached, 0 for a new one."""
        paused = pause_in(self.directory)
        return max([record.stage for record in records] + [paused["stage"] if paused else 0], default=0)

    def follow(self, optimizer: keras.optimizers.Optimizer, stage: int, records: Sequence[Record]) -> Headway:
        """Remember from now on the state of ``optimizer`` too, and bring back what is remembered of its stage.

        A stage has its own optimizer, so that only the stage of an epoch can read the epoch's checkpoint.

        Returns:
            How far the epoch after ``records`` has come.
        """
        # Named one by one, because the objects themselves leave out the state of random draws.
        variables = [[each.value for each in owner.variables] for owner in (self.model, optimizer)]
        self.checkpoint = tf.train.Checkpoint(model=variables[0], optimizer=variables[1])
        self.checkpoint.save_counter  # noqa: B018 - a variable: all workers must make it, though one of them saves
        self.manager = tf.train.CheckpointManager(self.checkpoint, self.folder, max_to_keep=2)
        paused = pause_in(self.directory)
        if paused and (paused["stage"], paused["epochs"]) == (stage, len(records)):
            paused_at = str(self.directory / paused["checkpoint"])
            self.checkpoint.read(paused_at, self.options).assert_existing_objects_matched()
            return Headway(**paused["headway"])
        if records and records[-1].stage == stage:
            self.checkpoint.restore(self.manager.latest_checkpoint, self.options).assert_existing_objects_matched()
        return Headway()

    def pause(self, stage: int, records: Sequence[Record], headway: Headway) -> None:
        """Remember the epoch after ``records`` as far as it has come."""
        if not self.writes:
            return
        assert self.checkpoint is not None
        name = f"pause/{len(records) + 1}-{headway.steps}"
        self.checkpoint.write(str(self.directory / name), self.options)
        fact = {"stage": stage, "epochs": len(records), "checkpoint": name, "headway": asdict(headway)}
        files.write_json(self.directory / "pause.json", fact)

    def save(self, records: Sequence[Record]) -> None:
        """Remember the epoch that has just ended."""
        if not self.writes:
            return
        assert self.manager is not None
        best = best_epoch(records, self.monitor)
        if best == len(records):
            self._write_weights(best)
        files.write_json(self.directory / "records.json", [record.to_json() for record in records])
        self.manager.save(checkpoint_number=len(records), options=self.options)
        (self.directory / "pause.json").unlink(missing_ok=True)
        shutil.rmtree(self.directory / "pause", ignore_errors=True)
        for path in self.directory.glob("best-*.weights.h5"):
            if path != self._weights(best):
                path.unlink()

    def recall(self, epoch: int) -> None:
        """Give the model the weights of ``epoch``, from 1, the best so far; the worker that writes does so."""
        if self.writes:
            self.model.load_weights(self._weights(epoch))

    def _weights(self, epoch: int) -> Path:
        return self.directory / f"best-{epoch}.weights.h5"

    def _write_weights(self, epoch: int) -> None:
        aside = self.directory / "aside.weights.h5"
        self.model.save_weights(aside, overwrite=True)
        aside.replace(self._weights(epoch))


def _written_here() -> tf.train.CheckpointOptions:
    """Let this machine read and write: else a parameter server does so with its variables, in a folder of its own."""
    with tf.device("CPU:0"):
        return tf.train.CheckpointOptions(experimental_io_device=tf.zeros(()).device)
