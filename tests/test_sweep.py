"""Named points of a sweep: the overrides of each, and what is wrong with them."""

import shlex

import pytest

from parak8s import loading
from parak8s.errors import ExperimentError
from parak8s.experiment import Experiment
from parak8s.sweep import read_points


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    text = "name: x\ndata: {loader: ecg, source: 'synthetic://ecg'}\nmodel: {builder: deep_cnn}\n"
    return loading.parse(text, "x.yaml")


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


@pytest.mark.parametrize(
    ("text", "messages"),
    [
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
    with pytest.raises(ExperimentError) as refused:
        read_points(experiment, text)
    told = [str(mistake) for mistake in refused.value.mistakes]
    assert len(told) == len(messages)
    for mistake, begin in zip(told, messages, strict=True):
        assert mistake.startswith(begin)
