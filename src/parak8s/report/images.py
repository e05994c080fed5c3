"""Images of the report: as the model gets them, and with its attention over them."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST_PIXELS = 112
"""Longest side of an image on the page; larger ones are averaged down."""
COLOUR = "#ffb000"
"""Of the attention: amber (after IBM's palette for the colour-blind), which neither lung nor bone has."""
STRENGTH = 0.62
"""Share of the colour where attention is strongest: the image must stay visible under it."""
HALF = 0.5
"""Share of the strongest attention along which a line is drawn."""

Floats = NDArray[np.floating[Any]]


def smaller(image: NDArray[Any]) -> Floats:
    """Return ``image``, uint8 or float, as (h, w) or (h, w, 3) in [0, 1] and at most ``MOST_PIXELS`` a side."""
    values = image.astype(np.float64)
    if image.dtype == np.uint8:
        values /= 255
    elif values.min() < 0 or values.max() > 1:
        values = (values - values.min()) / (np.ptp(values) or 1)
    block = -(-max(values.shape[:2]) // MOST_PIXELS)
    height, width = (side // block for side in values.shape[:2])
    cut = values[: height * block, : width * block].reshape(height, block, width, block, -1).mean(axis=(1, 3))
    pixels: NDArray[np.float64] = cut[..., 0] if cut.shape[-1] == 1 else cut
    return pixels


def encoded(pixels: Floats) -> str:
    """Return (h, w) or (h, w, 3) in [0, 1] as the ``data:`` URL of a PNG."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png", cmap="gray", vmin=0, vmax=1, metadata={"Software": "ParaK8s"})
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def overlaid(pixels: Floats, attention: Floats) -> Floats:
    """Return the image in grey with the colour over it: (h, w, 3) in [0, 1].

    The strongest place of each image has the full colour, half as much attention a quarter of it, so that the image
    stays visible where attention lies all over it. A line surrounds what has half of the strongest or more.

    Args:
        pixels: (h, w) or (h, w, 3), in [0, 1].
        attention: (any height, any width), 0 or more.
    """
    grey = pixels if pixels.ndim == 2 else pixels.mean(axis=-1)
    colour = np.array(list(bytes.fromhex(COLOUR[1:]))) / 255
    level = _stretched(attention / (float(attention.max()) or 1), grey.shape)
    share = np.where(_border(level >= HALF), 1, STRENGTH * level**2)[..., None]
    return np.asarray(np.clip(grey[..., None] * (1 - share) + colour * share, 0, 1))


def scale() -> list[str]:
    """Return the colours from no attention to the strongest, over middle grey, at equal distances."""
    shares = (STRENGTH * level**2 for level in np.linspace(0, 1, 9))
    full = bytes.fromhex(COLOUR[1:])
    return [f"#{bytes(round(128 * (1 - share) + part * share) for part in full).hex()}" for share in shares]


def in_words(attention: Floats) -> str:
    """Return where the attention is strongest."""
    if not attention.max() > 0:
        return "No part of the image speaks for it."
    place = np.unravel_index(int(attention.argmax()), attention.shape)
    down, across = (int(3 * (at + 0.5) / side) for at, side in zip(place, attention.shape, strict=True))
    where = f"{('upper', 'middle', 'lower')[down]} {('left', 'centre', 'right')[across]}"
    return f"Strongest: {'centre' if where == 'middle centre' else where}."


def _stretched(values: Floats, shape: tuple[int, ...]) -> Floats:
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)).clip(0, 1)


def _border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what of ``mask`` has a neighbour outside it; the edge of the image is none."""
    padded = np.pad(mask, 1, mode="edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inside)
