"""What a training remembers: a checkpoint of every epoch, and the weights of the best one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from parak8s import files
from parak8s.training.progress import Record, best_epoch

if TYPE_CHECKING:
    from parak8s.experiment.sections import Monitor


class Memory:
    """Checkpoints of one training, and the weights of its best epoch.

    After each epoch the best weights are written first, then the records, then the checkpoint that makes the epoch
    count: whatever happens in between, the epoch is either remembered whole or done again.

    Args:
        model: The model that is trained.
        directory: Where all of it lies.
        monitor: The value by which an epoch is the best; None for the last.
    """

    def __init__(self, model: keras.Model, directory: Path, monitor: Monitor | None) -> None:
        self.model, self.directory, self.monitor = model, directory, monitor
        self.folder = str(directory / "checkpoints")
        self.manager: tf.train.CheckpointManager | None = None

    def records(self) -> list[Record]:
        """Return the records of all whole epochs, none for a new training."""
        latest = tf.train.latest_checkpoint(self.folder)
        if latest is None:
            return []
        whole = int(latest.rpartition("-")[2])
        return [Record.from_json(record) for record in files.read_json(self.directory / "records.json")[:whole]]

    def follow(self, optimizer: keras.optimizers.Optimizer, *, restore: bool) -> None:
        """Remember from now on the state of ``optimizer`` too, and bring the last whole epoch back if it was its own.

        A stage has its own optimizer, so that only the stage of an epoch can read the epoch's checkpoint.
        """
        # Named one by one, because the objects themselves leave out the state of random draws.
        variables = [[each.value for each in owner.variables] for owner in (self.model, optimizer)]
        checkpoint = tf.train.Checkpoint(model=variables[0], optimizer=variables[1])
        self.manager = tf.train.CheckpointManager(checkpoint, self.folder, max_to_keep=2)
        if restore:
            checkpoint.restore(self.manager.latest_checkpoint).assert_existing_objects_matched()

    def save(self, records: Sequence[Record]) -> None:
        """Remember the epoch that has just ended."""
        assert self.manager is not None
        best = best_epoch(records, self.monitor)
        if best == len(records):
            self._write_weights(best)
        files.write_json(self.directory / "records.json", [record.to_json() for record in records])
        self.manager.save(checkpoint_number=len(records))
        for path in self.directory.glob("best-*.weights.h5"):
            if path != self._weights(best):
                path.unlink()

    def keep_best(self, records: Sequence[Record]) -> int:
        """Give the model the weights of the epoch that is kept; return that epoch, from 1."""
        kept = best_epoch(records, self.monitor)
        if kept != len(records):
            self.model.load_weights(self._weights(kept))
        return kept

    def _weights(self, epoch: int) -> Path:
        return self.directory / f"best-{epoch}.weights.h5"

    def _write_weights(self, epoch: int) -> None:
        aside = self.directory / "aside.weights.h5"
        self.model.save_weights(aside, overwrite=True)
        aside.replace(self._weights(epoch))
