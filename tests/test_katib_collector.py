"""What a trial prints, and what the laptop engine reads of it, against Katib's own rules."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from katib_rules import observation_log, parses_in_go
from parak8s.katib.local.collector import Collector, Format, moment_of, number, value_of
from parak8s.training.progress import Record
from parak8s.trial import metric_lines

numbers = st.floats(allow_nan=True, allow_infinity=True)


def record(**values: float) -> Record:
    usual = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy", "val_auc", "val_f1", "learning_rate"), 0.5)
    return Record(epoch=3, seconds=1.5, timestamp_ms=1_795_371_691_057, stage=1, **{**usual, **values})


@given(numbers, numbers)
def test_katib_reads_every_finite_value_exactly_and_never_a_value_that_is_none(auc: float, loss: float) -> None:
    lines = list(metric_lines(record(val_auc=auc, val_loss=loss), ["val_auc", "val_loss"]))
    read = {name: value for _, name, value in observation_log(lines, ["val_auc", "val_loss"])}
    expected = {name: value for name, value in (("val_auc", auc), ("val_loss", loss)) if math.isfinite(value)}
    assert {name: float(value) for name, value in read.items()} == expected


def test_each_line_begins_with_a_moment_that_katib_reads_and_holds_one_metric() -> None:
    lines = list(metric_lines(record(val_auc=0.875), ["val_auc", "val_loss"]))
    assert lines == ["2026-11-22T18:21:31.057Z val_auc=0.875", "2026-11-22T18:21:31.057Z val_loss=0.5"]
    assert [stamp for stamp, *_ in observation_log(lines, ["val_auc", "val_loss"])] == ["2026-11-22T18:21:31.057Z"] * 2


def test_what_is_no_number_is_said_in_words() -> None:
    assert list(metric_lines(record(val_auc=math.nan), ["val_auc"])) == [
        "2026-11-22T18:21:31.057Z epoch 3: val_auc is no number"
    ]


tokens = st.sampled_from(
    ["auc=0.5", "auc = .5", "auc=-1e-3", "auc=nan", "auc=+2E+5", "auc: 0.4", "val/auc=0.9", "auc=1.", "auc=", "xauc=3",
     "2026-11-22T18:21:31Z", "2026-11-22T18:21:31.057+02:00", "2026-13-22", "loss=1e5", "auc=0x10", "auc=٣", "-auc=7",
     "auc=inf", "loss=2;auc=3", "a|auc=1", "auc=1e"]
)  # fmt: skip


@given(st.lists(st.lists(tokens, max_size=4).map(" ".join), max_size=6))
def test_the_engine_reads_lines_as_katib_does(lines: list[str]) -> None:
    collector = Collector(Format(("auc", "loss")))
    read = [(name, value) for line in lines for name, value in collector.feed(line)]
    assert read == [(name, value) for _, name, value in observation_log(lines, ["auc", "loss"])]
    assert all((number(value) is not None) == parses_in_go(value) for _, value in read)


def test_a_word_of_a_million_letters_is_no_metric() -> None:
    assert fed(["auc " + "A" * 1_000_000, "auc=1"]).observation() == [
        {"name": "auc", "min": "1", "max": "1", "latest": "1"}
    ]


def fed(lines: list[str], format_: Format = Format(("auc", "loss")), keep: int = 0) -> Collector:  # noqa: B008
    collector = Collector(format_, keep=keep)
    for line in lines:
        list(collector.feed(line))
    return collector


def test_an_observation_holds_smallest_largest_and_latest_as_they_were_printed() -> None:
    collector = fed(["auc=0.50", "auc=0.9 loss=3", "auc=7e-1"], keep=2)
    assert collector.observation() == [
        {"name": "auc", "min": "0.50", "max": "0.9", "latest": "7e-1"},
        {"name": "loss", "min": "3", "max": "3", "latest": "3"},
    ]
    assert collector.first == [0.5, 0.9]
    assert [value_of(collector.observation(), "auc", kind) for kind in ("min", "max", "latest")] == [0.5, 0.9, 0.7]


def test_the_latest_is_the_one_with_the_latest_moment() -> None:
    lines = ["2026-01-01T00:00:09Z auc=0.9", "2026-01-01T00:00:01Z auc=0.1", "auc=0.2"]
    assert fed(lines).observation()[0]["latest"] == "0.9"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "no line says auc=VALUE"),
        (["loss=1"], "no line says auc=VALUE"),
        (["auc=nan", "auc=inf"], "auc was printed, but never as a number (nan and inf are none)"),
    ],
)
def test_an_objective_that_is_not_there_is_explained(lines: list[str], why: str) -> None:
    collector = fed(lines)
    assert value_of(collector.observation(), "auc", "max") is None
    assert collector.why_unavailable() == why


def test_json_lines_hold_text_values_and_a_moment() -> None:
    lines = [json.dumps(each) for each in (
        {"auc": "0.5", "timestamp": 1_700_000_000.5}, {"auc": 0.9}, {"auc": "0.4", "timestamp": "2020-01-01T00:00:00Z"},
    )]  # fmt: skip
    collector = fed(lines, Format(("auc",), "JSON"))
    assert collector.observation() == [{"name": "auc", "min": "0.4", "max": "0.5", "latest": "0.5"}]


def test_a_line_that_is_no_json_is_named() -> None:
    collector = fed(['{"auc": "1"}', "Epoch 1"], Format(("auc",), "JSON"))
    assert collector.observation() == []
    assert "'Epoch 1'" in collector.why_unavailable()


def test_filters_of_ones_own_replace_the_default() -> None:
    collector = fed(["auc: 0.7", "auc=0.9"], Format(("auc",), filters=(r"(\w+):\s*([\d.]+)",)))
    assert collector.observation() == [{"name": "auc", "min": "0.7", "max": "0.7", "latest": "0.7"}]


@pytest.mark.parametrize("text", ["2026-02-30T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00", "now", ""])
def test_what_is_no_rfc3339_is_no_moment(text: str) -> None:
    assert moment_of(text) is None


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e999", "0x1p3", "1_0", "٣"])
def test_what_is_no_finite_number_has_no_value(text: str) -> None:
    assert number(text) is None
