"""Networks of ``keras.applications`` without their heads, frozen, with weights from where they are."""

from __future__ import annotations

import contextlib
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from parak8s.errors import InputError
from parak8s.models import imagenet, saved
from parak8s.models.weights import check_pinned, digest_of

if TYPE_CHECKING:
    from parak8s.models.transfer import Scaling

SCALES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "caffe": ((1.0, 1.0, 1.0), (-103.939, -116.779, -123.68)),
    "tf": ((1 / 127.5,) * 3, (-1.0, -1.0, -1.0)),
    "torch": (
        (1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225)),
        (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225),
    ),
    "inside": ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)),
}
"""Factor and offset of each channel: as ``keras.applications.imagenet_utils.preprocess_input`` has them."""


@keras.saving.register_keras_serializable(package="parak8s")
class BackboneInput(keras.layers.Layer):
    """Turns grey or colour images of 0..255 into the three channels that a backbone learned from.

    Args:
        scaling: A key of ``SCALES``.
    """

    def __init__(self, scaling: Scaling, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.scaling = scaling

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Map (batch, height, width, 1 or 3) to float32 (batch, height, width, 3)."""
        images = tf.cast(inputs, tf.float32)
        if images.shape[-1] == 1:
            images = tf.repeat(images, 3, axis=-1)
        if self.scaling == "caffe":
            images = images[..., ::-1]
        scale, offset = SCALES[self.scaling]
        return images * tf.constant(scale) + tf.constant(offset)

    def get_config(self) -> Mapping[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "scaling": self.scaling}


@keras.saving.register_keras_serializable(package="parak8s")
class Backbone(keras.Model):
    """A network that is always in inference mode, whatever the model around it does.

    Keras hands ``training=True`` down into models within, even to one that was called with ``training=False``.
    """

    weights_digest: str | None = None
    """Of the file that the weights came from; not part of a saved model."""

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:  # noqa: ARG002
        """Map (batch, height, width, 3) to features (batch, rows, columns, channels)."""
        return super().call(inputs, training=False, mask=mask)


def build(name: str, shape: tuple[int, ...], weights: str, digest: str | None) -> Backbone:
    """Return the network ``name`` without its head for images of ``shape``, frozen.

    Args:
        name: In ``keras.applications``.
        shape: (height, width, 3).
        weights: ``imagenet``, ``none``, or the path of a file.
        digest: Of the file, if anything else is to be refused.

    Raises:
        InputError: The images are too small, the file is not there, holds other weights, or is not the pinned one.
        EnvironmentFault: The weights of ImageNet are not in the cache and cannot be fetched.
    """
    found: str | None = None
    if weights == "imagenet":
        network, found = _published(name, shape, digest)
    elif weights != "none":
        found = digest_of(Path(weights))
        check_pinned(found, digest, weights)
        network = _stored(name, shape, Path(weights))
    elif digest:
        raise InputError("transfer: weights: none come from no file; take weights_digest away")
    else:
        network = _drawn(name, shape)
    backbone = Backbone(network.input, network.output, name=name)
    backbone.trainable = False
    backbone.weights_digest = found
    return backbone


def weights_digest(model: keras.Model) -> str | None:
    """Return the digest of the file that the backbone within ``model`` began with; None without one."""
    inner = [part for part in (model, *_within(model)) if isinstance(part, Backbone)]
    return inner[0].weights_digest if inner else None


def _drawn(name: str, shape: tuple[int, ...]) -> keras.Model:
    with _sizes_explained(name, shape):
        return _application(name, shape, None)


def _published(name: str, shape: tuple[int, ...], digest: str | None) -> tuple[keras.Model, str]:
    with _sizes_explained(name, shape), imagenet.read_by_keras(digest) as read:
        network = _application(name, shape, "imagenet")
    return network, read[0]


def _application(name: str, shape: tuple[int, ...], weights: str | None) -> keras.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes for which there are no weights of their own
        return getattr(keras.applications, name)(include_top=False, input_shape=tuple(shape), weights=weights)


@contextlib.contextmanager
def _sizes_explained(name: str, shape: tuple[int, ...]) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"transfer: {name} for images {tuple(shape)}: {str(error).splitlines()[0]}") from error


def _stored(name: str, shape: tuple[int, ...], file: Path) -> keras.Model:
    """Return the network with the weights in ``file``: a model that has it, or its weights alone."""
    fresh = _drawn(name, shape)
    if file.suffix != ".keras":
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of layers that keep what they were drawn with
            try:
                fresh.load_weights(file)
            except Exception as error:  # whatever h5py and Keras say of a file of somebody else
                reason = str(error).splitlines()[0]
                raise InputError(f"{file}: not the weights of {name} without its head: {reason}") from error
        return fresh
    try:
        model = saved.load(file)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{file}: not a model that Keras saved: {error}") from error
    expected = [weight.shape for weight in fresh.weights]
    fitting = [part for part in (model, *_within(model)) if [weight.shape for weight in part.weights] == expected]
    if not fitting:
        raise InputError(f"{file}: holds no {name} without its head; it has {', '.join(_networks(model))}")
    # Not the fresh one: EfficientNet has a layer more when it begins with the weights of ImageNet.
    network = keras.models.clone_model(fitting[0], input_tensors=fresh.input, clone_function=_again)
    network.set_weights(fitting[0].get_weights())
    return network


def _again(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return a new layer like ``layer``, in the precision of this training."""
    return type(layer).from_config({**layer.get_config(), "dtype": keras.config.dtype_policy()})


def _within(model: keras.Model) -> Iterator[keras.Model]:
    """Yield the networks in ``model``, and those in them."""
    for part in model.layers:
        if isinstance(part, keras.Model):
            yield part
            yield from _within(part)


def _networks(model: keras.Model) -> list[str]:
    return [part.name for part in (model, *_within(model))]
