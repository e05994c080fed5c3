"""Overrides: dotted paths into the file and the values that are put there."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parak8s.errors import InputError
from parak8s.experiment import space


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("training.epochs=2", "training.epochs", 2),
        ("training.optimizer.learning_rate=1e-3", "training.optimizer.learning_rate", 0.001),
        ("name='2'", "name", "2"),
        ('name="no"', "name", "no"),
        ("name=on", "name", "on"),
        ("evaluation.metrics=[auc, f1]", "evaluation.metrics", ["auc", "f1"]),
        ("search=null", "search", None),
        ("search=", "search", None),
        (" training.epochs = 2 ", "training.epochs", 2),
        ("data.source=https://host/x.csv?a=1&b=2", "data.source", "https://host/x.csv?a=1&b=2"),
        ("gate.auc=>= 0.95", "gate.auc", ">= 0.95"),
        ("model.params={filters: 8}", "model.params", {"filters": 8}),
    ],
)
def test_an_override_is_a_path_and_a_value_of_the_file(text: str, path: str, value: Any) -> None:
    assert space.parse_override(text) == (path, value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training.epochs", "-s training.epochs: expected path=value, such as -s training.epochs=2"),
        ("=2", "-s =2: expected path=value, such as -s training.epochs=2"),
        ("a..b=2", "-s a..b=2: expected path=value, such as -s training.epochs=2"),
        ("a. .b=2", "-s a. .b=2: expected path=value, such as -s training.epochs=2"),
        (
            "a=[1",
            "-s a=[1: not YAML: expected ',' or ']', but got '<stream end>'; a bracket is not closed, "
            "or a comma is missing",
        ),
        ("a=*b", "-s a=*b: the alias *b is refused: a few of them can fill the memory; write the value out"),
        ("a=1e400", "-s a=1e400: 1e400 is not a finite number"),
        ("a=!!int 2", "-s a=!!int 2: the tag !!int is refused; write a plain value, text in quotes"),
        ("a={b: 1, b: 2}", "-s a={b: 1, b: 2}: given twice, first on line 1; keep one"),
    ],
)
def test_a_broken_override_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        space.parse_override(text)
    assert str(caught.value) == message


def test_the_last_override_wins_and_nothing_given_is_changed() -> None:
    data = {"training": {"epochs": 8, "jit": False}, "name": "x"}
    changed = space.override(data, [("training.epochs", 2), ("gate.auc", ">= 1"), ("training.epochs", 3)])
    assert changed == {"training": {"epochs": 3, "jit": False}, "name": "x", "gate": {"auc": ">= 1"}}
    assert data == {"training": {"epochs": 8, "jit": False}, "name": "x"}


def test_an_empty_section_can_be_filled() -> None:
    assert space.override({"search": None}, [("search.trials", 3)]) == {"search": {"trials": 3}}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("name.first", "-s name.first=2: name is 'x' and has no keys below it"),
        ("a.b.c.d", "-s a.b.c.d=2: a.b is [1] and has no keys below it"),
        ("a.b.0", "-s a.b.0=2: a.b is [1] and has no keys below it"),
    ],
)
def test_a_path_through_a_value_is_refused(path: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        space.override({"name": "x", "a": {"b": [1]}}, [(path, 2)])
    assert str(caught.value) == message


def test_a_key_with_dots_is_found_where_it_stands() -> None:
    data = {"search": {"parameters": {"training.epochs": {"min": 2, "max": 8}}}}
    assert space.override(data, [("search.parameters.training.epochs.max", 4)]) == {
        "search": {"parameters": {"training.epochs": {"min": 2, "max": 4}}}
    }


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(".".join)


@given(PATHS, st.integers())
@settings(deadline=None)
def test_what_was_put_at_a_path_is_found_there(path: str, value: int) -> None:
    found: Any = space.override({}, [(path, value)])
    for key in path.split("."):
        found = found[key]
    assert found == value
