"""Where in an image the evidence for the predicted class lies: Grad-CAM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from parak8s.data.batches import rows_at_once

if TYPE_CHECKING:
    from numpy.typing import NDArray


def grad_cam(
    model: keras.Model, inputs: NDArray[np.generic], predicted: NDArray[np.integer[Any]]
) -> NDArray[np.float32]:
    """Return how much each place of the last feature map speaks for the predicted class: (n, map height, map width).

    Each channel of the map is weighted with the mean gradient of the class's logit over the map; the sum of the
    weighted channels is cut at 0. The map is that of the last convolution, with what follows it but for pooling, which
    would only make it coarser.

    Args:
        model: Raw batch (batch, height, width, channels) -> logits (batch, classes).
        inputs: (n, height, width, channels).
        predicted: (n,), the class of each.

    Returns:
        Values of 0 or more, of the size of the logit; (n, 0, 0) where the network has no such map.

    Source: Selvaraju et al. (2017), arXiv:1610.02391, section 3.
    """
    opened = with_map(model)
    if opened is None or not len(inputs):
        return np.empty((len(inputs), 0, 0), np.float32)
    rows = rows_at_once(inputs.shape[1:])
    parts = [
        _of_batch(opened, inputs[start : start + rows], predicted[start : start + rows])
        for start in range(0, len(inputs), rows)
    ]
    return np.concatenate(parts)


def with_map(model: keras.Model) -> keras.Model | None:
    """Return ``model`` with two outputs, its last feature map (batch, h, w, channels) and its own; None without a map.

    The map may lie in a network within the model, or within that one.
    """
    last = _last_with_map(model)
    if last is None:
        return None
    inner, maps = None if _gives_map(last) else with_map(last), []

    def call(layer: keras.Layer, *arguments: Any, **options: Any) -> Any:
        output = inner(*arguments, **options) if inner and layer is last else layer(*arguments, **options)
        if layer is not last:
            return output
        feature_map, output = output if inner else (output, output)
        maps.append(feature_map)
        return output

    graph = keras.Model(_alone(model.inputs), _alone(model.outputs))
    again = keras.models.clone_model(graph, clone_function=lambda layer: layer, call_function=call)
    return keras.Model(again.input, [maps[-1], again.output])


def _alone(tensors: list[Any]) -> Any:
    """Return the only one of ``tensors`` by itself: that is how it will be called."""
    return tensors[0] if len(tensors) == 1 else tensors


def _last_with_map(model: keras.Model) -> keras.Layer | None:
    """Return the last layer that gives a feature map, or is a network with one inside."""
    if not getattr(model, "inputs", None):  # a model that is code, not a graph
        return None
    for count in range(len(model.layers), 0, -1):
        layer = model.layers[count - 1]
        inside = isinstance(layer, keras.Model) and _last_with_map(layer) is not None
        if inside or (_gives_map(layer) and any(_convolves(each) for each in model.layers[:count])):
            return layer
    return None


def _gives_map(layer: keras.Layer) -> bool:
    shape = getattr(layer.output, "shape", ())
    pools = isinstance(layer, keras.layers.MaxPooling2D | keras.layers.AveragePooling2D)
    return len(shape) == 4 and min(side or 2 for side in shape[1:3]) > 1 and not pools


def _convolves(layer: keras.Layer) -> bool:
    return any(len(weight.shape) == 4 for weight in layer.weights)


def _of_batch(
    opened: keras.Model, inputs: NDArray[np.generic], predicted: NDArray[np.integer[Any]]
) -> NDArray[np.float32]:
    with tf.GradientTape() as tape:
        feature_map, logits = opened(np.ascontiguousarray(inputs), training=False)
        chosen = tf.gather(logits, predicted, batch_dims=1)
    slopes = tape.gradient(chosen, feature_map)
    weights = tf.reduce_mean(tf.cast(slopes, tf.float32), axis=(1, 2), keepdims=True)
    return np.asarray(tf.nn.relu(tf.reduce_sum(weights * tf.cast(feature_map, tf.float32), axis=-1)))
