"""Draws simulated chests: lungs, heart, ribs, spine, collarbones, diaphragm, and the opacities of pneumonia.

Coordinates run from -1 (left, top) to 1 (right, bottom) of the image; brightness from 0 (air) to 1 (bone). The
patient's left is on the right, as radiographs are shown.
"""

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

SHADOWS = 3
"""Most opacities in one chest."""


@dataclass(frozen=True)
class Chests:
    """The anatomy of n chests; each value (n,), or (n, SHADOWS) for the opacities.

    Args:
        lung_x: Distance of the lungs' middles from the spine.
        lung_width: Half width of a lung.
        lung_top: Its upper end.
        diaphragm: Height of the diaphragm's domes, a lung's lower end.
        air: Brightness of a lung.
        tissue: Brightness of what is no lung.
        heart_x: Middle of the heart.
        heart_width: Half its width.
        ribs: Pairs of ribs over the height of the image.
        rib_phase: Where the first one lies, in ribs.
        rib_slope: How far a rib falls from the spine outwards.
        rib_light: How much brighter a rib is.
        hilum: Brightness of the vessels at the root of the lungs.
        shadow_x: Middles of the opacities.
        shadow_y: The same, vertically.
        shadow_size: Their half widths.
        shadow_light: How much they brighten a lung; 0 for none.
    """

    lung_x: Floats
    lung_width: Floats
    lung_top: Floats
    diaphragm: Floats
    air: Floats
    tissue: Floats
    heart_x: Floats
    heart_width: Floats
    ribs: Floats
    rib_phase: Floats
    rib_slope: Floats
    rib_light: Floats
    hilum: Floats
    shadow_x: Floats
    shadow_y: Floats
    shadow_size: Floats
    shadow_light: Floats

    def rows(self, rows: NDArray[np.intp]) -> Self:
        """Return the chests at ``rows``."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def draw_chests(rng: np.random.Generator, ill: NDArray[np.bool_]) -> Chests:
    """Draw the anatomy of one chest for each of ``ill`` (n,), which says who has pneumonia."""

    def between(low: float, high: float, *more: int) -> Floats:
        return rng.uniform(low, high, (len(ill), *more)).astype(np.float32)

    lung_x, lung_width, lung_top, diaphragm = (
        between(0.36, 0.46), between(0.24, 0.34), between(-0.82, -0.62), between(0.38, 0.68),
    )  # fmt: skip
    side = np.where(rng.random((len(ill), SHADOWS)) < 0.5, -1, 1)
    height = between(0.15, 0.95, SHADOWS)
    count = np.where(ill, rng.integers(1, SHADOWS + 1, len(ill)), 0)
    return Chests(
        lung_x=lung_x,
        lung_width=lung_width,
        lung_top=lung_top,
        diaphragm=diaphragm,
        air=between(0.12, 0.3),
        tissue=between(0.55, 0.75),
        heart_x=between(0.05, 0.16),
        heart_width=between(0.22, 0.36),
        ribs=between(7, 11),
        rib_phase=between(0, 1),
        rib_slope=between(0.1, 0.4),
        rib_light=between(0.04, 0.12),
        hilum=between(0.02, 0.14),
        shadow_x=(side * (lung_x[:, None] + between(-0.6, 0.6, SHADOWS) * lung_width[:, None])).astype(np.float32),
        shadow_y=lung_top[:, None] + height * (diaphragm - lung_top)[:, None],
        shadow_size=between(0.1, 0.26, SHADOWS),
        shadow_light=np.where(np.arange(SHADOWS) < count[:, None], between(0.12, 0.38, SHADOWS), 0).astype(np.float32),
    )


def brightness(chests: Chests, x: Floats, y: Floats, texture: Floats) -> Floats:
    """Return the brightness (n, height, width) of chests at ``x``, ``y`` (n, height, width).

    ``texture``, of the same shape and about 1, makes the opacities patchy.
    """
    c = Chests(**{f.name: getattr(chests, f.name)[..., None, None] for f in fields(chests)})
    away = np.abs(x)
    lung = _lungs(c, x, y, away)
    heart = _inside(((x - c.heart_x) / c.heart_width) ** 2 + ((y - c.diaphragm + 0.22) / 0.36) ** 2, 0.12)
    lung = lung * (1 - 0.9 * heart)
    rib = np.exp(-(((((y - c.rib_slope * away * np.sqrt(away)) * c.ribs / 2 + c.rib_phase) % 1) - 0.5) ** 2) / 0.02)
    ribs = c.rib_light * rib * _inside(_fourth(away / 0.92) + _fourth(y / 1.05), 0.1)
    spine = 0.16 * np.exp(-((x / 0.1) ** 2)) * (1 + 0.25 * np.sin(y * 22))
    collar = 0.14 * np.exp(-(((y - c.lung_top - 0.12 + 0.22 * away) / 0.035) ** 2)) * (away > 0.1) * (away < 0.85)
    hilum = c.hilum * np.exp(-(((away - 0.2) / 0.12) ** 2) - (((y + 0.05) / 0.22) ** 2))
    body = _inside(_fourth(away / 1.02) + _fourth(np.maximum(-y - 0.3, 0) / 0.85), 0.15)
    light = c.tissue * (1 - lung) + c.air * lung + ribs + spine + collar + hilum * lung
    for shadow in range(SHADOWS):
        size = c.shadow_size[:, shadow]
        far = ((x - c.shadow_x[:, shadow]) / size) ** 2 + ((y - c.shadow_y[:, shadow]) / (1.2 * size)) ** 2
        light = light + c.shadow_light[:, shadow] * np.exp(-far) * lung * texture
    return np.asarray(light * body, np.float32)


def _lungs(c: Chests, x: Floats, y: Floats, away: Floats) -> Floats:
    """Return 1 inside the lungs and 0 outside; they are narrower towards the top."""
    middle = (c.lung_top + c.diaphragm) / 2
    half = (c.diaphragm - c.lung_top) / 2
    narrowing = 1 - 0.22 * np.clip((middle - y) / half, 0, 1)
    across = ((away - c.lung_x) / (c.lung_width * narrowing)) ** 2
    dome = c.diaphragm - 0.12 * ((away - c.lung_x) / c.lung_width) ** 2 + 0.04 * np.sign(x)
    along = _fourth((y - middle) / half)
    return _inside(across + along, 0.22) * _inside(1 + (y - dome), 0.06)


def _inside(distance: Floats, softness: float) -> Floats:
    """Return 1 where ``distance`` is below 1 and 0 above it, with a soft edge."""
    return np.asarray(1 / (1 + np.exp(np.clip((distance - 1) / (softness / 2), -40, 40))), np.float32)


def _fourth(values: Floats) -> Floats:
    squares = values * values
    return squares * squares
