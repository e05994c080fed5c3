"""Every builder keeps the same promises, and a classifier gives the same numbers wherever it is called."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from scipy.special import softmax

from parak8s import models, plugins
from parak8s.calibration import Calibration
from parak8s.data.examples import Examples
from parak8s.data.loader import Loader
from parak8s.data.prepared import Manifest
from parak8s.data.sources import Source
from parak8s.errors import ExperimentError, InputError
from parak8s.experiment import ModelSpec
from parak8s.models import classifier
from parak8s.models.signals import SignalAugmentation, ZScore

SMALL: dict[str, dict[str, Any]] = {
    "deep_cnn": {"filters": 4, "growth": 2, "blocks": 2, "units": 8},
    "transfer": {"backbone": "MobileNetV3Small", "weights": "none"},
    "xray_cnn": {"filters": 4, "blocks": 2},
}
"""Params that make each builder's network small."""
SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "deep_cnn": ((187,), (187, 1), (50, 3), (2,)),
    "transfer": ((32, 32, 1), (40, 32, 3), (33, 47, 1), (48, 48, 3)),
    "xray_cnn": ((24, 20, 1), (16, 16, 3), (33, 7, 1), (4, 4, 2)),
}
"""Examples that each builder takes; the first is the one that tests use who do not care."""


class Signals(Loader):
    """A loader of which only the layers matter."""

    noise: float = 0.1

    def read(self, source: Source) -> Examples:
        raise NotImplementedError

    def preprocessing(self) -> list[Any]:
        return [ZScore()]

    def augmentation(self, seed: int) -> list[Any]:
        return [SignalAugmentation(noise=self.noise, stretch=0.1, seed=seed)]


class Raw(Signals):
    """A loader that leaves inputs as they are."""

    def preprocessing(self) -> list[Any]:
        return []

    def augmentation(self, seed: int) -> list[Any]:
        return []


def manifest(shape: tuple[int, ...] = (187,), dtype: str = "float32", classes: int = 5) -> Manifest:
    names = tuple("NSVFQABC"[:classes])
    return Manifest("sha256:0", "test", "test", names, shape, dtype, None, {}, {}, {}, {})


def built(builder: str = "deep_cnn", *, loader: Loader | None = None, like: Manifest | None = None) -> keras.Model:
    keras.utils.set_random_seed(1)
    spec = ModelSpec(builder=builder, params=SMALL.get(builder, {}))
    return classifier.build(spec, loader or Signals(), like or manifest(SHAPES.get(builder, ((187,),))[0]), seed=1)


def stirred(network: keras.Model) -> keras.Model:
    """Move every weight, because some begin at zero and would hide the others; return ``network``."""
    random = np.random.default_rng(3)
    for variable in network.trainable_variables:
        variable.assign_add(random.normal(scale=0.2, size=variable.shape))
    return network


def beats(n: int, shape: tuple[int, ...] = (187,)) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((n, *shape), np.float32)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A classifier whose batch normalization has seen batches, so that training and inference differ."""
    network = stirred(built())
    for _ in range(3):
        network(beats(32), training=True)
    return network


def test_every_builder_is_tested_here() -> None:
    assert set(SMALL) == set(SHAPES) == set(models.BUILDERS)


@pytest.mark.parametrize(
    ("builder", "shape", "classes"),
    [(name, *each) for name in SHAPES for each in zip(SHAPES[name], (5, 2, 8, 3), strict=True)],
)
def test_a_builder_maps_a_batch_to_as_many_logits_as_there_are_classes(
    builder: str, shape: tuple[int, ...], classes: int
) -> None:
    keras.utils.set_random_seed(1)
    network = plugins.resolve(builder, models.BUILDERS, "builder")(shape, classes, **SMALL[builder])
    assert (network.input_shape, network.output_shape) == ((None, *shape), (None, classes))
    logits = stirred(network)(beats(7, shape)).numpy()
    assert logits.shape == (7, classes)
    assert np.isfinite(logits).all()
    assert np.abs(logits.sum(axis=1) - 1).min() > 1e-3  # nobody has taken a softmax of them


@pytest.mark.parametrize("builder", models.BUILDERS)
def test_a_builders_weights_follow_from_the_seed_and_what_is_not_frozen_learns(builder: str) -> None:
    one, same = built(builder), built(builder)
    for its, other in zip(one.weights, same.weights, strict=True):
        np.testing.assert_array_equal(its, other)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(stirred(one)(beats(16, SHAPES[builder][0]), training=True) - 1))
    learning = one.trainable_weights
    for variable, gradient in zip(learning, tape.gradient(loss, learning), strict=True):
        assert tf.reduce_any(gradient != 0), variable.path


@pytest.mark.parametrize("builder", models.BUILDERS)
def test_a_saved_network_gives_the_same_numbers(builder: str, tmp_path: Path) -> None:
    network = stirred(built(builder))
    network(beats(16, SHAPES[builder][0]), training=True)
    network.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    some = beats(9, SHAPES[builder][0])
    np.testing.assert_array_equal(loaded(some), network(some))


@pytest.mark.parametrize("builder", models.BUILDERS)
def test_a_builders_settings_are_known_plain_and_have_defaults(builder: str) -> None:
    settings = models.settings_type(builder)
    defaults = settings().model_dump(mode="json")
    assert set(SMALL[builder]) <= set(defaults)
    assert json.loads(json.dumps(defaults)) == defaults
    assert set(settings.model_json_schema()["properties"]) == set(defaults)
    known = min(defaults)
    with pytest.raises(ExperimentError, match=rf"{known}x: no such key; did you mean '{known}'"):
        plugins.with_settings(settings, {f"{known}x": 3}, builder)


def test_deep_cnn_has_the_settings_and_the_size_that_it_says() -> None:
    defaults = {"filters": 32, "growth": 0, "blocks": 5, "kernel": 5, "units": 64, "dropout": 0.0}
    assert models.settings_type("deep_cnn")().model_dump() == defaults
    from parak8s.models.deep_cnn import deep_cnn

    network = deep_cnn((16,), 3, filters=4, blocks=1, units=8)
    first, block = 1 * 5 * 4 + 4 * 4, 2 * (4 * 5 * 4 + 4 * 4)  # kernels, and four numbers a channel to normalize
    assert network.count_params() == first + block + (16 // 2 * 4 * 8 + 8) + (8 * 3 + 3)
    pools = [layer.output.shape[1] for layer in deep_cnn((187,), 5).layers if "pool" in layer.name]
    assert pools == [94, 47, 24, 12, 6]


def test_the_channels_of_deep_cnn_grow_from_block_to_block() -> None:
    from parak8s.models.deep_cnn import deep_cnn

    def channels(growth: int) -> list[int]:
        layers = deep_cnn((64,), 3, filters=4, growth=growth, blocks=3).layers
        return [layer.output.shape[-1] for layer in layers if "pool" in layer.name]

    assert channels(0) == [4, 4, 4]
    assert channels(3) == [4, 7, 10]


@pytest.mark.parametrize(
    "wrong", [{"filters": 0}, {"growth": -1}, {"blocks": 0}, {"kernel": 0}, {"dropout": 1.0}, {"units": 2.5}]
)
def test_deep_cnn_refuses_impossible_sizes(wrong: dict[str, Any]) -> None:
    with pytest.raises(ExperimentError, match=next(iter(wrong))):
        classifier.build(ModelSpec(builder="deep_cnn", params=wrong), Signals(), manifest(), seed=1)


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the name of a module of the user's own, importable during the test."""
    (tmp_path / "my_builders.py").write_text(
        """
import keras

def linear(input_shape, classes, *, scale: float = 1.0):
    inputs = keras.Input(input_shape)
    start = keras.initializers.Constant(scale)
    return keras.Model(inputs, keras.layers.Dense(classes, kernel_initializer=start)(inputs))

def one_too_many(input_shape, classes):
    return linear(input_shape, classes + 1)

def probabilities(input_shape, classes):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(inputs))

def softmax_layer(input_shape, classes):
    network = linear(input_shape, classes)
    return keras.Model(network.input, keras.layers.Softmax()(network.output))

def sequence(input_shape, classes):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.RepeatVector(3)(keras.layers.Dense(classes)(inputs)))

def forgot_to_return(input_shape, classes):
    linear(input_shape, classes)
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_builders"
    sys.modules.pop("my_builders", None)


def test_a_builder_of_ones_own_is_named_by_module_and_function(mine: str) -> None:
    spec = ModelSpec(builder=f"{mine}:linear", params={"scale": 2.0})
    network = classifier.build(spec, Raw(), manifest(), seed=1)
    np.testing.assert_allclose(network(beats(3)), np.repeat(2 * beats(3).sum(axis=1, keepdims=True), 5, 1), rtol=1e-5)
    assert list(models.settings_type(f"{mine}:linear").model_fields) == ["scale"]
    with pytest.raises(ExperimentError, match="scale"):
        classifier.build(ModelSpec(builder=f"{mine}:linear", params={"scale": "big"}), Raw(), manifest(), seed=1)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("one_too_many", r"expected a keras.Model with output \(None, 5\), got \(None, 6\)"),
        ("sequence", r"expected a keras.Model with output \(None, 5\), got \(None, 3, 5\)"),
        ("forgot_to_return", r"expected a keras.Model with output \(None, 5\), got NoneType"),
        ("probabilities", "expected logits, but dense.* ends with a softmax; leave it out"),
        ("softmax_layer", "expected logits, but softmax.* ends with a softmax; leave it out"),
    ],
)
def test_a_builder_that_returns_something_else_is_named_with_what_it_returned(
    mine: str, function: str, message: str
) -> None:
    with pytest.raises(InputError, match=f"builder {mine}:{function}: {message}"):
        built(f"{mine}:{function}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("deep_cn", "no builder 'deep_cn'; did you mean 'deep_cnn'"),
        ("not_there_at_all:f", "no module 'not_there_at_all'; is its folder on PYTHONPATH"),
        ("json:f", "no builder 'json:f': in json"),
    ],
)
def test_a_builder_that_is_not_there_is_named(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        models.settings_type(name)


@pytest.mark.parametrize(("shape", "dtype"), [((187,), "float32"), ((187,), "uint8"), ((60, 2), "float32")])
def test_a_classifier_takes_raw_examples_of_any_loader(shape: tuple[int, ...], dtype: str) -> None:
    raw = (200 * beats(4, shape)).astype(dtype)
    for loader, normalize in ((Signals(), ZScore()), (Raw(), lambda batch: batch.astype(np.float32))):
        network = stirred(built(loader=loader, like=manifest(shape, dtype)))
        assert network.input_shape == (None, *shape)
        assert network.inputs[0].dtype == dtype
        np.testing.assert_allclose(network(raw), network.get_layer("deep_cnn")(normalize(raw)), rtol=1e-5, atol=1e-5)
        (predicted,) = classifier.predict(network, raw)
        np.testing.assert_allclose(predicted, network(raw), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_logits_are_float32_under_mixed_precision_and_near_those_of_float32(policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        mixed = stirred(built())
    finally:
        keras.config.set_dtype_policy("float32")
    full = stirred(built())
    assert {layer.compute_dtype for layer in mixed.get_layer("deep_cnn").layers} == {policy.removeprefix("mixed_")}
    assert mixed(beats(8)).dtype == tf.float32
    np.testing.assert_allclose(mixed(beats(8)), full(beats(8)), atol=0.1)


CALIBRATIONS = {
    "none": Calibration("none", 0),
    "temperature": Calibration("temperature", 10, temperature=2.5),
    "isotonic": Calibration("isotonic", 10, knots=(((0.0, 0.3, 1.0), (0.0, 0.5, 0.9)),) * 5),
}


@pytest.mark.parametrize("method", CALIBRATIONS)
def test_a_calibrated_model_gives_probabilities_and_the_logits_before(
    model: keras.Model, method: str, tmp_path: Path
) -> None:
    fitted = CALIBRATIONS[method]
    before = model(beats(20)).numpy()
    calibrated = classifier.calibrated(model, fitted)
    calibrated.save(tmp_path / "model.keras")
    for each in (calibrated, keras.saving.load_model(tmp_path / "model.keras", compile=False)):
        logits, probabilities = classifier.predict(classifier.with_logits(each), beats(20))
        np.testing.assert_allclose(logits, before, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(probabilities, fitted.apply(before), atol=1e-5)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    expected = {"none": softmax(before, axis=1), "temperature": softmax(before / 2.5, axis=1)}
    if method in expected:
        np.testing.assert_allclose(probabilities, expected[method], atol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 7, 8, 1000])
def test_predict_gives_the_same_whatever_the_size_of_its_batches(model: keras.Model, n: int) -> None:
    (small,), (large,) = (classifier.predict(model, beats(n), batch_size=size) for size in (8, 1000))
    assert small.shape == large.shape == (n, 5)
    np.testing.assert_allclose(small, large, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def servable(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Path]:
    """A calibrated model and its export."""
    folder = tmp_path_factory.mktemp("export") / "saved_model" / "1"
    calibrated = classifier.calibrated(model, CALIBRATIONS["temperature"])
    classifier.export(calibrated, folder)
    return calibrated, folder


def test_the_servable_names_its_input_and_its_outputs(servable: tuple[keras.Model, Path]) -> None:
    loaded = tf.saved_model.load(str(servable[1]))
    assert list(loaded.signatures) == ["serving_default"]
    signature = loaded.signatures["serving_default"]
    (entrance,) = signature.structured_input_signature[1].values()
    assert (entrance.name, entrance.shape.as_list(), entrance.dtype) == ("inputs", [None, 187], tf.float32)
    outputs = {name: (each.shape.as_list(), each.dtype) for name, each in signature.structured_outputs.items()}
    assert outputs == {"probabilities": ([None, 5], tf.float32), "label": ([None], tf.int64)}


@pytest.mark.parametrize("n", [1, 1000])
def test_the_servable_equals_the_python_path_within_1e_6(servable: tuple[keras.Model, Path], n: int) -> None:
    calibrated, folder = servable
    served = tf.saved_model.load(str(folder)).signatures["serving_default"](inputs=tf.constant(beats(n)))
    (expected,) = classifier.predict(calibrated, beats(n))
    np.testing.assert_allclose(served["probabilities"], expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(served["probabilities"], calibrated(beats(n)), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(served["label"], np.argmax(served["probabilities"], axis=1))
    again = tf.saved_model.load(str(folder)).signatures["serving_default"](inputs=tf.constant(beats(n)))
    np.testing.assert_array_equal(again["probabilities"], served["probabilities"])  # nothing is drawn while serving


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_the_servable_says_of_an_input_that_is_not_finite_that_it_does_not_know(
    servable: tuple[keras.Model, Path], wrong: float
) -> None:
    batch = beats(3)
    batch[1, 90] = wrong
    served = tf.saved_model.load(str(servable[1])).signatures["serving_default"](inputs=tf.constant(batch))
    assert served["label"].numpy().tolist()[1] == -1
    assert np.isnan(served["probabilities"][1]).all()
    for row in (0, 2):  # the others of the batch are answered as ever
        np.testing.assert_allclose(served["probabilities"][row], servable[0](beats(3))[row], rtol=0, atol=1e-6)


def test_an_export_replaces_what_stood_there(model: keras.Model, servable: tuple[keras.Model, Path]) -> None:
    folder = servable[1].with_name("2")
    folder.mkdir()
    (folder / "left over").touch()
    classifier.export(classifier.calibrated(model, CALIBRATIONS["none"]), folder)
    assert {path.name for path in folder.iterdir()} >= {"saved_model.pb", "variables"}
    assert not (folder / "left over").exists()
