"""The orientation that a JPEG or PNG file states in its EXIF data, read and carried out by TensorFlow operations."""

from __future__ import annotations

import tensorflow as tf

HEAD = 2**16
"""Bytes at the beginning of a file in which EXIF data is looked for."""
BEGINNINGS = tuple(where + order for where in (b"Exif\0\0", b"eXIf") for order in (b"II*\0", b"MM\0*"))
"""What stands before EXIF data in a JPEG and in a PNG, and its first four bytes: least or most significant first."""
TAG, ENTRY = 0x0112, 12


def upright(square: tf.Tensor, file: tf.Tensor) -> tf.Tensor:
    """Return a square image (side, side), turned and mirrored as ``file``, a string, says that it is to be seen.

    Source: Exif 3.0 (CIPA DC-008-2023), 4.6.5.1.6.
    """
    said = orientation(file)
    square = tf.where((said >= 5) & (said <= 8), tf.transpose(square), square)
    square = tf.where(_any(said, 2, 3, 6, 7), square[:, ::-1], square)
    return tf.where(_any(said, 3, 4, 7, 8), square[::-1], square)


def orientation(file: tf.Tensor) -> tf.Tensor:
    """Return the orientation, 1 to 8; 1 where the file says none."""
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(file, 0, HEAD), tf.uint8), tf.int32)
    head = tf.pad(head, [[0, 2 * ENTRY]])
    starts = tf.concat([_places(head, beginning) + len(beginning) - 4 for beginning in BEGINNINGS], axis=0)
    return tf.cond(tf.size(starts) > 0, lambda: _of_exif(head, starts[0]), lambda: 1)


def _any(value: tf.Tensor, *wanted: int) -> tf.Tensor:
    return tf.reduce_any(value == list(wanted))


def _places(head: tf.Tensor, text: bytes) -> tf.Tensor:
    """Return where ``text`` stands in ``head``."""
    last = tf.size(head) - len(text)
    same = [head[at : last + at] == byte for at, byte in enumerate(text)]
    return tf.cast(tf.where(tf.reduce_all(tf.stack(same), axis=0))[:, 0], tf.int32)


def _of_exif(head: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    least_first = head[start] == ord("I")

    def number(at: tf.Tensor, size: int) -> tf.Tensor:
        """Return the whole numbers of ``size`` bytes at each of ``at`` (n,)."""
        order = tf.where(least_first, tf.range(size), tf.range(size)[::-1])
        places = tf.clip_by_value(at[:, None] + order, 0, tf.size(head) - 1)
        return tf.reduce_sum(tf.gather(head, places) * [256**power for power in range(size)], axis=1)

    directory = start + tf.clip_by_value(number(start[None] + 4, 4), 0, HEAD)
    entries = directory + 2 + ENTRY * tf.range(tf.minimum(number(directory, 2)[0], HEAD // ENTRY))
    found = tf.boolean_mask(entries, (number(entries, 2) == TAG) & (entries < tf.size(head) - ENTRY))
    return tf.cond(tf.size(found) > 0, lambda: number(found[:1] + 8, 2)[0], lambda: 1)
