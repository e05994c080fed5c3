"""A network of the builder ``transfer``, and what tests ask of it."""

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from parak8s import loading
from parak8s.experiment import Experiment
from parak8s.models.transfer import transfer

LIGHT = ("MobileNetV2", "MobileNetV3Small", "EfficientNetB0")


def built(backbone: str = "MobileNet", side: int = 32, seed: int = 1, **params: Any) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return transfer((side, side, 1), 2, backbone=backbone, **{"weights": "none"} | params)


def images(n: int = 3, side: int = 32, channels: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, channels)).astype(np.float32)


def inside(network: keras.Model) -> keras.Model:
    """Return the backbone."""
    (found,) = [layer for layer in network.layers if isinstance(layer, keras.Model)]
    return found


def assert_same_weights(one: keras.Model, other: keras.Model) -> None:
    for mine, its in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, its)


def sha256(file: Path) -> str:
    return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"


def experiment(*overrides: str) -> Experiment:
    text = """
name: x
data: {loader: xray, source: "synthetic://xray?images=90", options: {size: 32, normalize: none}}
model: {builder: transfer, params: {backbone: MobileNet, weights: none}}
"""
    return loading.parse(text, "x", overrides)
