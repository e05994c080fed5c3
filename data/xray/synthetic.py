"""The source ``synthetic://xray?images=N&seed=S``: simulated chests, normal or with the opacities of pneumonia."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from parak8s.data import simulation
from parak8s.data.xray.chests import Chests, Floats, brightness, draw_chests
from parak8s.data.xray.decoding import cores
from parak8s.data.xray.frame import to_bytes
from parak8s.data.xray.listing import Listing

CLASSES = ("NORMAL", "PNEUMONIA")
SETTINGS = {"images": (1_500, 10, 100_000), "seed": (0, 0, 2**63 - 1)}
"""Default, least and greatest value of each setting."""
SIDE = 128
"""Pixels of a side."""
ILL = 0.6
"""Share of the patients with pneumonia (about three quarters in the set of Kermany et al.)."""
MOST_EACH = 3
"""Most images of one patient."""
BLOCK_ROWS = 16


def read(url: str) -> Listing:
    """Return the images that ``synthetic://xray?images=1500&seed=0`` names; both settings may be left out.

    Raises:
        InputError: Another name or setting, or a value out of range.
    """
    images, labels, patients = simulate(**simulation.settings(url, "xray", SETTINGS))
    return Listing(
        images=list(images),
        names=[f"image {row}" for row in range(len(images))],
        labels=[CLASSES[label] for label in labels],
        classes=CLASSES,
        patients=[f"patient {number}" for number in patients],
    )


def simulate(*, images: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Simulate ``images`` X-rays of one to three a patient.

    Returns:
        Pixels, uint8 (n, 128, 128); labels (n,), index into ``CLASSES``; patients (n,), counted from 1.
    """
    rng = np.random.default_rng(seed)
    each = rng.integers(1, MOST_EACH + 1, images)
    patients = np.repeat(np.arange(images), each)[:images]
    ill = rng.random(images) < ILL
    ill[:2] = False, True
    chests = draw_chests(rng, ill)
    pixels = np.empty((images, SIDE, SIDE), np.uint8)

    def draw(start: int) -> None:
        rows = np.arange(start, min(start + BLOCK_ROWS, images))
        pixels[rows] = _photographed(np.random.default_rng((seed, start)), chests.rows(patients[rows]))

    with ThreadPoolExecutor(cores()) as painters:
        list(painters.map(draw, range(0, images, BLOCK_ROWS)))
    return pixels, ill[patients].astype(np.int64), patients + 1


def _photographed(rng: np.random.Generator, chests: Chests) -> NDArray[np.uint8]:
    """Return an image, (n, SIDE, SIDE), of each of n chests, every one from elsewhere and of another exposure."""
    count = len(chests.air)
    x, y = _places(rng, count)
    light = brightness(chests, x, y, 1 + 0.35 * _clouds(rng, count, 24))
    return _exposed(rng, light + 0.05 * _clouds(rng, count, 6))


def _places(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """Return the coordinates of all pixels, (count, SIDE, SIDE), for patients who never stand the same way."""
    line = (np.arange(SIDE, dtype=np.float32) + 0.5) * (2 / SIDE) - 1
    across, down = line[None, None, :], line[None, :, None]
    turn, zoom, right, lower = (
        rng.uniform(-limit, limit, (count, 1, 1)).astype(np.float32) for limit in (0.09, 0.1, 0.07, 0.07)
    )
    x, y = across * (1 + zoom) - right, down * (1 + zoom) - lower
    return x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)


def _clouds(rng: np.random.Generator, count: int, fields: int) -> Floats:
    """Return smooth noise (count, SIDE, SIDE) of deviation 1, with ``fields`` independent values along each side."""
    coarse = rng.standard_normal((count, fields + 1, fields + 1)).astype(np.float32)
    place = np.linspace(0, fields, SIDE, endpoint=False)
    left, share = place.astype(int), (place % 1).astype(np.float32)
    weights = np.zeros((SIDE, fields + 1), np.float32)
    weights[np.arange(SIDE), left] = 1 - share
    weights[np.arange(SIDE), left + 1] += share
    return np.asarray(weights @ coarse @ weights.T, np.float32)


def _exposed(rng: np.random.Generator, light: Floats) -> NDArray[np.uint8]:
    """Return the pixels of an exposure of its own contrast, darkness and grain for each image."""
    contrast, gamma, grain = (
        rng.uniform(low, high, (len(light), 1, 1)).astype(np.float32)
        for low, high in ((0.85, 1.15), (0.8, 1.25), (0.01, 0.035))
    )
    film = np.clip(light * contrast, 0.01, 1) ** gamma
    film += grain * rng.standard_normal(light.shape, np.float32)
    return to_bytes(film, 0, 1)
