"""Cuts WFDB records (.hea, .dat, .atr) into beats, as the heartbeat CSV was made from MIT-BIH."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from parak8s.data.ecg.beats import CLASSES, LENGTH, Beats
from parak8s.data.sources import Source, reading
from parak8s.errors import EnvironmentFault, InputError

if TYPE_CHECKING:
    from wfdb import Annotation, Record

SYMBOLS = {"N": "NLRej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"}
"""Annotation symbols of the beats of each class; all others (rhythm, noise, ...) only bound a beat."""
STEP = 3
RECORD_HZ = 360
SUFFIXES = (".hea", ".dat", ".atr")

_LABELS = {symbol: CLASSES.index(name) for name, symbols in SYMBOLS.items() for symbol in symbols}
_DAMAGED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError, AssertionError)
"""What the wfdb library raises on files that are not what they claim to be."""


@dataclass(frozen=True)
class _Record:
    """First channel, ADC units (n,), and its annotations of any kind: samples (m,) and symbols."""

    signal: NDArray[np.int64]
    times: NDArray[np.int64]
    symbols: tuple[str, ...]


def read(source: Source) -> Beats:
    """Read all records of a folder.

    Records are those that a file ``RECORDS`` lists, else all with a .hea or .dat file (an .atr alone, such as
    102-0.atr of MIT-BIH, is none). Annotation k at sample t[k] begins a beat when its symbol is one of ``SYMBOLS``:
    ``x[t[k] : int(t[k+1] + 0.2 * (t[k+2] - t[k+1])) : 3]`` of the first channel, scaled by its own minimum and
    maximum, cut or zero-padded to 187. The last annotation begins no beat; after the last but one, t[k+2] is the
    record's end. A flat beat (minimum = maximum: no electrode, no shape to learn) is left out and counted.
    The rule was recovered from the published CSV files.

    Raises:
        InputError: A record is incomplete, damaged, not sampled at 360 Hz, or holds no beat.
        EnvironmentFault: The wfdb library is not installed, or a file may not be read.
    """
    assert source.root is not None
    inputs, labels, patients, flat = [], [], [], 0
    for name in _names(source.root, source.files):
        for beat in _beats(_record(source.root, name)):
            if beat is None:
                flat += 1
                continue
            inputs.append(beat[0])
            labels.append(beat[1])
            patients.append(name)
    if not inputs:
        raise InputError(f"{source.root}: no beats; expected annotations {' '.join(_LABELS)} in the .atr files")
    numbers = all(name.isdecimal() for name in set(patients))
    return Beats(
        np.stack(inputs), np.array(labels, np.int32), np.array(patients, np.int64 if numbers else None), left_out=flat
    )


def _names(root: Path, files: tuple[Path, ...]) -> list[str]:
    """Return the records of the folder, each with its three files."""
    if (root / "RECORDS").is_file():
        with reading(root):
            text = (root / "RECORDS").read_text("utf-8", errors="replace")
        names = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        names = sorted({file.stem for file in files if file.parent == root and file.suffix in (".hea", ".dat")})
    for name in names:
        for suffix in SUFFIXES:
            if root / f"{name}{suffix}" not in files:
                raise InputError(f"{root / name}{suffix}: no such file; record {name} needs .hea, .dat and .atr")
    return names


def _record(root: Path, name: str) -> _Record:
    try:
        import wfdb
    except ImportError as error:
        raise EnvironmentFault(f"{root}: reading WFDB records needs: pip install 'parak8s[wfdb]'") from error
    path = root / name
    try:
        with reading(path):
            record = wfdb.rdrecord(str(path.resolve()), physical=False)
            annotation = wfdb.rdann(str(path.resolve()), "atr")
        _check(path, record, annotation)
        return _Record(
            record.d_signal[:, 0].astype(np.int64), annotation.sample.astype(np.int64), tuple(annotation.symbol)
        )
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(
            f"{path}: damaged record ({type(error).__name__}: {error}); copy or download it again"
        ) from error


def _check(path: Path, record: "Record", annotation: "Annotation") -> None:
    """Compare the record with what its header says."""
    if record.fs != RECORD_HZ:
        raise InputError(f"{path}.hea: {record.fs} Hz; beats are cut from {RECORD_HZ} Hz: resample the record first")
    found = record.calc_checksum(expanded=False)
    for channel, (expected, got) in enumerate(zip(record.checksum, found, strict=True)):
        if expected is not None and (expected - got) % 65536:
            raise InputError(
                f"{path}.dat: damaged: channel {channel} has checksum {got}, its header says {expected % 65536}"
            )
    times = annotation.sample
    if len(times) and (times[0] < 0 or times[-1] >= record.sig_len or (np.diff(times) < 0).any()):
        raise InputError(f"{path}.atr: annotations must rise from 0 to {record.sig_len - 1}, the record's last sample")


def _beats(record: _Record) -> Iterator[tuple[NDArray[np.float32], int] | None]:
    """Yield each beat with its label, None for a flat one."""
    times = record.times
    after = np.append(times[2:], len(record.signal))
    ends = (times[1:] + 0.2 * (after - times[1:])).astype(np.int64) if len(times) > 1 else ()
    for start, end, symbol in zip(times, ends, record.symbols, strict=False):  # the last annotation begins no beat
        if symbol in _LABELS:
            samples = _scaled(record.signal[start:end:STEP])
            yield None if samples is None else (samples, _LABELS[symbol])


def _scaled(segment: NDArray[np.int64]) -> NDArray[np.float32] | None:
    if not len(segment) or segment.min() == segment.max():
        return None
    beat = np.zeros(LENGTH, np.float32)
    ratios = (segment - segment.min()) / float(segment.max() - segment.min())
    beat[: len(segment)] = ratios[:LENGTH]
    return beat
