"""The X-ray classifier that trains from nothing. Keras is imported when a network is built, not before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

if TYPE_CHECKING:
    import keras

MOMENTUM = 0.97
"""Of the running statistics: they span some 30 batches. With 0.9 the validation of a finished network still jumps by a
hundredth from epoch to epoch, with 0.99 a short training ends before they have settled."""
Size = Annotated[int, Field(ge=1)]


def xray_cnn(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    filters: Size = 16,
    blocks: Size = 4,
    convolutions: Size = 2,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3,
) -> keras.Model:
    """Return a plain CNN: images (batch, height, width, channels) -> logits (batch, classes).

    Each block convolves 3 by 3 and halves the image; the next one has twice the filters. The logits see the mean and
    the maximum of each feature over the image: an opacity is small, and may lie anywhere.

    Args:
        input_shape: Shape of one preprocessed image.
        classes: Number of logits.
        filters: Channels of the first block.
        blocks: Blocks, each of which halves the image; it must not become smaller than one pixel.
        convolutions: Convolutions in a block.
        dropout: Share of the features dropped before the logits while training.

    Raises:
        InputError: The image is no image, or too small for so many blocks.

    Source: the plain networks of Simonyan and Zisserman (2015), arXiv:1409.1556, with batch normalization (Ioffe and
    Szegedy 2015, arXiv:1502.03167) instead of large dense layers.
    """
    import keras
    from keras import layers

    from parak8s.errors import InputError

    if len(input_shape) != 3 or min(input_shape[:2]) < 2**blocks:
        raise InputError(f"xray_cnn: {blocks} blocks need images of {2**blocks} pixels a side, got {input_shape}")
    x = inputs = keras.Input(input_shape, name="image")
    for block in range(blocks):
        for _ in range(convolutions):
            x = layers.Conv2D(filters * 2**block, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization(momentum=MOMENTUM)(x))
        x = layers.MaxPooling2D()(x)
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)])
    x = layers.Dropout(dropout)(x)
    return keras.Model(inputs, layers.Dense(classes, kernel_initializer="zeros", name="logits")(x), name="xray_cnn")
