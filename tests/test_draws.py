"""What each device draws for its share of a batch is what one device draws for these rows of the whole batch."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from parak8s.training import draws

RATES = np.linspace(0.5, 9.5, 21, dtype=np.float32).reshape(7, 3)
LOGITS = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
DRAWN: dict[str, Callable[[slice], Any]] = {
    "normal": lambda rows: keras.random.normal((_size(rows), 3), seed=1),
    "normal around each row's own mean": lambda rows: tf.random.stateless_normal((_size(rows), 3), [1, 2], RATES[rows]),
    "normal of a half": lambda rows: keras.random.normal((_size(rows), 3), mean=0, stddev=1, dtype="float16", seed=1),
    "normal around each column's own mean": lambda rows: tf.random.stateless_normal(
        (_size(rows), 3), [1, 2], np.array([0, 5, 9], np.float32)
    ),
    "truncated_normal": lambda rows: keras.random.truncated_normal((_size(rows), 3), seed=1),
    "uniform": lambda rows: keras.random.uniform((_size(rows), 3), seed=1),
    "randint": lambda rows: keras.random.randint((_size(rows), 3), 0, 100, seed=1),
    "randint of eight bits": lambda rows: keras.random.randint((_size(rows), 3), 0, 100, dtype="uint8", seed=1),
    "bits": lambda rows: tf.random.stateless_uniform((_size(rows), 3), [1, 2], None, None, tf.uint32),
    "dropout": lambda rows: keras.random.dropout(RATES[rows], 0.5, seed=1),
    "gamma": lambda rows: keras.random.gamma((_size(rows), 3), 2.0, seed=1),
    "gamma with each row's own shape": lambda rows: tf.random.stateless_gamma((_size(rows), 3), [1, 2], RATES[rows]),
    "beta": lambda rows: keras.random.beta((_size(rows), 3), 2.0, 3.0, seed=1),
    "gamma of whole numbers": lambda rows: keras.random.gamma((_size(rows), 3), 2, seed=1),
    "binomial of whole numbers": lambda rows: keras.random.binomial((_size(rows), 3), 20, 0.4, seed=1),
    "binomial": lambda rows: keras.random.binomial((_size(rows), 3), 20.0, 0.4, seed=1),
    "poisson": lambda rows: tf.random.stateless_poisson((_size(rows), 3), [1, 2], RATES[rows]),
    "categorical": lambda rows: keras.random.categorical(LOGITS[rows], 5, seed=1),
}


def _size(rows: slice) -> int:
    return len(range(*rows.indices(7)))


@pytest.mark.parametrize("name", DRAWN)
def test_shares_of_a_draw_are_the_draw_of_the_whole(name: str) -> None:
    whole, shares = DRAWN[name](slice(0, 7)).numpy(), []
    for start, stop in ((0, 2), (2, 4), (4, 7)):
        with draws.shared(), draws.of_the_whole_batch(draws.Rows(start, stop, 7)):
            shares.append(DRAWN[name](slice(start, stop)).numpy())
    np.testing.assert_array_equal(np.concatenate(shares), whole)
    assert len(np.unique(whole)) > 1


def test_what_is_not_drawn_for_rows_is_the_same_everywhere() -> None:
    alone = keras.random.gamma((4,), 2.0, seed=1).numpy()
    with draws.shared(), draws.of_the_whole_batch(draws.Rows(0, 2, 7)):
        np.testing.assert_array_equal(keras.random.gamma((4,), 2.0, seed=1).numpy(), alone)
