"""Normalization and augmentation of one-dimensional signals, as Keras layers made of TensorFlow operations.

They give the same numbers in eager mode, in a graph, in an exported model and on any device. Signals are
(batch, length) or (batch, length, leads), of any real type; everything is computed in float32, also under mixed
precision, and each lead for itself.
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import keras
import tensorflow as tf

EPSILON = 1e-6
"""Smallest deviation or range that is divided by. A sum with it would not do: TensorFlow reorders sums in a graph."""


@keras.saving.register_keras_serializable(package="parak8s")
class ZScore(keras.layers.Layer):
    """Subtracts each signal's mean and divides by its standard deviation; a flat signal becomes zeros."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32"} | kwargs)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Map (batch, length, ...) to the same shape, mean 0 and deviation 1 along the length."""
        signals = tf.cast(inputs, tf.float32)
        # The mean of a flat signal is its level only up to rounding, which the division would blow up.
        above_first = signals - signals[:, :1]
        centred = above_first - tf.reduce_mean(above_first, axis=1, keepdims=True)
        deviation = tf.sqrt(tf.reduce_mean(tf.square(centred), axis=1, keepdims=True))
        return centred / tf.maximum(deviation, EPSILON)


@keras.saving.register_keras_serializable(package="parak8s")
class MinMax(keras.layers.Layer):
    """Scales each signal to the range from 0 to 1; a flat signal becomes zeros."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32"} | kwargs)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Map (batch, length, ...) to the same shape, minimum 0 and maximum 1 along the length."""
        signals = tf.cast(inputs, tf.float32)
        above_lowest = signals - tf.reduce_min(signals, axis=1, keepdims=True)
        return above_lowest / tf.maximum(tf.reduce_max(above_lowest, axis=1, keepdims=True), EPSILON)


@keras.saving.register_keras_serializable(package="parak8s")
class SignalAugmentation(keras.layers.Layer):
    """Varies heart rate, amplitude and noise while training; passes signals on unchanged otherwise.

    The draws are the same in eager mode, in a graph and on any device; XLA (``training.jit``) draws others, which are
    the same for every run too.

    Args:
        stretch: The time axis is stretched by a factor drawn from 1 - stretch to 1 + stretch, around sample 0.
        scale: The amplitude is multiplied by a factor drawn from 1 - scale to 1 + scale.
        noise: Standard deviation of the white noise that is added where the signal is not padding (not 0).
        seed: Seed of the draws; how far they are is one of the layer's variables.
    """

    def __init__(
        self, *, stretch: float = 0.0, scale: float = 0.0, noise: float = 0.0, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.stretch, self.scale, self.noise, self.seed = stretch, scale, noise, seed
        self.draws = keras.random.SeedGenerator(seed)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Map (batch, length, ...) to float32 of the same shape."""
        signals = tf.cast(inputs, tf.float32)
        if not training:
            return signals
        one_each = (tf.shape(signals)[0], *[1] * (len(signals.shape) - 1))
        if self.stretch:
            factors = keras.random.uniform(one_each, 1 - self.stretch, 1 + self.stretch, seed=self.draws)
            signals = stretched(signals, factors)
        if self.scale:
            signals *= keras.random.uniform(one_each, 1 - self.scale, 1 + self.scale, seed=self.draws)
        if self.noise:
            noise = keras.random.normal(tf.shape(signals), stddev=self.noise, seed=self.draws)
            signals += tf.where(signals == 0, 0.0, noise)
        return signals

    def get_config(self) -> Mapping[str, Any]:
        """Return the arguments of the constructor."""
        own = {"stretch": self.stretch, "scale": self.scale, "noise": self.noise, "seed": self.seed}
        return {**super().get_config(), **own}


def stretched(signals: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Return ``signals`` (batch, length, ...) read at ``factors`` (batch, 1, ...) times the sample index.

    Between samples it is read off the straight line; past the last sample stand zeros.
    """
    length, rest = tf.shape(signals)[1], len(signals.shape) - 2
    place = tf.cast(tf.range(length), tf.float32)[None] * tf.reshape(factors, (-1, 1))
    left = tf.minimum(tf.cast(place, tf.int32), length)
    share = tf.reshape(place - tf.cast(left, tf.float32), tf.concat([tf.shape(place), [1] * rest], 0))
    padded = tf.pad(signals, [[0, 0], [0, 2], *[[0, 0]] * rest])
    before, after = (tf.gather(padded, left + step, batch_dims=1) for step in (0, 1))
    return before * (1 - share) + after * share


class Augmentation(Protocol):
    """Settings of :class:`SignalAugmentation`."""

    stretch: float
    scale: float
    noise: float


def normalization(kind: Literal["zscore", "minmax", "none"]) -> list[keras.Layer]:
    """Return the layers that normalize raw signals."""
    return {"zscore": [ZScore()], "minmax": [MinMax()], "none": []}[kind]


def augmentation(settings: Augmentation, seed: int) -> list[keras.Layer]:
    """Return the layers that vary raw signals; none where nothing is to vary."""
    amounts = {"stretch": settings.stretch, "scale": settings.scale, "noise": settings.noise}
    return [SignalAugmentation(**amounts, seed=seed)] if any(amounts.values()) else []
