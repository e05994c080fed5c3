"""YAML files as plain values: what is read, what is refused, and how the refusal reads."""

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from parak8s.errors import EnvironmentFault, ExperimentError, InputError
from parak8s.experiment import documents

ECG = (Path(__file__).parents[1] / "experiments" / "ecg.yaml").read_text(encoding="utf-8")


def refusal(text: str) -> list[str]:
    with pytest.raises(ExperimentError) as caught:
        documents.parse(text, "F")
    return [str(mistake) for mistake in caught.value.mistakes]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 0.001),
        ("1.0e-3", 0.001),
        ("+.5", 0.5),
        ("1.", 1.0),
        ("-7", -7),
        ("010", 10),
        ("089", 89),
        ("0o17", 15),
        ("0x1F", 31),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'null'", "null"),
        ('"1e-3"', "1e-3"),
        ("'2'", "2"),
        ("text # comment", "text"),
        ("synthetic://ecg?beats=12000&seed=1", "synthetic://ecg?beats=12000&seed=1"),
        ("[a, 1, 2.5, true, null]", ["a", 1, 2.5, True, None]),
        ("{a: {b: [1]}}", {"a": {"b": [1]}}),
    ],
)
def test_scalars_follow_yaml_1_2_in_files_and_overrides(written: str, value: Any) -> None:
    read = documents.parse(f"key: {written}\n", "F").data["key"]
    assert read == value
    assert type(read) is type(value)
    assert documents.scalar(written, "-s key") == value


def test_a_threshold_needs_no_quotes_in_an_override() -> None:
    assert documents.scalar(">= 0.95", "-s gate.auc") == ">= 0.95"


def test_keys_stay_text_as_they_are_written() -> None:
    assert documents.parse("1: a\n0x1: b\ntrue: c\n1.0: d\n~: e\n", "F").data == {
        "1": "a",
        "0x1": "b",
        "true": "c",
        "1.0": "d",
        "~": "e",
    }


def test_lines_are_those_of_the_keys_and_fall_back_to_the_section_around() -> None:
    document = documents.parse("name: x\ndata:\n  options:\n    a.b: [1,\n      2]\n", "F")
    places = ["name", "data", "data.options", "data.options.a.b", "data.options.a.b.1", "data.options.typo", "nothing"]
    assert [document.where(path) for path in places] == [
        "line 1", "line 2", "line 3", "line 4", "line 5", "line 3", "line 1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected lines of 'key: value', beginning with 'name: ...'; nothing is written here"),
        ("- a\n", "line 1: expected lines of 'key: value', beginning with 'name: ...'; got a list"),
        ("text", "line 1: expected lines of 'key: value', beginning with 'name: ...'; got 'text'"),
        ("a: 1\na: 2\n", "line 2: a: given twice, first on line 1; keep one"),
        ("x: {a: 1, b: 2, a: 3}\n", "line 1: x.a: given twice, first on line 1; keep one"),
        ("<<: {a: 1}\n", "line 1: the merge key << is refused; write the keys out"),
        ("? [a]\n: 1\n", "line 1: a key must be plain text"),
        ("{a: 1}: 2\n", "line 1: a key must be plain text"),
        ("a: !!int 3\n", "line 1: a: the tag !!int is refused; write a plain value, text in quotes"),
        ("a: ! 3\n", "line 1: a: the tag ! is refused; write a plain value, text in quotes"),
        ("a: .nan\n", "line 1: a: .nan is not a finite number"),
        ("a: [-.INF]\n", "line 1: a.0: -.INF is not a finite number"),
        ("a: 1e400\n", "line 1: a: 1e400 is not a finite number"),
        (
            f"a: {10**400}\n",
            "line 1: a: 100000000000000000000000000000 is out of range; a whole number has at most 64 bits",
        ),
        (
            "a: 9223372036854775808\n",
            "line 1: a: 9223372036854775808 is out of range; a whole number has at most 64 bits",
        ),
        ('a: "\\ud800"\n', "line 1: a: half of a surrogate pair is not text; write the character itself"),
        ("a: 1\n---\nb: 2\n", "line 2: a second document begins here (---); keep one"),
        ("a: \x1b[31m\n", "line 1: the character U+001B is not text; save the file as UTF-8 without it"),
        ("a: 1\nb: \0\n", "line 2: the character U+0000 is not text; save the file as UTF-8 without it"),
    ],
)  # fmt: skip
def test_what_json_cannot_hold_is_refused_with_its_line(text: str, message: str) -> None:
    assert refusal(text) == [message]


def test_an_alias_is_refused_before_anything_can_explode() -> None:
    laughs = "a: &a [x]\n" + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
    )
    assert refusal(laughs) == [
        "line 2: b.0: the alias *a is refused: a few of them can fill the memory; write the value out"
    ]  # fmt: skip


@pytest.mark.parametrize("bracket", ["[", "{", "- ", "? "])
def test_deep_nesting_is_refused_at_once(bracket: str) -> None:
    assert refusal(bracket * 50_000) == ["line 1: nested deeper than 20 levels"]


def test_twenty_levels_are_allowed() -> None:
    value: Any = 1
    for _ in range(20):
        value = [value]
    assert documents.parse(f"a: {json.dumps(value[0])}", "F").data == {"a": value[0]}


def test_all_that_is_refused_is_reported_together() -> None:
    assert len(refusal("a: .nan\nb: !!set {x}\na: 2\n'': 1\n<<: 3\n")) == 5


def test_a_file_with_very_many_mistakes_is_reported_in_fifty_lines() -> None:
    with pytest.raises(ExperimentError) as caught:
        documents.parse("\n".join(f"k{n}: .nan" for n in range(1000)), "F")
    lines = str(caught.value).splitlines()
    assert len(lines) == 52
    assert lines[0] == "F: 1000 mistakes"
    assert lines[-1] == "  and 950 more"


def test_a_100_mb_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    with pytest.raises(
        InputError, match=r"large\.yaml: larger than 262,144 bytes, the most an experiment file may have"
    ):
        documents.read(path)


def test_no_more_is_read_than_a_file_may_have() -> None:
    with pytest.raises(InputError, match="/dev/zero: larger than 262,144 bytes"):
        documents.read(Path("/dev/zero"))  # never ends


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: x\n#" + "x" * (262_144 - 9))
    assert documents.read(path).data == {"name": "x"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: café\n".encode("latin-1"), r"not UTF-8 text \(byte 9\); save it as UTF-8"),
        ("name: x\n".encode("utf-16"), r"not UTF-8 text \(byte 0\); save it as UTF-8"),
        ("name: x\n".encode("utf-16-le"), r"line 1: the character U\+0000 is not text; save the file as UTF-8"),
        ("name: x\n".encode("utf-32-le"), r"line 1: the character U\+0000 is not text"),
    ],
)
def test_other_encodings_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(InputError, match=message):
        documents.read(tmp_path / "x.yaml")


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfname: x\r\nseed: 1\r\n")
    assert documents.read(tmp_path / "x.yaml").data == {"name": "x", "seed": 1}


def test_what_is_no_file_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.yaml: no such file"):
        documents.read(tmp_path / "nothing.yaml")
    with pytest.raises(InputError, match="a folder; name the experiment file in it"):
        documents.read(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputError, match=r"loop: Too many levels of symbolic links"):
        documents.read(tmp_path / "loop")


def test_a_file_that_may_not_be_read_is_a_fault_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop root
    with pytest.raises(EnvironmentFault, match=r"no permission to read; change its owner or mode \(chmod u\+r\)"):
        documents.read(tmp_path / "x.yaml")


KEYS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8).filter(lambda key: key != "<<")
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["1e-3", "0o17", "yes", "null", "~", "", "010", ".5", "1.", "*a", "&a", "!x", ">= 1", "- a", "a: b", "#", "=", "<<"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
@example({"key": "a\x85b\u2028", "other": "\u2029"})
@settings(deadline=None)
def test_what_is_dumped_is_read_as_the_same_values(values: dict[str, Any]) -> None:
    read = documents.parse(documents.dump(values), "F").data if values else {}
    assert read == values
    assert json.dumps(read) == json.dumps(values)  # tells 1 from 1.0 and true


def test_a_value_that_stands_in_two_places_is_written_twice() -> None:
    shared = [1, 2]
    assert documents.parse(documents.dump({"a": shared, "b": shared}), "F").data == {"a": [1, 2], "b": [1, 2]}


def is_read_or_refused(text: str) -> bool:
    """Return whether ``text`` is read as JSON values or refused by name; any other exception ends the test."""
    try:
        return isinstance(json.dumps(documents.parse(text, "F").data, allow_nan=False), str)
    except ExperimentError as error:
        return str(error).startswith("F: ")


@given(st.text(max_size=60))
@settings(deadline=None)
def test_any_text_gives_a_mapping_or_one_readable_refusal(text: str) -> None:
    assert is_read_or_refused(text)


@given(st.integers(0, len(ECG)), st.integers(0, 12), st.text("{}[]:,-#&*!|>'\"%@`?<~ \t\n\\x0é\0", max_size=4))
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_gives_a_mapping_or_one_readable_refusal(at: int, cut: int, inserted: str) -> None:
    assert is_read_or_refused(ECG[:at] + inserted + ECG[at + cut :])


@given(st.binary(max_size=64))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_a_mapping_or_one_readable_refusal(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        assert isinstance(documents.read(path).data, dict)


def test_numbers_keep_their_precision() -> None:
    assert documents.parse(documents.dump({"a": math.pi, "b": 5e-324, "c": 1e300}), "F").data == {
        "a": math.pi,
        "b": 5e-324,
        "c": 1e300,
    }
