"""Decodes JPEG and PNG images to grey. JPEGs are decoded at a half, a quarter or an eighth where that is enough.

Measured on 110 chest X-rays of true size, to 224 pixels with two threads: Pillow 464 images a second, simplejpeg 355 to
476, OpenCV 429 to 447. All stand on libjpeg-turbo, so the decoder that is there anyway is used.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, JpegImagePlugin, PngImagePlugin

from parak8s.data.xray.frame import Frame, to_bytes
from parak8s.errors import InputError

Levels = Literal["depth", "range"]

MOST_PIXELS = 64_000_000
"""Pixels of the largest image that is decoded: four times those of the largest X-ray detectors."""

AT_ONCE = 1 << 22
"""Bytes of the largest file that is read and decoded in one go: after each piece a thread would wait for the others."""

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
"""How their files begin."""

_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, ArithmeticError, LookupError)
"""What Pillow raises on files that are not what they claim to be."""

_BEGINNINGS = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"PK\3\4", "a zip archive"),
    (b"\x1f\x8b", "gzip data"),
)


def read(path: Path, file: BinaryIO, frame: Frame, levels: Levels) -> NDArray[np.uint8]:
    """Return the image in ``file``, opened from ``path``, as uint8 (size, size, 1).

    The content decides what a file is, not its name. Colours become their luminance (ITU-R 601-2). Of an image of 16
    bits ``levels`` says which values are black and white: those of its ``depth``, 0 and 65,535, or its own ``range``.
    An orientation in the EXIF data is carried out.

    Raises:
        InputError: It is not a JPEG or PNG image, damaged, too large, animated, transparent, or made for print (CMYK).
        OSError: The operating system does not let us read it.
    """
    head = file.read(512)
    # Image.open would warn of large images, or refuse them, before anybody can say how large they are.
    kind = JpegImagePlugin.jpeg_factory if head.startswith(JPEG) else PngImagePlugin.PngImageFile
    if not head.startswith((JPEG, PNG)):
        raise InputError(f"{path}: {_what_else(head)}; expected a JPEG, PNG or DICOM image")
    file.seek(0)
    at_once = os.fstat(file.fileno()).st_size <= AT_ONCE
    with _damage_told(path, "its header is cut or broken"):
        image = kind(io.BytesIO(file.read()) if at_once else file)
    if at_once:
        image.decodermaxblock = AT_ONCE
    with _damage_told(path):
        return _grey(path, image, frame, levels)


@contextlib.contextmanager
def _damage_told(path: Path, reason: str = "") -> Iterator[None]:
    """Say that the file is damaged where Pillow says so, in its own words without a ``reason``."""
    try:
        yield
    except InputError:
        raise
    except _DAMAGED as error:
        if getattr(error, "errno", None):  # the operating system's word, not Pillow's
            raise
        raise InputError(f"{path}: damaged image ({reason or error}); copy or download it again") from error


def _grey(path: Path, file: ImageFile.ImageFile, frame: Frame, levels: Levels) -> NDArray[np.uint8]:
    width, height = file.size
    if width * height > MOST_PIXELS:
        got = f"{width:,} x {height:,}"
        raise InputError(f"{path}: too large: expected at most {MOST_PIXELS:,} pixels, got {got}; save it smaller")
    if (count := getattr(file, "n_frames", 1)) > 1:
        raise InputError(f"{path}: an animation of {count} images; expected one X-ray in a file")
    if file.mode in ("CMYK", "YCCK"):
        raise InputError(f"{path}: colours for print (CMYK); save it as grey")
    file.draft("L", frame.needed(width, height))  # for JPEG only
    image: Image.Image = file
    if file.mode in ("I", "F") or file.mode.startswith("I;16"):
        image = Image.fromarray(_of_16_bits(np.asarray(file), levels))
    elif file.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in file.info:
        image = _opaque(path, file)
    orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
    fitted = frame.fitted(image if image.mode == "L" else image.convert("L"))
    if orientation != 1:
        fitted.getexif()[ExifTags.Base.Orientation] = orientation
        fitted = ImageOps.exif_transpose(fitted)
    return np.asarray(fitted)[..., None]


def _of_16_bits(values: NDArray[np.generic], levels: Levels) -> NDArray[np.uint8]:
    wide = values.astype(np.float32)
    low, high = (0, 65535) if levels == "depth" else (float(wide.min()), float(wide.max()))
    return to_bytes(wide, low, high)


def _opaque(path: Path, image: Image.Image) -> Image.Image:
    """Return an image that could be transparent, but is not, without its alpha channel."""
    image = image.convert("RGBA")
    if np.asarray(image)[..., 3].min() < 255:
        raise InputError(f"{path}: has transparent pixels; save it without transparency")
    return image.convert("RGB")


def _what_else(head: bytes) -> str:
    """Say what a file is that is no image that we read."""
    if not head:
        return "empty"
    for beginning, what in _BEGINNINGS:
        if head.startswith(beginning):
            return what
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP image"
    text = head.decode("utf-8", errors="replace").lstrip("\ufeff").rstrip("\ufffd")
    if all(letter.isprintable() or letter.isspace() for letter in text) and "\ufffd" not in text:
        return f"text that begins with {text.strip()[:24]!r}"
    return "not an image that we know"
