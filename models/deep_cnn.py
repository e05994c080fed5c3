"""The ECG classifier: a one-dimensional residual CNN. Keras is imported when a network is built, not before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

if TYPE_CHECKING:
    import keras

Size = Annotated[int, Field(ge=1)]


def deep_cnn(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    filters: Size = 32,
    growth: Annotated[int, Field(ge=0)] = 0,
    blocks: Size = 5,
    kernel: Size = 5,
    units: Size = 64,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> keras.Model:
    """Return a residual CNN: signal (batch, length) or (batch, length, leads) -> logits (batch, classes).

    After a first convolution, each block convolves twice around a shortcut and halves the length; two dense layers
    follow. Batch normalization after each convolution is ours (the paper has none); the last one of a block begins at
    zero, so that every block begins as its shortcut (Goyal et al. 2017, arXiv:1706.02677).

    Args:
        input_shape: Shape of one preprocessed example.
        classes: Number of logits.
        filters: Channels of the convolutions of the first block.
        growth: Channels added by each further block (Han, Kim and Kim 2017, arXiv:1610.02915); the paper adds none.
        blocks: Residual blocks.
        kernel: Width of a convolution, and of the pooling window, in samples.
        units: Width of the dense layer before the logits.
        dropout: Share of the features dropped before each dense layer while training.

    Source: Kachuee, Fazeli and Sarrafzadeh (2018), arXiv:1805.00794.
    """
    import keras
    from keras import layers

    x = inputs = keras.Input(input_shape, name="signal")
    if len(input_shape) == 1:
        x = layers.Reshape((*input_shape, 1))(x)
    x = layers.ReLU()(_convolution(x, filters, kernel))
    for block in range(blocks):
        width = filters + growth * block
        y = layers.ReLU()(_convolution(x, width, kernel))
        shortcut = x if x.shape[-1] == width else layers.Conv1D(width, 1, use_bias=False)(x)
        y = layers.Add()([shortcut, _convolution(y, width, kernel, gamma="zeros")])
        x = layers.MaxPooling1D(kernel, strides=2, padding="same")(layers.ReLU()(y))
    x = layers.Dropout(dropout)(layers.Flatten()(x))
    x = layers.Dropout(dropout)(layers.Dense(units, activation="relu")(x))
    return keras.Model(inputs, layers.Dense(classes, kernel_initializer="zeros", name="logits")(x), name="deep_cnn")


def _convolution(x: keras.KerasTensor, filters: int, kernel: int, gamma: str = "ones") -> keras.KerasTensor:
    from keras import layers

    x = layers.Conv1D(filters, kernel, padding="same", use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.9, gamma_initializer=gamma)(x)
