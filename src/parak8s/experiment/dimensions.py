"""What is searched, in the words of Katib: a range or a list for each value."""

from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["double", "int", "discrete", "categorical"]
Distribution = Literal["uniform", "logUniform", "normal", "logNormal"]

ALMOST = 1e-6
"""How far from a whole number of steps a range may be: 0.3 is not exactly three times 0.1."""


class Dimension(Protocol):
    """A searched value, as :class:`parak8s.katib.space.Parameter` and :class:`Axis` have it."""

    @property
    def name(self) -> str:
        """Such as ``training.epochs``."""

    @property
    def kind(self) -> Kind:
        """A range of numbers or of whole numbers, a list of numbers, a list of words."""

    @property
    def low(self) -> float | None:
        """Smallest value of a range; None for a list."""

    @property
    def high(self) -> float | None:
        """Largest value of a range; None for a list."""

    @property
    def step(self) -> float | None:
        """Distance between two values of a range; None for any value."""

    @property
    def distribution(self) -> Distribution:
        """How a range is drawn from."""

    @property
    def choices(self) -> tuple[str, ...]:
        """Values of a list."""


@dataclass(frozen=True)
class Axis:
    """A searched value of an experiment file, in the words of Katib; see :class:`Dimension`."""

    name: str
    kind: Kind
    low: float | None = None
    high: float | None = None
    step: float | None = None
    distribution: Distribution = "uniform"
    choices: tuple[str, ...] = ()

    def text(self, value: float) -> str:
        """Return how a number of the range is written."""
        return str(round(value)) if self.kind == "int" else repr(float(value))


def is_range(dimension: Dimension) -> bool:
    """Return whether it is a range, and no list."""
    return dimension.kind in ("double", "int")


def count(dimension: Dimension) -> int:
    """Return how many points a list has, or a range in steps; whole numbers have steps of 1 where none are given."""
    if dimension.low is None or dimension.high is None:
        return len(dimension.choices)
    return int((dimension.high - dimension.low) / (dimension.step or 1) + ALMOST) + 1
