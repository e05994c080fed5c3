"""A parameter and the numbers from 0 to 1 that stand for its values: how evenly drawn numbers become a distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from scipy.special import ndtr, ndtri

from parak8s.experiment.dimensions import Dimension

SIGMAS = 3.0
"""Half a range, in standard deviations, where a parameter is normally distributed."""


@dataclass(frozen=True)
class Scale:
    """Turns shares of a parameter's probability into its values and back.

    A normal distribution is cut off at both ends of the range (Katib draws beyond them). The values of a range with a
    step are ``low + k * step``, in decimal arithmetic, and equally probable where the distribution is uniform.

    Args:
        parameter: A range or a list.
    """

    parameter: Dimension

    @cached_property
    def count(self) -> int | None:
        """How many values there are; None where there is no end of them."""
        if not self.parameter.is_range:
            return len(self.parameter.choices)
        if self._step is None:
            return 1 if self._low == self._high else None
        return int((self._high - self._low) / self._step) + 1

    @property
    def is_even(self) -> bool:
        """Whether there is a number of values that are equally far apart and probable: a list, or steps."""
        return self.count is not None and (not self.parameter.is_range or self.parameter.distribution == "uniform")

    def nth(self, index: int) -> str:
        """Return a value of a list or a range with a step, counted from 0."""
        if not self.parameter.is_range:
            return self.parameter.choices[index]
        return self.parameter.text(float(self._low + index * (self._step or 0)))

    def index(self, text: str) -> int:
        """Return which value of a list or a range with a step it is, counted from 0; the nearest one of a range."""
        if not self.parameter.is_range:
            return self.parameter.choices.index(text)
        return self._nearest(float(text))

    def value(self, share: float) -> str:
        """Return the value below which such a share of the probability lies.

        Args:
            share: From 0 to 1.
        """
        if self.count is not None and self.is_even:
            return self.nth(min(int(share * self.count), self.count - 1))
        left, right = self._edges
        number = left + self._place(share) * (right - left)
        if self._is_log:
            number = math.exp(number)
        if self.count is not None:
            return self.nth(self._nearest(number))
        return self.parameter.text(min(max(number, float(self._low)), float(self._high)))

    def share(self, text: str) -> float:
        """Return the share of the probability below a value, from 0 to 1; below its middle where there are steps."""
        if self.count is not None and self.is_even:
            return (self.index(text) + 0.5) / self.count
        left, right = self._edges
        number = math.log(float(text)) if self._is_log else float(text)
        place = (number - left) / (right - left) if right > left else 0.5
        if self._is_normal:
            below, within = _tail()
            place = (float(ndtr(SIGMAS * (2 * place - 1))) - below) / within
        return min(max(place, 0.0), 1.0)

    def scaled(self, text: str, factor: float) -> str:
        """Return a value of a range times a factor, in the range and on its steps: at least one step away."""
        number = float(text) * factor
        if self._step is None:
            return self.parameter.text(min(max(number, float(self._low)), float(self._high)))
        here, there = self.index(text), self._nearest(number)
        if here == there:
            there += 1 if number > float(text) or (number == 0 and factor > 1) else -1
        return self.nth(min(max(there, 0), (self.count or 1) - 1))

    def beside(self, text: str, steps: int) -> str:
        """Return the value of a list that stands so many places after another; the first one follows the last."""
        return self.nth((self.index(text) + steps) % (self.count or 1))

    def _place(self, share: float) -> float:
        if not self._is_normal:
            return share
        below, within = _tail()
        return (1 + float(ndtri(below + share * within)) / SIGMAS) / 2

    def _nearest(self, number: float) -> int:
        if self._step is None:
            return 0
        index = round((number - float(self._low)) / float(self._step))
        return min(max(index, 0), (self.count or 1) - 1)

    @cached_property
    def _low(self) -> Decimal:
        return Decimal(repr(float(self.parameter.low or 0)))

    @cached_property
    def _high(self) -> Decimal:
        return Decimal(repr(float(self.parameter.high or 0)))

    @cached_property
    def _step(self) -> Decimal | None:
        if self.parameter.step:
            return Decimal(repr(float(self.parameter.step)))
        return Decimal(1) if self.parameter.kind == "int" else None

    @property
    def _is_log(self) -> bool:
        return self.parameter.distribution in ("logUniform", "logNormal")

    @property
    def _is_normal(self) -> bool:
        return self.parameter.distribution in ("normal", "logNormal")

    @cached_property
    def _edges(self) -> tuple[float, float]:
        """Ends of the range, of its logarithms; half a step beyond where steps are rounded to."""
        left, right = float(self._low), float(self._high)
        if self._step is not None and not self._is_normal:
            step = float(self._step)
            right = left + step * ((self.count or 1) - 0.5)
            left -= min(step, left) / 2  # a logarithm needs more than 0
        return (math.log(left), math.log(right)) if self._is_log else (left, right)


def _tail() -> tuple[float, float]:
    below = float(ndtr(-SIGMAS))
    return below, 1 - 2 * below
