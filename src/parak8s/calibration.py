"""Turns logits into probabilities that mean what they say: temperature, isotonic, or plain softmax."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parak8s.errors import InputError

Method = Literal["temperature", "isotonic", "none"]
Knots = tuple[tuple[float, ...], tuple[float, ...]]
"""x and y of a rising piecewise linear map of one class's probability, both in [0, 1]; constant beyond its ends."""

LOWEST, HIGHEST = 0.05, 100.0
"""Where a temperature is looked for."""


@dataclass(frozen=True)
class Calibration:
    """A fitted map from logits to probabilities.

    Args:
        method: ``temperature``, ``isotonic`` or ``none``.
        examples: How many it was fitted on.
        temperature: What the logits are divided by; for ``temperature`` only.
        knots: One map for each class; for ``isotonic`` only.

    Raises:
        InputError: The parts do not fit together.
    """

    method: Method
    examples: int
    temperature: float | None = None
    knots: tuple[Knots, ...] | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise InputError(f"no calibration {self.method!r}; allowed: {', '.join(get_args(Method))}")
        given = {"temperature": self.temperature is not None, "isotonic": self.knots is not None}
        wanted = {name: name == self.method for name in given}
        if given != wanted:
            raise InputError(
                f"{self.method}: a temperature goes with temperature, knots with isotonic, nothing with none"
            )
        if self.temperature is not None and not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"the temperature must be finite and above 0, got {self.temperature}")
        for k, (x, y) in enumerate(self.knots or ()):
            if not x or len(x) != len(y) or list(x) != sorted(set(x)) or list(y) != sorted(y) or y[0] < 0 or y[-1] > 1:
                raise InputError(f"knots of class {k}: expected rising x and as many y, rising within [0, 1]")

    def apply(self, logits: ArrayLike) -> NDArray[np.float32]:
        """Return probabilities, float32 (n, k), of ``logits`` (n, k).

        Isotonic maps are fitted class by class, so a row is divided by its sum; where all maps give 0 it is the
        softmax.

        Raises:
            InputError: ``logits`` has another number of classes.
        """
        values = np.asarray(logits, np.float64)
        if self.knots is None:
            return softmax(values / (self.temperature or 1)).astype(np.float32)
        if values.ndim != 2 or values.shape[1] != len(self.knots):
            raise InputError(f"fitted for logits (n, {len(self.knots)}), got {values.shape}")
        before = softmax(values)
        after = np.stack([np.interp(before[:, k], x, y) for k, (x, y) in enumerate(self.knots)], axis=1)
        total = after.sum(axis=1, keepdims=True)
        return np.where(total > 0, after / np.where(total > 0, total, 1), before).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Return calibration.json as plain values; numbers keep every digit."""
        values: dict[str, Any] = {"method": self.method, "examples": self.examples}
        if self.temperature is not None:
            values["temperature"] = self.temperature
        if self.knots is not None:
            values["knots"] = [{"x": list(x), "y": list(y)} for x, y in self.knots]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Calibration":
        """Return the calibration that ``to_json`` gave.

        Raises:
            InputError: It is not one.
        """
        knots = values.get("knots")
        try:
            maps = knots and tuple((tuple(map(float, each["x"])), tuple(map(float, each["y"]))) for each in knots)
            return cls(values["method"], values["examples"], values.get("temperature"), maps)
        except (KeyError, TypeError) as error:
            raise InputError(f"calibration.json is damaged ({error!r}); repeat the step calibrate") from error


def fit(method: Method, logits: ArrayLike, labels: ArrayLike, *, classes: Sequence[str] = ()) -> Calibration:
    """Return the calibration of ``method`` that fits the examples best.

    Args:
        method: ``temperature``: the one that minimises the negative log-likelihood, 0.05 to 100 (Guo et al. 2017,
            arXiv:1706.04599); 1 where every example is classified right, since then the likelihood knows no limit to
            confidence and nothing says how sure is too sure. ``isotonic``: for each class against the rest, the
            rising map of the softmax probability that minimises the squared error; rows are divided by their sum
            (Zadrozny and Elkan 2002, "Transforming classifier scores into accurate multiclass probability
            estimates"). ``none``: nothing is fitted.
        logits: (n, k) of the calibration split.
        labels: (n,), 0 to k - 1.
        classes: The k names, for messages.

    Raises:
        InputError: The arrays do not fit, a logit is not finite, or there are too few examples: none for
            ``temperature``, fewer than 2 of a class for ``isotonic``.
    """
    values, truth = np.asarray(logits, np.float64), np.asarray(labels, np.int64)
    if values.ndim != 2 or truth.shape != (len(values),):
        raise InputError(f"expected logits (n, k) and labels (n,), got {values.shape} and {truth.shape}")
    if method == "none":
        return Calibration("none", len(truth))
    _enough(method, values, truth, classes)
    if method == "temperature":
        return Calibration("temperature", len(truth), temperature=_temperature(values, truth))
    return Calibration("isotonic", len(truth), knots=_isotonic(softmax(values), truth))


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return exp(logits) / sum over the last axis, without overflow."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return result


def _enough(method: Method, logits: NDArray[np.float64], labels: NDArray[np.int64], classes: Sequence[str]) -> None:
    fix = "give data.split.calibration a larger share, or write evaluation.calibration:"
    if not len(labels):
        raise InputError(f"{method} calibration: the calibration split has no examples; {fix} none")
    k = logits.shape[1]
    if labels.min() < 0 or labels.max() >= k:
        raise InputError(f"labels must be 0 to {k - 1} for {k} columns of logits, got {labels.min()} to {labels.max()}")
    if not np.isfinite(logits).all():
        row = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        fix = "the training has diverged: lower training.optimizer.learning_rate or set training.clip_norm"
        raise InputError(f"calibration example {row}: a logit is not a finite number; {fix}")
    counts = np.bincount(labels, minlength=k)
    if method == "isotonic" and counts.min() < 2:
        few = int(counts.argmin())
        got = f"class {classes[few] if classes else few} has {counts[few]}"
        raise InputError(f"isotonic calibration needs 2 examples of every class, and {got}; {fix} temperature")


def _temperature(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    margins = logits - logits[np.arange(len(labels)), labels][:, None]
    all_right = (margins < 0).sum() == margins.size - len(labels)
    if all_right:
        return 1.0

    def loss(log_temperature: float) -> float:
        return float(logsumexp(margins / math.exp(log_temperature), axis=1).mean())

    # Convex in 1 / T, so with one minimum in log T too.
    bounds = (math.log(LOWEST), math.log(HIGHEST))
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7}).x)


def _isotonic(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[Knots, ...]:
    from sklearn.isotonic import IsotonicRegression

    maps = []
    for k in range(probabilities.shape[1]):
        fitted = IsotonicRegression(y_min=0, y_max=1).fit(probabilities[:, k], labels == k)
        maps.append((tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist())))
    return tuple(maps)
