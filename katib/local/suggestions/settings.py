"""Reads the settings of an algorithm, which travel as text."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from parak8s.errors import InputError, nearest
from parak8s.katib.local.suggestions.algorithm import Problem


@dataclass(frozen=True)
class Settings:
    """The settings of one algorithm.

    Args:
        algorithm: Its name, for messages.
        problem: Where they stand.
        known: Names of all settings that the algorithm has.

    Raises:
        InputError: There is a setting of another name.
    """

    algorithm: str
    problem: Problem
    known: Collection[str]

    def __post_init__(self) -> None:
        for name in self.problem.settings:
            if name not in self.known:
                raise InputError(f"{self.algorithm}: unknown setting {name!r}; {nearest(name, self.known)}")

    def whole(self, name: str, default: int | None = None, *, least: int = 0) -> int:
        """Return a whole number; without a default it has to be there.

        Raises:
            InputError: It is missing, no whole number, or below ``least``.
        """
        number = self.number(name, default, low=least)
        if number != int(number):
            raise self._wrong(name, f"a whole number from {least}")
        return int(number)

    def number(
        self, name: str, default: float | None = None, *, low: float = 0.0, high: float = math.inf, above: bool = False
    ) -> float:
        """Return a finite number; without a default it has to be there.

        Args:
            name: Of the setting.
            default: Where it is not set.
            low: Smallest value.
            high: Largest value.
            above: Whether ``low`` itself is too little.

        Raises:
            InputError: It is missing, no number, or outside of its range.
        """
        text = self.problem.settings.get(name)
        if text is None:
            if default is None:
                raise InputError(f"{self.algorithm}: the setting {name} is missing")
            return default
        start = f"above {low:g}" if above else f"from {low:g}"
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (low <= number <= high and math.isfinite(number)) or (above and number == low):
            raise self._wrong(name, f"a number {start}" + ("" if high == math.inf else f" to {high:g}"))
        return number

    def word(self, name: str, default: str, allowed: Collection[str]) -> str:
        """Return one of the allowed words.

        Raises:
            InputError: It is another.
        """
        text = self.problem.settings.get(name, default)
        if text not in allowed:
            raise InputError(f"{self.algorithm}: {name} is {text!r}; {nearest(text, allowed)}")
        return text

    def seed(self) -> int:
        """Return ``random_state``, or the seed of the problem where it is not set."""
        return self.whole("random_state", self.problem.seed)

    def _wrong(self, name: str, expected: str) -> InputError:
        return InputError(f"{self.algorithm}: {name} is {self.problem.settings[name]!r}; expected {expected}")
