"""Percentile bootstrap intervals, over examples or over patients (Efron and Tibshirani 1993, chapters 8 and 13)."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parak8s.errors import InputError
from parak8s.experiment import Bootstrap

Floats = NDArray[np.float64]
Statistics = Callable[[Floats], Mapping[str, Floats]]
"""Weights (n, b) of the examples -> name -> (b,) values."""

BLOCK = 2**20
"""Weights in memory at a time: 8 MiB."""


@dataclass(frozen=True)
class Interval:
    """A value with its confidence interval; NaN where it is not defined."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        """Return the three by name; null stands for NaN, which JSON does not have."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if math.isnan(number) else number for name, number in numbers.items()}


def intervals(
    statistics: Statistics, examples: int, *, bootstrap: Bootstrap, seed: int, patients: ArrayLike | None = None
) -> dict[str, Interval]:
    """Return every statistic of all examples with its interval.

    Args:
        statistics: Computes them for weights (n, b).
        examples: n.
        bootstrap: How many resamples, and the confidence.
        seed: The same seed gives the same intervals.
        patients: (n,), who each example comes from: then whole patients are drawn (cluster bootstrap; Davison and
            Hinkley 1997, section 3.8), since beats of one heart are no independent evidence. None draws examples.

    Returns:
        Name -> interval. Resamples in which a statistic is not defined (NaN) do not count for it. The interval is NaN
        where there is only one patient, or one example: nothing is known about others.

    Raises:
        InputError: ``patients`` has another length.
    """
    values = {name: float(value[0]) for name, value in statistics(np.ones((examples, 1))).items()}
    unit = _units(examples, patients)
    if unit.max() == 0:
        return {name: Interval(value, math.nan, math.nan) for name, value in values.items()}
    drawn = [statistics(weights) for weights in resamples(unit, bootstrap.samples, seed)]
    return {
        name: Interval(value, *_percentiles(np.concatenate([block[name] for block in drawn]), bootstrap.confidence))
        for name, value in values.items()
    }


def resamples(unit: NDArray[np.intp], samples: int, seed: int) -> Iterator[Floats]:
    """Yield weights (n, b), ``samples`` columns in all: how often each example was drawn.

    Args:
        unit: (n,), what is drawn together, numbered from 0: each draw takes as many as there are, with replacement.
        samples: Number of resamples.
        seed: Of the generator.
    """
    units, random = int(unit.max()) + 1, np.random.default_rng(seed)
    block = max(1, BLOCK // len(unit))
    for start in range(0, samples, block):
        b = min(block, samples - start)
        draws = random.integers(0, units, (b, units)) * b + np.arange(b)[:, None]
        counts = np.bincount(draws.ravel(), minlength=units * b).reshape(units, b)
        yield counts[unit].astype(np.float64)


def _units(examples: int, patients: ArrayLike | None) -> NDArray[np.intp]:
    if patients is None:
        return np.arange(examples)
    if np.shape(patients) != (examples,):
        raise InputError(f"patients: expected shape ({examples},), one for each example, got {np.shape(patients)}")
    return np.unique(np.asarray(patients), return_inverse=True)[1]


def _percentiles(values: Floats, confidence: float) -> tuple[float, float]:
    defined = values[~np.isnan(values)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
