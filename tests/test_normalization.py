"""Batch normalization over groups of a batch: against NumPy, and against Keras called on each group apart."""

from itertools import pairwise
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from parak8s.training.draws import Rows
from parak8s.training.groups import OneGroup, sizes_of
from parak8s.training.normalization import in_groups, remember, shared

GROUPS = (slice(0, 3), slice(3, 6), slice(6, 10))
"""Of ten rows, four in a group at most."""


def examples(*shape: int) -> Any:
    return np.random.default_rng(1).normal(3, 2, (10, *shape)).astype(np.float32)


def normalized(layer: keras.Layer, inputs: Any, most: int | None = 4) -> tuple[Any, list[Any], list[Any]]:
    """Return outputs, the gradients of a sum of theirs, and what the moving statistics are told."""
    rows, factors = tf.constant(inputs), tf.random.stateless_normal(inputs.shape, (1, 2))
    with tf.GradientTape() as tape, shared(), in_groups(Rows(0, 10, 10), most) as seen:
        tape.watch(rows)
        outputs = layer(rows, training=True)
        total = tf.reduce_sum(tf.cast(outputs, tf.float32) * factors)
    return outputs.numpy(), tape.gradient(total, [rows, *layer.trainable_variables]), seen


def test_each_group_is_normalized_with_its_own_mean_and_variance() -> None:
    inputs, layer = examples(5, 2), keras.layers.BatchNormalization(epsilon=0.01)
    outputs, _, _ = normalized(layer, inputs)
    for rows in GROUPS:
        mean, variance = inputs[rows].mean((0, 1)), inputs[rows].var((0, 1))
        assert outputs[rows] == pytest.approx((inputs[rows] - mean) / np.sqrt(variance + 0.01), abs=1e-5)


@pytest.mark.parametrize(
    ("shape", "axis"), [((5, 2), -1), ((2, 5), 1), ((4,), -1), ((1,), -1), ((1, 1), -1), ((3, 4, 2), -1)]
)
@pytest.mark.parametrize("far", [0, 100])
def test_outputs_and_gradients_are_those_of_keras_called_on_each_group_apart(shape: Any, axis: int, far: int) -> None:
    inputs, factors = examples(*shape) + far, tf.random.stateless_normal((10, *shape), (1, 2))
    initial = {"beta_initializer": "ones", "gamma_initializer": keras.initializers.Constant(1.7), "axis": axis}
    outputs, (to_rows, *to_weights), _ = normalized(keras.layers.BatchNormalization(**initial), inputs)
    apart, rounding = keras.layers.BatchNormalization(**initial), 2e-4 if far else 1e-5
    with tf.GradientTape() as tape:
        parts = [tf.constant(inputs[rows]) for rows in GROUPS]
        tape.watch(parts)
        expected = tf.concat([apart(part, training=True) for part in parts], 0)
        total = tf.reduce_sum(expected * factors)
    of_parts, of_weights = tape.gradient(total, [parts, apart.trainable_variables])
    assert outputs == pytest.approx(expected.numpy(), abs=10 * rounding)
    assert to_rows.numpy() == pytest.approx(tf.concat(of_parts, 0).numpy(), rel=1e-4, abs=10 * rounding)
    for mine, its in zip(to_weights, of_weights, strict=True):
        assert mine.numpy() == pytest.approx(its.numpy(), rel=1e-4, abs=10 * rounding)


def test_moving_statistics_follow_the_mean_of_the_groups_weighted_by_their_size() -> None:
    inputs, layer = examples(5, 2), keras.layers.BatchNormalization(momentum=0.9)
    _, _, [(seen, statistics)] = normalized(layer, inputs)
    assert seen is layer
    assert layer.moving_mean.numpy().tolist() == [0, 0]  # until all devices have told what they saw
    remember(layer, statistics)
    variance = sum(len(inputs[rows]) * inputs[rows].var((0, 1)) for rows in GROUPS) / 10
    assert layer.moving_mean.numpy() == pytest.approx(0.1 * inputs.mean((0, 1)), rel=1e-5)
    assert layer.moving_variance.numpy() == pytest.approx(0.9 + 0.1 * variance, rel=1e-5)


@pytest.mark.parametrize("most", [None, 10, 25])
def test_one_group_is_the_whole_batch_as_keras_has_it(most: int | None) -> None:
    inputs, ours, theirs = examples(5, 2), keras.layers.BatchNormalization(), keras.layers.BatchNormalization()
    outputs, _, seen = normalized(ours, inputs, most)
    assert outputs.tolist() == theirs(inputs, training=True).numpy().tolist()
    assert ours.moving_variance.numpy().tolist() == theirs.moving_variance.numpy().tolist()
    assert seen == []


def test_a_frozen_layer_keeps_its_moving_statistics() -> None:
    inputs, layer = examples(5, 2), keras.layers.BatchNormalization(trainable=False, epsilon=0)
    outputs, _, seen = normalized(layer, inputs)
    assert outputs == pytest.approx(inputs)
    assert seen == []


def test_half_precision_is_normalized_in_single_precision_and_stays_half() -> None:
    inputs, layer = 1000 * examples(5, 2), keras.layers.BatchNormalization(dtype="mixed_float16")
    outputs, _, [(_, statistics)] = normalized(layer, inputs.astype(np.float16))
    assert outputs.dtype == np.float16
    assert statistics.dtype == tf.float32
    for rows in GROUPS:
        assert outputs[rows].astype(float).mean((0, 1)) == pytest.approx(0, abs=0.01)
        assert outputs[rows].astype(float).std((0, 1)) == pytest.approx(1, abs=0.01)


ODD = {
    "rows": "sees other rows than one for each example",
    "renorm": "renormalizes",
    "mask": "has a mask",
    "graph": "is called in a loop, or in a function of its own",
}


@pytest.mark.parametrize("odd", ODD)
def test_a_layer_that_cannot_tell_the_groups_takes_the_whole_batch_and_says_so(
    odd: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Fifty rows of ten examples; renormalization; a mask; a function, whose values cannot leave its graph."""
    inputs = examples(5, 2).reshape(50, 2) if odd == "rows" else examples(5, 2)
    ours, theirs = (keras.layers.BatchNormalization(name=name, renorm=odd == "renorm") for name in (odd, "theirs"))
    mask = tf.constant(np.arange(50).reshape(10, 5) % 3 > 0) if odd == "mask" else None

    def called(rows: tf.Tensor) -> Any:
        return ours(rows, training=True, mask=mask)

    with shared(), in_groups(Rows(0, 10, 10), 4) as seen:
        outputs = (tf.function(called) if odd == "graph" else called)(tf.constant(inputs))
    assert outputs.numpy() == pytest.approx(theirs(inputs, training=True, mask=mask).numpy(), abs=1e-5)
    assert ours.moving_mean.numpy() == pytest.approx(theirs.moving_mean.numpy(), rel=1e-5)
    assert seen == []
    assert f"layer {odd} {ODD[odd]}, and so takes the statistics of whole batches" in caplog.text


def test_a_device_of_which_all_is_masked_tells_nothing_not_even_what_is_no_number() -> None:
    rows = tf.fill((2, 3, 4), float("nan"))
    assert OneGroup(tf.zeros((2, 3))).moments(rows, [0, 1]).numpy().tolist() == [[0.0] * 9]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_layers_of_any_type_are_normalized_in_groups(dtype: str) -> None:
    inputs, layer = examples(5, 2), keras.layers.BatchNormalization(dtype=dtype)
    outputs, _, [(_, statistics)] = normalized(layer, inputs)
    remember(layer, statistics)
    assert outputs.dtype == dtype
    assert outputs[GROUPS[2]].astype(float).mean() == pytest.approx(0, abs=0.01)
    assert layer.moving_mean.numpy().astype(float) == pytest.approx(0.01 * inputs.mean((0, 1)), rel=0.01)


@given(total=st.integers(1, 400), most=st.one_of(st.none(), st.integers(1, 450)), devices=st.integers(1, 8))
def test_groups_depend_on_the_batch_alone_and_share_it_out_evenly(total: int, most: int | None, devices: int) -> None:
    bounds = [total * index // devices for index in range(devices + 1)]
    shares = [sizes_of(Rows(*pair, total), most) for pair in pairwise(bounds)]
    sizes = [sum(of_group) for of_group in zip(*shares, strict=True)]
    assert sum(sizes) == total
    assert max(sizes) <= (most or total)
    assert max(sizes) - min(sizes) <= 1
    assert tuple(sizes) == sizes_of(Rows(0, total, total), most)
    if len(sizes) % devices == 0:
        assert all(sum(size > 0 for size in of_group) == 1 for of_group in zip(*shares, strict=True))
