"""Early stopping: the rule that the median of earlier trials gives, and what rules say to values as they come in."""

from __future__ import annotations

import math
import operator
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from parak8s.errors import InputError, nearest

Comparison = Literal["equal", "less", "greater"]

COMPARED: Mapping[str, Callable[[float, float], bool]] = {
    "equal": operator.eq,
    "less": operator.lt,
    "greater": operator.gt,
}


@dataclass(frozen=True)
class Rule:
    """One of a Trial's ``earlyStoppingRules``.

    Args:
        name: Of the metric.
        value: What the metric is compared with.
        comparison: When the rule is reached: the metric is equal to, less than or greater than the value.
        start_step: Values of the metric, counted from 1, from which on the rule applies; 0 for all.
    """

    name: str
    value: float
    comparison: Comparison
    start_step: int = 0

    def __post_init__(self) -> None:
        if self.comparison not in COMPARED:
            raise InputError(f"early stopping: comparison {self.comparison!r}; {nearest(self.comparison, COMPARED)}")
        if self.start_step < 0:
            raise InputError(f"early stopping: startStep is {self.start_step}, expected a whole number from 0")

    def to_json(self) -> dict[str, Any]:
        """Return the rule as Katib writes it: ``{name, value, comparison, startStep}``, the value as text."""
        return {
            "name": self.name,
            "value": str(self.value),
            "comparison": self.comparison,
            "startStep": self.start_step,
        }


@dataclass(frozen=True)
class MedianStop:
    """Katib's ``medianstop``: a trial has to keep up with the median of the earlier ones.

    Args:
        min_trials_required: Succeeded trials before there is a rule; 1 or more.
        start_step: Values of the objective that are averaged, and after which a trial is judged; 1 or more.

    Source: Katib's MedianStopService; Golovin et al. (2017), Google Vizier, section 3.2.
    """

    min_trials_required: int = 3
    start_step: int = 4

    def __post_init__(self) -> None:
        for name in ("min_trials_required", "start_step"):
            if getattr(self, name) < 1:
                raise InputError(f"medianstop: {name} is {getattr(self, name)}, expected a whole number from 1")

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> MedianStop:
        """Read ``algorithmSettings``.

        Raises:
            InputError: A setting is unknown or no whole number from 1.
        """
        known = ("min_trials_required", "start_step")
        for name, text in settings.items():
            if name not in known:
                raise InputError(f"medianstop: unknown setting {name!r}; {nearest(name, known)}")
            if not (text.isascii() and text.isdecimal()):
                raise InputError(f"medianstop: {name} is {text!r}, expected a whole number from 1")
        return cls(**{name: int(text) for name, text in settings.items()})

    def rule(self, objective: str, succeeded: Collection[Sequence[float]], *, maximize: bool) -> Rule | None:
        """Return what stops a trial that starts now; None while too few have succeeded.

        Args:
            objective: Name of the metric.
            succeeded: The objective's values of each succeeded trial, in the order of their reports; one that reported
                fewer than ``start_step`` is averaged over those, one that reported none, or NaN, does not
                count.
            maximize: Whether a larger objective is better.
        """
        averages = [statistics.fmean(values[: self.start_step]) for values in succeeded if values]
        averages = [average for average in averages if not math.isnan(average)]
        if len(averages) < self.min_trials_required:
            return None
        return Rule(objective, statistics.median(averages), "less" if maximize else "greater", self.start_step)


class RuleSet:
    """The rules of one trial, applied to its metrics as they come in: it is stopped when all have been reached.

    A rule that was reached once is done. The objective counts with its best value so far, from its first value on.

    Args:
        rules: Without any, nothing is ever stopped.
        objective: Name of the metric that is made large or small.
        maximize: Whether a larger objective is better.

    Source: Katib v0.17, cmd/metricscollector/v1beta1/file-metricscollector/main.go.
    """

    def __init__(self, rules: Sequence[Rule], *, objective: str, maximize: bool) -> None:
        self._left, self._any = list(rules), bool(rules)
        self._objective, self._better = objective, max if maximize else min
        self._best = math.nan
        self._counts: Counter[str] = Counter()

    @property
    def stopped(self) -> bool:
        """Whether all rules have been reached."""
        return self._any and not self._left

    def take(self, name: str, value: float) -> bool:
        """Take one value of a metric; return whether all rules have now been reached."""
        self._counts[name] += 1
        if name == self._objective:
            self._best = value = value if math.isnan(self._best) else self._better(self._best, value)
        self._left = [rule for rule in self._left if not self._reaches(rule, name, value)]
        return self.stopped

    def _reaches(self, rule: Rule, name: str, value: float) -> bool:
        return (
            rule.name == name and self._counts[name] >= rule.start_step and COMPARED[rule.comparison](value, rule.value)
        )
