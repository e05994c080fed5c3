"""Random draws of a batch that several devices share: each takes its rows of what one device would draw.

Dropout, augmentation and noise draw for the rows that a layer sees. On a share of the batch they would draw other
numbers than on the whole, and N workers could not train what one trains. So while a device's part of a step is traced,
TensorFlow's stateless draws, on which those of Keras rest, are made for the whole batch, and the device keeps its rows.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True)
class Rows:
    """A device's rows of a batch.

    Args:
        start: The first one.
        stop: The one after the last.
        total: Rows of the whole batch.
    """

    start: int
    stop: int
    total: int


_here = threading.local()  # MirroredStrategy traces each replica in a thread of its own
DRAWS = tuple(
    f"stateless_{name}"
    for name in ("binomial", "categorical", "gamma", "normal", "poisson", "truncated_normal", "uniform")
)
PARAMETERS = {"alpha", "beta", "counts", "lam", "logits", "maxval", "mean", "minval", "probs", "stddev"}


@contextlib.contextmanager
def of_the_whole_batch(rows: Rows) -> Iterator[None]:
    """Let draws in this block, whose first dimension is the device's share, be its rows of the whole batch's draws."""
    _here.rows = rows if rows.stop - rows.start < rows.total else None
    try:
        yield
    finally:
        _here.rows = None


@contextlib.contextmanager
def shared() -> Iterator[None]:
    """Let :func:`of_the_whole_batch` have its effect in this block, in all threads."""
    before = {name: getattr(tf.random, name) for name in DRAWS}
    dropout = tf.nn.experimental.stateless_dropout
    try:
        for name, draw in before.items():
            setattr(tf.random, name, _for_all_rows(draw))
        tf.nn.experimental.stateless_dropout = _dropout_for_all_rows(dropout)
        yield
    finally:
        for name, draw in before.items():
            setattr(tf.random, name, draw)
        tf.nn.experimental.stateless_dropout = dropout


def _for_all_rows(draw: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    signature = inspect.signature(draw)

    def drawn(*arguments: Any, **settings: Any) -> tf.Tensor:
        rows, given = getattr(_here, "rows", None), signature.bind(*arguments, **settings).arguments
        shape = given["shape"] if "shape" in given else tf.shape(given["logits"])
        if rows is None or not _is_share(shape, rows):
            return draw(*arguments, **settings)
        axes = tf.convert_to_tensor(shape).shape[0]
        for name in PARAMETERS & given.keys():
            given[name] = _for_others_too(given[name], axes, rows)
        if "shape" in given:
            given["shape"] = _of_all(shape, rows)
        return draw(**given)[rows.start : rows.stop]

    return drawn


def _for_others_too(parameter: Any, axes: int, rows: Rows) -> Any:
    """Return a distribution's parameter for the whole batch, where there is one for each row of the share.

    What is drawn for a row depends on its place and on its own parameter; those of other rows may be any.
    """
    shape, share = tf.TensorShape(getattr(parameter, "shape", ())), rows.stop - rows.start
    if shape.rank != axes or shape[0] != share:
        return parameter
    return tf.gather(parameter, tf.clip_by_value(tf.range(rows.total) - rows.start, 0, share - 1))


def _dropout_for_all_rows(dropout: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    def dropped(x: Any, rate: Any, seed: Any, *arguments: Any, noise_shape: Any = None, **settings: Any) -> tf.Tensor:
        rows, shape = getattr(_here, "rows", None), tf.shape(x) if noise_shape is None else noise_shape
        if rows is None or not _is_share(shape, rows):
            return dropout(x, rate, seed, *arguments, noise_shape=noise_shape, **settings)
        ones = tf.ones(_of_all(shape, rows), x.dtype)
        return x * dropout(ones, rate, seed, *arguments, **settings)[rows.start : rows.stop]

    return dropped


def _is_share(shape: Any, rows: Rows) -> bool:
    """Return whether the first dimension counts the device's rows; one that only the graph knows does."""
    known = tf.get_static_value(tf.convert_to_tensor(shape), partial=True)
    if known is None:
        return tf.convert_to_tensor(shape).shape != (0,)
    return len(known) > 0 and known[0] in (None, rows.stop - rows.start)


def _of_all(shape: Any, rows: Rows) -> tf.Tensor:
    return tf.concat([[rows.total], tf.convert_to_tensor(shape)[1:]], axis=0)
