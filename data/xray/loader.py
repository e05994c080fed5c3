"""The loader ``xray``: finds out which form a source has, reads its images, and who is who in it."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from parak8s.data.examples import Examples
from parak8s.data.likeness import near_duplicates
from parak8s.data.loader import EncodedForm, Loader
from parak8s.data.sources import Source
from parak8s.data.xray import forms, patients, table
from parak8s.data.xray.decoding import Decoder, only, read_all, told
from parak8s.data.xray.dicom import Identifiers
from parak8s.data.xray.frame import Fit, Frame
from parak8s.data.xray.listing import Listing
from parak8s.data.xray.pictures import Levels
from parak8s.errors import InputError

if TYPE_CHECKING:
    import keras

    from parak8s.data.batches import XRayDataset

log = logging.getLogger(__name__)

ABOUT: dict[forms.Form, str] = {
    "folder": "images in folders, such as the chest X-rays of Kermany et al. (2018), Cell 172(5):1122 (CC BY 4.0)",
    "csv": "images listed in a CSV file",
    "npz": "MedMNIST archive, such as PneumoniaMNIST: Yang et al. (2023), Scientific Data 10:41 (CC BY 4.0)",
    "synthetic": "simulated chests: lungs, heart, ribs, and soft opacities for pneumonia",
}

Amount = Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


class Augment(BaseModel):
    """How training images are varied, each anew in every epoch. 0, the default, leaves them as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    flip: bool = False
    """Mirror every second image. Off by default: the heart is on the left."""
    rotation: Annotated[float, Field(ge=0, le=180, allow_inf_nan=False)] = 0.0
    """Largest angle in degrees, either way."""
    shift: Amount = 0.0
    """Largest shift across and down, as a fraction of the side."""
    zoom: Amount = 0.0
    """Largest relative change of the size: 0.1 scales by a factor from 0.9 to 1.1."""
    contrast: Amount = 0.0
    """Largest relative change of the contrast, around the image's mean."""
    brightness: Amount = 0.0
    """Largest change of the brightness, as a fraction of full scale."""
    noise: Amount = 0.0
    """Standard deviation of added white noise, as a fraction of full scale."""
    rate: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0
    """Share of the images that are varied; the others stay as they are, as images are after training."""


class XRayLoader(Loader):
    """Chest X-rays as grey squares, uint8 (size, size, 1)."""

    form: Literal["auto", "folder", "csv", "npz"] = "auto"
    """How the source is written; ``auto`` looks at its files' names. ``synthetic://`` needs none."""
    size: Annotated[int, Field(ge=16, le=1024)] = 224
    """Side of the square in pixels."""
    fit: Fit = "crop"
    """``crop``: the longer side is cut to a centred square. ``letterbox``: the whole image, black beside it."""
    levels: Levels = "depth"
    """What is black and white in images of more than 8 bits: the ends of the file's ``depth``, or of the image's own
    ``range``. A DICOM file with a window or a VOI LUT says it itself."""
    test_part: Literal["test", "val", "none"] = "test"
    """The part of the source that is its test set. All other parts are shared out by ``data.split``; with ``val`` the
    part ``test`` is left out, with ``none`` everything is shared out."""
    patient: Annotated[str, AfterValidator(_compiles)] = patients.PATTERN
    """Regular expression that finds the patient in a file's name. A column ``patient`` of a CSV file goes before it."""
    near_duplicates: Literal["refuse", "drop", "allow"] = "refuse"
    """Images that show nearly the same: ``refuse`` them in two splits, ``drop`` all but one, or ``allow`` them."""
    on_bad: Literal["fail", "skip"] = "fail"
    """What an image does that cannot be used: ``fail`` ends the ingest with the reasons; ``skip`` leaves it out."""
    identifiers: Identifiers = "refuse"
    """DICOM files that say who the patient is: ``refuse`` them, or ``ignore`` what they say and use the pixels."""
    normalize: Literal["unit", "zscore", "none"] = "zscore"
    """What the model does to each image first: 0 to 1, mean 0 and deviation 1, or nothing (0 to 255)."""
    augment: Augment = Augment()
    """How training images are varied."""

    def gather(self, source: Source) -> Source:
        """Return the source with the images that a CSV file lists."""
        if self._form(source) != "csv":
            return source
        file = table.find(source)
        return source if file is None else source.with_listed(table.listed(file))

    def read(self, source: Source) -> Examples:
        """Return images, uint8 (n, size, size, 1), 0 black.

        Raises:
            InputError: With the file, and the row where there is one.
            EnvironmentFault: A file may not be read, or a library is missing.
        """
        form = self._form(source)
        listing, test, left_out = self._of_parts(forms.read(form, source), source)
        pixels, bad = read_all(listing, Decoder(Frame(self.size, self.fit), self.levels, self.identifiers))
        self._judge(bad, len(pixels))
        keep = np.setdiff1d(np.arange(len(pixels)), list(bad))
        pixels = only(pixels, keep)
        alike = near_duplicates(pixels) if self.near_duplicates != "allow" else None
        dropped = 0
        if alike is not None and self.near_duplicates == "drop":
            one_each = _one_of_each(alike, test[keep])
            dropped, keep, alike = len(keep) - len(one_each), keep[one_each], None
            pixels = only(pixels, one_each)
        who = listing.patients or patients.from_names(listing.names, self.patient)
        facts: dict[str, str | int | float] = {
            "origin": ABOUT[form],
            "images": len(keep),
            "square": f"{self.size} x {self.size} pixels, {self.fit}",
            "bad images left out": len(bad),
            "near-duplicates left out": dropped,
            "images of the part test left out": left_out,
        }
        return Examples(
            inputs=pixels,
            labels=np.array([listing.classes.index(listing.labels[row]) for row in keep], np.int32),
            classes=listing.classes,
            patients=_known(who, listing.names)[keep] if who is not None else None,
            test=test[keep] if test.any() else None,
            alike=alike,
            names=[listing.names[row] for row in keep],
            about={name: fact for name, fact in facts.items() if fact},
        )

    def preprocessing(self) -> list[keras.Layer]:
        """Return the layers that scale the pixels."""
        from parak8s.models import images

        return images.normalization(self.normalize)

    def augmentation(self, seed: int) -> list[keras.Layer]:
        """Return the layers that vary images while training."""
        from parak8s.models import images

        return images.augmentation(self.augment, seed)

    def encoded_form(self) -> EncodedForm:
        """Return what makes the servable take JPEG and PNG files; DICOM files it does not take."""
        from parak8s.models.encoded_images import ImageDecoder

        return ImageDecoder(Frame(self.size, self.fit), self.levels)

    def batches(self, directory: Path, split: str, **settings: Any) -> XRayDataset:
        """Return the batches of one split of a prepared dataset; see :class:`parak8s.data.batches.XRayDataset`."""
        from parak8s.data.batches import XRayDataset

        return XRayDataset(directory, split, **settings)

    def _form(self, source: Source) -> forms.Form:
        return forms.guess(source) if self.form == "auto" else self.form

    def _of_parts(self, listing: Listing, source: Source) -> tuple[Listing, NDArray[np.bool_], int]:
        """Return the images to be read, which of them are the source's own test set, and how many are left out."""
        n = len(listing.images)
        if listing.parts is None or self.test_part == "none":
            return listing, np.zeros(n, bool), 0
        parts = np.array(listing.parts)
        if self.test_part == "test":
            return listing, parts == "test", 0
        if not (parts == "val").any():
            raise InputError(f"{source.root}: has no part val, which data.options.test_part names")
        keep = np.flatnonzero(parts != "test")
        return listing.only(keep.tolist()), parts[keep] == "val", n - len(keep)

    def _judge(self, bad: dict[int, InputError], count: int) -> None:
        """Refuse bad images, or tell of each that is left out."""
        if bad and (self.on_bad == "fail" or len(bad) == count):
            hint = "; data.options.on_bad: skip leaves such images out" if len(bad) < count else ""
            raise InputError(f"{told(bad, count)}{hint}")
        for error in bad.values():
            log.warning("left out: %s", error)


def _one_of_each(alike: NDArray[np.int64], test: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the rows that stay, one of each group: the first of the test set if there is one, else the first."""
    order = np.lexsort((np.arange(len(alike)), ~test))
    _, first = np.unique(alike[order], return_index=True)
    return np.sort(order[first])


def _known(who: Sequence[str], names: Sequence[str]) -> NDArray[np.str_]:
    """Return who each image is from; one of whom nobody knows is somebody of its own.

    That one is called by a digest of the image's name, because the dataset keeps it, and a name may say who it is.
    """
    return np.array([patient or f"unknown {_digest(name)}" for patient, name in zip(who, names, strict=True)])


def _digest(name: str) -> str:
    return hashlib.blake2b(os.fsencode(name), digest_size=8).hexdigest()
