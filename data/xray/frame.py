"""How an image of any size becomes a square of grey values."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Fit = Literal["crop", "letterbox"]


@dataclass(frozen=True)
class Frame:
    """A square that images are fitted into.

    Args:
        size: Its side in pixels.
        fit: ``crop`` cuts the longer side of the image to a centred square; ``letterbox`` keeps the whole image and
            fills what is left of the square with black.
    """

    size: int
    fit: Fit

    def needed(self, width: int, height: int) -> tuple[int, int]:
        """Return the smallest width and height of the image from which it can be fitted without being enlarged."""
        if self.fit == "crop":
            return self.size, self.size
        scale = self.size / max(width, height)
        return max(round(width * scale), 1), max(round(height * scale), 1)

    def fitted(self, image: Image.Image) -> Image.Image:
        """Return a grey image (mode L) in the square; making it smaller averages over what one pixel covers."""
        width, height = image.size
        if self.fit == "crop":
            side = min(width, height)
            left, top = (width - side) / 2, (height - side) / 2
            if (width, height) == (self.size, self.size):
                return image
            return _resized(image, (self.size, self.size), (left, top, left + side, top + side))
        inner = self.needed(width, height)
        square = Image.new("L", (self.size, self.size))
        place = ((self.size - inner[0]) // 2, (self.size - inner[1]) // 2)
        square.paste(_resized(image, inner, (0, 0, width, height)), place)
        return square

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return the fitted image as uint8 (size, size, 1)."""
        return np.asarray(self.fitted(image))[..., None]


def _resized(image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    """Return what is in ``box``, across first and then down: in one call, the order depends on Pillow's version."""
    left, top, right, bottom = box
    across = image.resize((size[0], image.height), Image.Resampling.BILINEAR, box=(left, 0, right, image.height))
    return across.resize(size, Image.Resampling.BILINEAR, box=(0, top, size[0], bottom))


def to_bytes(values: NDArray[np.floating[Any]], low: float, high: float) -> NDArray[np.uint8]:
    """Return grey values from ``low`` (black, 0) to ``high`` (white, 255), rounded; what lies beyond is cut."""
    scaled = (values - low) * (255 / max(high - low, 1e-30))
    return np.asarray(np.rint(np.clip(scaled, 0, 255)), np.uint8)
