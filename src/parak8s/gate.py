"""The release gate: absolute thresholds, and a comparison with the model that holds the alias."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from parak8s.errors import InputError, nearest
from parak8s.evaluation.bootstrap import Floats, Interval, intervals
from parak8s.evaluation.metrics import LOWER_IS_BETTER, Meter
from parak8s.experiment import Bootstrap, Gate

Measured = Mapping[str, Mapping[str, float | None]]
"""The ``metrics`` of metrics.json: name -> value, low, high."""

NOISE = 1e-6
"""Differences up to this come from float32 arithmetic on another machine, not from the model."""

_RULES: Mapping[str, tuple[Callable[[float, float], bool], str, str]] = {
    ">=": (operator.ge, "at least the required", "below the required"),
    ">": (operator.gt, "above the required", "not above the required"),
    "<=": (operator.le, "at most the allowed", "above the allowed"),
    "<": (operator.lt, "below the allowed", "not below the allowed"),
}


@dataclass(frozen=True)
class Check:
    """One question and its answer.

    Args:
        check: The rule, such as ``auc >= 0.95``.
        value: What was found, as text.
        passed: Whether the rule is kept.
        reason: One sentence for humans.
    """

    check: str
    value: str
    passed: bool
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What the gate says: passed when every check is, so also when there is none."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether the model may be released."""
        return all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return verdict.json as plain values."""
        return {"passed": self.passed, "checks": [dict(vars(check)) for check in self.checks]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Verdict":
        """Return the verdict that ``to_json`` gave."""
        return cls(tuple(Check(**check) for check in values["checks"]))


@dataclass(frozen=True)
class Comparison:
    """A challenger against the champion on the same test set.

    Args:
        name: Registered name of the champion.
        version: Its version.
        differences: Metric -> how much better the challenger is, with its interval; negative is worse.
    """

    name: str
    version: str
    differences: Mapping[str, Interval]

    @property
    def champion(self) -> str:
        """The champion in words."""
        return f"the champion {self.name} version {self.version}"


def compare(
    challenger: ArrayLike,
    champion: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str],
    metrics: Sequence[str],
    *,
    name: str,
    version: str,
    bootstrap: Bootstrap,
    seed: int,
    patients: ArrayLike | None = None,
    thresholds: tuple[float, float] | None = None,
) -> Comparison:
    """Return how much better the challenger is in each metric, with the interval of the paired bootstrap.

    The statistic is the difference of the two models' values of a metric, challenger - champion (champion - challenger
    for ``ece`` and ``brier``, where lower is better). Both are computed on the same resamples of the same test set, so
    that what makes a resample easy or hard falls out (paired percentile bootstrap: Efron and Tibshirani 1993, *An
    Introduction to the Bootstrap*, chapters 8 and 13).

    Args:
        challenger: (n, k) probabilities of the new model.
        champion: (n, k) probabilities of the model that holds the alias, for the same examples.
        labels: (n,), index into ``classes``.
        classes: The k names.
        metrics: What to compare, such as ``auc`` or ``f1/V``.
        name: Registered name of the champion.
        version: Its version.
        bootstrap: Resamples and confidence.
        seed: Of the resampling.
        patients: (n,), who each example comes from; given, whole patients are resampled.
        thresholds: Of the challenger and of the champion, for ``sensitivity`` and ``specificity``.

    Raises:
        InputError: A metric is unknown, or the predictions do not fit the labels and classes.
    """
    ours, theirs = thresholds or (None, None)
    new, old = Meter(challenger, labels, classes, threshold=ours), Meter(champion, labels, classes, threshold=theirs)
    known = new.values()
    for metric in metrics:
        if metric not in known:
            raise InputError(f"no metric {metric!r}; {nearest(metric, known)}")

    def differences(weights: Floats) -> dict[str, Floats]:
        values, others = new(weights), old(weights)
        gain = {metric: np.subtract(values[metric], others[metric]) for metric in metrics}
        return {metric: -value if metric in LOWER_IS_BETTER else value for metric, value in gain.items()}

    found = intervals(differences, new.examples, bootstrap=bootstrap, seed=seed, patients=patients)
    return Comparison(name, version, found)


def judge(gate: Gate, metrics: Measured, comparison: Comparison | None, *, confidence: float = 0.95) -> Verdict:
    """Return the verdict on a model.

    - ``metric: ">= 0.97"`` holds the value itself, not its interval, against the threshold. It fails when the metric
      was not measured or is not defined.
    - ``champion: not_worse`` says no when for any compared metric (those in ``evaluation.metrics``) the whole interval
      of the difference to the champion lies below zero: the challenger is significantly worse (paired percentile
      bootstrap on the same resamples of the same test set; Efron and Tibshirani 1993; see ``compare``). It says no as
      well when a difference is not defined, and yes when there is no champion yet. Differences up to 1e-6 count as
      none.

    Args:
        gate: The rules.
        metrics: Name -> value, low, high; None where not defined.
        comparison: With the champion; None when nothing holds the alias yet.
        confidence: Of the intervals.
    """
    checks = [_threshold(name, rule, metrics, confidence) for name, rule in gate.thresholds().items()]
    if gate.champion == "not_worse":
        checks += _not_worse(comparison, confidence)
    return Verdict(tuple(checks))


def _threshold(name: str, rule: str, metrics: Measured, confidence: float) -> Check:
    sign, limit = re.findall(r"[<>]=?|[^<>=\s]+", rule)
    check = f"{name} {sign} {limit}"
    if name not in metrics:
        return Check(check, "not measured", False, f"{name} was not measured; {nearest(name, metrics)}")
    value = metrics[name]["value"]
    if value is None or np.isnan(value):
        reason = f"{name} is not defined on this test set: a class has no examples in it, or all examples are of one"
        return Check(check, "not defined", False, reason)
    holds, yes, no = _RULES[sign]
    passed = holds(value, float(limit))
    text = _distinct(value, float(limit))
    interval = _interval(metrics[name]["low"], metrics[name]["high"], confidence)
    return Check(check, text, passed, f"{name} is {text}{interval}, {yes if passed else no} {limit}")


def _not_worse(comparison: Comparison | None, confidence: float) -> list[Check]:
    if comparison is None:
        return [
            Check("champion: not_worse", "no champion", True, "no model holds the alias yet, so none can be better")
        ]
    return [
        _difference(metric, difference, comparison.champion, confidence)
        for metric, difference in comparison.differences.items()
    ]


def _difference(metric: str, difference: Interval, champion: str, confidence: float) -> Check:
    check, value = f"champion: not_worse ({metric})", difference.value
    if np.isnan(difference.high):
        reason = f"{metric} cannot be compared with that of {champion}: it is not defined on this test set"
        return Check(check, "not defined", False, reason + ", or all examples come from one patient")
    passed = difference.high >= -NOISE
    size = "equal to" if abs(value) <= NOISE else f"{abs(value):.4g} {'better' if value > 0 else 'worse'} than"
    interval = _interval(difference.low, difference.high, confidence, "of the improvement ")
    end = "so not significantly worse" if passed else "wholly below zero: significantly worse"
    return Check(check, f"{value:+.4g}", passed, f"{metric} is {size} that of {champion}{interval}, {end}")


def _distinct(value: float, limit: float) -> str:
    """Return four decimals, or as many as show on which side of the limit the value lies."""
    text = f"{value:.4f}"
    return text if np.sign(float(text) - limit) == np.sign(value - limit) or value == limit else repr(value)


def _interval(low: float | None, high: float | None, confidence: float, of: str = "") -> str:
    if low is None or high is None or np.isnan(low):
        return ""
    return f" ({confidence * 100:g} % interval {of}{low:.4g} to {high:.4g})"
