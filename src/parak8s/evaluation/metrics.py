"""The metrics of one set of predictions, under any weights of its examples. NumPy only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parak8s.errors import InputError

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

PER_CLASS = ("auc", "precision", "recall", "f1")
LOWER_IS_BETTER = ("ece", "brier")
ECE_BINS = 15


class Meter:
    """Computes every metric for many weightings of the same examples at once.

    All metrics but AUC are functions of a few weighted sums over the examples, so one matrix product serves them all;
    AUC needs one sort, done here. A weighting then costs O(n).

    - ``precision``, ``recall``, ``f1``: macro average over all classes; 0 where nothing was predicted or is there.
    - ``auc``: area under the ROC curve, one class against the rest, ties counted half (Mann and Whitney 1947). A class
      without examples, or without others, has none: NaN. The macro average is over the classes that have one.
    - ``ece``: expected calibration error of the predicted class, 15 bins of equal width (Guo et al. 2017).
    - ``brier``: mean over examples of the squared distance between the probabilities and the truth, summed over the
      classes: 0 to 2 (Brier 1950).
    - ``sensitivity``, ``specificity``: with a threshold only. Of the examples of the second class, the share with a
      probability of ``threshold`` or more; of those of the first, the share below it. NaN without such examples.

    Args:
        probabilities: (n, k), in [0, 1].
        labels: (n,), index into ``classes``.
        classes: The k names.
        threshold: From which probability on the second of two classes is called, or None.

    Raises:
        InputError: See ``checked``.
    """

    def __init__(
        self, probabilities: ArrayLike, labels: ArrayLike, classes: Sequence[str], *, threshold: float | None = None
    ) -> None:
        values, truth = checked(probabilities, labels, len(classes))
        self.examples = len(truth)
        self.classes = tuple(classes)
        self._rankings = [_Ranking.of(values[:, k], truth == k) for k in range(len(classes))]
        self._summands = _summands(values, truth)
        self._decided = None if threshold is None else _decided(values, truth, threshold)

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Return name -> (b,) for ``weights`` (n, b): the metrics' own names, and ``f1/V`` for a class alone."""
        k = len(self.classes)
        sums = self._summands.T @ weights
        total, hits, predicted, present = weights.sum(axis=0), sums[:k], sums[k : 2 * k], sums[2 * k : 3 * k]
        values = {"categorical_accuracy": hits.sum(axis=0) / total}
        by_class = {
            "auc": np.array([ranking.auc(weights) for ranking in self._rankings]),
            "precision": _ratio(hits, predicted),
            "recall": _ratio(hits, present),
            "f1": _ratio(2 * hits, predicted + present),
        }
        for name, rows in by_class.items():
            values[name] = _mean_of_defined(rows)
            values |= {f"{name}/{label}": row for label, row in zip(self.classes, rows, strict=True)}
        values["ece"] = np.abs(sums[3 * k + 1 :]).sum(axis=0) / total
        values["brier"] = sums[3 * k] / total
        if self._decided is not None:
            right = self._decided.T @ weights
            values["specificity"], values["sensitivity"] = _ratio(right, present, empty=np.nan)
        return values

    def values(self) -> dict[str, float]:
        """Return the metrics with every example counted once."""
        return {name: float(value[0]) for name, value in self(np.ones((self.examples, 1))).items()}


def checked(probabilities: ArrayLike, labels: ArrayLike, classes: int) -> tuple[Floats, Labels]:
    """Return both as float64 (n, k) and int64 (n,).

    Raises:
        InputError: The shapes do not fit, there are no examples, a label has no class, or a row is no distribution.
    """
    values, truth = np.asarray(probabilities, np.float64), np.asarray(labels, np.int64)
    if truth.ndim != 1 or values.shape != (len(truth), classes):
        raise InputError(f"expected probabilities (n, {classes}) and labels (n,), got {values.shape} and {truth.shape}")
    if not len(truth):
        raise InputError("there are no examples to measure on; give data.split.test a share above 0")
    if truth.min() < 0 or truth.max() >= classes:
        row = int(np.flatnonzero((truth < 0) | (truth >= classes))[0])
        raise InputError(f"row {row}: label {truth[row]} is not a class; allowed: 0 to {classes - 1}")
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        fix = "the training has diverged: lower training.optimizer.learning_rate or set training.clip_norm"
        raise InputError(f"row {row}: a probability is not a finite number; {fix}")
    bad = (values < 0).any(axis=1) | (np.abs(values.sum(axis=1) - 1) > 1e-3)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"row {row}: probabilities must be 0 or more and sum to 1, got {values[row].tolist()}")
    return values, truth


def bins_of(confidence: Floats, bins: int) -> NDArray[np.int64]:
    """Return the bin of each confidence: bin i holds (i / bins, (i + 1) / bins], and 0 is in the first."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


@dataclass(frozen=True)
class _Ranking:
    """One class against the rest: where each of its examples stands among the others, sorted by score.

    Args:
        positive: (p,) rows of the class.
        negative: (m,) rows of the others, by rising score.
        below: (p,) how many of the others score less than each positive.
        through: (p,) how many score less or the same.
    """

    positive: NDArray[np.intp]
    negative: NDArray[np.intp]
    below: NDArray[np.intp]
    through: NDArray[np.intp]

    @classmethod
    def of(cls, scores: Floats, mine: NDArray[np.bool_]) -> "_Ranking":
        positive, others = np.flatnonzero(mine), np.flatnonzero(~mine)
        negative = others[np.argsort(scores[others], kind="stable")]
        place = [np.searchsorted(scores[negative], scores[positive], side) for side in ("left", "right")]
        return cls(positive, negative, *place)

    def auc(self, weights: Floats) -> Floats:
        """Return (b,): the weighted share of pairs in the right order, for ``weights`` (n, b)."""
        mine = weights[self.positive]
        passed = np.zeros((len(self.negative) + 1, weights.shape[1]))
        np.cumsum(weights[self.negative], axis=0, out=passed[1:])
        won = passed[self.below]
        won += passed[self.through]
        pairs = mine.sum(axis=0) * passed[-1]
        return _ratio(np.einsum("ib,ib->b", mine, won) / 2, pairs, empty=np.nan)


def _summands(values: Floats, truth: Labels) -> Floats:
    """Return (n, 3 k + 1 + bins): hits, predictions, presence by class; squared error; accuracy - confidence by bin."""
    n, k = values.shape
    predicted = values.argmax(axis=1)
    confidence = values[np.arange(n), predicted]
    hit = predicted == truth
    present, predictions, gaps = np.eye(k)[truth], np.eye(k)[predicted], np.zeros((n, ECE_BINS))
    gaps[np.arange(n), bins_of(confidence, ECE_BINS)] = hit - confidence
    error = ((values - present) ** 2).sum(axis=1, keepdims=True)
    return np.hstack([present * hit[:, None], predictions, present, error, gaps])


def _decided(values: Floats, truth: Labels, threshold: float) -> Floats:
    """Return (n, 2): where an example of the first class is below the threshold, of the second at it or above."""
    called = values[:, 1] >= threshold
    return np.stack([(truth == 0) & ~called, (truth == 1) & called], axis=1).astype(np.float64)


def _ratio(part: Floats, whole: Floats, empty: float = 0.0) -> Floats:
    return np.divide(part, whole, out=np.full_like(part, empty), where=whole > 0)


def _mean_of_defined(rows: Floats) -> Floats:
    defined = ~np.isnan(rows)
    return _ratio(np.where(defined, rows, 0).sum(axis=0), defined.sum(axis=0).astype(np.float64), empty=np.nan)
