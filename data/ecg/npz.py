"""Reads beats kept without loss as whole numbers: archives with ``X_num``, ``X_den``, ``y`` and ``record``."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parak8s.data.ecg.beats import CLASSES, LENGTH, NAMED_CLASSES, Beats
from parak8s.data.sources import reading
from parak8s.errors import InputError, nearest

BLOCK_ROWS = 8192


def read(path: Path) -> Beats:
    """Read one archive.

    ``X_num`` (n, 187) holds each sample minus the beat's minimum, ``X_den`` (n,) the beat's maximum minus its minimum,
    both in ADC units; ``y`` (n,) the label 0 to 4; ``record`` (n,), which may be missing, the record number. All are
    integers. A sample is ``X_num / X_den`` in float64, then float32: bit for bit what the heartbeat CSV holds.

    Raises:
        InputError: No such archive, or an array that breaks these rules, with its row (from 0).
        EnvironmentFault: The file may not be read.
    """
    with reading(path):
        arrays = _arrays(path)
    num, den, labels = (arrays[key] for key in ("X_num", "X_den", "y"))
    _check_shapes(path, arrays)
    _refuse(path, "X_den", den, den <= 0, "expected the beat's range in ADC units, above 0")
    _refuse(path, "y", labels, (labels < 0) | (labels >= len(CLASSES)), f"not a class; allowed: {NAMED_CLASSES}")
    _refuse(path, "X_num", num.max(axis=1), num.max(axis=1) > den, "above the beat's range X_den")
    _refuse(path, "X_num", num.min(axis=1), num.min(axis=1) < 0, "below 0")
    return Beats(scaled(num, den), labels.astype(np.int32), patients=arrays.get("record"))


def scaled(num: NDArray[np.integer[Any]], den: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Return ``num`` (n, length) / ``den`` (n,), divided as float64 and rounded to float32."""
    samples = np.empty(num.shape, np.float32)
    for start in range(0, len(num), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        samples[rows] = num[rows] / den[rows, None].astype(np.float64)
    return samples


def _arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: not an npz archive, or one that is cut; copy or download it again")
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in ("X_num", "X_den", "y") if key not in archive.files]
            if missing:
                raise InputError(f"{path}: no array {missing[0]!r}; {nearest(missing[0], archive.files)}")
            return {key: archive[key] for key in ("X_num", "X_den", "y", "record") if key in archive.files}
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path}: damaged archive ({error}); copy or download it again") from error


def _check_shapes(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    n = arrays["y"].shape[0] if arrays["y"].ndim else 0
    if not n:
        raise InputError(f"{path}: y: expected shape (n,) with n above 0, got {arrays['y'].shape}")
    for key, array in arrays.items():
        expected = (n, LENGTH) if key == "X_num" else (n,)
        if array.shape != expected:
            raise InputError(f"{path}: {key}: expected shape {expected}, got {array.shape}")
        if array.dtype.kind not in "iu":
            raise InputError(f"{path}: {key}: expected integers, got {array.dtype}")


def _refuse(path: Path, key: str, values: NDArray[Any], wrong: NDArray[np.bool_], rule: str) -> None:
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(f"{path}: row {row} (from 0): {key} is {values[row]}, {rule}")
