"""The prepared dataset directory: what is written is what is read, and nothing else passes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parak8s.data import prepared
from parak8s.data.examples import Examples
from parak8s.data.prepared import Manifest
from parak8s.errors import InputError

DIGEST = "sha256:" + "ab" * 32
ROWS = {
    "train": np.array([0, 2, 4, 5]),
    "validation": np.array([1]),
    "calibration": np.array([], np.intp),
    "test": np.array([3]),
}


def examples(*, dtype: Any = np.float32, patients: bool = True) -> Examples:
    inputs = np.arange(18).reshape(6, 3).astype(dtype)
    labels = np.array([0, 1, 0, 1, 1, 0], np.int32)
    who = np.array(["p1", "p2", "p1", "p3", "p4", "p4"]) if patients else None
    return Examples(
        inputs, labels, ("normal", "ill"), patients=who, axis=("time", "ms", 8.5), about={"origin": "here", "beats": 6}
    )


def write(directory: Path, **options: Any) -> Manifest:
    directory.mkdir(exist_ok=True)
    return prepared.write(
        directory,
        examples(**options),
        ROWS,
        digest=DIGEST,
        source="synthetic://x",
        loader="ecg",
        split={"by": "hash", "train": 0.7},
    )


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_arrays_come_back_as_they_were(tmp_path: Path, dtype: Any) -> None:
    write(tmp_path, dtype=dtype)
    inputs, labels, patients = prepared.read_split(tmp_path, "train")
    assert inputs.dtype == dtype
    assert inputs.tolist() == [[0, 1, 2], [6, 7, 8], [12, 13, 14], [15, 16, 17]]
    assert labels.dtype == np.int32
    assert labels.tolist() == [0, 0, 1, 0]
    assert patients is not None
    assert patients.tolist() == ["p1", "p1", "p4", "p4"]
    assert prepared.read_split(tmp_path, "test")[0].tolist() == [[9, 10, 11]]


def test_arrays_are_memory_mapped_and_cannot_be_written(tmp_path: Path) -> None:
    write(tmp_path)
    for array in prepared.read_split(tmp_path, "train"):
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[0]


def test_patients_are_left_out_where_nobody_knows_them(tmp_path: Path) -> None:
    manifest = write(tmp_path, patients=False)
    assert prepared.read_split(tmp_path, "train")[2] is None
    assert not list(tmp_path.rglob("patients.npy"))
    assert manifest.splits["train"]["patients"] is None


def test_the_manifest_says_what_is_there(tmp_path: Path) -> None:
    written = write(tmp_path)
    assert prepared.read_manifest(tmp_path) == written
    assert json.loads((tmp_path / "manifest.json").read_text()) == {
        "digest": DIGEST,
        "source": "synthetic://x",
        "loader": "ecg",
        "classes": ["normal", "ill"],
        "input_shape": [3],
        "input_dtype": "float32",
        "axis": ["time", "ms", 8.5],
        "about": {"origin": "here", "beats": 6},
        "split": {"by": "hash", "train": 0.7},
        "splits": {
            "train": {"examples": 4, "per_class": [3, 1], "patients": 2},
            "validation": {"examples": 1, "per_class": [0, 1], "patients": 1},
            "calibration": {"examples": 0, "per_class": [0, 0], "patients": 0},
            "test": {"examples": 1, "per_class": [0, 1], "patients": 1},
        },
        "files": {
            path.relative_to(tmp_path).as_posix(): "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(tmp_path.rglob("*.npy"))
        },
    }
    assert len(written.files) == 12


def test_an_untouched_dataset_is_verified(tmp_path: Path) -> None:
    assert prepared.verify(tmp_path) if write(tmp_path) else None


def test_one_changed_byte_is_found_in_every_file(tmp_path: Path) -> None:
    manifest = write(tmp_path)
    for name in manifest.files:
        path = tmp_path / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(
            InputError, match=f"{name}: missing or changed since ingest; delete .* and run ingest again"
        ):
            prepared.verify(tmp_path)
        path.write_bytes(content)
    prepared.verify(tmp_path)


def test_a_missing_file_is_found(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "test" / "labels.npy").unlink()
    with pytest.raises(InputError, match=r"test/labels\.npy: missing or changed since ingest"):
        prepared.verify(tmp_path)


def test_a_folder_without_a_manifest_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a prepared dataset \(no manifest\.json\); run the step ingest first"):
        prepared.verify(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"digest": 1', '{"classes": 3}', "\0"])
def test_a_damaged_manifest_is_no_dataset(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"manifest\.json: damaged; delete .* and run ingest again"):
        prepared.read_manifest(tmp_path)


def test_a_split_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(InputError, match="no split 'holdout'"):
        prepared.read_split(tmp_path, "holdout")


# The digest of examples without files


def test_the_digest_of_examples_is_that_of_their_arrays_and_classes() -> None:
    given = examples(patients=False)
    expected = hashlib.sha256(b"normal\nill")
    expected.update(b"<f4(6, 3)" + np.arange(18, dtype="<f4").tobytes())
    expected.update(b"<i4(6,)" + np.array([0, 1, 0, 1, 1, 0], "<i4").tobytes())
    assert given.digest() == f"sha256:{expected.hexdigest()}"


def test_every_part_of_the_examples_counts_for_the_digest() -> None:
    given = examples()
    inputs, labels = np.asarray(given.inputs, np.float32).copy(), given.labels.copy()
    inputs[5, 2] += 1
    labels[0] = 1
    others = [
        Examples(inputs, given.labels, given.classes, patients=given.patients),
        Examples(given.inputs, labels, given.classes, patients=given.patients),
        Examples(given.inputs, given.labels, ("normal", "other"), patients=given.patients),
        Examples(given.inputs, given.labels, given.classes),
        Examples(given.inputs, given.labels, given.classes, patients=given.patients, test=np.arange(6) > 3),
        Examples(given.inputs.reshape(6, 3, 1), given.labels, given.classes, patients=given.patients),
    ]
    digests = {given.digest(), *(other.digest() for other in others)}
    assert len(digests) == 7


def test_the_layout_in_memory_does_not_count_for_the_digest() -> None:
    given = examples()
    columns = Examples(
        np.asfortranarray(given.inputs, np.float32), given.labels, given.classes, patients=given.patients
    )
    assert columns.digest() == given.digest()


# What examples may hold


def good(**changes: Any) -> dict[str, Any]:
    values = {"inputs": np.zeros((3, 2), np.float32), "labels": np.array([0, 1, 0], np.int32), "classes": ("a", "b")}
    return values | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": np.zeros((0, 2), np.float32)}, "the source holds no examples"),
        ({"labels": np.zeros(2, np.int32)}, r"labels: expected shape \(3,\), one for each example, got \(2,\)"),
        ({"patients": np.zeros((3, 1))}, r"patients: expected shape \(3,\), one for each example, got \(3, 1\)"),
        ({"test": np.zeros(4, bool)}, r"test: expected shape \(3,\), one for each example, got \(4,\)"),
        ({"inputs": np.zeros((3, 2))}, "expected float32 or uint8 inputs and int32 labels, got float64 and int32"),
        ({"labels": np.zeros(3, np.int64)}, "expected float32 or uint8 inputs and int32 labels, got float32 and int64"),
        ({"labels": np.array([0, 2, 0], np.int32)}, "row 1: label 2 is not a class; allowed: 0 to 1"),
        ({"labels": np.array([0, 0, -1], np.int32)}, "row 2: label -1 is not a class; allowed: 0 to 1"),
        ({"inputs": np.array([[0, 0], [0, np.nan], [0, 0]], np.float32)}, "row 1, column 1: not a finite number"),
        ({"inputs": np.array([[0, 0], [0, 0], [np.inf, 0]], np.float32)}, "row 2, column 0: not a finite number"),
    ],
)
def test_examples_that_break_a_rule_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Examples(**good(**changes))
