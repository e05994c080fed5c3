"""Values that are written into the text of an experiment file, and all that stays as somebody wrote it."""

import json
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from parak8s.errors import InputError
from parak8s.experiment import documents, flatten, space
from parak8s.promotion import promoted, values_of

FILES = sorted((Path(__file__).parents[1] / "experiments").glob("*.yaml"))
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in FILES}

SEARCHED = """\
# heartbeats, searched
name: ecg
training:
  epochs: 15
  optimizer: {name: adamw, learning_rate: 2.0e-3}   # of the paper

search:
  objective: {metric: val_auc}
  parameters:
    training.optimizer.learning_rate: {min: 1.0e-4, max: 1.0e-2, log: true}
    training.epochs: {min: 5, max: 20}
"""


def same(one: Any, other: Any) -> bool:
    """Return whether two plain values are alike in their types too: 1, 1.0 and true are three."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def collections(data: Mapping[str, Any], prefix: str = "") -> set[str]:
    """Return the paths of all mappings and lists."""
    found = {f"{prefix}{key}": value for key, value in data.items() if isinstance(value, dict | list)}
    inner = (collections(value, f"{path}.") for path, value in found.items() if isinstance(value, dict))
    return set(found).union(*inner)


def changed_lines(before: str, after: str) -> list[tuple[str, str]]:
    """Return the lines that differ, of two texts with equally many."""
    return [(old, new) for old, new in zip(before.split("\n"), after.split("\n"), strict=True) if old != new]


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["", "null", "yes", "1e-3", "a: b", "# no comment", ">= 0.9", "it's", '"', "{", "- x", "\u2028"])
)
words = st.text(string.ascii_lowercase, min_size=1, max_size=4)
known = sorted({path for text in TEXTS.values() for path in flatten(documents.parse(text, "file").data)})
paths = st.sampled_from([*known, "search.trials", "compute.cpus", "training.keep_best"]) | st.lists(
    st.sampled_from(["training", "model", "params", "gate", "new", "data", "options"]) | words, min_size=1, max_size=4
).map(".".join)


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_is_the_same_to_the_byte_when_the_values_that_it_has_are_set(name: str) -> None:
    values = flatten(documents.parse(TEXTS[name], name).data)
    assert len(values) > 15
    assert promoted(TEXTS[name], values) == TEXTS[name]


@settings(max_examples=40)
@given(st.sampled_from(sorted(TEXTS)), st.dictionaries(paths, scalars, max_size=6))
@example("ecg.yaml", {"training.optimizer.learning_rate": 1e-05, "training.seed.of.it": True, "compute.cpus": 2})
def test_the_file_reads_as_the_experiment_with_its_overrides_and_keeps_every_comment(
    name: str, values: dict[str, Any]
) -> None:
    text = TEXTS[name]
    data = documents.parse(text, name).data
    values = {path: value for path, value in values.items() if path not in collections(data)}  # their comments go too
    try:
        expected = space.override(data, values.items())
    except InputError:  # a path leads through a value
        assume(False)
    after = promoted(text, values)
    assert same(documents.parse(after, name).data, expected)
    comments = [line[line.index("#") :] for line in text.split("\n") if "#" in line]
    place = 0
    for comment in comments:
        place = after.index(comment, place) + len(comment)


trees = st.recursive(
    scalars | st.lists(st.integers(-9, 9) | words, max_size=3),
    lambda inner: st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(words, trees, min_size=1, max_size=4),
    st.dictionaries(st.lists(words, min_size=1, max_size=3).map(".".join), scalars | st.lists(scalars, max_size=2)),
    st.sampled_from([True, False, None]),
    st.integers(2, 4),
    st.sampled_from(["\n", "\r\n"]),
)
def test_values_are_set_in_every_style_in_which_a_file_may_be_written(
    data: dict[str, Any], values: dict[str, Any], flow: bool | None, indent: int, line_break: str
) -> None:
    dumped = yaml.safe_dump(data, default_flow_style=flow, indent=indent, width=30, allow_unicode=False)
    text = dumped.replace("\n", line_break)
    try:
        read = documents.parse(text, "file").data
        expected = space.override(read, values.items())
    except InputError:  # what PyYAML writes as YAML 1.1 and the experiment file refuses, or a path through a value
        assume(False)
    assert same(documents.parse(promoted(text, values), "file").data, expected)


def test_only_the_value_changes_in_its_line() -> None:
    after = promoted(SEARCHED, {"training.optimizer.learning_rate": 0.0031, "training.epochs": 15})
    assert changed_lines(SEARCHED, after) == [
        (
            "  optimizer: {name: adamw, learning_rate: 2.0e-3}   # of the paper",
            "  optimizer: {name: adamw, learning_rate: 0.0031}   # of the paper",
        )
    ]


def test_a_key_that_has_dots_itself_is_not_the_path_that_it_spells() -> None:
    after = promoted(SEARCHED, {"training.epochs": 9, "search.parameters.training.epochs.max": 9})
    assert changed_lines(SEARCHED, after) == [
        ("  epochs: 15", "  epochs: 9"),
        ("    training.epochs: {min: 5, max: 20}", "    training.epochs: {min: 5, max: 9}"),
    ]


@pytest.mark.parametrize(
    ("before", "values", "after"),
    [
        pytest.param("a: {b: 1}  # c\n", {"a.d": "x"}, "a: {b: 1, d: x}  # c\n", id="added between braces"),
        pytest.param("a: {}\n", {"a.d": 1}, "a: {d: 1}\n", id="added between empty braces"),
        pytest.param("a: {b: 1,\n  c: 2 }\n", {"a.b": None}, "a: {b: null,\n  c: 2 }\n", id="braces over two lines"),
        pytest.param(
            "a:\n  b: 1  # c\n\nd: 2\n", {"a.e": 1.5}, "a:\n  b: 1  # c\n  e: 1.5\n\nd: 2\n", id="added to a block"
        ),
        pytest.param("a:\n    b: 1\n", {"a.c": 2}, "a:\n    b: 1\n    c: 2\n", id="indented as its neighbours"),
        pytest.param("a: 1", {"b": 2}, "a: 1\nb: 2", id="no line break at the end"),
        pytest.param("a: 1\n", {"b.c": 2, "b.d.e": 3}, "a: 1\n\nb:\n  c: 2\n  d: {e: 3}\n", id="a missing section"),
        pytest.param("a:  # c\nb: 1\n", {"a.d": 2}, "a: {d: 2}  # c\nb: 1\n", id="an empty section"),
        pytest.param("a: # c\n", {"a": True}, "a: true # c\n", id="an empty value"),
        pytest.param("a: 'x'\r\nb: 1\r\n", {"a": "it's", "c": 2}, "a: 'it''s'\r\nb: 1\r\nc: 2\r\n", id="CRLF"),
        pytest.param('a: "x" # c\n', {"a": "y"}, 'a: "y" # c\n', id="double quotes stay"),
        pytest.param("a: x\n", {"a": "null"}, 'a: "null"\n', id="text that looks like null"),
        pytest.param("a: x\n", {"a": "1e-3"}, 'a: "1e-3"\n', id="text that looks like a number"),
        pytest.param("a: true\n", {"a": 1}, "a: 1\n", id="1 is not true"),
        pytest.param("a: 1\n", {"a": 1.0}, "a: 1.0\n", id="1.0 is not 1"),
        pytest.param("a: ~\nb: Null\n", {"a": None, "b": None}, "a: ~\nb: Null\n", id="null spelled as before"),
        pytest.param(
            "a:\n- 1\n- 2\n# c\nb: 1\n", {"a": [3]}, "a:\n  [3]\n# c\nb: 1\n", id="a list that is not indented"
        ),
        pytest.param("a: |\n  x\n  y\n\n# c\nb: 1\n", {"a": "z"}, "a: z\n\n# c\nb: 1\n", id="a block of text"),
        pytest.param("a:\n  b: 1\n# end\n", {"c": 2}, "a:\n  b: 1\nc: 2\n# end\n", id="before what ends the file"),
        pytest.param("--- # top\na: 1\n...\n", {"b": 2}, "--- # top\na: 1\nb: 2\n...\n", id="marks of a document"),
    ],
)
def test_the_rest_of_the_text_stays(before: str, values: Mapping[str, Any], after: str) -> None:
    assert promoted(before, values) == after


def test_a_comment_is_put_at_the_top_line_by_line() -> None:
    assert promoted("a: 1\r\n", {}, comment="best of ecg\n\n# 0.99") == "# best of ecg\r\n#\r\n# 0.99\r\na: 1\r\n"


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("a: 1\n", {"a.b": 2}, "a.b=2: a is 1 and has no keys below it"),
        ("a: &x 1\nb: *x\n", {"a": 2}, "the alias *x is refused"),
        ("a: 1\na: 2\n", {"a": 2}, "given twice"),
        ("a: 1\n", {"a": float("nan")}, "a: nan cannot be written"),
        ("a: 1\n", {"b": 2**70}, "b: 1180591620717411303424 cannot be written"),
        ("a: 1\n", {"a": {1, 2}}, "a: {1, 2} cannot be written"),
        ("? a\n: b\n", {"c": 2}, "c: cannot be set in the way this file is written"),
    ],
)
def test_what_cannot_be_set_is_one_clear_error(text: str, values: Mapping[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        promoted(text, values)
    assert message in str(raised.value)


def test_assignments_are_read_as_a_trial_reads_them() -> None:
    assignments = {"training.epochs": "5", "training.optimizer.learning_rate": "1e-3", "model.builder": "deep_cnn"}
    read = values_of(assignments)
    assert read == dict(space.parse_override(f"{path}={text}") for path, text in assignments.items())
    assert [type(value) for value in read.values()] == [int, float, str]
