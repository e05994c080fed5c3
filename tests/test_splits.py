"""Splits: disjoint, complete, the same for ever, and honest."""

import dataclasses
import hashlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from parak8s.data.examples import Examples
from parak8s.data.splits import NAMES, assign
from parak8s.errors import InputError
from parak8s.experiment import Split

CLASSES = ("a", "b")


def examples(n: int, *, patients: Any = None, test: Any = None, seed: int = 0, classes: int = 2) -> Examples:
    """Return ``n`` different examples whose labels take turns."""
    inputs = np.random.default_rng(seed).random((n, 4), np.float32)
    labels = (np.arange(n) % classes).astype(np.int32)
    return Examples(
        inputs,
        labels,
        tuple("abcdefgh"[:classes]),
        patients=None if patients is None else np.asarray(patients),
        test=None if test is None else np.asarray(test, bool),
    )


def rows(found: dict[str, NDArray[np.intp]]) -> dict[str, set[int]]:
    return {name: set(indices.tolist()) for name, indices in found.items()}


@st.composite
def splits(draw: st.DrawFn) -> Split:
    weights = [draw(st.integers(1, 5)) for _ in range(4)]
    train, validation, calibration, _ = (weight / sum(weights) for weight in weights)
    test = 1 - train - validation - calibration
    return Split(train=train, validation=validation, calibration=calibration, test=test)


@given(splits(), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_every_example_is_in_exactly_one_split_in_the_order_of_the_source(split: Split, seed: int) -> None:
    found = assign(examples(300, seed=seed), split)
    assert list(found) == list(NAMES)
    assert sorted(np.concatenate(list(found.values()))) == list(range(300))
    assert all((np.diff(indices) > 0).all() for indices in found.values())


@given(splits())
@settings(max_examples=10, deadline=None)
def test_shares_are_met_within_five_standard_deviations(split: Split) -> None:
    n = 4000
    found = assign(examples(n), split)
    for name, share in split.fractions().items():
        assert abs(len(found[name]) - n * share) < 5 * math.sqrt(n * share * (1 - share))


def chosen(given: Examples, split: Split) -> dict[bytes, str]:
    """Return the split of every example by its content."""
    return {given.inputs[row].tobytes(): name for name, indices in assign(given, split).items() for row in indices}


@given(st.permutations(range(200)), st.integers(0, 150))
@settings(max_examples=20, deadline=None)
def test_an_example_stays_in_its_split_when_others_are_added_or_moved(order: list[int], kept: int) -> None:
    whole = examples(200)
    before = chosen(whole, Split())
    part = order[kept:] if kept < 100 else order
    moved = Examples(whole.inputs[part], whole.labels[part], CLASSES)
    try:
        after = chosen(moved, Split())
    except InputError:  # few rows may leave a split empty
        return
    assert {content: before[content] for content in after} == after


def test_labels_and_classes_do_not_move_an_example() -> None:
    whole = examples(200)
    relabelled = Examples(whole.inputs, (1 - whole.labels).astype(np.int32), ("x", "y"))
    assert chosen(whole, Split()) == chosen(relabelled, Split())


def test_the_split_of_an_example_is_a_documented_hash_of_its_bytes() -> None:
    whole = examples(200)
    found = rows(assign(whole, Split(train=0.5, validation=0.2, calibration=0.2, test=0.1)))
    bounds = {"train": 0.5, "validation": 0.7, "calibration": 0.9, "test": 1.0}
    for row in range(200):
        key = hashlib.blake2b(whole.inputs[row].tobytes(), digest_size=16).digest()
        number = hashlib.blake2b(key, digest_size=8, person=b"parak8s split").digest()
        uniform = int.from_bytes(number, "big") / 2**64
        expected = next(name for name, bound in bounds.items() if uniform < bound)
        assert row in found[expected]


def test_copies_of_an_example_stay_together() -> None:
    whole = examples(100)
    doubled = Examples(np.concatenate([whole.inputs] * 2), np.concatenate([whole.labels] * 2), CLASSES)
    for indices in assign(doubled, Split()).values():
        assert {row % 100 for row in indices} == {row for row in indices if row < 100}


@given(st.lists(st.integers(0, 40), min_size=300, max_size=300), st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_patient_never_straddles_two_splits(patients: list[int], as_text: bool) -> None:
    who: list[Any] = [f"patient {number}" for number in patients] if as_text else patients
    try:
        found = assign(examples(300, patients=who), Split(by="patient"))
    except InputError as error:
        assert "split" in str(error)  # noqa: PT017 - few patients may leave a split empty or without a class
        return
    groups = [{who[row] for row in indices} for indices in found.values()]
    assert sum(map(len, groups)) == len(set(who))
    assert sorted(np.concatenate(list(found.values()))) == list(range(300))


def test_a_patient_stays_in_the_split_when_more_of_the_patient_comes() -> None:
    few = np.arange(60)
    before = assign(examples(60, patients=few), Split(by="patient"))
    after = assign(examples(180, patients=np.tile(few, 3)), Split(by="patient"))
    for name in NAMES:
        assert {row % 60 for row in after[name]} == set(before[name].tolist())


def test_splitting_by_patient_needs_patients() -> None:
    with pytest.raises(
        InputError, match=r"data\.split\.by: patient, but this source does not say who is who; write by: hash"
    ):
        assign(examples(100), Split(by="patient"))


@given(st.lists(st.booleans(), min_size=200, max_size=200))
@settings(max_examples=25, deadline=None)
def test_a_test_set_of_the_sources_own_stays_whole_and_alone(mask: list[bool]) -> None:
    if not any(mask) or sum(mask) > 100:
        mask = [row % 4 == 0 for row in range(200)]
    found = rows(assign(examples(200, test=mask), Split()))
    assert found["test"] == {row for row in range(200) if mask[row]}
    assert found["train"] | found["validation"] | found["calibration"] == {row for row in range(200) if not mask[row]}
    assert sum(map(len, found.values())) == 200


def test_the_other_splits_share_what_the_test_set_leaves() -> None:
    n = 8000
    found = assign(examples(n, test=np.arange(n) < n // 2), Split(train=0.6, validation=0.2, calibration=0.1, test=0.1))
    for name, share in {"train": 6 / 9, "validation": 2 / 9, "calibration": 1 / 9}.items():
        assert abs(len(found[name]) - n / 2 * share) < 5 * math.sqrt(n / 2 * share * (1 - share))


def test_a_test_set_makes_its_own_share_needless() -> None:
    split = Split(train=0.8, validation=0.1, calibration=0.1, test=0.0)
    assert len(assign(examples(200, test=np.arange(200) < 50), split)["test"]) == 50


def test_an_example_in_both_train_and_test_is_refused() -> None:
    whole = examples(200)
    inputs = whole.inputs.copy()
    inputs[150] = inputs[3]
    leaking = Examples(inputs, whole.labels, CLASSES, test=np.arange(200) >= 100)
    message = (
        r"the same example is in \w+ \(row 3\) and in test \(row 150\): the test would flatter the model; remove one"
    )
    with pytest.raises(InputError, match=message):
        assign(leaking, Split())


def test_a_patient_in_both_train_and_test_is_refused() -> None:
    patients = [f"p{row // 2}" for row in range(200)]
    mask = np.arange(200) >= 101  # p50 is row 100 and row 101
    with pytest.raises(InputError, match=r"patient p50 is in \w+ \(row 100\) and in test \(row 101\)"):
        assign(examples(200, patients=patients, test=mask), Split(by="patient"))


def test_a_class_that_train_lacks_is_refused() -> None:
    labels = np.zeros(200, np.int32)
    inputs = examples(200).inputs
    in_train = assign(Examples(inputs, labels, ("a",)), Split())["train"]
    labels[[row for row in range(200) if row not in in_train]] = 1
    with pytest.raises(
        InputError, match="no example of class b in the train split: a model cannot learn it; give more data"
    ):
        assign(Examples(inputs, labels, CLASSES), Split())


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"the \w+ split is empty \(4 examples\); raise data\.split\.\w+, or give more data"
    ):
        assign(examples(4), Split(train=0.97, validation=0.01, calibration=0.01, test=0.01))


def test_a_share_of_nothing_gives_an_empty_split() -> None:
    found = assign(examples(400), Split(train=0.8, validation=0.1, calibration=0.0, test=0.1))
    assert len(found["calibration"]) == 0
    assert len(found["train"]) > 0


def test_nothing_to_test_on_is_refused() -> None:
    fix = r"raise data\.split\.test, which is 0, or give a source that brings a test set"
    with pytest.raises(InputError, match=rf"the test split is empty \(400 examples\); {fix}"):
        assign(examples(400), Split(train=0.8, validation=0.1, calibration=0.1, test=0.0))


def test_nearly_the_same_example_in_two_splits_is_refused_by_the_names_of_both() -> None:
    each = examples(200)
    found = assign(each, Split())
    one, other = int(found["train"][0]), int(found["test"][0])
    alike = np.arange(200)
    alike[other] = one
    names = [f"{row}.png" for row in range(200)]
    with pytest.raises(InputError) as caught:
        assign(dataclasses.replace(each, alike=alike, names=names), Split())
    assert str(caught.value) == (
        f"nearly the same example is in train ({one}.png) and in test ({other}.png): the test would flatter the model; "
        "remove one of them from the source, or write data.options.near_duplicates: drop"
    )


def test_nearly_the_same_examples_may_stand_in_one_split() -> None:
    each = examples(200)
    found = assign(each, Split())
    alike = np.arange(200)
    alike[found["train"][1]] = found["train"][0]
    again = assign(dataclasses.replace(each, alike=alike), Split())
    assert rows(again) == rows(found)


def test_every_example_needs_its_name() -> None:
    with pytest.raises(InputError, match="names: expected 200, one for each example, got 3"):
        dataclasses.replace(examples(200), names=("a", "b", "c"))
