"""Batches: every row once per epoch, in an order that anyone can recompute."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from parak8s.data import prepared
from parak8s.data.batches import ArrayDataset, ECGDataset, XRayDataset, rows_at_once
from parak8s.data.examples import Examples
from parak8s.data.xray.loader import XRayLoader
from parak8s.errors import InputError


def written(directory: Path, n: int, *, classes: int = 3, shape: tuple[int, ...] = (4,), dtype: Any = "f4") -> Path:
    """Write a prepared dataset whose train example i is filled with i and has label i modulo ``classes``."""
    inputs = np.broadcast_to(np.arange(n).reshape(-1, *[1] * len(shape)), (n, *shape)).astype(dtype)
    names = tuple("abcdef"[:classes])
    examples = Examples(inputs, np.arange(n, dtype=np.int32) % classes, names)
    directory.mkdir()
    rows = {"train": np.arange(n), "validation": np.arange(0)}
    prepared.write(directory, examples, rows, digest="sha256:0", source="test", loader="test", split={})
    return directory


def order(batches: ArrayDataset) -> list[int]:
    """Return the rows of one epoch in their order."""
    return [int(value) for inputs, _, _ in (batches[i] for i in range(len(batches))) for value in inputs[:, 0]]


def test_without_shuffling_the_rows_come_in_their_order_and_the_last_batch_is_smaller(tmp_path: Path) -> None:
    batches = ArrayDataset(written(tmp_path / "d", 10), "train", batch_size=4)
    assert [batches[index][0][:, 0].tolist() for index in range(len(batches))] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [batches[index][1].tolist() for index in range(3)] == [[0, 1, 2, 0], [1, 2, 0, 1], [2, 0]]
    assert (len(batches), batches.examples) == (3, 10)


@pytest.mark.parametrize("n", [1, 3, 4, 5, 64])
@pytest.mark.parametrize("batch_size", [1, 4, 64, 100])
def test_an_epoch_holds_every_row_once(tmp_path: Path, n: int, batch_size: int) -> None:
    batches = ArrayDataset(written(tmp_path / "d", n), "train", batch_size=batch_size, shuffle=True)
    for epoch in range(3):
        batches.start_epoch(epoch)
        assert sorted(order(batches)) == list(range(n))


def test_tf_data_gives_the_same_batches_of_the_current_epoch_and_of_its_own_shard(tmp_path: Path) -> None:
    directory = written(tmp_path / "d", 11, shape=(5, 5, 1), dtype="u1")
    batches = XRayLoader().batches(
        directory, "train", batch_size=4, shuffle=True, seed=3, shard=(1, 2), class_weights=[1.0, 2.0, 3.0]
    )
    batches.start_epoch(2)
    stream = batches.as_tf_data()
    assert (type(batches), len(stream), batches.examples) == (XRayDataset, 2, 5)
    for ours, theirs in zip([batches[0], batches[1]], stream.as_numpy_iterator(), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


def test_the_order_depends_on_seed_and_epoch_alone(tmp_path: Path) -> None:
    directory = written(tmp_path / "d", 100)
    one = ArrayDataset(directory, "train", batch_size=7, shuffle=True, seed=3)
    orders = []
    for epoch in range(3):
        one.start_epoch(epoch)
        orders.append(order(one))
    other = ArrayDataset(directory, "train", batch_size=32, shuffle=True, seed=3)
    other.start_epoch(2)  # not having seen the epochs before
    assert order(other) == orders[2]
    other.start_epoch(0)
    assert order(other) == orders[0]
    assert orders[0] != orders[1] != orders[2]
    assert orders[1] == np.random.default_rng((3, 1)).permutation(100).tolist()
    assert order(ArrayDataset(directory, "train", batch_size=32, shuffle=True, seed=4)) != orders[0]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("shuffle", [False, True])
def test_shards_are_disjoint_complete_and_of_nearly_the_same_size(tmp_path: Path, count: int, shuffle: bool) -> None:
    directory = written(tmp_path / "d", 17)
    shards = [
        ArrayDataset(directory, "train", batch_size=4, shuffle=shuffle, seed=1, shard=(index, count))
        for index in range(count)
    ]
    rows = [order(shard) for shard in shards]
    assert sorted(row for each in rows for row in each) == list(range(17))
    assert {len(each) for each in rows} <= {17 // count, -(-17 // count)}
    assert [shard.examples for shard in shards] == [len(each) for each in rows]


def test_class_weights_stand_beside_every_example(tmp_path: Path) -> None:
    directory = written(tmp_path / "d", 5)
    weights = ArrayDataset(directory, "train", batch_size=5, class_weights=[0.5, 2.0, 8.0])[0][2]
    assert (weights.dtype.name, weights.tolist()) == ("float32", [0.5, 2.0, 8.0, 0.5, 2.0])
    assert ArrayDataset(directory, "train", batch_size=5)[0][2].tolist() == [1, 1, 1, 1, 1]


def test_a_class_without_a_weight_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="labels of 3 classes, but 2 class weights"):
        ArrayDataset(written(tmp_path / "d", 5), "train", batch_size=5, class_weights=[1.0, 2.0])


def test_the_arrays_stay_on_the_disk_and_batches_are_copies(tmp_path: Path) -> None:
    batches = ArrayDataset(written(tmp_path / "d", 8), "train", batch_size=8)
    assert isinstance(batches.inputs, np.memmap)
    assert isinstance(batches.labels, np.memmap)
    assert not batches.inputs.flags.writeable
    inputs = batches[0][0]
    inputs[:] = -1
    assert batches[0][0][:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(("shape", "dtype"), [((187,), "float32"), ((20, 2), "float32"), ((6, 6, 3), "uint8")])
def test_inputs_keep_their_shape_and_type(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    inputs, labels, _ = ArrayDataset(written(tmp_path / "d", 9, shape=shape, dtype=dtype), "train", batch_size=4)[2]
    assert (inputs.shape, inputs.dtype.name, labels.dtype.name) == ((1, *shape), dtype, "int32")


def test_examples_can_be_taken_across_batches(tmp_path: Path) -> None:
    batches = ArrayDataset(written(tmp_path / "d", 10), "train", batch_size=4, shuffle=True, seed=5)
    inputs, labels, weights = batches.take(2, 9)
    assert inputs[:, 0].tolist() == order(batches)[2:9]
    assert labels.tolist() == [row % 3 for row in order(batches)[2:9]]
    assert weights.shape == (7,)


def test_an_empty_split_has_no_batches(tmp_path: Path) -> None:
    batches = ArrayDataset(written(tmp_path / "d", 10), "validation", batch_size=4)
    assert (len(batches), batches.examples, list(batches)) == (0, 0, [])


def test_there_is_no_batch_beyond_the_last_and_a_loop_ends(tmp_path: Path) -> None:
    batches = ArrayDataset(written(tmp_path / "d", 5), "train", batch_size=4)
    for index in (-1, 2):
        with pytest.raises(IndexError, match=f"batch {index}: this epoch has batches 0 to 1"):
            batches[index]
    assert [len(labels) for _, labels, _ in batches] == [4, 1]


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"shard": (2, 2)}, {"shard": (-1, 2)}, {"shard": (0, 0)}])
def test_impossible_sizes_and_shards_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected batch_size >= 1 and 0 <= index < count"):
        ArrayDataset(written(tmp_path / "d", 5), "train", **{"batch_size": 2} | wrong)


def test_a_split_that_was_not_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no split 'calibration'; its fraction in data\.split is 0"):
        ArrayDataset(written(tmp_path / "d", 5), "calibration", batch_size=2)


def test_keras_trains_on_it_and_each_of_its_epochs_has_the_next_order(tmp_path: Path) -> None:
    import keras

    directory = written(tmp_path / "d", 30)

    class Recorder(ECGDataset):
        def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[np.int32], NDArray[np.float32]]:
            batch = super().__getitem__(index)
            seen.append((self.epoch, index, batch[0][:, 0].astype(int).tolist()))
            return batch

    seen: list[tuple[int, int, list[int]]] = []
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    weights = [1.0, 2.0, 3.0]
    dataset = Recorder(directory, "train", batch_size=8, shuffle=True, seed=2, class_weights=weights)
    model.fit(dataset, epochs=3, verbose=0)
    # Keras looks at some batches before it begins, and may end an epoch that it has not begun.
    rows = {epoch: {index: batch for at, index, batch in seen if at == epoch} for epoch, _, _ in seen}
    whole = [epoch for epoch, batches in rows.items() if len(batches) == 4]
    assert len(whole) == 3
    assert whole == list(range(whole[0], whole[0] + 3))
    for epoch in whole:
        expected = np.random.default_rng((2, epoch)).permutation(30)
        assert [rows[epoch][index] for index in range(4)] == [part.tolist() for part in np.split(expected, [8, 16, 24])]


@pytest.mark.parametrize(
    ("shape", "expected"), [((187,), 1024), ((64, 64, 1), 1024), ((224, 224, 1), 83), ((9000, 9000), 1)]
)
def test_a_model_is_asked_about_fewer_large_examples_at_once(shape: tuple[int, ...], expected: int) -> None:
    assert rows_at_once(shape) == expected
