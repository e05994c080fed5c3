"""The source ``synthetic://ecg?beats=N&seed=S``: simulated beats, digitized and cut like those of MIT-BIH."""

from dataclasses import dataclass
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from parak8s.data.ecg import physiology
from parak8s.data.ecg.beats import LENGTH, RATE_HZ, Beats
from parak8s.data.ecg.npz import scaled
from parak8s.errors import InputError, nearest

PROPORTIONS = (72471, 2223, 5788, 641, 6431)
"""Beats of each class in the MIT-BIH train set."""
ADC_UNITS_PER_MV, ADC_ZERO, ADC_MAX = 200, 1024, 2047
"""11 bits over 10 mV, as MIT-BIH was digitized."""
DEFAULTS = {"beats": 12_000, "seed": 0}
LIMITS = {"beats": (10, 1_000_000), "seed": (0, 2**63 - 1)}
NEXT = 0.2
"""Part of the following interval that belongs to a beat."""
GRID = int((1 + NEXT) * physiology.LONGEST_S * RATE_HZ) + 1
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
    drawn = simulate(**settings(url))
    return Beats(scaled(drawn.num, drawn.den), drawn.labels, drawn.patients)


def settings(url: str) -> dict[str, int]:
    """Return ``{"beats": ..., "seed": ...}`` of a URL."""
    name, _, query = url.removeprefix("synthetic://").partition("?")
    if name.strip("/") != "ecg":
        raise InputError(f"{url}: no simulation {name!r}; {nearest(name, ['ecg'])}")
    values = dict(DEFAULTS)
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in DEFAULTS:
            raise InputError(f"{url}: no setting {key!r}; {nearest(key, DEFAULTS)}")
        low, high = LIMITS[key]
        if not (value.isascii() and value.isdigit() and len(value) < 20 and low <= int(value) <= high):
            raise InputError(f"{url}: {key}: expected a whole number from {low} to {high:,}, got {value!r}")
        values[key] = int(value)
    return values


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
    hearts = physiology.draw_patients(rng)
    patients, labels = physiology.draw_sequence(rng, hearts.shares, class_counts(beats))
    intervals = physiology.draw_intervals(rng, hearts, patients, labels)
    waves = physiology.draw_waves(rng, hearts, patients, labels, intervals)
    parts = []
    for start in range(0, beats, BLOCK_ROWS):
        rows = np.arange(start, min(start + BLOCK_ROWS, beats))
        signal = _millivolts(rng, hearts, patients[rows], waves, rows, intervals)
        after = np.minimum(rows + 1, beats - 1)
        ends = ((intervals[rows] + NEXT * intervals[after]) * RATE_HZ).astype(np.int64)
        parts.append(_digitized(signal, ends))
    num, den = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Digitized(num, den, labels.astype(np.int32), patients + 1)


def _millivolts(
    rng: np.random.Generator,
    hearts: physiology.Patients,
    patients: NDArray[np.int64],
    waves: physiology.Waves,
    rows: NDArray[np.int64],
    intervals: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the signal from each R peak on, (n, GRID): this beat, the next one, noise and baseline wander."""
    jitter = rng.uniform(-0.5, 0.5, len(rows)) / RATE_HZ
    times = np.arange(GRID) / RATE_HZ + jitter[:, None]
    signal = rng.standard_normal(times.shape) * hearts.noise_mv[patients, None]
    phase = rng.uniform(0, 2 * np.pi, (len(rows), 1))
    signal += hearts.wander_mv[patients, None] * np.sin(2 * np.pi * 0.25 * times + phase)
    after = np.minimum(rows + 1, len(intervals) - 1)
    for beat, shift in ((rows, np.zeros(len(rows))), (after, intervals[rows])):
        for wave in range(5):
            centre = waves.centre[beat, wave] + shift
            place = (times - centre[:, None]) * (np.sqrt(0.5) / waves.width[beat, wave, None])
            signal += waves.height[beat, wave, None] * np.exp(-place * place)
    return signal


def _digitized(signal: NDArray[np.float64], ends: NDArray[np.int64]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return ``num`` (n, 187) and ``den`` (n,) of signals in mV that end at ``ends`` (n,)."""
    adc = np.clip(np.rint(ADC_ZERO + ADC_UNITS_PER_MV * signal), 0, ADC_MAX).astype(np.int64)
    inside = np.arange(GRID) < ends[:, None]
    low = np.where(inside, adc, ADC_MAX).min(axis=1)
    high = np.where(inside, adc, 0).max(axis=1)
    num = np.where(inside, adc - low[:, None], 0)[:, :LENGTH]
    return num.astype(np.uint16), (high - low).astype(np.uint16)
