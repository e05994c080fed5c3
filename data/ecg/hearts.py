"""Simulated patients: the waves, the rhythm and the noise that make their electrocardiograms different."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Range = tuple[float, float]

PATIENTS = 48
PACED = slice(4)
FIBRILLATING = slice(4, 6)
BLOCKED = slice(6, 12)
"""Patients with a pacemaker, with atrial fibrillation (no P, irregular), with a bundle branch block (wide QRS)."""

N, S, V, F, Q = range(5)
P_WAVE, Q_WAVE, R_WAVE, S_WAVE, T_WAVE = range(5)

NORMAL: tuple[tuple[Range, Range, Range], ...] = (
    ((0.05, 0.22), (-0.18, -0.14), (0.018, 0.028)),
    ((-0.22, -0.01), (-0.034, -0.026), (0.007, 0.010)),
    ((0.7, 2.2), (0.0, 0.0), (0.008, 0.013)),
    ((-0.6, -0.02), (0.028, 0.038), (0.010, 0.016)),
    ((0.08, 0.50), (0.26, 0.34), (0.040, 0.060)),
)
"""Ranges over patients of height in mV, centre in s and width (sigma) in s, for each of the waves P, Q, R, S, T."""
VENTRICULAR: tuple[tuple[Range, Range, Range], ...] = (
    ((0.0, 0.0), (-0.16, -0.16), (0.02, 0.02)),
    ((-0.3, 0.5), (-0.070, -0.050), (0.020, 0.030)),
    ((1.2, 2.8), (0.0, 0.0), (0.028, 0.048)),
    ((-1.0, 0.1), (0.080, 0.120), (0.030, 0.050)),
    ((-0.9, -0.3), (0.280, 0.380), (0.060, 0.085)),
)
"""No P, wide QRS, T opposite to R."""
STIMULATED: tuple[tuple[Range, Range, Range], ...] = (
    ((0.0, 1.2), (-0.085, -0.065), (0.003, 0.004)),
    ((0.0, 0.4), (-0.045, -0.035), (0.015, 0.020)),
    ((0.8, 2.4), (0.0, 0.0), (0.026, 0.036)),
    ((-2.0, -0.8), (0.080, 0.100), (0.026, 0.036)),
    ((0.3, 1.2), (0.310, 0.370), (0.055, 0.075)),
)
"""The pacemaker's spike in the place of P, then a wide QRS."""


@dataclass(frozen=True)
class Waves:
    """Waves P, Q, R, S, T of n beats, each array float64 (n, 5): height in mV, centre and width (sigma) in s.

    Centres count from the R peak, for an interval of 1 s.
    """

    height: Floats
    centre: Floats
    width: Floats

    def rows(self, rows: Ints) -> Waves:
        """Return the waves of some of the beats."""
        return Waves(self.height[rows], self.centre[rows], self.width[rows])

    def mixed(self, other: Waves, share: Floats) -> Waves:
        """Return waves between these and ``other``, of which they have ``share`` (n,), 0 to 1."""
        part = share[:, None]
        return Waves(
            self.height * (1 - part) + other.height * part,
            self.centre * (1 - part) + other.centre * part,
            self.width * (1 - part) + other.width * part,
        )


@dataclass(frozen=True)
class Hearts:
    """48 hearts: three kinds of beats, each (48, 5), and numbers (48,).

    Args:
        normal: Waves of conducted beats.
        ventricular: Waves of beats from the patient's ventricular focus.
        stimulated: Waves of paced beats.
        interval_s: Mean time between beats.
        irregularity: Random part of the interval, relative.
        arrhythmia: Respiratory part of the interval, relative.
        noise_mv: Standard deviation of white noise.
        wander_mv: Amplitude of the baseline wander.
        shares: (5, 48), how the beats of each class are spread over the patients; each row sums to 1.
    """

    normal: Waves
    ventricular: Waves
    stimulated: Waves
    interval_s: Floats
    irregularity: Floats
    arrhythmia: Floats
    noise_mv: Floats
    wander_mv: Floats
    shares: Floats


def draw_hearts(rng: np.random.Generator) -> Hearts:
    """Draw 48 patients."""
    normal = _normal(rng)
    ventricular = _waves(rng, VENTRICULAR)
    ventricular.height[rng.permutation(PATIENTS)[: PATIENTS // 4]] *= -0.8
    irregularity = rng.uniform(0.005, 0.03, PATIENTS)
    irregularity[FIBRILLATING] = 0.18
    arrhythmia = rng.uniform(0.01, 0.05, PATIENTS)
    arrhythmia[PACED] = 0
    return Hearts(
        normal=normal,
        ventricular=ventricular,
        stimulated=_waves(rng, STIMULATED),
        interval_s=rng.uniform(0.62, 1.05, PATIENTS),
        irregularity=irregularity,
        arrhythmia=arrhythmia,
        noise_mv=rng.uniform(0.004, 0.025, PATIENTS),
        wander_mv=rng.uniform(0.01, 0.12, PATIENTS),
        shares=_shares(rng, upright=ventricular.height[:, R_WAVE] > 0),
    )


def _waves(rng: np.random.Generator, ranges: tuple[tuple[Range, Range, Range], ...]) -> Waves:
    low, high = np.moveaxis(np.array(ranges), 2, 0)
    height, centre, width = np.moveaxis(rng.uniform(low, high, (PATIENTS, 5, 3)), 2, 0)
    return Waves(height.copy(), centre.copy(), width.copy())


def _normal(rng: np.random.Generator) -> Waves:
    """Draw conducted beats; some patients have an inverted T, no P or a bundle branch block."""
    waves = _waves(rng, NORMAL)
    waves.height[rng.permutation(PATIENTS)[:6], T_WAVE] *= -0.7
    waves.height[FIBRILLATING, P_WAVE] = 0
    waves.width[BLOCKED, R_WAVE] *= 2.2
    waves.width[BLOCKED, S_WAVE] *= 2.0
    waves.centre[BLOCKED, S_WAVE] *= 2.0
    waves.height[BLOCKED, T_WAVE] *= -0.8
    return waves


def _shares(rng: np.random.Generator, upright: NDArray[np.bool_]) -> Floats:
    """Draw who has how much of each class: ectopic beats come from few patients, paced ones from the paced.

    Fusion beats come from the eight with most ventricular beats of those whose ventricular beats are upright.
    """
    paced = np.zeros(PATIENTS, bool)
    paced[PACED] = True
    shares = np.zeros((5, PATIENTS))
    shares[N] = rng.uniform(0.5, 1.5, PATIENTS) * np.where(paced, 0.1, 1)
    shares[S] = np.exp(rng.normal(0, 1.5, PATIENTS)) * ~paced
    shares[V] = np.exp(rng.normal(0, 1.2, PATIENTS)) * np.where(paced, 0.2, 1)
    shares[F, np.argsort(shares[V] * upright)[-8:]] = 1
    shares[F] *= shares[V]
    shares[Q] = rng.uniform(0.7, 1.3, PATIENTS) * paced
    shares /= shares.sum(axis=1, keepdims=True)
    return shares
