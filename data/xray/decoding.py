"""Reads many images in parallel into one array, and collects what is wrong with the bad ones."""

import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from parak8s.data.sources import reading
from parak8s.data.xray import dicom, pictures
from parak8s.data.xray.dicom import Identifiers
from parak8s.data.xray.frame import Frame
from parak8s.data.xray.listing import Listing
from parak8s.data.xray.pictures import Levels
from parak8s.errors import EnvironmentFault, InputError

SHOWN = 5
"""Bad images that a message tells of; the rest are counted."""
BLOCK_ROWS = 256


@dataclass(frozen=True)
class Decoder:
    """How one image is read; see the settings of the loader."""

    frame: Frame
    levels: Levels
    identifiers: Identifiers

    def read(self, image: Path | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return one image, from its file or its pixels, as uint8 (size, size, 1).

        Raises:
            InputError: It cannot be read as an X-ray.
            EnvironmentFault: The file may not be read, or a library is missing.
        """
        if not isinstance(image, Path):
            return self.frame.pixels(Image.fromarray(image))
        with reading(image), image.open("rb") as file:
            head = file.read(dicom.PREAMBLE + 4)
            file.seek(0)
            if dicom.is_dicom(head):
                return dicom.read(image, file, self.frame, self.levels, self.identifiers)
            return pictures.read(image, file, self.frame, self.levels)


def read_all(listing: Listing, decoder: Decoder) -> tuple[NDArray[np.uint8], dict[int, InputError]]:
    """Return all images, uint8 (n, size, size, 1), and what is wrong with the bad ones, by row; these stay black.

    Threads suffice: the decoders let others work. Each holds one image of full size at a time; the result lies in a
    file without a name in the folder for temporary files, so that memory does not grow with the number of images.
    What the decoders warn of, such as a broken date in the EXIF data, concerns no pixel and is not shown.
    """
    size = decoder.frame.size
    pixels = on_disk((len(listing.images), size, size, 1))

    def read(row: int) -> InputError | None:
        try:
            pixels[row] = decoder.read(listing.images[row])
        except InputError as error:
            return error
        return None

    with warnings.catch_warnings(), ThreadPoolExecutor(cores(), thread_name_prefix="images") as readers:
        warnings.simplefilter("ignore")
        errors = enumerate(_in_order(readers, read, len(pixels)))
        bad = {row: error for row, error in errors if error is not None}
    return pixels, bad


def on_disk(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return an array of zeros that lies in a file without a name: it goes when nobody holds the array any more.

    Raises:
        EnvironmentFault: There is no room for it.
    """
    size, folder = math.prod(shape), tempfile.gettempdir()
    if not size:
        return np.zeros(shape, np.uint8)
    try:
        with tempfile.TemporaryFile() as file:
            if hasattr(os, "posix_fallocate"):  # a hole that cannot be filled later would end the process
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            return np.memmap(file, np.uint8, mode="r+", shape=shape)
    except OSError as error:
        reason = f"no room for {size:,} bytes of images ({error.strerror}); free some space, or set TMPDIR"
        raise EnvironmentFault(f"{folder}: {reason}") from error


def only(pixels: NDArray[np.uint8], rows: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Return the ``rows`` (ascending) of ``pixels``, moved together within it: what ``pixels`` held before is gone."""
    if len(rows) < len(pixels):
        for start in range(0, len(rows), BLOCK_ROWS):
            block = rows[start : start + BLOCK_ROWS]
            pixels[start : start + len(block)] = pixels[block]  # every row moves towards the beginning
    return pixels[: len(rows)]


def _in_order(
    readers: ThreadPoolExecutor, read: Callable[[int], InputError | None], count: int
) -> Iterator[InputError | None]:
    try:
        yield from readers.map(read, range(count))
    finally:
        readers.shutdown(cancel_futures=True)  # after a fault the others need not be read


def cores() -> int:
    """Return how many threads may run at the same time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def told(bad: dict[int, InputError], count: int) -> str:
    """Return what is wrong with the ``bad`` ones of ``count`` images, in one message."""
    if len(bad) == 1:
        return str(*bad.values())
    lines = [str(error) for error in bad.values()]
    more = [f"and {len(lines) - SHOWN:,} more"] if len(lines) > SHOWN else []
    return "\n  ".join([f"{len(lines):,} of {count:,} images cannot be used:", *lines[:SHOWN], *more])
