"""Calibration as Keras layers: logits (batch, k) -> calibrated probabilities float32 (batch, k).

They are made of TensorFlow operations, travel inside the served model and give the numbers of ``Calibration.apply`` in
eager mode, in a graph, in a saved and in an exported model. The precision policy of the network does not touch them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from parak8s.calibration import Calibration


@keras.saving.register_keras_serializable(package="parak8s")
class Softmax(keras.layers.Layer):
    """The softmax of the logits as they are."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32"} | kwargs)

    def call(self, logits: tf.Tensor) -> tf.Tensor:
        """Map logits (batch, k) to probabilities (batch, k)."""
        return tf.nn.softmax(logits)


@keras.saving.register_keras_serializable(package="parak8s")
class Temperature(keras.layers.Layer):
    """The softmax of the logits divided by a temperature (Guo et al. 2017, arXiv:1706.04599).

    Args:
        temperature: Above 0; above 1 it takes confidence away.
    """

    def __init__(self, *, temperature: float, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.temperature = temperature

    def call(self, logits: tf.Tensor) -> tf.Tensor:
        """Map logits (batch, k) to probabilities (batch, k)."""
        # Without the largest first, the division would round large logits by more than their differences bear.
        return tf.nn.softmax((logits - tf.reduce_max(logits, axis=-1, keepdims=True)) / self.temperature)

    def get_config(self) -> Mapping[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="parak8s")
class Isotonic(keras.layers.Layer):
    """A rising map of each class's softmax, divided by the row's sum (Zadrozny and Elkan 2002).

    Args:
        knots: For each class the x and the y of its piecewise linear map.
    """

    def __init__(self, *, knots: Sequence[Sequence[Sequence[float]]], **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.knots = [[list(x), list(y)] for x, y in knots]
        longest = max(2, *(len(x) for x, _ in self.knots))
        # The last knot repeated changes no map, and lets one search serve all classes.
        padded = np.array([[each + each[-1:] * (longest - len(each)) for each in knot] for knot in self.knots])
        self._x, self._y = padded[:, 0], padded[:, 1]

    def call(self, logits: tf.Tensor) -> tf.Tensor:
        """Map logits (batch, k) to probabilities (batch, k); the softmax where all maps give 0."""
        # In float64, because the maps are steep: float32's rounding of the softmax could pass over a whole step.
        before = tf.nn.softmax(tf.cast(logits, tf.float64))
        after = _interpolated(tf.transpose(before), tf.constant(self._x), tf.constant(self._y))
        total = tf.reduce_sum(after, axis=1, keepdims=True)
        return tf.cast(tf.where(total > 0, tf.math.divide_no_nan(after, total), before), tf.float32)

    def get_config(self) -> Mapping[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "knots": self.knots}


def layer_of(calibration: Calibration) -> keras.Layer:
    """Return the layer, named ``probabilities``, that does what ``calibration.apply`` does."""
    if calibration.temperature is not None:
        return Temperature(temperature=calibration.temperature, name="probabilities")
    if calibration.knots is not None:
        return Isotonic(knots=calibration.knots, name="probabilities")
    return Softmax(name="probabilities")


def _interpolated(values: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Return ``values`` (k, n) read off the maps ``x``, ``y`` (k, knots), constant beyond their ends, as (n, k)."""
    inside = tf.clip_by_value(values, x[:, :1], x[:, -1:])
    right = tf.clip_by_value(tf.searchsorted(x, inside, side="right"), 1, x.shape[1] - 1)
    x0, x1, y0, y1 = (tf.gather(knots, right - step, batch_dims=1) for knots in (x, y) for step in (1, 0))
    return tf.transpose(y0 + (y1 - y0) * tf.math.divide_no_nan(inside - x0, x1 - x0))
