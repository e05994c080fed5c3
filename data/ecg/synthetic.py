"""The source ``synthetic://ecg?beats=N&seed=S``: simulated beats, digitized and cut like those of MIT-BIH."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parak8s.data import simulation
from parak8s.data.ecg.beats import LENGTH, RATE_HZ, Beats
from parak8s.data.ecg.hearts import Floats, Hearts, Ints, Waves, draw_hearts
from parak8s.data.ecg.npz import scaled
from parak8s.data.ecg.rhythm import BREATHS_HZ, LONGEST_S, draw_intervals, draw_sequence, draw_waves, next_beats

PROPORTIONS = (72471, 2223, 5788, 641, 6431)
"""Beats of each class in the MIT-BIH train set."""
ADC_UNITS_PER_MV, ADC_ZERO, ADC_MAX = 200, 1024, 2047
"""11 bits over 10 mV, as MIT-BIH was digitized."""
SETTINGS = {"beats": (12_000, 10, 1_000_000), "seed": (0, 0, 2**63 - 1)}
"""Default, least and greatest value of each setting."""
NEXT = 0.2
"""Part of the following interval that belongs to a beat."""
GRID = int((1 + NEXT) * LONGEST_S * RATE_HZ) + 1
"""Samples simulated: a beat longer than 187 is scaled by its whole range, then cut."""
BLOCK_ROWS = 256


@dataclass(frozen=True)
class Digitized:
    """Simulated beats as whole numbers.

    Args:
        num: uint16 (n, 187), sample minus the beat's minimum, ADC units; zeros after its end.
        den: uint16 (n,), maximum minus minimum.
        labels: int32 (n,), 0 to 4.
        patients: int64 (n,), 1 to 48.
    """

    num: NDArray[np.uint16]
    den: NDArray[np.uint16]
    labels: NDArray[np.int32]
    patients: NDArray[np.int64]


def read(url: str) -> Beats:
    """Return the beats that ``synthetic://ecg?beats=12000&seed=0`` names; both settings may be left out.

    Raises:
        InputError: Another name or setting, or a value out of range.
    """
    drawn = simulate(**simulation.settings(url, "ecg", SETTINGS))
    return Beats(scaled(drawn.num, drawn.den), drawn.labels, drawn.patients)


def class_counts(beats: int) -> NDArray[np.int64]:
    """Return how many of ``beats`` are of each class, (5,): as in MIT-BIH, but no class below 40, or a tenth of all."""
    least = min(40, beats // 10)
    shares = np.array(PROPORTIONS) / sum(PROPORTIONS)
    counts = np.maximum(np.floor(shares * beats).astype(np.int64), least)
    counts[0] = beats - counts[1:].sum()
    return counts


def simulate(*, beats: int, seed: int) -> Digitized:
    """Simulate ``beats`` beats of 48 patients, patient after patient in the order of time.

    The same arguments give the same whole numbers: rounding to ADC units hides differences in the last float bits.
    """
    rng = np.random.default_rng(seed)
    hearts = draw_hearts(rng)
    patients, labels = draw_sequence(rng, hearts.shares, class_counts(beats))
    intervals = draw_intervals(rng, hearts, patients, labels)
    waves = draw_waves(rng, hearts, patients, labels, intervals)
    following = next_beats(patients)
    parts = []
    for start in range(0, beats, BLOCK_ROWS):
        rows = np.arange(start, min(start + BLOCK_ROWS, beats))
        after = following[rows]
        times, signal = _background(rng, hearts, patients[rows])
        _add(signal, waves.rows(rows), times)
        _add(signal, waves.rows(after), times - intervals[rows, None])
        parts.append(_digitized(signal, (intervals[rows] + NEXT * intervals[after]) * RATE_HZ))
    num, den = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Digitized(num, den, labels.astype(np.int32), patients + 1)


def _background(rng: np.random.Generator, hearts: Hearts, patients: Ints) -> tuple[Floats, Floats]:
    """Return the times in s from each R peak on, which is met to half a sample, and noise and wander in mV there."""
    times = np.arange(GRID) / RATE_HZ + rng.uniform(-0.5, 0.5, (len(patients), 1)) / RATE_HZ
    noise = rng.standard_normal(times.shape) * hearts.noise_mv[patients, None]
    phase = rng.uniform(0, 2 * np.pi, (len(patients), 1))
    return times, noise + hearts.wander_mv[patients, None] * np.sin(2 * np.pi * BREATHS_HZ * times + phase)


def _add(signal: Floats, waves: Waves, times: Floats) -> None:
    """Add the five waves of each beat to ``signal`` (n, GRID) at ``times`` from its R peak."""
    for wave in range(5):
        place = (times - waves.centre[:, wave, None]) * (np.sqrt(0.5) / waves.width[:, wave, None])
        signal += waves.height[:, wave, None] * np.exp(-place * place)


def _digitized(signal: Floats, ends: Floats) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return ``num`` (n, 187) and ``den`` (n,) of signals in mV that end before sample ``ends`` (n,)."""
    adc = np.clip(np.rint(ADC_ZERO + ADC_UNITS_PER_MV * signal), 0, ADC_MAX).astype(np.int64)
    inside = np.arange(GRID) < np.floor(ends)[:, None]
    low = np.where(inside, adc, ADC_MAX).min(axis=1)
    high = np.where(inside, adc, 0).max(axis=1)
    num = np.where(inside, adc - low[:, None], 0)[:, :LENGTH]
    return num.astype(np.uint16), (high - low).astype(np.uint16)
