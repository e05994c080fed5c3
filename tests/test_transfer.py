"""The builder ``transfer``: its images, its head, its frozen backbone."""

import importlib
from pathlib import Path

import keras
import numpy as np
import pytest

from parak8s.errors import ExperimentError, InputError
from parak8s.experiment import FineTune, Training
from parak8s.models import backbones, saved
from parak8s.models.transfer import BACKBONES, transfer
from parak8s.training.stages import stages
from transfer_case import LIGHT, built, experiment, images, inside


def test_every_network_of_keras_can_be_named() -> None:
    there = {name for name, each in vars(keras.applications).items() if name[0].isupper() and callable(each)}
    assert set(BACKBONES) == there


@pytest.mark.parametrize("backbone", BACKBONES)
def test_images_are_preprocessed_as_keras_does_it_for_the_network(backbone: str) -> None:
    module = importlib.import_module(getattr(keras.applications, backbone).__module__)
    layer = backbones.BackboneInput(BACKBONES[backbone])
    colour, grey = images(channels=3), images()
    np.testing.assert_allclose(layer(colour), module.preprocess_input(colour.copy()), rtol=1e-5, atol=1e-5)
    expected = module.preprocess_input(np.repeat(grey, 3, axis=-1))
    np.testing.assert_allclose(layer(grey.astype(np.uint8)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backbone", LIGHT)
def test_the_head_alone_learns_and_sees_what_the_frozen_network_of_keras_sees(backbone: str, tmp_path: Path) -> None:
    network = built(backbone, side=40, units=8, pooling="max")
    assert [weight.path.split("/")[0] for weight in network.trainable_variables] == ["hidden"] * 2 + ["logits"] * 2
    theirs = getattr(keras.applications, backbone)(include_top=False, weights=None, input_shape=(40, 40, 3))
    theirs.set_weights(inside(network).get_weights())
    module = importlib.import_module(getattr(keras.applications, backbone).__module__)
    seen = theirs(module.preprocess_input(np.repeat(images(side=40), 3, axis=-1))).numpy().max(axis=(1, 2))
    hidden = np.maximum(seen @ network.get_layer("hidden").get_weights()[0], 0)
    ours = keras.Model(network.input, network.get_layer("hidden").output)
    np.testing.assert_allclose(ours(images(side=40)), hidden, rtol=1e-4, atol=1e-5)
    network.save(tmp_path / "network.keras")
    np.testing.assert_array_equal(saved.load(tmp_path / "network.keras")(images(side=40)), network(images(side=40)))


@pytest.mark.parametrize("backbone", LIGHT)
def test_the_backbone_stays_in_inference_mode_also_while_it_is_fine_tuned(backbone: str) -> None:
    network = built(backbone)
    stages(network, Training(fine_tune=FineTune(layers=20)))[1].begin()
    before = [weight.numpy() for weight in inside(network).non_trainable_variables]
    scaled = backbones.BackboneInput(BACKBONES[backbone])(images(8))
    np.testing.assert_array_equal(inside(network)(scaled, training=True), inside(network)(scaled, training=False))
    network(images(8), training=True)
    for old, new in zip(before, inside(network).non_trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("backbone", LIGHT)
def test_fine_tuning_opens_exactly_the_top_layers_without_their_batch_normalization(backbone: str) -> None:
    network = built(backbone)
    stages(network, Training(fine_tune=FineTune(layers=12)))[1].begin()
    top = inside(network).layers[-12:]
    expected = {
        weight.path
        for layer in top
        for weight in layer.trainable_weights
        if not isinstance(layer, keras.layers.BatchNormalization)
    }
    named = {weight.path for layer in top for weight in layer.weights if "bn" not in weight.path.lower()}
    assert {weight.path for weight in inside(network).trainable_variables} == expected == named != set()


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((187,), r"expected images \(height, width, 1 or 3\), got \(187,\)"),
        ((32, 32, 2), "expected images"),
        ((20, 20, 1), r"MobileNetV2 for images \(20, 20, 3\): Input size must be at least 32x32"),
    ],
)
def test_what_is_no_image_for_the_backbone_is_refused(shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(InputError, match=says):
        transfer(shape, 2, backbone="MobileNetV2", weights="none")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("model.params.backbone=mobilenetv2", "no backbone 'mobilenetv2'; did you mean 'MobileNetV2'"),
        ("model.params.weights=imagnet", "no weights 'imagnet'; did you mean 'imagenet'"),
        ("model.params.weights=models:/x", "no weights 'models:/x'; .*models:/NAME@ALIAS"),
        (
            "data.options.normalize=zscore",
            "data.options.normalize: must be none for the builder transfer, got 'zscore'",
        ),
    ],
)
def test_mistakes_are_told_when_the_file_is_read(override: str, says: str) -> None:
    with pytest.raises(ExperimentError, match=says):
        experiment(override)
