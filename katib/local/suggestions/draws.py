"""Draws that depend on nothing but a seed and what they are for, and what an outcome is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from parak8s.katib.local.suggestions.algorithm import Past
from parak8s.katib.local.suggestions.scales import Scale


def generator(seed: int, *what: int) -> np.random.Generator:
    """Return the random numbers for one purpose: the number of a trial, or the like."""
    return np.random.default_rng(np.random.SeedSequence([seed, *what]))


def seed_32(seed: int, *what: int) -> int:
    """Return a seed for one purpose that older generators take: 32 bits."""
    return int(np.random.SeedSequence([seed, *what]).generate_state(1)[0])


def point(scales: Sequence[Scale], rng: np.random.Generator) -> dict[str, str]:
    """Return a random value of each parameter, drawn from its distribution."""
    return {
        scale.parameter.name: scale.value(share) for scale, share in zip(scales, rng.random(len(scales)), strict=True)
    }


def loss(trial: Past, *, maximize: bool) -> float | None:
    """Return what is to be made small; None where a trial has not ended with a finite objective.

    A trial that was stopped early counts with the value that it had reached.
    """
    if trial.state not in ("Succeeded", "EarlyStopped") or trial.value is None or not math.isfinite(trial.value):
        return None
    return -trial.value if maximize else trial.value


def behind(number: int, parallel: int) -> int:
    """Return how many trials a model waits for: all where one runs at a time, else as many as leave all places busy.

    While the slowest trial runs, up to ``2 * parallel - 2`` later ones can be suggested.
    """
    return max(0, number - 2 * parallel + 2)
