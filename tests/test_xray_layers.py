"""Scaling and augmentation of images, and the network over them: eager, in graphs, with XLA, saved, exported."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from parak8s.calibration import Calibration
from parak8s.data.prepared import Manifest
from parak8s.data.xray import XRayLoader
from parak8s.errors import InputError
from parak8s.experiment import ModelSpec
from parak8s.models import BUILDERS, classifier
from parak8s.models.images import ImageAugmentation, Standardize, UnitScale, augmentation, normalization, warped
from parak8s.models.xray_cnn import xray_cnn
from xray_files import Pixels, smooth


def images(count: int = 4, height: int = 40, width: int = 32) -> Pixels:
    return np.stack([smooth(height, width, seed) for seed in range(count)])[..., None]


def everywhere(layer: keras.Layer, inputs: Pixels, folder: Path) -> dict[str, Any]:
    """Return what ``layer`` makes of ``inputs``, by the way in which it is called."""
    entrance = keras.Input(inputs.shape[1:], dtype="uint8")
    model = keras.Model(entrance, layer(entrance))
    model.save(folder / "model.keras")
    model.export(folder / "saved_model", verbose=False)
    calls: dict[str, Callable[..., Any]] = {
        "eager": layer,
        "graph": tf.function(lambda batch: layer(batch)),
        "xla": tf.function(lambda batch: layer(batch), jit_compile=True),
        "loaded": keras.saving.load_model(folder / "model.keras"),
        "exported": tf.saved_model.load(str(folder / "saved_model")).serve,
    }
    return {name: call(tf.constant(inputs)).numpy() for name, call in calls.items()}


def test_unit_scale_gives_fractions_of_white_however_it_is_called(tmp_path: Path) -> None:
    for name, got in everywhere(UnitScale(), images(), tmp_path).items():
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, images() / 255, rtol=1e-6, err_msg=name)


def test_no_normalization_gives_the_pixels_as_float32(tmp_path: Path) -> None:
    (layer,) = normalization("none")
    for numbers in everywhere(layer, images(), tmp_path).values():
        assert np.asarray(numbers).dtype == np.float32
        np.testing.assert_array_equal(numbers, images())


def test_standardize_gives_numpys_numbers_however_it_is_called(tmp_path: Path) -> None:
    values = images().astype(np.float64)
    over = (1, 2, 3)
    expected = (values - values.mean(over, keepdims=True)) / values.std(over, keepdims=True)
    for name, got in everywhere(Standardize(), images(), tmp_path).items():
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("level", [0, 1, 77, 255])
def test_an_even_image_becomes_exactly_zero(level: int) -> None:
    even = np.full((2, 17, 19, 1), level, np.uint8)
    np.testing.assert_array_equal(Standardize()(even), np.zeros((2, 17, 19, 1)))


ALL: dict[str, Any] = {
    "flip": True,
    "rotation": 20.0,
    "shift": 0.1,
    "zoom": 0.2,
    "contrast": 0.2,
    "brightness": 0.1,
    "noise": 0.05,
}


def test_images_pass_unchanged_when_not_training(tmp_path: Path) -> None:
    for name, got in everywhere(ImageAugmentation(**ALL), images(), tmp_path).items():
        np.testing.assert_array_equal(got, images(), err_msg=name)


def test_the_same_seed_varies_in_the_same_way_and_each_call_in_another() -> None:
    def drawn(seed: int) -> list[Any]:
        layer = ImageAugmentation(**ALL, seed=seed)
        return [layer(images(), training=True).numpy() for _ in range(2)]

    first, second = drawn(3)
    np.testing.assert_array_equal(drawn(3), [first, second])
    assert np.abs(first - second).mean() > 1
    assert np.abs(first - drawn(4)[0]).mean() > 1
    graph = tf.function(ImageAugmentation(**ALL, seed=3).call)
    np.testing.assert_allclose(graph(images(), training=True), first, atol=1e-3)


@pytest.mark.parametrize("name", ALL)
def test_each_setting_alone_changes_the_images_and_keeps_them_in_range(name: str) -> None:
    varied = ImageAugmentation(**{name: ALL[name]}, seed=1)(images(8), training=True).numpy()
    assert np.abs(varied - images(8)).mean() > 0.5
    assert varied.min() >= 0
    assert varied.max() <= 255


def test_the_share_of_images_that_is_not_to_vary_stays_as_it_is() -> None:
    layer = ImageAugmentation(**ALL, rate=0.7, seed=1)
    assert ImageAugmentation.from_config(layer.get_config()).rate == 0.7
    changed = np.abs(layer(images(200), training=True).numpy() - images(200)).max(axis=(1, 2, 3))
    assert 120 < (changed > 1).sum() < 160
    assert (changed == 0).sum() == 200 - (changed > 1).sum()


def test_augmentation_compiles_with_xla() -> None:
    layer = ImageAugmentation(**ALL)
    varied = tf.function(lambda batch: layer(batch, training=True), jit_compile=True)(images())
    assert varied.shape == (4, 40, 32, 1)


def test_warping_is_an_affine_map_of_what_the_pixels_show() -> None:
    """Keys (1981): cubic convolution gives every polynomial of second degree exactly."""
    rng = np.random.default_rng(0)
    turn = (np.eye(2) + rng.normal(0, 0.1, (4, 2, 2))).astype(np.float32)
    shift = rng.uniform(-0.05, 0.05, (4, 2)).astype(np.float32)
    places = np.stack(np.meshgrid(np.arange(40) - 19.5, np.arange(32) - 15.5, indexing="ij"), axis=-1)

    def shown(at: Any) -> Any:
        down, across = at[..., 0], at[..., 1]
        return 100 + 2 * down - across + 0.1 * down**2 - 0.07 * down * across + 0.05 * across**2

    got = warped(*(tf.constant(a, tf.float32) for a in (np.stack([shown(places)] * 4)[..., None], turn, shift))).numpy()
    for row in range(4):
        moved = places @ turn[row].T - shift[row] * [40, 32]
        inside = (np.abs(moved) < [18, 14]).all(axis=-1)
        assert inside.mean() > 0.6
        np.testing.assert_allclose(got[row, ..., 0][inside], shown(moved)[inside], atol=0.02)


def test_warping_reads_between_pixels_and_beyond_the_border_as_tensorflows_bicubic_resize() -> None:
    zoom, none = np.tile(np.eye(2, dtype=np.float32) / 2, (4, 1, 1)), np.zeros((4, 2), np.float32)
    noise = np.random.default_rng(0).uniform(0, 255, (4, 40, 32, 3)).astype(np.float32)
    twice = tf.image.resize(noise, (80, 64), "bicubic").numpy()
    np.testing.assert_allclose(warped(noise, zoom, none), twice[:, 20:60, 16:48], atol=1e-2)
    beyond = warped(noise, np.tile(np.eye(2, dtype=np.float32), (4, 1, 1)), none + np.array([0, 2], np.float32)).numpy()
    np.testing.assert_allclose(beyond, np.broadcast_to(noise[:, :, :1], noise.shape), atol=1e-2)


def test_varied_images_are_nearly_as_sharp_as_those_that_are_not() -> None:
    def sharpness(of: Any) -> float:
        return float(np.abs(np.diff(of[:, 8:-8, 8:-8], axis=1)).mean())

    cells = ndimage.gaussian_filter(np.random.default_rng(0).uniform(0, 255, (16, 64, 64, 1)), (0, 0.7, 0.7, 0))
    varied = ImageAugmentation(rotation=10, shift=0.07, seed=0)(cells.astype(np.float32), training=True).numpy()
    assert sharpness(varied) > 0.9 * sharpness(cells)


def test_rotation_turns_by_its_degrees_and_a_flip_mirrors() -> None:
    quarter = np.array([[[0, 1], [-1, 0]]], np.float32)
    square = images(1, 32, 32).astype(np.float32)
    none = np.zeros((1, 2), np.float32)
    np.testing.assert_allclose(warped(square, quarter, none)[0], np.rot90(square[0]), atol=1e-3)
    mirrored = ImageAugmentation(flip=True, seed=0)(images(40), training=True).numpy()
    is_same = (np.abs(mirrored - images(40)).max(axis=(1, 2, 3)) < 1e-2).sum()
    is_mirrored = (np.abs(mirrored - images(40)[:, :, ::-1]).max(axis=(1, 2, 3)) < 1e-2).sum()
    assert is_same + is_mirrored == 40
    assert 10 < is_mirrored < 30


def test_nothing_is_added_to_the_model_where_nothing_is_to_vary() -> None:
    assert augmentation(SimpleNamespace(**dict.fromkeys(ALL, 0), rate=1.0), seed=0) == []
    assert augmentation(SimpleNamespace(**ALL, rate=0.0), seed=0) == []
    assert [type(layer) for layer in normalization("unit") + normalization("zscore")] == [UnitScale, Standardize]


def test_the_network_is_registered_and_gives_a_logit_for_each_class() -> None:
    assert BUILDERS["xray_cnn"] == "parak8s.models.xray_cnn:xray_cnn"
    network = xray_cnn((32, 48, 1), 3, filters=4, blocks=2)
    assert network.output_shape == (None, 3)
    np.testing.assert_array_equal(network(np.random.default_rng(0).random((2, 32, 48, 1))), np.zeros((2, 3)))


@pytest.mark.parametrize("shape", [(187,), (15, 64, 1), (64, 64)])
def test_the_network_refuses_what_is_no_image_or_too_small(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="xray_cnn: 4 blocks need images of 16 pixels a side"):
        xray_cnn(shape, 2)


def manifest(size: int) -> Manifest:
    return Manifest(
        digest="sha256:0", source="x", loader="xray", classes=("NORMAL", "PNEUMONIA"), input_shape=(size, size, 1),
        input_dtype="uint8", axis=None, about={}, split={}, splits={}, files={},
    )  # fmt: skip


def test_the_servable_takes_pixels_and_gives_the_models_probabilities(tmp_path: Path) -> None:
    loader = XRayLoader.model_validate({"size": 32, "augment": {"rotation": 5.0}})
    spec = ModelSpec(builder="xray_cnn", params={"filters": 4, "blocks": 2})
    model = classifier.build(spec, loader, manifest(32), seed=1)
    head = model.layers[-2].get_layer("logits")
    head.set_weights([np.random.default_rng(0).normal(size=weights.shape) for weights in head.get_weights()])
    calibrated = classifier.calibrated(model, Calibration("temperature", 100, temperature=2.0))
    classifier.export(calibrated, tmp_path / "1", encoded=loader.encoded_form())
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["pixels"]
    specification = served.structured_input_signature[1]["pixels"]
    assert (specification.shape.as_list(), specification.dtype) == ([None, 32, 32, 1], tf.uint8)
    raw = images(5, 32, 32)
    answer = served(pixels=tf.constant(raw))
    (logits,) = classifier.predict(model, raw)
    odds = np.exp(logits.astype(np.float64) / 2)
    np.testing.assert_allclose(answer["probabilities"], odds / odds.sum(axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_array_equal(answer["label"], logits.argmax(axis=1))
