"""What follows from the epochs so far: validation numbers, the best epoch, whether to stop."""

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

from parak8s.errors import InputError
from parak8s.experiment import EarlyStopping
from parak8s.training.progress import Record, best_epoch, should_stop, validation_record


def record(epoch: int, **values: Any) -> Record:
    zeros: dict[str, Any] = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy", "val_auc", "val_f1"), 0.0)
    return Record(epoch=epoch, **zeros | values, learning_rate=0.1, seconds=1.0, timestamp_ms=5)


def records(monitor: str, *values: float) -> list[Record]:
    return [record(epoch, **{monitor: value}) for epoch, value in enumerate(values, 1)]


@pytest.mark.parametrize(
    ("monitor", "values", "best"),
    [
        ("val_f1", [0.1, 0.5, 0.3], 2),
        ("val_loss", [0.9, 0.5, 0.7], 2),
        ("loss", [0.3, 0.5, 0.7], 1),
        ("val_auc", [0.5, 0.5, 0.5], 1),
        ("val_auc", [math.nan, 0.5, math.nan], 2),
        ("val_auc", [math.nan, math.nan], 1),
        ("val_loss", [math.nan, 5.0, 4.0], 3),
        ("accuracy", [0.2], 1),
    ],
)
def test_the_best_epoch_is_the_first_with_the_best_value(monitor: str, values: list[float], best: int) -> None:
    assert best_epoch(records(monitor, *values), monitor) == best


def test_without_a_monitor_the_last_epoch_is_the_best() -> None:
    assert best_epoch(records("val_f1", 0.9, 0.5, 0.3), None) == 3


@pytest.mark.parametrize(
    ("values", "rule", "stops"),
    [
        ([], {"patience": 1}, False),
        ([0.5], {"patience": 1}, False),
        ([0.5, 0.6], {"patience": 1}, True),
        ([0.5, 0.4, 0.41, 0.42], {"patience": 2}, True),
        ([0.5, 0.4, 0.41, 0.39], {"patience": 2}, False),
        ([0.5, 0.5, 0.5], {"patience": 3}, False),
        ([0.5, 0.5, 0.5, 0.5], {"patience": 3}, True),
        ([0.5, 0.45, 0.41], {"patience": 2, "min_delta": 0.1}, True),
        ([0.5, 0.45, 0.39], {"patience": 2, "min_delta": 0.1}, False),
        ([math.nan, math.nan], {"patience": 2}, True),
        ([math.nan, 0.5, 0.4], {"patience": 2}, False),
    ],
)
def test_training_stops_when_the_loss_has_not_fallen_for_as_many_epochs(
    values: list[float], rule: dict[str, Any], stops: bool
) -> None:
    assert should_stop(records("val_loss", *values), EarlyStopping(**rule)) is stops


def test_a_monitor_that_is_no_loss_must_rise() -> None:
    rule = EarlyStopping(monitor="val_auc", patience=2)
    assert not should_stop(records("val_auc", 0.5, 0.6, 0.7), rule)
    assert should_stop(records("val_auc", 0.7, 0.6, 0.5), rule)


def test_without_a_rule_training_never_stops_early() -> None:
    assert not should_stop(records("val_loss", *[1.0] * 50), None)


def test_validation_numbers_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    logits, labels = random.normal(scale=3, size=(500, 4)).astype(np.float32), random.integers(0, 4, 500)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    expected = {
        "val_loss": log_loss(labels, probabilities),
        "val_accuracy": accuracy_score(labels, logits.argmax(axis=1)),
        "val_auc": roc_auc_score(labels, probabilities, multi_class="ovr"),
        "val_f1": f1_score(labels, logits.argmax(axis=1), average="macro"),
    }
    assert validation_record(logits, labels.astype(np.int32)) == pytest.approx(expected, rel=1e-6)


def test_validation_on_a_single_class_has_no_auc_and_a_file_can_hold_it() -> None:
    values = validation_record(np.array([[1, 2], [3, 1]], np.float32), np.array([0, 0], np.int32))
    assert math.isnan(values["val_auc"])
    written = record(1, **values).to_json()
    assert written["val_auc"] is None
    again = Record.from_json(json.loads(json.dumps(written, allow_nan=False)))
    assert math.isnan(again.val_auc)
    assert (again.val_loss, again.epoch, again.timestamp_ms) == (values["val_loss"], 1, 5)


def test_very_sure_logits_give_a_finite_loss() -> None:
    assert validation_record(np.array([[1e30, 0], [0, 1e30]], np.float32), np.array([0, 0], np.int32))[
        "val_loss"
    ] == pytest.approx(5e29)


def test_logits_that_are_no_numbers_are_refused_with_the_fix() -> None:
    with pytest.raises(InputError, match=r"row 1: .*lower training\.optimizer\.learning_rate"):
        validation_record(np.array([[1, 2], [math.nan, 1]], np.float32), np.array([0, 0], np.int32))
