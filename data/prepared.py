"""The prepared dataset directory: arrays to be memory-mapped, and a manifest that names and verifies them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parak8s import files
from parak8s.data.examples import Examples
from parak8s.errors import InputError

MANIFEST = "manifest.json"
BLOCK_BYTES = 1 << 24


@dataclass(frozen=True)
class Manifest:
    """What a prepared dataset holds.

    Args:
        digest: ``sha256:...`` of the source.
        source: Where it came from.
        loader: Who read it.
        classes: Name of each class.
        input_shape: Shape of one example.
        input_dtype: ``float32`` or ``uint8``.
        axis: Name, unit and step of the last axis of an input; None where there is nothing to say.
        about: Facts for the data card.
        split: The file's ``data.split``.
        splits: For each split the number of examples, of each class, and of patients (None where unknown).
        files: SHA-256 of every array file.
    """

    digest: str
    source: str
    loader: str
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    input_dtype: str
    axis: tuple[str, str, float] | None
    about: Mapping[str, str | int | float]
    split: Mapping[str, Any]
    splits: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, str]


def write(
    directory: Path, examples: Examples, rows: Mapping[str, NDArray[np.intp]], *, digest: str, source: str, loader: str,
    split: Mapping[str, Any],
) -> Manifest:  # fmt: skip
    """Write the arrays of each split and the manifest into the empty ``directory``."""
    for name, indices in rows.items():
        (directory / name).mkdir()
        _save_rows(directory / name / "inputs.npy", examples.inputs, indices)
        np.save(directory / name / "labels.npy", examples.labels[indices])
        if examples.patients is not None:
            np.save(directory / name / "patients.npy", examples.patients[indices])
    arrays = sorted(directory.rglob("*.npy"))
    manifest = Manifest(
        digest=digest,
        source=source,
        loader=loader,
        classes=examples.classes,
        input_shape=examples.inputs.shape[1:],
        input_dtype=str(examples.inputs.dtype),
        axis=examples.axis,
        about=dict(examples.about),
        split=dict(split),
        splits={name: _counts(examples, indices) for name, indices in rows.items()},
        files={path.relative_to(directory).as_posix(): f"sha256:{files.sha256_of(path)}" for path in arrays},
    )
    files.write_json(directory / MANIFEST, asdict(manifest))
    return manifest


def _save_rows(path: Path, values: NDArray[Any], rows: NDArray[np.intp]) -> None:
    """Write some rows of ``values`` as a file of NumPy, a block at a time: they may be more than the memory holds."""
    shape = (len(rows), *values.shape[1:])
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(values.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        block = max(BLOCK_BYTES // max(values[:1].nbytes, 1), 1)
        for start in range(0, len(rows), block):
            file.write(np.ascontiguousarray(values[rows[start : start + block]]).tobytes())


def _counts(examples: Examples, rows: NDArray[np.intp]) -> dict[str, Any]:
    per_class = np.bincount(examples.labels[rows], minlength=len(examples.classes)).tolist()
    patients = None if examples.patients is None else len(np.unique(examples.patients[rows]))
    return {"examples": len(rows), "per_class": per_class, "patients": patients}


def read_manifest(directory: Path) -> Manifest:
    """Return the manifest of a prepared dataset.

    Raises:
        InputError: ``directory`` is not one, or its manifest is damaged.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise InputError(f"{directory}: not a prepared dataset (no {MANIFEST}); run the step ingest first")
    try:
        values = files.read_json(path)
        tuples = {name: tuple(values[name]) for name in ("classes", "input_shape")}
        return Manifest(**values | tuples | {"axis": tuple(values["axis"]) if values["axis"] else None})
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged; delete {directory} and run ingest again") from error


def verify(directory: Path) -> Manifest:
    """Return the manifest after comparing every file with its SHA-256.

    Raises:
        InputError: A file is missing or has changed since it was written.
    """
    manifest = read_manifest(directory)
    for name, expected in manifest.files.items():
        path = directory / name
        if not path.is_file() or f"sha256:{files.sha256_of(path)}" != expected:
            raise InputError(f"{path}: missing or changed since ingest; delete {directory} and run ingest again")
    return manifest


def read_split(directory: Path, split: str) -> tuple[NDArray[Any], NDArray[np.int32], NDArray[Any] | None]:
    """Return inputs (n, ...), labels int32 (n,) and patients (n,) or None of one split, memory-mapped."""
    folder = directory / split
    if not (folder / "inputs.npy").is_file():
        raise InputError(f"{directory}: no split {split!r}; its fraction in data.split is 0")
    inputs, labels = np.load(folder / "inputs.npy", mmap_mode="r"), np.load(folder / "labels.npy", mmap_mode="r")
    patients = folder / "patients.npy"
    return inputs, labels, np.load(patients, mmap_mode="r") if patients.is_file() else None
