"""Puts a classifier together: raw batch -> augmentation -> preprocessing -> the builder's network -> logits."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from parak8s import plugins
from parak8s.data.batches import rows_at_once
from parak8s.errors import InputError
from parak8s.models import BUILDERS
from parak8s.models.calibrators import layer_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from parak8s.calibration import Calibration
    from parak8s.data.loader import EncodedForm, Loader
    from parak8s.data.prepared import Manifest
    from parak8s.experiment import ModelSpec


def build(spec: ModelSpec, loader: Loader, manifest: Manifest, *, seed: int) -> keras.Model:
    """Return a model: raw batch (batch, *input_shape) -> logits float32 (batch, classes).

    Raises:
        InputError: The builder does not take these params, or returned something else than logits for these classes.
    """
    builder = plugins.resolve(spec.builder, BUILDERS, "builder")
    settings = plugins.with_settings(plugins.settings_of(builder), spec.params, f"model.params of {spec.builder}")
    x = inputs = keras.Input(manifest.input_shape, dtype=manifest.input_dtype, name="inputs")
    for layer in (*loader.augmentation(seed), *loader.preprocessing()):
        x = layer(x)
    network = plugins.call(spec.builder, builder, tuple(x.shape[1:]), len(manifest.classes), **dict(settings))
    _check(network, len(manifest.classes), spec.builder)
    logits = keras.layers.Activation("linear", dtype="float32", name="raw_logits")(network(x))
    return keras.Model(inputs, logits, name="classifier")


def _check(network: object, classes: int, builder: str) -> None:
    if not isinstance(network, keras.Model) or network.output_shape != (None, classes):
        got = getattr(network, "output_shape", type(network).__name__)
        raise InputError(f"builder {builder}: expected a keras.Model with output (None, {classes}), got {got}")
    last = network.layers[-1]
    if isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax:
        raise InputError(f"builder {builder}: expected logits, but {last.name} ends with a softmax; leave it out")


def calibrated(classifier: keras.Model, calibration: Calibration) -> keras.Model:
    """Return a model: raw batch -> calibrated probabilities float32 (batch, classes)."""
    probabilities = layer_of(calibration)(classifier.output)
    return keras.Model(classifier.input, probabilities, name="calibrated_classifier")


def with_logits(model: keras.Model) -> keras.Model:
    """Return the calibrated ``model`` with two outputs: logits before calibration, and probabilities."""
    return keras.Model(model.input, [model.layers[-1].input, model.output])


def predict(
    model: keras.Model, inputs: NDArray[np.generic], batch_size: int | None = None
) -> list[NDArray[np.float32]]:
    """Return each output of ``model`` for all ``inputs`` (n, ...), in inference mode.

    ``batch_size`` None takes as many at once as fit into memory, see :func:`parak8s.data.batches.rows_at_once`.
    """
    batch_size = batch_size or rows_at_once(inputs.shape[1:])
    if not len(inputs):  # which convolutions do not take
        return [np.empty((0, *output.shape[1:]), np.float32) for output in model.outputs]
    forward = tf.function(
        lambda batch: tf.nest.flatten(model(batch, training=False)),
        input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), inputs.dtype)],
    )
    parts = [
        [output.numpy() for output in forward(np.ascontiguousarray(inputs[start : start + batch_size]))]
        for start in range(0, len(inputs), batch_size)
    ]
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def export(
    model: keras.Model, directory: Path, *, encoded: EncodedForm | None = None, threshold: float | None = None
) -> None:
    """Write the calibrated ``model`` as a SavedModel into ``directory``.

    Signature ``serving_default``: ``inputs`` (batch, *input_shape) -> ``probabilities`` float32 (batch, classes) and
    ``label`` int64 (batch,), the index of the most probable class. An input that is not finite gets NaN and -1.

    Args:
        model: Raw batch -> probabilities.
        directory: Where to; what stands there is replaced.
        encoded: How encoded examples become a raw batch. Then ``serving_default`` takes them, as a string tensor
            (batch,) named ``encoded.name``, and ``encoded.array`` is the name of a second signature and its input, for
            raw batches. What cannot be decoded gets NaN and -1.
        threshold: From which probability on the second of two classes is called. Then there is a third output,
            ``positive`` int64 (batch,): 1, 0, or -1 for an input that is not known.
    """

    def answer(inputs: tf.Tensor, known: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = tf.where(known[:, None], model(inputs, training=False), float("nan"))
        unknown = tf.constant(-1, tf.int64)
        answers = {"probabilities": probabilities, "label": tf.where(known, tf.argmax(probabilities, axis=-1), unknown)}
        if threshold is not None:
            answers["positive"] = tf.where(known, tf.cast(probabilities[:, 1] >= threshold, tf.int64), unknown)
        return answers

    def serve(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        values = tf.reshape(tf.cast(inputs, tf.float32), (tf.shape(inputs)[0], -1))
        return answer(inputs, tf.reduce_all(tf.math.is_finite(values), axis=-1))  # a ReLU would swallow a NaN

    archive = keras.export.ExportArchive()
    archive.track(model)
    raw = tf.TensorSpec(model.input_shape, model.inputs[0].dtype, name=encoded.array if encoded else "inputs")
    archive.add_endpoint(raw.name if encoded else "serving_default", serve, input_signature=[raw])
    if encoded:
        texts = tf.TensorSpec((None,), tf.string, name=encoded.name)
        archive.add_endpoint("serving_default", lambda batch: answer(*encoded(batch)), input_signature=[texts])
    shutil.rmtree(directory, ignore_errors=True)
    archive.write_out(str(directory), verbose=False)
