"""Archives as MedMNIST writes them: ``train_images``, ``train_labels``, and the same for ``val`` and ``test``."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parak8s.data.sources import Source, reading
from parak8s.data.xray.listing import Listing, the_file
from parak8s.errors import InputError

CLASSES = ("NORMAL", "PNEUMONIA")
"""Labels 0 and 1 of PneumoniaMNIST."""
PARTS = ("train", "val", "test")


def find(source: Source) -> Path | None:
    """Return the npz file of a source: itself, or the only one that lies in its folder; None where there is none."""
    return the_file(source, ".npz")


def read(path: Path) -> Listing:
    """List the images of one archive: each part uint8 (n, height, width) with labels (n,) or (n, 1), 0 or 1.

    Raises:
        InputError: No such archive, or an array that breaks these rules.
        EnvironmentFault: The file may not be read.

    Source: Yang et al. (2023), MedMNIST v2, Scientific Data 10:41.
    """
    with reading(path):
        parts = _parts(path)
    images, labels, names, places = [], [], [], []
    for part, (pixels, of_part) in parts.items():
        images += list(pixels)
        labels += [CLASSES[label] for label in of_part]
        names += [f"{part}_images[{row}]" for row in range(len(pixels))]
        places += [part] * len(pixels)
    return Listing(images, names, labels, tuple(name for name in CLASSES if name in labels), places)


def _parts(path: Path) -> Mapping[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: not an npz archive, or one that is cut; copy or download it again")
    try:
        with np.load(path, allow_pickle=False) as archive:
            parts = [part for part in PARTS if f"{part}_images" in archive.files]
            if not parts:
                got = ", ".join(archive.files[:5]) or "nothing"
                raise InputError(f"{path}: no array train_images, val_images or test_images; got {got}")
            return {part: _part(path, part, archive) for part in parts}
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path}: damaged archive ({error}); copy or download it again") from error


def _part(path: Path, part: str, archive: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if f"{part}_labels" not in archive.files:
        raise InputError(f"{path}: {part}_images has no {part}_labels beside it")
    images, labels = archive[f"{part}_images"], archive[f"{part}_labels"]
    if images.dtype != np.uint8 or images.ndim != 3 or not images.size:
        got = f"{images.dtype} {images.shape}"
        raise InputError(f"{path}: {part}_images: expected grey images, uint8 (n, height, width), got {got}")
    if labels.shape not in ((len(images),), (len(images), 1)) or labels.dtype.kind not in "iu":
        got = f"{labels.dtype} {labels.shape}"
        raise InputError(f"{path}: {part}_labels: expected integers ({len(images)},), one for each image, got {got}")
    labels = labels.reshape(-1).astype(np.int64)
    wrong = (labels < 0) | (labels >= len(CLASSES))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(f"{path}: {part}_labels[{row}] is {labels[row]}; allowed: 0 (NORMAL), 1 (PNEUMONIA)")
    return images, labels
