"""Scaling and augmentation of images, as Keras layers made of TensorFlow operations.

They give the same numbers in eager mode, in a graph, in an exported model and on any device. Images are (batch, height,
width, channels), of any real type, 0 black and 255 white; all is computed in float32, also under mixed precision.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import keras
import tensorflow as tf

WHITE = 255.0
LEAST_DEVIATION = 1.0
"""Smallest deviation that is divided by: one grey level, so that an empty image is not blown up to noise."""

AMOUNTS = ("flip", "rotation", "shift", "zoom", "contrast", "brightness", "noise")
"""What can be varied, by the names of the settings."""


@keras.saving.register_keras_serializable(package="parak8s")
class UnitScale(keras.layers.Layer):
    """Scales images from 0..255 to 0..1."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32"} | kwargs)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Map (batch, height, width, channels) to float32 of the same shape."""
        return tf.cast(inputs, tf.float32) / WHITE


@keras.saving.register_keras_serializable(package="parak8s")
class Standardize(keras.layers.Layer):
    """Subtracts each image's mean and divides by its standard deviation; an even image becomes zeros."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32"} | kwargs)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Map (batch, height, width, channels) to the same shape, mean 0 and deviation 1 over each image."""
        images = tf.cast(inputs, tf.float32)
        over = list(range(1, len(images.shape)))
        # The mean of an even image is its level only up to rounding.
        above_first = images - images[:, :1, :1]
        centred = above_first - tf.reduce_mean(above_first, axis=over, keepdims=True)
        deviation = tf.sqrt(tf.reduce_mean(tf.square(centred), axis=over, keepdims=True))
        return centred / tf.maximum(deviation, LEAST_DEVIATION)


@keras.saving.register_keras_serializable(package="parak8s")
class ImageAugmentation(keras.layers.Layer):
    """Varies place, size, contrast, brightness and noise while training; passes images on unchanged otherwise.

    The draws are the same in eager mode, in a graph and on any device; XLA (``training.jit``) draws others, which are
    the same for every run too.

    Args:
        flip: Half of the images are mirrored.
        rotation: Each is turned around its middle by up to so many degrees, either way.
        shift: Each is moved by up to this fraction of its side, across and down.
        zoom: Each is scaled around its middle by a factor from 1 - zoom to 1 + zoom.
        contrast: Distances from the image's mean are multiplied by a factor from 1 - contrast to 1 + contrast.
        brightness: Up to this fraction of full scale is added or taken away.
        noise: Standard deviation of added white noise, as a fraction of full scale.
        rate: Share of the images that are varied; the others stay as they are.
        seed: Seed of the draws; how far they are is one of the layer's variables.
    """

    def __init__(
        self,
        *,
        flip: bool = False,
        rotation: float = 0.0,
        shift: float = 0.0,
        zoom: float = 0.0,
        contrast: float = 0.0,
        brightness: float = 0.0,
        noise: float = 0.0,
        rate: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.flip, self.rotation, self.shift, self.zoom = flip, rotation, shift, zoom
        self.contrast, self.brightness, self.noise, self.rate, self.seed = contrast, brightness, noise, rate, seed
        self.draws = keras.random.SeedGenerator(seed)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Map (batch, height, width, channels) to float32 of the same shape, in 0..255."""
        images = tf.cast(inputs, tf.float32)
        if not training:
            return images
        varied = self._varied(images)
        return tf.where(self._between(images, 0.0, 1.0) < self.rate, varied, images) if self.rate < 1 else varied

    def _varied(self, images: tf.Tensor) -> tf.Tensor:
        if self.flip or self.rotation or self.shift or self.zoom:
            images = warped(images, *self._places(tf.shape(images)[0]))
        if self.contrast:
            mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
            images = mean + (images - mean) * self._between(images, 1 - self.contrast, 1 + self.contrast)
        if self.brightness:
            images += WHITE * self._between(images, -self.brightness, self.brightness)
        if self.noise:
            images += keras.random.normal(tf.shape(images), stddev=WHITE * self.noise, seed=self.draws)
        return tf.clip_by_value(images, 0.0, WHITE)

    def _between(self, images: tf.Tensor, low: float, high: float) -> tf.Tensor:
        """Draw one number for each image, (batch, 1, 1, 1)."""
        return keras.random.uniform((tf.shape(images)[0], 1, 1, 1), low, high, seed=self.draws)

    def _places(self, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Draw the turn and scale of each image, (batch, 2, 2), and its shift, (batch, 2), in fractions of the side."""
        angle = keras.random.uniform((count,), -self.rotation, self.rotation, seed=self.draws) * (math.pi / 180)
        scale = 1 / keras.random.uniform((count,), 1 - self.zoom, 1 + self.zoom, seed=self.draws)
        mirror = tf.ones((count,))
        if self.flip:
            mirror = tf.sign(keras.random.uniform((count,), -1.0, 1.0, seed=self.draws))
        across, down = tf.cos(angle) * scale, tf.sin(angle) * scale
        rows = [tf.stack([across, down * mirror], axis=-1), tf.stack([-down, across * mirror], axis=-1)]
        shift = keras.random.uniform((count, 2), -self.shift, self.shift, seed=self.draws)
        return tf.stack(rows, axis=1), shift

    def get_config(self) -> Mapping[str, Any]:
        """Return the arguments of the constructor."""
        names = (*AMOUNTS, "rate", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def warped(images: tf.Tensor, turn: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Return float32 ``images`` (batch, height, width, channels) read at other places.

    The pixel at (down, across) from the middle is read at ``turn`` (batch, 2, 2) times (down, across) minus ``shift``
    (batch, 2) times the side, between four by four pixels; what lies beyond the border is as the border. Bilinear
    reading would blur: a network that has learned from blurred images takes the sharpness of others for a sign of
    health. Gathered, because the operation for projective transforms does not exist for XLA.

    Source: cubic convolution, Keys (1981), IEEE Transactions on Acoustics, Speech, and Signal Processing 29(6):1153.
    """
    count, height, width, channels = tf.unstack(tf.shape(images))
    sides = tf.stack([height, width])
    last = tf.cast(sides, tf.float32) - 1
    down, across = (
        tf.cast(tf.range(side), tf.float32) - (tf.cast(side, tf.float32) - 1) / 2 for side in (height, width)
    )
    grid = tf.stack(tf.meshgrid(down, across, indexing="ij"), axis=-1)
    moved = tf.reshape(grid, (-1, 2)) @ tf.transpose(turn, (0, 2, 1)) - (shift * tf.cast(sides, tf.float32))[:, None]
    place = tf.clip_by_value(moved + last / 2, 0.0, last)
    first = tf.floor(place)
    corner = tf.cast(first, tf.int32)
    corner = corner[..., 0] * width + corner[..., 1]
    share = place - first
    fours = _fours(images)
    rows = [tf.gather(fours, corner + step * width, batch_dims=1) for step in range(4)]
    columns = tf.reshape(_mixed(rows, share[..., :1]), (count, height * width, 4, channels))
    return tf.reshape(_mixed(tf.unstack(columns, axis=2), share[..., 1:]), tf.shape(images))


def _fours(images: tf.Tensor) -> tf.Tensor:
    """Return four pixels beside each other at every place, (batch, (height + 3) * width, 4 * channels).

    The border is repeated once before and twice behind the image, so that four rows from a pixel's place on surround it
    in the same way as its four do.
    """
    count, height, width, channels = tf.unstack(tf.shape(images))
    for axis, side in ((1, height), (2, width)):
        before, behind = tf.gather(images, [0], axis=axis), tf.gather(images, [side - 1, side - 1], axis=axis)
        images = tf.concat([before, images, behind], axis=axis)
    beside = tf.stack([images[:, :, step : step + width] for step in range(4)], axis=3)
    return tf.reshape(beside, (count, (height + 3) * width, 4 * channels))


def _mixed(four: Sequence[tf.Tensor], share: tf.Tensor) -> tf.Tensor:
    """Return what lies at ``share`` from the second to the third of ``four`` equally far values."""
    square, cube = share**2, share**3
    weights = (
        square - (cube + share) / 2,
        1.5 * cube - 2.5 * square + 1,
        2 * square - 1.5 * cube + share / 2,
        (cube - square) / 2,
    )
    return tf.add_n([values * weight for values, weight in zip(four, weights, strict=True)])


class Augmentation(Protocol):
    """Settings of :class:`ImageAugmentation`."""

    flip: bool
    rotation: float
    shift: float
    zoom: float
    contrast: float
    brightness: float
    noise: float
    rate: float


def normalization(kind: Literal["unit", "zscore", "none"]) -> list[keras.Layer]:
    """Return the layers that scale raw images; ``none`` makes them float32 and leaves them in 0..255."""
    if kind == "none":
        return [keras.layers.Rescaling(1.0, dtype="float32")]
    return [UnitScale()] if kind == "unit" else [Standardize()]


def augmentation(settings: Augmentation, seed: int) -> list[keras.Layer]:
    """Return the layers that vary raw images; none where nothing is to vary."""
    amounts: dict[str, Any] = {name: getattr(settings, name) for name in AMOUNTS}
    varies = settings.rate and any(amounts.values())
    return [ImageAugmentation(**amounts, rate=settings.rate, seed=seed)] if varies else []
