"""What evaluation says about predictions: metrics with intervals, confusion matrix, curves, reliability. NumPy only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parak8s.evaluation.bootstrap import intervals
from parak8s.evaluation.metrics import ECE_BINS, Floats, Meter, bins_of, checked
from parak8s.evaluation.operating_point import Decision
from parak8s.experiment import Bootstrap

CURVE_POINTS = 200


def measure(
    probabilities: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str],
    *,
    bootstrap: Bootstrap,
    seed: int,
    uncalibrated: ArrayLike | None = None,
    patients: ArrayLike | None = None,
    decision: Decision | None = None,
) -> dict[str, Any]:
    """Return metrics.json as plain values; null stands for what is not defined, such as the AUC of an absent class.

    Args:
        probabilities: (n, k), in [0, 1], rows sum to 1.
        labels: (n,), index into ``classes``.
        classes: The k names.
        bootstrap: Resamples and confidence of the percentile intervals (see ``bootstrap.intervals``).
        seed: Of the resampling.
        uncalibrated: (n, k), the probabilities before calibration, for their ECE and Brier score.
        patients: (n,), who each example comes from; given, whole patients are resampled.
        decision: The threshold of the second of two classes; given, sensitivity and specificity are measured.

    Returns:
        ``examples``, ``classes``, ``metrics`` (name -> value, low, high), ``uncalibrated`` (``ece`` and ``brier``, or
        null), ``confusion_matrix`` (rows true, columns predicted), ``operating_point`` (the decision, or null),
        ``confidence``, ``bootstrap_samples``, ``resampled`` (``examples`` or ``patients``).

        ECE is a sum of absolute values, which noise makes larger: every resample of a well calibrated model has a
        higher one, so its interval may lie wholly above its value.

    Raises:
        InputError: See ``parak8s.evaluation.metrics.checked``.
    """
    meter = Meter(probabilities, labels, classes, threshold=decision.threshold if decision else None)
    measured = intervals(meter, meter.examples, bootstrap=bootstrap, seed=seed, patients=patients)
    before = None if uncalibrated is None else Meter(uncalibrated, labels, classes).values()
    return {
        "examples": meter.examples,
        "classes": list(classes),
        "metrics": {name: interval.to_json() for name, interval in measured.items()},
        "uncalibrated": before and {name: before[name] for name in ("ece", "brier")},
        "confusion_matrix": confusion_matrix(probabilities, labels).tolist(),
        "operating_point": decision and decision.to_json(),
        "confidence": bootstrap.confidence,
        "bootstrap_samples": bootstrap.samples,
        "resampled": "examples" if patients is None else "patients",
    }


def confusion_matrix(probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.int64]:
    """Return int64 (k, k): rows true classes, columns predicted ones (the most probable; the first of equals)."""
    values, truth = _checked(probabilities, labels)
    k = values.shape[1]
    return np.bincount(truth * k + values.argmax(axis=1), minlength=k * k).reshape(k, k).astype(np.int64)


def roc_curves(probabilities: ArrayLike, labels: ArrayLike, *, points: int = CURVE_POINTS) -> list[Floats]:
    """Return for each class against the rest (2, m): false and true positive rate, from (0, 0) to (1, 1).

    At most ``points`` points, thinned along the curve; (2, 0) for a class without examples or without others.
    """
    return [
        _thinned(np.array([wrong / wrong[-1], right / right[-1]]), points) if wrong[-1] and right[-1] else _NO_CURVE
        for right, wrong in _counts(probabilities, labels)
    ]


def precision_recall_curves(probabilities: ArrayLike, labels: ArrayLike, *, points: int = CURVE_POINTS) -> list[Floats]:
    """Return for each class against the rest (2, m): recall and precision, from recall 0 (precision 1 by agreement).

    At most ``points`` points, thinned along the curve; (2, 0) for a class without examples.
    """
    return [
        _thinned(np.array([right / right[-1], _precision(right, wrong)]), points) if right[-1] else _NO_CURVE
        for right, wrong in _counts(probabilities, labels)
    ]


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram (Guo et al. 2017): all arrays (bins,), bin i holds (i / bins, (i + 1) / bins].

    Args:
        examples: int64, how many predictions have their confidence in the bin.
        confidence: Their mean confidence; NaN in an empty bin.
        accuracy: Share of them that is right; NaN in an empty bin.
    """

    examples: NDArray[np.int64]
    confidence: Floats
    accuracy: Floats


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = ECE_BINS) -> Reliability:
    """Return how often the predicted class is right, by the probability it was given."""
    values, truth = _checked(probabilities, labels)
    confidence, hit = values.max(axis=1), values.argmax(axis=1) == truth
    place = bins_of(confidence, bins)
    examples = np.bincount(place, minlength=bins).astype(np.int64)
    sums = [np.bincount(place, weights=each, minlength=bins) for each in (confidence, hit)]
    means = [np.divide(each, examples, out=np.full(bins, np.nan), where=examples > 0) for each in sums]
    return Reliability(examples, *means)


_NO_CURVE: Floats = np.empty((2, 0))


def _checked(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    values = np.asarray(probabilities)
    return checked(values, labels, values.shape[-1] if values.ndim else 0)


def _counts(probabilities: ArrayLike, labels: ArrayLike) -> list[tuple[Floats, Floats]]:
    """Return for each class how many of its examples and of the others reach each threshold, from none on."""
    values, truth = _checked(probabilities, labels)
    curves = []
    for k in range(values.shape[1]):
        order = np.argsort(-values[:, k], kind="stable")
        scores, mine = values[order, k], truth[order] == k
        last_of_equals = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
        right = np.cumsum(mine)[last_of_equals].astype(np.float64)
        curves.append((np.append(0, right), np.append(0, last_of_equals + 1 - right)))
    return curves


def _precision(right: Floats, wrong: Floats) -> Floats:
    return np.divide(right, right + wrong, out=np.ones_like(right), where=right + wrong > 0)


def _thinned(curve: Floats, points: int) -> Floats:
    """Cut the curve (2, m) into ``points / 2`` pieces of equal length and keep the first and last point of each."""
    if curve.shape[1] <= points:
        return curve
    length = np.append(0, np.abs(np.diff(curve)).sum(axis=0).cumsum())
    piece = np.minimum(length / length[-1] * (points // 2), points // 2 - 1).astype(np.int64)
    change = np.diff(piece) > 0
    return curve[:, np.append(True, change) | np.append(change, True)]
