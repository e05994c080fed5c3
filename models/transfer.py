"""The classifier on a network of ``keras.applications``. Keras is imported when a network is built, not before."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from parak8s.errors import InputError, nearest
from parak8s.experiment.rules import Digest

if TYPE_CHECKING:
    import keras

Scaling = Literal["caffe", "tf", "torch", "inside"]
"""How a network of ``keras.applications`` wants pixels of 0 to 255: ``caffe`` BGR without their mean, ``tf`` -1 to 1,
``torch`` standardized by channel, ``inside`` as they are."""
_NAMES: dict[Scaling, str] = {
    "caffe": "ResNet50 ResNet101 ResNet152 VGG16 VGG19",
    "tf": "InceptionResNetV2 InceptionV3 MobileNet MobileNetV2 NASNetLarge NASNetMobile ResNet50V2 ResNet101V2 "
    "ResNet152V2 Xception",
    "torch": "DenseNet121 DenseNet169 DenseNet201",
    "inside": "ConvNeXtBase ConvNeXtLarge ConvNeXtSmall ConvNeXtTiny ConvNeXtXLarge EfficientNetB0 EfficientNetB1 "
    "EfficientNetB2 EfficientNetB3 EfficientNetB4 EfficientNetB5 EfficientNetB6 EfficientNetB7 EfficientNetV2B0 "
    "EfficientNetV2B1 EfficientNetV2B2 EfficientNetV2B3 EfficientNetV2L EfficientNetV2M EfficientNetV2S "
    "MobileNetV3Large MobileNetV3Small",
}
BACKBONES: dict[str, Scaling] = {name: kind for kind, names in _NAMES.items() for name in names.split()}
"""All networks of ``keras.applications``, and how each wants its images."""


def _known_backbone(name: str) -> str:
    if name not in BACKBONES:
        raise ValueError(f"no backbone {name!r}; {nearest(name, BACKBONES)}")
    return name


def _known_weights(weights: str) -> str:
    model = re.fullmatch(r"models:/[^/@:]+(@[^/@:]+|/[0-9]+)", weights)
    if not model and weights not in ("imagenet", "none") and not weights.endswith((".keras", ".h5")):
        hint = nearest(weights, ("imagenet", "none"))
        raise ValueError(f"no weights {weights!r}; {hint}, a file .keras or .h5, models:/NAME@ALIAS, models:/NAME/3")
    return weights


Backbone = Annotated[
    str, AfterValidator(_known_backbone), WithJsonSchema({"type": "string", "enum": sorted(BACKBONES)})
]
Weights = Annotated[str, AfterValidator(_known_weights)]


def transfer(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    backbone: Backbone = "MobileNetV2",
    weights: Weights = "imagenet",
    weights_digest: Digest | None = None,
    pooling: Literal["avg", "max"] = "avg",
    units: Annotated[int, Field(ge=0)] = 0,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
) -> keras.Model:
    """Return a frozen backbone under a new head: images (batch, height, width, 1 or 3), 0..255 -> logits.

    Grey images become three equal channels; what the backbone wants of pixels is done in the model. The backbone stays
    in inference mode, also while it is fine-tuned: batch normalization uses, and keeps, the statistics that it brought.

    Args:
        input_shape: Shape of one image.
        classes: Number of logits.
        backbone: Name in ``keras.applications``.
        weights: ``imagenet``, ``none``, a file ``.keras`` or ``.h5``, or a registered model that has such a backbone:
            ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``.
        weights_digest: ``sha256:...`` of the file that the weights come from: anything else is refused.
        pooling: What the head sees of each feature: its mean over the image, or its maximum.
        units: Of a hidden layer before the logits; 0 for none.
        dropout: Share of the features dropped before the logits while training.

    Raises:
        InputError: No images, or too small for the backbone; the weights are not those of the backbone, or not the
            pinned ones.
        EnvironmentFault: The weights cannot be fetched.
    """
    if len(input_shape) != 3 or input_shape[-1] not in (1, 3):
        raise InputError(f"transfer: expected images (height, width, 1 or 3), got {input_shape}")
    import keras
    from keras import layers

    from parak8s.models import backbones

    inputs = keras.Input(input_shape, name="image")
    scaled = backbones.BackboneInput(BACKBONES[backbone])(inputs)
    x = backbones.build(backbone, scaled.shape[1:], weights, weights_digest)(scaled)
    x = {"avg": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}[pooling]()(x)
    if units:
        x = layers.Dense(units, activation="relu", name="hidden")(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(inputs, layers.Dense(classes, kernel_initializer="zeros", name="logits")(x), name="transfer")
