"""The threshold of the second of two classes: how it is chosen, and what is measured at it, against scikit-learn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sk

from parak8s import loading
from parak8s.errors import ExperimentError, InputError
from parak8s.evaluation import Decision, choose, measure
from parak8s.evaluation.metrics import Meter
from parak8s.experiment import Bootstrap, Experiment, Gate, OperatingPoint
from parak8s.gate import compare, judge
from parak8s.parts import parts
from parak8s.steps.ingest import ingest

CLASSES = ("NORMAL", "PNEUMONIA")
Labels = NDArray[np.int64]
Scores = NDArray[np.float32]


def scored(kind: str, n: int = 300, seed: int = 0) -> tuple[Scores, Labels]:
    """Return the probability of the second class, and labels."""
    random = np.random.default_rng(seed)
    labels = np.append([0, 1], random.integers(0, 2, n - 2))
    scores = 1 / (1 + np.exp(-(2 * labels - 1) * 1.2 - random.normal(0, 1.5, n)))
    if kind == "ties":
        scores = np.round(scores, 1)
    if kind == "constant":
        scores = np.full(n, 0.7)
    if kind == "extreme":
        scores = np.where(random.random(n) < 0.1, 1 - labels, labels)
    return scores.astype(np.float32), labels


def both(scores: Scores) -> Scores:
    return np.stack([1 - scores, scores], axis=1)


def best_of_sklearn(scores: Scores, labels: Labels, wanted: OperatingPoint) -> tuple[float, float]:
    """Return the best sensitivity and specificity on scikit-learn's ROC curve that keep what is wanted."""
    wrong, right, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    points = [(float(sensitivity), float(1 - false)) for false, sensitivity in zip(wrong, right, strict=True)]
    if wanted.specificity is not None:
        kept = [point for point in points if point[1] >= wanted.specificity - 1e-12]
        return max(kept)
    kept = [point for point in points if point[0] >= (wanted.sensitivity or 0) - 1e-12]
    return max(kept, key=lambda point: point[::-1])


@pytest.mark.parametrize("kind", ["random", "ties", "constant", "extreme"])
@pytest.mark.parametrize("rate", [0.01, 0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("name", ["specificity", "sensitivity"])
def test_the_threshold_gives_the_best_point_of_scikit_learns_curve(kind: str, rate: float, name: str) -> None:
    wanted = OperatingPoint.model_validate({name: rate})
    scores, labels = scored(kind)
    chosen = choose(both(scores), labels, CLASSES, wanted)
    assert (chosen.sensitivity, chosen.specificity) == pytest.approx(best_of_sklearn(scores, labels, wanted))
    called = scores >= np.float32(chosen.threshold)
    assert chosen.sensitivity == pytest.approx(sk.recall_score(labels, called, zero_division=0))
    assert chosen.specificity == pytest.approx(sk.recall_score(labels == 0, ~called, zero_division=0))
    assert getattr(chosen, name) >= rate - 1e-12
    assert (chosen.positive, chosen.examples, chosen.wanted) == ("PNEUMONIA", 300, {name: rate})


@pytest.mark.parametrize("kind", ["random", "ties", "extreme"])
def test_the_threshold_is_a_float32_between_two_probabilities_and_near_none(kind: str) -> None:
    scores, labels = scored(kind)
    threshold = choose(both(scores), labels, CLASSES, OperatingPoint(specificity=0.9)).threshold
    assert float(np.float32(threshold)) == threshold
    below, above = scores[scores < threshold].max(), scores[scores >= threshold].min(initial=1)
    assert threshold - below == pytest.approx(above - threshold, abs=1e-6)


def test_a_rate_that_is_kept_exactly_is_kept() -> None:
    scores = np.linspace(0.01, 0.99, 40, dtype=np.float32)
    labels = np.append(np.zeros(20), np.ones(20)).astype(int)
    labels[[19, 20]] = 1, 0  # One healthy example of twenty above one ill one.
    chosen = choose(both(scores), labels, CLASSES, OperatingPoint(specificity=0.95))
    assert (chosen.specificity, chosen.sensitivity) == (0.95, 1.0)


def test_where_no_threshold_finds_anybody_nobody_is_called() -> None:
    chosen = choose(both(np.ones(4, np.float32)), [0, 1, 0, 1], CLASSES, OperatingPoint(specificity=0.9))
    assert (chosen.sensitivity, chosen.specificity) == (0.0, 1.0)
    assert not (np.float32(1) >= chosen.threshold)


def test_a_decision_survives_json() -> None:
    chosen = choose(both(scored("random")[0]), scored("random")[1], CLASSES, OperatingPoint(sensitivity=0.9))
    assert Decision.from_json(chosen.to_json()) == chosen


def test_more_than_two_classes_and_a_class_without_examples_are_refused() -> None:
    with pytest.raises(InputError, match=r"operating_point: is for two classes, the data has 3 \(a, b, c\)"):
        choose(np.full((3, 3), 1 / 3), [0, 1, 2], "abc", OperatingPoint(specificity=0.9))
    with pytest.raises(InputError, match=r"the validation split has no example of PNEUMONIA; give data\.split"):
        choose(both(scored("random")[0]), np.zeros(300, int), CLASSES, OperatingPoint(specificity=0.9))


# -------------------------------------------------------------------------------------------------------- measured


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_sensitivity_and_specificity_are_scikit_learns_recall_of_each_class(threshold: float) -> None:
    scores, labels = scored("ties")
    weights = np.random.default_rng(1).integers(0, 4, (300, 3)).astype(float)
    called = scores >= np.float32(threshold)
    got = Meter(both(scores), labels, CLASSES, threshold=float(np.float32(threshold)))(weights)
    for column in range(3):
        options: dict[str, Any] = {"sample_weight": weights[:, column], "zero_division": 0}
        assert got["sensitivity"][column] == pytest.approx(sk.recall_score(labels, called, **options))
        assert got["specificity"][column] == pytest.approx(sk.recall_score(labels == 0, ~called, **options))


def test_measured_at_an_operating_point_it_stands_in_metrics_json_with_intervals() -> None:
    scores, labels = scored("random")
    decision = choose(both(scores), labels, CLASSES, OperatingPoint(specificity=0.9))
    measured = measure(both(scores), labels, CLASSES, bootstrap=Bootstrap(samples=200), seed=1, decision=decision)
    assert measured["operating_point"] == decision.to_json()
    for name in ("sensitivity", "specificity"):
        metric = measured["metrics"][name]
        assert metric["value"] == getattr(decision, name)
        assert metric["low"] < metric["value"] < metric["high"]


def test_without_examples_of_a_class_its_rate_is_not_defined() -> None:
    values = Meter([[0.5, 0.5], [0.2, 0.8]], [0, 0], CLASSES, threshold=0.6).values()
    assert np.isnan(values["sensitivity"])
    assert values["specificity"] == 0.5


def test_the_gate_holds_them_against_thresholds_and_the_champion_at_a_threshold_of_its_own() -> None:
    scores, labels = scored("random")
    metrics = Meter(both(scores), labels, CLASSES, threshold=0.5)
    measured = {name: {"value": value, "low": None, "high": None} for name, value in metrics.values().items()}
    rules = Gate.model_validate({"sensitivity": ">= 0.999"})
    (check,) = judge(rules, measured, None).checks
    assert (check.check, check.passed) == ("sensitivity >= 0.999", False)
    settings: dict[str, Any] = {"name": "m", "version": "1", "bootstrap": Bootstrap(samples=200), "seed": 0}
    halved = (scores / 2).astype(np.float32)
    at = compare(both(scores), both(halved), labels, CLASSES, ["sensitivity"], thresholds=(0.5, 0.25), **settings)
    assert at.differences["sensitivity"].to_json() == {"value": 0, "low": 0, "high": 0}
    at = compare(both(scores), both(halved), labels, CLASSES, ["sensitivity"], thresholds=(0.5, 0.5), **settings)
    assert at.differences["sensitivity"].low > 0.5


# -------------------------------------------------------------------------------------------------------- the file


FILE = "name: x\ndata: {loader: ecg, source: 'synthetic://ecg?beats=300'}\nmodel: {builder: deep_cnn}\n"


def load(*overrides: str) -> Experiment:
    return loading.parse(FILE, "x.yaml", overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["evaluation.metrics=[auc, sensitivity]"],
            "evaluation.operating_point: must be given for the metric sensitivity, which depends on it",
        ),
        (["gate.specificity=>= 0.9"], "evaluation.operating_point: must be given for the metric specificity"),
        (["evaluation.operating_point={}"], "evaluation.operating_point: give one of the two"),
        (
            ["evaluation.operating_point={sensitivity: 0.9, specificity: 0.9}"],
            "evaluation.operating_point: give one of the two, such as {specificity: 0.95}",
        ),
        (["evaluation.operating_point.specificity=1"], "specificity: must be below 1, got 1"),
        (["evaluation.operating_point.recall=0.9"], "recall: no such key"),
        (["gate.sensitivity/V=>= 0.9"], "only auc, precision, recall, f1 exist for a class"),
        (["gate.sensitivty=>= 0.9"], "no such metric; did you mean 'sensitivity'"),
    ],
)
def test_a_mistake_around_the_operating_point_gives_one_message(overrides: list[str], message: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        load(*overrides)
    (mistake,) = caught.value.mistakes
    assert message in f"{mistake.path}: {mistake.message}"


def test_ingest_refuses_an_operating_point_for_five_classes_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"operating_point: is for two classes, the data has 5 \(N, S, V, F, Q\)"):
        ingest(load("evaluation.operating_point.specificity=0.9"), tmp_path)


def test_another_rate_repeats_calibrate_and_evaluate_alone() -> None:
    one, other = (
        parts(load(f"evaluation.operating_point.specificity={rate}"), "sha256:" + "0" * 64) for rate in (0.9, 0.95)
    )
    assert {step for step in one if one[step] != other[step]} == {"calibrate", "evaluate"}
