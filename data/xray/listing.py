"""What every form gives: where each image is, and what is known about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parak8s.data.sources import Source
from parak8s.errors import InputError

PARTS = {"train": "train", "val": "val", "validation": "val", "test": "test"}
"""Names of the parts that a source may bring, and what they are called here."""


@dataclass(frozen=True)
class Listing:
    """Labelled images of one source, not yet read.

    Args:
        images: For each its file, or its pixels, uint8 (height, width).
        names: What messages call each.
        labels: Name of each one's class.
        classes: Names of all classes, in their order.
        parts: For each ``train``, ``val`` or ``test``; None where the source has no parts.
        patients: Who each is from; empty text where nobody knows; None where no image says so.

    Raises:
        InputError: Fewer than two classes.
    """

    images: Sequence[Path | NDArray[np.uint8]]
    names: Sequence[str]
    labels: Sequence[str]
    classes: tuple[str, ...]
    parts: Sequence[str] | None = None
    patients: Sequence[str] | None = None

    def only(self, rows: Sequence[int]) -> "Listing":
        """Return the listing of the images at ``rows``."""
        return Listing(
            images=[self.images[row] for row in rows],
            names=[self.names[row] for row in rows],
            labels=[self.labels[row] for row in rows],
            classes=self.classes,
            parts=None if self.parts is None else [self.parts[row] for row in rows],
            patients=None if self.patients is None else [self.patients[row] for row in rows],
        )

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            only = f"only the class {self.classes[0]}" if self.classes else "no class"
            raise InputError(f"the source holds {only}; expected two or more, such as NORMAL and PNEUMONIA")


def the_file(source: Source, suffix: str) -> Path | None:
    """Return the file of this kind: the source, or the only such one right in its folder; None where there is none.

    Raises:
        InputError: There are two.
    """
    root = source.root
    if root is None:
        return None
    found = [file for file in source.files if root in (file, file.parent) and file.suffix.casefold() == suffix]
    if len(found) > 1:
        raise InputError(f"{root}: holds {found[0].name} and {found[1].name}; name the one to read in data.source")
    return found[0] if found else None
