"""Simulated hearts: a sum of Gaussians per wave, after McSharry et al. (2003), IEEE TBME 50(3):289.

As in the paper, each wave is a Gaussian at its place in the cycle, P and T move with the square root of the interval
between beats, and the rhythm holds respiratory arrhythmia (0.25 Hz) and Mayer waves (0.1 Hz).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PATIENTS = 48
PACED = 4
"""The first patients have a pacemaker; the two after them atrial fibrillation, the six after these a bundle branch block."""
FIBRILLATING = slice(PACED, PACED + 2)
BLOCKED = slice(PACED + 2, PACED + 8)

N, S, V, F, Q = range(5)
P_WAVE, Q_WAVE, R_WAVE, S_WAVE, T_WAVE = range(5)
SHORTEST_S, LONGEST_S = 0.3, 1.5
"""Bounds of the interval between beats."""


@dataclass(frozen=True)
class Waves:
    """Waves P, Q, R, S, T of n beats, each array float64 (n, 5): height in mV, centre and width (sigma) in s.

    Centres count from the R peak, for an interval of 1 s. A paced beat has its spike in the place of P.
    """

    height: Floats
    centre: Floats
    width: Floats

    def rows(self, rows: Ints | slice) -> Waves:
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
class Patients:
    """What makes 48 hearts different: three kinds of beats each (48, 5), and numbers (48,)."""

    normal: Waves
    ventricular: Waves
    paced: Waves
    interval_s: Floats
    irregularity: Floats
    arrhythmia: Floats
    noise_mv: Floats
    wander_mv: Floats
    shares: Floats
    """(5, 48): how the beats of each class are spread over the patients; each row sums to 1."""


def _waves(rng: np.random.Generator, *ranges: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]) -> Waves:
    low, high = np.moveaxis(np.array(ranges), 2, 0)  # (5 waves, 3 properties) each
    drawn = rng.uniform(low, high, (PATIENTS, *low.shape))
    return Waves(drawn[:, :, 0], drawn[:, :, 1], drawn[:, :, 2])


def draw_patients(rng: np.random.Generator) -> Patients:
    """Draw 48 patients."""
    normal = _waves(
        rng,
        ((0.05, 0.22), (-0.18, -0.14), (0.018, 0.028)),
        ((-0.22, -0.01), (-0.034, -0.026), (0.007, 0.010)),
        ((0.7, 2.2), (0.0, 0.0), (0.008, 0.013)),
        ((-0.6, -0.02), (0.028, 0.038), (0.010, 0.016)),
        ((0.08, 0.50), (0.26, 0.34), (0.040, 0.060)),
    )
    normal.height[rng.permutation(PATIENTS)[:6], T_WAVE] *= -0.7
    normal.height[FIBRILLATING, P_WAVE] = 0
    normal.width[BLOCKED, R_WAVE] *= 2.2
    normal.width[BLOCKED, S_WAVE] *= 2.0
    normal.centre[BLOCKED, S_WAVE] *= 2.0
    normal.height[BLOCKED, T_WAVE] *= -0.8
    ventricular = _waves(
        rng,
        ((0.0, 0.0), (-0.16, -0.16), (0.02, 0.02)),
        ((-0.3, 0.5), (-0.070, -0.050), (0.020, 0.030)),
        ((1.2, 2.8), (0.0, 0.0), (0.028, 0.048)),
        ((-1.0, 0.1), (0.080, 0.120), (0.030, 0.050)),
        ((-0.9, -0.3), (0.280, 0.380), (0.060, 0.085)),
    )
    ventricular.height[rng.permutation(PATIENTS)[: PATIENTS // 4]] *= -0.8
    paced = _waves(
        rng,
        ((0.0, 1.2), (-0.085, -0.065), (0.003, 0.004)),
        ((0.0, 0.4), (-0.045, -0.035), (0.015, 0.020)),
        ((0.8, 2.4), (0.0, 0.0), (0.026, 0.036)),
        ((-2.0, -0.8), (0.080, 0.100), (0.026, 0.036)),
        ((0.3, 1.2), (0.310, 0.370), (0.055, 0.075)),
    )
    irregularity = rng.uniform(0.005, 0.03, PATIENTS)
    irregularity[FIBRILLATING] = 0.18
    return Patients(
        normal=normal,
        ventricular=ventricular,
        paced=paced,
        interval_s=rng.uniform(0.62, 1.05, PATIENTS),
        irregularity=irregularity,
        arrhythmia=np.where(np.arange(PATIENTS) < PACED, 0, rng.uniform(0.01, 0.05, PATIENTS)),
        noise_mv=rng.uniform(0.004, 0.025, PATIENTS),
        wander_mv=rng.uniform(0.01, 0.12, PATIENTS),
        shares=_shares(rng, upright=ventricular.height[:, R_WAVE] > 0),
    )


def _shares(rng: np.random.Generator, upright: NDArray[np.bool_]) -> Floats:
    """Draw who has how much of each class: ectopic beats come from few patients, paced ones from the paced.

    Fusion beats come from the eight with most ventricular beats of those whose ventricular beats are upright.
    """
    paced = np.arange(PATIENTS) < PACED
    shares = np.zeros((5, PATIENTS))
    shares[N] = rng.uniform(0.5, 1.5, PATIENTS) * np.where(paced, 0.1, 1)
    shares[S] = np.exp(rng.normal(0, 1.5, PATIENTS)) * ~paced
    shares[V] = np.exp(rng.normal(0, 1.2, PATIENTS)) * np.where(paced, 0.2, 1)
    shares[F, np.argsort(shares[V] * upright)[-8:]] = 1
    shares[F] *= shares[V]
    shares[Q] = rng.uniform(0.7, 1.3, PATIENTS) * paced
    return shares / shares.sum(axis=1, keepdims=True)


def draw_sequence(rng: np.random.Generator, shares: Floats, counts: Ints) -> tuple[Ints, Ints]:
    """Draw the order of the beats: patient and class, each (n,), patient after patient.

    ``counts`` (5,) gives the beats of each class. Ectopic beats come alone or in runs of two and three.
    """
    labels = np.repeat(np.arange(5), counts)
    patients = np.concatenate([np.repeat(np.arange(PATIENTS), rng.multinomial(n, p)) for n, p in zip(counts, shares, strict=True)])
    starts_run = rng.random(len(labels)) < np.array([1.0, 0.75, 0.85, 1.0, 1.0])[labels]
    place = rng.random(len(labels))[np.maximum.accumulate(np.where(starts_run, np.arange(len(labels)), 0))]
    order = np.lexsort((np.arange(len(labels)), place, patients))
    return patients[order], labels[order]


def draw_intervals(rng: np.random.Generator, hearts: Patients, patients: Ints, labels: Ints) -> Floats:
    """Draw the time in s from each beat to the next, (n,).

    Premature beats come early; after a ventricular one the pause compensates for it, after a supraventricular one the
    rhythm begins anew.
    """
    n = len(labels)
    times = np.arange(n) * hearts.interval_s[patients]
    waves = np.sin(2 * np.pi * 0.25 * times) + 0.6 * np.sin(2 * np.pi * 0.1 * times)
    regular = hearts.interval_s[patients] * (
        1 + hearts.arrhythmia[patients] * waves + hearts.irregularity[patients] * rng.standard_normal(n)
    )
    early = rng.uniform(np.array([1, 0.60, 0.55, 0.80, 1])[labels], np.array([1, 0.88, 0.80, 0.98, 1])[labels])
    pause = np.where((labels == V) | (labels == F), 2 - early, np.where(labels == S, rng.uniform(0.98, 1.15, n), 1))
    next_early = np.append(early[1:], 1)
    next_same = np.append(labels[1:] == labels[:-1], False)
    return np.clip(regular * next_early * np.where(next_same, 1, pause), SHORTEST_S, LONGEST_S)


def draw_waves(rng: np.random.Generator, hearts: Patients, patients: Ints, labels: Ints, intervals: Floats) -> Waves:
    """Draw the waves of each beat, with centres for its own intervals."""
    n = len(labels)
    normal, ventricular = hearts.normal.rows(patients), hearts.ventricular.rows(patients)
    share = np.select([labels == V, labels == F], [rng.beta(8, 1.3, n), rng.beta(4, 4, n)], 0.0)
    waves = normal.mixed(ventricular, share)
    _make_premature(rng, waves, labels == S)
    paced = hearts.paced.rows(patients)
    waves = waves.mixed(paced, np.where(labels == Q, 1 - 0.8 * rng.beta(1, 6, n), 0))
    before = np.sqrt(np.append(intervals[:1], intervals[:-1]))
    waves.centre[:, T_WAVE] *= before
    waves.centre[:, P_WAVE] *= np.where(labels == Q, 1, before)
    waves.height[:] *= 1 + 0.05 * rng.standard_normal((n, 1)) + 0.05 * rng.standard_normal((n, 5))
    waves.width[:] *= np.exp(0.05 * rng.standard_normal((n, 1)) + 0.03 * rng.standard_normal((n, 5)))
    return waves


def _make_premature(rng: np.random.Generator, waves: Waves, premature: NDArray[np.bool_]) -> None:
    """Change ``waves``: P abnormal or absent, conduction and recovery aberrant by a degree from none to much."""
    rows = np.flatnonzero(premature)
    degree = rng.beta(2, 1.3, len(rows))
    waves.height[rows, P_WAVE] *= rng.uniform(-1, 0.4, len(rows))
    waves.height[rows, R_WAVE] *= 1 - 0.4 * degree
    waves.width[rows, R_WAVE] *= 1 + 0.5 * degree
    waves.height[rows, S_WAVE] -= 0.4 * degree
    waves.width[rows, S_WAVE] *= 1 + 0.3 * degree
    waves.height[rows, T_WAVE] *= 1 + 0.5 * degree
