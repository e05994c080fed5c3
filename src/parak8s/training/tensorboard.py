"""Writes a training's curves for TensorBoard. The tensorboard package is needed to look at them, not to write them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parak8s import files

if TYPE_CHECKING:
    from parak8s.training.progress import Record

LEFT_OUT = ("epoch", "stage", "timestamp_ms")


class TensorBoard:
    """An observer that writes one scalar for each value of an epoch, at the epoch's number as the step.

    A training that goes on after it was killed begins a new file with the epochs before, so that each stands there
    once.

    Args:
        training: The folder that :func:`parak8s.training.fit` keeps its records in; the files lie in ``tensorboard``
            there.
    """

    def __init__(self, training: Path) -> None:
        self.training = training
        self._writer: Any = None

    def on_steps(self, epoch: int, done: int, total: int) -> None:
        """Nothing: the curves have whole epochs."""

    def on_epoch(self, record: Record) -> None:
        """Write the epoch, and before the first one the epochs of the training that was killed."""
        if self._writer is not None:
            self._write(record.to_json())
            return
        self._writer = self._begin()
        for earlier in files.read_json(self.training / "records.json")[: record.epoch]:
            self._write(earlier)

    def _begin(self) -> Any:
        import tensorflow as tf

        folder = self.training / "tensorboard"
        shutil.rmtree(folder, ignore_errors=True)
        return tf.summary.create_file_writer(str(folder))

    def _write(self, record: dict[str, float | int | None]) -> None:
        import tensorflow as tf

        # tf.summary.scalar would need the tensorboard package; what it writes is a tensor with this label.
        scalars = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"}, data_class="DATA_CLASS_SCALAR")
        with self._writer.as_default():
            for name, value in record.items():
                if name not in LEFT_OUT and value is not None:
                    tf.summary.write(f"epoch/{name}", tf.constant(value, tf.float32), record["epoch"], scalars)
        self._writer.flush()
