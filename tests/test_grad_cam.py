"""Where a network looks: Grad-CAM against closed forms, finite differences and a planted opacity."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from parak8s.models.grad_cam import grad_cam
from parak8s.models.xray_cnn import xray_cnn

SIDE = 24


def images(count: int = 3, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(count, SIDE, SIDE, 1)).astype(np.float32)


def stirred(model: keras.Model) -> keras.Model:
    """Give every kernel and every statistic values that differ."""
    random = np.random.default_rng(1)
    for weight in model.weights:
        change = random.normal(0, 0.3, weight.shape)
        weight.assign(np.abs(change) + 0.5 if "variance" in weight.path else weight.numpy() + change)
    return model


def features(inputs: Any) -> Any:
    return layers.Conv2D(5, 3, strides=2, padding="same", activation="relu", name="features")(inputs)


def head(x: Any) -> Any:
    return layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(x))


def flat() -> keras.Model:
    inputs = keras.Input((SIDE, SIDE, 1))
    return keras.Model(inputs, head(features(inputs)))


def nested() -> keras.Model:
    """A classifier around a network around a backbone, as transfer learning makes it."""
    inputs = keras.Input((SIDE, SIDE, 1))
    backbone = keras.Model(inputs, features(inputs), name="backbone")
    inner = keras.Input((SIDE, SIDE, 1))
    network = keras.Model(inner, head(backbone(layers.Rescaling(1.0)(inner))), name="network")
    outer = keras.Input((SIDE, SIDE, 1))
    return keras.Model(outer, layers.Activation("linear")(network(layers.Rescaling(1.0)(outer))))


def deeper() -> keras.Model:
    """The backbone ends with its own pooling, so that the map lies inside it."""
    inputs = keras.Input((SIDE, SIDE, 1))
    backbone = keras.Model(inputs, layers.GlobalAveragePooling2D()(features(inputs)))
    outer = keras.Input((SIDE, SIDE, 1))
    return keras.Model(outer, layers.Dense(3, name="logits")(backbone(outer)))


def sequential() -> keras.Model:
    convolution = layers.Conv2D(5, 3, strides=2, padding="same", activation="relu", name="features")
    network = keras.Sequential(
        [keras.Input((SIDE, SIDE, 1)), convolution, layers.GlobalAveragePooling2D(), layers.Dense(3, name="logits")]
    )
    outer = keras.Input((SIDE, SIDE, 1))
    return keras.Model(outer, network(outer))


def found(model: keras.Model, name: str) -> keras.Layer:
    """Return the layer called ``name``, however deep it lies."""
    return next(layer for layer in model._flatten_layers() if layer.name == name)


@pytest.mark.parametrize("build", [flat, nested, deeper, sequential])
def test_over_global_average_pooling_it_is_the_class_activation_map(build: Callable[[], keras.Model]) -> None:
    """Zhou et al. (2016), arXiv:1512.04150: the map is the sum of the features weighted as the class weighs them."""
    model = stirred(build())
    predicted = np.array([0, 2, 1])
    maps = found(model, "features")(images()).numpy()
    kernel = found(model, "logits").get_weights()[0]
    expected = np.maximum(np.einsum("nhwc,cn->nhw", maps, kernel[:, predicted]) / (SIDE // 2) ** 2, 0)
    got = grad_cam(model, images(), predicted)
    assert got.shape == (3, SIDE // 2, SIDE // 2)
    assert got.dtype == np.float32
    assert got.max() > 0
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_over_mean_and_maximum_it_is_weighted_with_the_slopes_of_the_logit() -> None:
    """The head of xray_cnn: the slopes of a channel add up to its weights in mean and maximum."""
    model = stirred(xray_cnn((SIDE, SIDE, 1), 2, filters=3, blocks=2))
    last = [layer for layer in model.layers if isinstance(layer, layers.ReLU)][-1]
    maps = keras.Model(model.inputs, last.output)(images()).numpy()
    kernel = found(model, "logits").get_weights()[0]
    channels, cells = maps.shape[-1], maps.shape[1] * maps.shape[2]
    mean = (kernel[:channels] + kernel[channels:]) / cells
    predicted = np.array([1, 0, 1])
    expected = np.maximum(np.einsum("nhwc,cn->nhw", maps, mean[:, predicted]), 0)
    np.testing.assert_allclose(grad_cam(model, images(), predicted), expected, rtol=1e-4, atol=1e-6)


def test_it_lies_over_what_the_class_is_told_by() -> None:
    model = flat()
    found(model, "features").set_weights([np.full((3, 3, 1, 5), 0.2), np.full(5, -1.0)])
    found(model, "logits").set_weights([np.tile([[0.0, 1.0, -1.0]], (5, 1)), np.zeros(3)])
    dark = np.zeros((2, SIDE, SIDE, 1), np.float32)
    dark[:, 4:8, 16:20] = 1
    bright, against = grad_cam(model, dark, np.array([1, 2]))
    row, column = np.unravel_index(bright.argmax(), bright.shape)
    assert (2 <= row <= 3, 8 <= column <= 9) == (True, True)
    assert bright[6:].max() == bright[:, :6].max() == 0
    assert against.max() == 0  # what speaks against a class is no evidence for it


def test_mixed_precision_gives_about_the_same_map_in_float32() -> None:
    whole = stirred(flat())
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = flat()
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(whole.get_weights())
    predicted = np.array([0, 1, 2])
    got, expected = grad_cam(mixed, images(), predicted), grad_cam(whole, images(), predicted)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=0.02 * expected.max())


def test_the_model_answers_as_before_and_again_with_the_same_bits() -> None:
    model = stirred(nested())
    before = model(images()).numpy()
    first, second = (grad_cam(model, images(), np.array([0, 1, 2])) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(model(images()).numpy(), before)


def test_a_network_without_a_feature_map_gives_none() -> None:
    inputs = keras.Input((SIDE, SIDE, 1))
    x = layers.Normalization(mean=0.0, variance=1.0)(layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    assert grad_cam(model, images(), np.zeros(3, int)).shape == (3, 0, 0)
    assert grad_cam(flat(), images(0), np.zeros(0, int)).shape == (0, 0, 0)
