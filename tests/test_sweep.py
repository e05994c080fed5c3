"""Named points of a sweep: the overrides of each, and what is wrong with them."""

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parak8s import loading, sweep
from parak8s.errors import ExperimentError
from parak8s.experiment import Experiment, space
from parak8s.sweep import read_points


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    text = "name: x\ndata: {loader: ecg, source: 'synthetic://ecg'}\nmodel: {builder: deep_cnn}\n"
    return loading.parse(text, "x.yaml")


def refusals(experiment: Experiment, text: str) -> list[str]:
    with pytest.raises(ExperimentError, match=r"^points\.yaml: ") as refused:
        read_points(experiment, text, "points.yaml")
    return [str(mistake) for mistake in refused.value.mistakes]


def test_each_point_becomes_one_line_of_overrides_in_the_order_of_the_file(experiment: Experiment) -> None:
    text = (
        "wide: {model: {params: {filters: 32}}, training.epochs: 5}\nplain: {}\nsgd: {training.optimizer.name: sgd}\n"
    )
    assert read_points(experiment, text) == {
        "wide": "model.params.filters=32 training.epochs=5",
        "plain": "",
        "sgd": "training.optimizer.name=sgd",
    }


def test_a_line_gives_back_the_values_that_were_written(experiment: Experiment) -> None:
    text = "weights: {training.class_weight: {N: 0.5, V: 2.0}, training.keep_best: null}\n"
    overrides = shlex.split(read_points(experiment, text)["weights"])
    point = loading.parse(
        "name: x\ndata: {loader: ecg, source: 'synthetic://ecg'}\nmodel: {builder: deep_cnn}\n", "x", overrides
    )
    assert (point.training.class_weight, point.training.keep_best) == ({"N": 0.5, "V": 2.0}, None)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["3", "null", "x: y", "a # b", ">= 0.9", "|", "'", '"', "[", "{", " a ", "1e3", "\x85"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z =.]{1,5}", fullmatch=True), inner),
    max_leaves=5,
)  # fmt: skip


@given(VALUES)
def test_every_value_of_a_point_comes_back_through_the_shell_and_the_override(value: Any) -> None:
    (words,) = shlex.split(shlex.quote(f"model.params.x={sweep._written(value)}"))
    path, read = space.parse_override(words)
    assert (path, repr(read)) == ("model.params.x", repr(value))


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (
            "a: {training: {epochs: 3}, training.epochs: 4}\n",
            ["line 1: a.training.epochs: given twice, such as once with dots and once nested; keep one"],
        ),
        (
            "a: {training: {class_weight: {N: 2.0}}, training.class_weight: balanced}\n",
            ["line 1: a.training.class_weight: given twice, such as once with dots and once nested; keep one"],
        ),
        (
            "a: {training.class_weight: {N=V: 2.0}}\n",
            ["line 1: a.training.class_weight.N=V: cannot be written as path=value: a key of it holds = or a blank"],
        ),
        ("{}\n", ["no point is written here; write name: {path: value}"]),
        ("a: 5\n", ["line 1: a: expected a mapping such as {training.epochs: 5}, got 5"]),
        (
            "a: {data.split.by: patient}\n",
            ["line 1: a.data.split.by: the points of a sweep share data and evaluation; "
             "vary seed, data.batch_size, model, training"],
        ),
        (
            "ok: {training.epochs: 5}\na: {training.epochs: 0}\nb: {training.epoch: 3}\n",
            ["line 2: a.training.epochs: ", "line 3: b.training.epoch: "],
        ),
        ("a: {training.epochs: 5}\nb: {training.epochs: 5}\n", ["line 1: a: is the same point as b; remove one"]),
    ],
)  # fmt: skip
def test_every_mistake_of_every_point_is_told_with_its_line(
    experiment: Experiment, text: str, messages: list[str]
) -> None:
    told = refusals(experiment, text)
    assert len(told) == len(messages)
    for mistake, begin in zip(told, messages, strict=True):
        assert mistake.startswith(begin)
