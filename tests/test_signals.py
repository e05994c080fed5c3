"""Normalization and augmentation: NumPy's numbers, in eager mode, in a graph, after saving, in an exported model."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from parak8s.models.signals import MinMax, SignalAugmentation, ZScore, augmentation, normalization, stretched

Floats = NDArray[np.float64]
LENGTH = 40


def zscore(signals: NDArray[Any]) -> Floats:
    values = signals.astype(np.float64)
    deviation = values.std(axis=1, keepdims=True)
    return np.asarray((values - values.mean(axis=1, keepdims=True)) / np.maximum(deviation, 1e-6))


def minmax(signals: NDArray[Any]) -> Floats:
    values = signals.astype(np.float64)
    low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    return np.asarray((values - low) / np.maximum(high - low, 1e-6))


NORMALIZATIONS = [pytest.param(ZScore, zscore, id="zscore"), pytest.param(MinMax, minmax, id="minmax")]


def signals(n: int = 12) -> NDArray[np.float32]:
    """Return waves of all sizes, and after them: flat zeros, a flat line far from zero, a padded beat, one spike."""
    random = np.random.default_rng(0)
    waves = random.normal(size=(n, LENGTH)) * np.logspace(-2, 3, n)[:, None] + random.normal(size=(n, 1))
    waves[-4:] = 0
    waves[-3] = 1234.5
    waves[-2, : LENGTH // 3] = random.random(LENGTH // 3)
    waves[-1, 7] = 1
    return waves.astype(np.float32)


@pytest.fixture(params=["float32", "mixed_float16", "mixed_bfloat16"])
def policy(request: pytest.FixtureRequest) -> Iterator[str]:
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def everywhere(layer: keras.Layer, inputs: NDArray[Any], folder: Path) -> dict[str, NDArray[Any]]:
    """Return what ``layer`` makes of ``inputs``, by the way in which it is called."""
    specification = tf.TensorSpec((None, *inputs.shape[1:]), inputs.dtype)
    entrance = keras.Input(inputs.shape[1:], dtype=inputs.dtype.name)
    model = keras.Model(entrance, layer(entrance))
    model.save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras")
    model.export(folder / "saved_model", verbose=False)
    serve = tf.saved_model.load(str(folder / "saved_model")).serve
    graph: Callable[..., Any] = tf.function(lambda batch: layer(batch), input_signature=[specification])
    compiled: Callable[..., Any] = tf.function(lambda batch: layer(batch), jit_compile=True)
    calls = {"eager": layer, "graph": graph, "xla": compiled, "model": model, "loaded": loaded, "exported": serve}
    return {name: call(tf.constant(inputs)).numpy() for name, call in calls.items()}


@pytest.mark.parametrize(("layer", "expected"), NORMALIZATIONS)
def test_normalization_gives_numpys_numbers_however_it_is_called(
    layer: type[keras.Layer], expected: Callable[..., Floats], policy: str, tmp_path: Path
) -> None:
    for name, got in everywhere(layer(), signals(), tmp_path).items():
        assert got.dtype == np.float32, name
        np.testing.assert_allclose(got, expected(signals()), rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("layer", "expected"), NORMALIZATIONS)
def test_normalization_agrees_with_itself_within_1e_6_however_it_is_called(
    layer: type[keras.Layer], expected: Callable[..., Floats], tmp_path: Path
) -> None:
    beats = np.abs(signals())
    beats[:-4] /= beats[:-4].max(axis=1, keepdims=True)
    eager, *others = everywhere(layer(), beats, tmp_path).values()
    for other in others:
        np.testing.assert_allclose(other, eager, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("layer", [ZScore, MinMax])
@given(level=st.integers(-(10**9), 10**9).map(lambda n: n / 1000))
@settings(max_examples=40, deadline=None)
def test_a_flat_signal_becomes_exactly_zero_at_any_level(layer: type[keras.Layer], level: float) -> None:
    np.testing.assert_array_equal(layer()(np.full((1, LENGTH), level, np.float32)), np.zeros((1, LENGTH)))


def test_zscore_has_mean_zero_and_deviation_one_and_minmax_reaches_from_zero_to_one() -> None:
    waves = signals()[:-4]
    normal = ZScore()(waves).numpy().astype(np.float64)
    np.testing.assert_allclose(normal.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std(axis=1), 1, atol=1e-3)
    scaled = MinMax()(waves).numpy()
    assert scaled.min() == 0
    np.testing.assert_allclose(scaled.max(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize(("layer", "expected"), NORMALIZATIONS)
def test_whole_numbers_and_several_leads_are_normalized_too(
    layer: type[keras.Layer], expected: Callable[..., Floats]
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, LENGTH, 3)).astype(np.uint8)
    np.testing.assert_allclose(layer()(pixels), expected(pixels), rtol=1e-5, atol=1e-5)
    assert layer()(pixels).dtype == tf.float32


def test_normalization_is_chosen_by_name() -> None:
    kinds = {name: [type(layer) for layer in normalization(name)] for name in ("zscore", "minmax", "none")}
    assert kinds == {"zscore": [ZScore], "minmax": [MinMax], "none": []}


FULL: dict[str, Any] = {"stretch": 0.2, "scale": 0.3, "noise": 0.05}


def test_augmentation_changes_nothing_outside_training(policy: str, tmp_path: Path) -> None:
    for name, got in everywhere(SignalAugmentation(**FULL), signals(), tmp_path).items():
        np.testing.assert_array_equal(got, signals(), err_msg=name)
        assert got.dtype == np.float32


def test_augmentation_is_there_only_where_something_varies() -> None:
    nothing = {"stretch": 0.0, "scale": 0.0, "noise": 0.0}
    assert augmentation(SimpleNamespace(**nothing), seed=1) == []
    (layer,) = augmentation(SimpleNamespace(**nothing | {"noise": 0.1}), seed=9)
    assert (layer.stretch, layer.scale, layer.noise, layer.seed) == (0.0, 0.0, 0.1, 9)


def test_augmentation_draws_the_same_with_the_same_seed_in_eager_mode_and_in_a_graph(policy: str) -> None:
    eager, other, in_graph = (SignalAugmentation(**FULL, seed=5) for _ in range(3))
    graph = tf.function(lambda batch: in_graph(batch, training=True))
    first = eager(signals(), training=True)
    np.testing.assert_array_equal(other(signals(), training=True), first)
    second = eager(signals(), training=True)
    for expected in (first, second):
        np.testing.assert_allclose(graph(tf.constant(signals())), expected, rtol=1e-5, atol=1e-5)
    assert np.abs(second - first).max() > 0.01
    assert np.abs(SignalAugmentation(**FULL, seed=6)(signals(), training=True) - first).max() > 0.01
    assert first.dtype == tf.float32


def test_compiled_by_xla_augmentation_repeats_its_draws_and_varies_signals_alike() -> None:
    ones, drawn = np.ones((2000, 8), np.float32), []
    for _ in range(2):
        layer = SignalAugmentation(scale=0.3, seed=5)
        drawn.append(tf.function(lambda batch, layer=layer: layer(batch, training=True), jit_compile=True)(ones))
    np.testing.assert_array_equal(*drawn)
    assert 0.7 <= drawn[0].numpy().min() < 0.71
    assert 1.29 < drawn[0].numpy().max() <= 1.3


def test_the_state_of_the_draws_is_a_variable_and_the_settings_are_saved(tmp_path: Path) -> None:
    layer, other = SignalAugmentation(**FULL, seed=5), SignalAugmentation(**FULL, seed=6)
    layer(signals(), training=True)
    for variable, value in zip(other.variables, layer.variables, strict=True):
        variable.assign(value)
    np.testing.assert_array_equal(other(signals(), training=True), layer(signals(), training=True))
    entrance = keras.Input((LENGTH,))
    keras.Model(entrance, layer(entrance)).save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").layers[-1].get_config() == layer.get_config()


def test_scale_multiplies_each_signal_by_one_factor_within_its_bounds() -> None:
    ones = np.ones((2000, 8), np.float32)
    factors = SignalAugmentation(scale=0.3, seed=1)(ones, training=True).numpy()
    np.testing.assert_array_equal(factors, factors[:, :1] * ones)
    assert 0.7 <= factors.min() < 0.71
    assert 1.29 < factors.max() <= 1.3


def test_noise_has_the_given_deviation_and_spares_the_padding() -> None:
    beats = np.zeros((500, LENGTH), np.float32)
    beats[:, :25] = 1
    noisy = SignalAugmentation(noise=0.05, seed=1)(beats, training=True).numpy()
    assert np.abs(noisy[:, 25:]).max() == 0
    assert noisy[:, :25].std() == pytest.approx(0.05, rel=0.05)
    assert noisy[:, :25].mean() == pytest.approx(1, abs=0.005)


def test_padding_stays_zero_under_everything_at_once() -> None:
    beats = np.zeros((50, LENGTH), np.float32)
    beats[:, :20] = np.random.default_rng(0).uniform(0.5, 1, (50, 20))
    varied = SignalAugmentation(stretch=0.2, scale=0.3, noise=0.05, seed=2)(beats, training=True).numpy()
    assert np.abs(varied[:, 26:]).max() == 0  # sample 20 of a beat slowed down to 0.8 of its rate stands at 25
    assert np.abs(varied[:, :15]).min() > 0


def interpolated(beats: NDArray[Any], factors: NDArray[Any]) -> Floats:
    """Return what numpy.interp reads at ``factors`` times the index, zeros being written behind each signal."""
    index = np.arange(beats.shape[1])
    behind = np.pad(beats, [(0, 0), (0, len(index) + 2)])
    rows = [
        np.interp(index * factor, np.arange(behind.shape[1]), row) for factor, row in zip(factors, behind, strict=True)
    ]
    return np.array(rows)


@given(factor=st.floats(0.25, 1.75, width=32), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_stretching_equals_numpy_interp(factor: float, seed: int) -> None:
    beats = np.random.default_rng(seed).random((3, LENGTH), np.float32)
    factors = np.array([factor, 1, 2 - factor], np.float32)
    got = stretched(tf.constant(beats), tf.constant(factors[:, None]))
    np.testing.assert_allclose(got, interpolated(beats, factors), atol=2e-5)


def test_stretching_by_one_changes_nothing_and_by_half_repeats_in_between() -> None:
    beat = tf.constant([[0.0, 2.0, 4.0, 8.0]])
    np.testing.assert_array_equal(stretched(beat, tf.constant([[1.0]])), beat)
    np.testing.assert_array_equal(stretched(beat, tf.constant([[0.5]])), [[0, 1, 2, 3]])
    np.testing.assert_array_equal(stretched(beat, tf.constant([[1.5]])), [[0, 3, 8, 0]])


def test_all_leads_of_a_signal_vary_together() -> None:
    beats = np.random.default_rng(0).random((6, LENGTH, 2), np.float32)
    beats[..., 1] = 3 * beats[..., 0]
    varied = SignalAugmentation(stretch=0.2, scale=0.3, seed=2)(beats, training=True).numpy()
    np.testing.assert_allclose(varied[..., 1], 3 * varied[..., 0], rtol=1e-5, atol=1e-6)
    flat = SignalAugmentation(stretch=0.2, scale=0.3, seed=2)(beats[..., 0], training=True)
    np.testing.assert_allclose(varied[..., 0], flat, rtol=1e-6, atol=1e-6)


def test_augmentation_turns_whole_numbers_into_float32() -> None:
    whole = np.arange(2 * LENGTH, dtype=np.uint8).reshape(2, LENGTH)
    layer = SignalAugmentation(scale=0.1)
    assert layer(whole).dtype == layer(whole, training=True).dtype == tf.float32
