"""What is known of each epoch, and what follows from it: the best epoch, and whether to stop."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from parak8s.evaluation.metrics import Meter
from parak8s.experiment import EarlyStopping


@dataclass(frozen=True)
class Record:
    """One epoch.

    Args:
        epoch: From 1.
        loss: Mean weighted loss over the batches, as they were seen while training.
        accuracy: Share of right answers while training.
        val_loss: Mean cross-entropy on the validation split, in nats.
        val_accuracy: Share of right answers there.
        val_auc: Macro one-vs-rest area under the ROC curve there; NaN where only one class is there.
        val_f1: Macro F1 there.
        learning_rate: After the epoch's last step.
        seconds: Of training and validation.
        timestamp_ms: End of the epoch, since 1970.
        stage: From 1; the second one fine-tunes.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_auc: float
    val_f1: float
    learning_rate: float
    seconds: float
    timestamp_ms: int
    stage: int = 1

    def to_json(self) -> dict[str, float | int | None]:
        """Return the fields as plain values, None for NaN."""
        return {name: None if math.isnan(value) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, float | int | None]) -> Self:
        """Return the record of which ``to_json`` gave the values."""
        return cls(**{name: math.nan if value is None else value for name, value in values.items()})  # type: ignore[arg-type]

    def value(self, monitor: str) -> float:
        """Return the monitored value, turned so that larger is better, and any number better than NaN."""
        value = float(getattr(self, monitor))
        if math.isnan(value):
            return -math.inf
        return -value if monitor.endswith("loss") else value


def validation_record(logits: NDArray[np.float32], labels: NDArray[np.int32]) -> dict[str, float]:
    """Return val_loss, val_accuracy, val_auc and val_f1 of logits (n, classes) against labels int32 (n,)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    values = Meter(np.exp(log_probabilities), labels, [str(index) for index in range(logits.shape[1])]).values()
    return {
        "val_loss": -float(log_probabilities[np.arange(len(labels)), labels].mean()),
        "val_accuracy": values["categorical_accuracy"],
        "val_auc": values["auc"],
        "val_f1": values["f1"],
    }


def best_epoch(records: Sequence[Record], monitor: str | None) -> int:
    """Return the epoch (from 1) with the best monitored value, the first of equals; the last one without a monitor."""
    if monitor is None:
        return len(records)
    return max(records, key=lambda record: (record.value(monitor), -record.epoch)).epoch


def should_stop(records: Sequence[Record], rule: EarlyStopping | None) -> bool:
    """Return whether the monitored value has not improved by more than ``min_delta`` for ``patience`` epochs."""
    if rule is None or not records:
        return False
    best, at = -math.inf, 0
    for count, record in enumerate(records, start=1):
        if record.value(rule.monitor) > best + rule.min_delta:
            best, at = record.value(rule.monitor), count
    return len(records) - at >= rule.patience
