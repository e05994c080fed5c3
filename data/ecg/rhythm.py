"""The beats of simulated hearts, one after the other: which class, when, with which waves.

After McSharry et al. (2003), IEEE TBME 50(3):289: each wave is a Gaussian at its place in the cycle, P and T move with
the square root of the interval between beats, and the rhythm holds respiratory arrhythmia and Mayer waves.
"""

import numpy as np
from numpy.typing import NDArray

from parak8s.data.ecg.hearts import (
    P_WAVE,
    PATIENTS,
    R_WAVE,
    S_WAVE,
    T_WAVE,
    F,
    Floats,
    Hearts,
    Ints,
    Q,
    S,
    V,
    Waves,
)

BREATHS_HZ, MAYER_HZ = 0.25, 0.1
"""Respiratory arrhythmia and Mayer waves of the blood pressure."""
SHORTEST_S, LONGEST_S = 0.3, 1.5
"""Bounds of the interval between beats."""


def draw_sequence(rng: np.random.Generator, shares: Floats, counts: Ints) -> tuple[Ints, Ints]:
    """Draw the order of the beats: patient and class, each (n,), patient after patient.

    ``counts`` (5,) gives the beats of each class. Ectopic beats come alone or in runs of two and three.
    """
    labels = np.repeat(np.arange(5), counts)
    patients = np.concatenate(
        [np.repeat(np.arange(PATIENTS), rng.multinomial(n, p)) for n, p in zip(counts, shares, strict=True)]
    )
    starts_run = rng.random(len(labels)) < np.array([1.0, 0.75, 0.85, 1.0, 1.0])[labels]
    place = rng.random(len(labels))[np.maximum.accumulate(np.where(starts_run, np.arange(len(labels)), 0))]
    order = np.lexsort((np.arange(len(labels)), place, patients))
    return patients[order], labels[order]


def next_beats(patients: Ints) -> Ints:
    """Return the row of each patient's next beat, (n,); the last one is followed by its like, so by itself."""
    rows = np.arange(len(patients))
    return np.where(np.append(patients[1:] == patients[:-1], False), rows + 1, rows)


def draw_intervals(rng: np.random.Generator, hearts: Hearts, patients: Ints, labels: Ints) -> Floats:
    """Draw the time in s from each beat to the next, (n,).

    Premature beats come early; after a ventricular one the pause compensates for it, after a supraventricular one the
    rhythm begins anew.
    """
    n = len(labels)
    times = np.arange(n) * hearts.interval_s[patients]
    waves = np.sin(2 * np.pi * BREATHS_HZ * times) + 0.6 * np.sin(2 * np.pi * MAYER_HZ * times)
    regular = hearts.interval_s[patients] * (
        1 + hearts.arrhythmia[patients] * waves + hearts.irregularity[patients] * rng.standard_normal(n)
    )
    early = rng.uniform(np.array([1, 0.60, 0.55, 0.80, 1])[labels], np.array([1, 0.88, 0.80, 0.98, 1])[labels])
    pause = np.where((labels == V) | (labels == F), 2 - early, np.where(labels == S, rng.uniform(0.98, 1.15, n), 1))
    after = next_beats(patients)
    intervals: Floats = regular * early[after] * np.where(labels[after] == labels, 1, pause)
    return intervals.clip(SHORTEST_S, LONGEST_S)


def draw_waves(rng: np.random.Generator, hearts: Hearts, patients: Ints, labels: Ints, intervals: Floats) -> Waves:
    """Draw the waves of each beat, with centres for its own intervals."""
    n = len(labels)
    normal, ventricular = hearts.normal.rows(patients), hearts.ventricular.rows(patients)
    share = np.select([labels == V, labels == F], [rng.beta(5, 1.5, n), rng.beta(3, 3, n)], 0.0)
    waves = normal.mixed(ventricular, share)
    _make_premature(rng, waves, labels == S)
    stimulated = hearts.stimulated.rows(patients)
    waves = waves.mixed(stimulated, np.where(labels == Q, 1 - 0.9 * rng.beta(1, 5, n), 0))
    before = np.sqrt(intervals[_beats_before(patients)])
    waves.centre[:, T_WAVE] *= before
    waves.centre[:, P_WAVE] *= np.where(labels == Q, 1, before)
    waves.height[:] *= 1 + 0.05 * rng.standard_normal((n, 1)) + 0.05 * rng.standard_normal((n, 5))
    waves.width[:] *= np.exp(0.05 * rng.standard_normal((n, 1)) + 0.03 * rng.standard_normal((n, 5)))
    return waves


def _beats_before(patients: Ints) -> Ints:
    rows = np.arange(len(patients))
    return np.where(np.append(False, patients[1:] == patients[:-1]), rows - 1, rows)


def _make_premature(rng: np.random.Generator, waves: Waves, premature: NDArray[np.bool_]) -> None:
    """Change ``waves``: P abnormal or absent, conduction and recovery aberrant by a degree from none to much."""
    rows = np.flatnonzero(premature)
    degree = rng.beta(1.5, 1.5, len(rows))
    waves.height[rows, P_WAVE] *= rng.uniform(-1, 0.4, len(rows))
    waves.height[rows, R_WAVE] *= 1 - 0.35 * degree
    waves.width[rows, R_WAVE] *= 1 + 0.4 * degree
    waves.height[rows, S_WAVE] -= 0.35 * degree
    waves.width[rows, S_WAVE] *= 1 + 0.3 * degree
    waves.height[rows, T_WAVE] *= 1 + 0.5 * degree
