"""What is searched, in the words of Katib: a range or a list for each value."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["double", "int", "discrete", "categorical"]
Distribution = Literal["uniform", "logUniform", "normal", "logNormal"]

ALMOST = 1e-6
"""How far from a whole number of steps a range may be: 0.3 is not exactly three times 0.1."""


@dataclass(frozen=True)
class Dimension:
    """One searched value. Its values travel as text, as everything in an Experiment does.

    Args:
        name: Such as ``training.optimizer.learning_rate``.
        kind: As Katib calls it: a range of numbers or of whole numbers, a list of numbers, a list of words.
        low: Smallest value of a range; None for a list.
        high: Largest value of a range; None for a list.
        step: Distance between two values of a range; None for any value (``double``) or each number (``int``).
        distribution: How a range is drawn from. A normal one has its mean in the middle of the range, of its logarithms
            for ``logNormal``, and a sixth of the range as its standard deviation, as Katib takes it.
        choices: Values of a list.
    """

    name: str
    kind: Kind
    low: float | None = None
    high: float | None = None
    step: float | None = None
    distribution: Distribution = "uniform"
    choices: tuple[str, ...] = ()

    @property
    def is_range(self) -> bool:
        """Whether it is a range, and no list."""
        return self.kind in ("double", "int")

    def text(self, value: float) -> str:
        """Return how a number of the range is written."""
        return str(round(value)) if self.kind == "int" else repr(float(value))


def count(dimension: Dimension) -> int:
    """Return how many points a list has, or a range in steps; whole numbers have steps of 1 where none are given."""
    if dimension.low is None or dimension.high is None:
        return len(dimension.choices)
    return int((dimension.high - dimension.low) / (dimension.step or 1) + ALMOST) + 1
