"""JPEG and PNG files to grey squares inside the servable, as ``parak8s.data.xray`` reads them from a folder.

Pillow's arithmetic is repeated step by step, so that a file gives the same pixels here and there: its luminance, its
rounding after each pass of a resize, its choice of the size at which a JPEG is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import tensorflow as tf

from parak8s.data.xray.pictures import JPEG, MOST_PIXELS, PNG
from parak8s.models.orientation import upright

if TYPE_CHECKING:
    from parak8s.data.xray.frame import Frame

LUMINANCE = (19_595, 38_470, 7_471)
"""Shares of red, green and blue in 65,536 (ITU-R 601-2), as Pillow has them."""
BITS = 22
"""Binary digits of a weight in a resize, as Pillow has them."""


@dataclass(frozen=True)
class ImageDecoder:
    """Maps image files (batch,), a string tensor, to uint8 (batch, size, size, 1) and to bool (batch,): readable.

    What is no JPEG or PNG, damaged, larger than 64 million pixels, transparent or made for print (CMYK) is not
    readable; the others of its batch are answered all the same.

    Args:
        frame: The square.
        levels: What is black and white in 16 bits: see the loader ``xray``.
    """

    frame: Frame
    levels: Literal["depth", "range"]
    name: str = "images"
    array: str = "pixels"

    def __call__(self, encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Decode a batch, each image for itself: one that cannot be read falls out of the stream, and is missed."""
        count = tf.shape(encoded, tf.int64)[0]
        files = tf.data.Dataset.from_tensor_slices((tf.range(count), encoded))
        read = files.map(lambda row, file: (row, self.pixels(file)), num_parallel_calls=tf.data.AUTOTUNE)
        nothing = tf.zeros((self.frame.size, self.frame.size, 1), tf.uint8)
        last = tf.data.Dataset.from_tensors((count, nothing))  # so that the stream is never empty
        whole = read.ignore_errors().concatenate(last).batch(count + 1)
        rows, pixels = whole.get_single_element()
        place = tf.scatter_nd(rows[:, None], tf.range(1, tf.size(rows) + 1), (count + 1,))[:-1]
        return tf.gather(pixels, tf.maximum(place - 1, 0)), place > 0

    def pixels(self, file: tf.Tensor) -> tf.Tensor:
        """Map one file, a string, to uint8 (size, size, 1).

        Raises:
            tf.errors.InvalidArgumentError: It cannot be read.
        """
        is_png = tf.strings.substr(file, 0, len(PNG)) == PNG
        grey = tf.cond(is_png, lambda: self._of_png(file), lambda: self._of_jpeg(file))
        square = upright(self._fitted(grey), file)
        return tf.ensure_shape(square[..., None], (self.frame.size, self.frame.size, 1))

    def _of_png(self, file: tf.Tensor) -> tf.Tensor:
        header = tf.cast(tf.io.decode_raw(tf.strings.substr(file, 16, 10), tf.uint8), tf.int64)
        width, height = (tf.reduce_sum(header[at : at + 4] * (2**24, 2**16, 2**8, 1)) for at in (0, 4))
        _require(width * height <= MOST_PIXELS)
        is_deep = (header[8] == 16) & (header[9] == 0)  # 16 bits of grey
        return tf.cond(is_deep, lambda: self._of_16_bits(file), lambda: _of_colours(file, tf.cast(header[8], tf.int32)))

    def _of_16_bits(self, file: tf.Tensor) -> tf.Tensor:
        wide = tf.cast(tf.io.decode_png(file, channels=1, dtype=tf.uint16)[..., 0], tf.float32)
        low, high = tf.constant(0.0), tf.constant(65535.0)
        if self.levels == "range":
            low, high = tf.reduce_min(wide), tf.reduce_max(wide)
        share = 255 / tf.maximum(tf.cast(high - low, tf.float64), 1e-30)
        return _bytes(tf.round(tf.clip_by_value((wide - low) * tf.cast(share, tf.float32), 0, 255)))

    def _of_jpeg(self, file: tf.Tensor) -> tf.Tensor:
        _require(tf.strings.substr(file, 0, len(JPEG)) == JPEG)
        height, width, colours = tf.unstack(tf.io.extract_jpeg_shape(file, tf.int64))
        _require((width * height <= MOST_PIXELS) & (colours <= 3))
        down, across = self._needed(height, width)
        spare = tf.minimum(height // down, width // across)
        at = tf.cast(tf.searchsorted(tf.constant([2, 4, 8], tf.int64), spare[None], side="right")[0], tf.int32)
        sizes = [lambda ratio=ratio: _luminance(file, ratio) for ratio in (1, 2, 4, 8)]
        return tf.switch_case(at, sizes)

    def _needed(self, height: tf.Tensor, width: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return :meth:`Frame.needed`, height first."""
        size = tf.constant(self.frame.size, tf.int64)
        if self.frame.fit == "crop":
            return size, size
        scale = tf.cast(size, tf.float64) / tf.cast(tf.maximum(height, width), tf.float64)
        scaled = (tf.cast(tf.round(tf.cast(side, tf.float64) * scale), tf.int64) for side in (height, width))
        down, across = (tf.maximum(side, 1) for side in scaled)
        return down, across

    def _fitted(self, grey: tf.Tensor) -> tf.Tensor:
        """Return :meth:`Frame.fitted` of uint8 (height, width)."""
        size = tf.constant(self.frame.size, tf.int64)
        height, width = tf.unstack(tf.shape(grey, tf.int64))
        if self.frame.fit == "crop":
            side = tf.minimum(height, width)
            turned = resized(grey, (width - side) / 2, side, size)
            return tf.transpose(resized(tf.transpose(turned), (height - side) / 2, side, size))
        down, across = self._needed(height, width)
        none = tf.constant(0.0, tf.float64)
        inner = resized(tf.transpose(resized(grey, none, width, across)), none, height, down)
        before = (size - down) // 2, (size - across) // 2
        edges = [[before[0], size - down - before[0]], [before[1], size - across - before[1]]]
        return tf.pad(tf.transpose(inner), edges)


def resized(grey: tf.Tensor, start: tf.Tensor, length: tf.Tensor, out: tf.Tensor) -> tf.Tensor:
    """Return the columns of uint8 (height, width) from ``start`` on, ``length`` of them, as ``out`` columns.

    Pillow's bilinear filter: what gets smaller is averaged under a triangle as wide as two new pixels; weights and sums
    are whole numbers, here in float64, which is exact up to 2**53.
    """
    width = tf.shape(grey)[1]
    scale = tf.cast(length, tf.float64) / tf.cast(out, tf.float64)
    middle = tf.cast(start, tf.float64) + (tf.cast(tf.range(out), tf.float64) + 0.5) * scale
    away = tf.cast(tf.range(width), tf.float64) - middle[:, None] + 0.5
    weights = tf.maximum(1 - tf.abs(away) * (1 / tf.maximum(scale, 1)), 0)
    whole = tf.floor(0.5 + weights / tf.reduce_sum(weights, axis=1, keepdims=True) * 2**BITS)
    sums = tf.sparse.sparse_dense_matmul(tf.sparse.from_dense(whole), tf.cast(grey, tf.float64), adjoint_b=True)
    return tf.transpose(_bytes(tf.clip_by_value(tf.floor((sums + 2 ** (BITS - 1)) / 2**BITS), 0, 255)))


def _of_colours(file: tf.Tensor, depth: tf.Tensor) -> tf.Tensor:
    """Return the luminance of a PNG image of any kind that has no transparent pixel."""
    pixels = tf.cast(tf.io.decode_png(file, channels=4), tf.int32)
    # Below 8 bits a pixel libpng fills the alpha channel, where there is none, with the greatest value of so many bits.
    opaque = tf.where(depth < 8, 2**depth - 1, 255)
    _require(tf.reduce_all((pixels[..., 3] == 255) | (pixels[..., 3] == opaque)))
    return _bytes(tf.bitwise.right_shift(tf.reduce_sum(pixels[..., :3] * LUMINANCE, axis=-1) + 2**15, 16))


def _luminance(file: tf.Tensor, ratio: int) -> tf.Tensor:
    return tf.io.decode_jpeg(file, channels=1, ratio=ratio, dct_method="INTEGER_ACCURATE")[..., 0]


def _bytes(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values, tf.uint8)


def _require(condition: tf.Tensor) -> None:
    tf.debugging.Assert(condition, ["not an image that can be read"])
