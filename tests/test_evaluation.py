"""Metrics, intervals and curves, against scikit-learn on the same predictions."""

import itertools
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sk

from parak8s.errors import InputError
from parak8s.evaluation import bootstrap as resampling
from parak8s.evaluation import confusion_matrix, measure, precision_recall_curves, reliability, roc_curves
from parak8s.evaluation.bootstrap import intervals, resamples
from parak8s.evaluation.metrics import Floats, Meter
from parak8s.experiment import METRICS, Bootstrap

CLASSES = ("N", "S", "V", "F", "Q")


def softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Floats = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def predictions(kind: str, n: int = 400, k: int = 5) -> tuple[Any, NDArray[np.int64]]:
    """Return probabilities (n, k) and labels (n,), every class present."""
    random = np.random.default_rng(5)
    labels = np.append(np.arange(k), random.choice(k, n - k, p=[0.6, 0.05, 0.2, 0.03, 0.12]))
    logits = random.normal(size=(n, k)) + 2 * np.eye(k)[labels]
    if kind == "ties":
        return softmax(np.round(logits)), labels
    if kind == "float32":
        return softmax(20 * logits).astype(np.float32), labels
    if kind == "perfect":
        return np.eye(k)[labels], labels
    if kind == "reversed":
        return np.eye(k)[(labels + 1) % k], labels
    if kind == "constant":
        return np.tile([0.5, 0.2, 0.1, 0.1, 0.1], (n, 1)), labels
    if kind == "uniform":
        return np.full((n, k), 0.2), labels
    return softmax(logits), labels


KINDS = ("random", "ties", "float32", "perfect", "reversed", "constant", "uniform")


def of_sklearn(probabilities: Any, labels: NDArray[np.int64], weights: Floats | None) -> dict[str, float]:
    """Every metric but ECE, by scikit-learn; Brier by its definition."""
    k, predicted, truth = probabilities.shape[1], probabilities.argmax(axis=1), np.eye(probabilities.shape[1])[labels]
    values = {"categorical_accuracy": sk.accuracy_score(labels, predicted, sample_weight=weights)}
    auc = [sk.roc_auc_score(labels == c, probabilities[:, c], sample_weight=weights) for c in range(k)]
    scores = sk.precision_recall_fscore_support(
        labels, predicted, labels=range(k), zero_division=0, sample_weight=weights
    )[:3]
    for name, by_class in zip(("auc", "precision", "recall", "f1"), (auc, *scores), strict=True):
        values[name] = np.mean(by_class)
        values |= {f"{name}/{label}": value for label, value in zip(CLASSES, by_class, strict=True)}
    values["brier"] = np.average(((probabilities.astype(float) - truth) ** 2).sum(axis=1), weights=weights)
    return values


@pytest.mark.parametrize("kind", KINDS)
def test_every_metric_is_scikit_learns(kind: str) -> None:
    probabilities, labels = predictions(kind)
    got = Meter(probabilities, labels, CLASSES).values()
    assert got.pop("ece") >= 0
    assert got == pytest.approx(of_sklearn(probabilities, labels, None), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_every_metric_under_weights_is_scikit_learns_with_sample_weight(kind: str) -> None:
    probabilities, labels = predictions(kind)
    weights = np.random.default_rng(0).integers(0, 4, (len(labels), 3)).astype(float)
    weights[:5] = 1  # Every class keeps an example.
    got = Meter(probabilities, labels, CLASSES)(weights)
    for column in range(3):
        expected = of_sklearn(probabilities, labels, weights[:, column])
        assert {name: got[name][column] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_macro_metrics_are_those_of_scikit_learns_own_averages() -> None:
    probabilities, labels = predictions("random")
    got, predicted = Meter(probabilities, labels, CLASSES).values(), probabilities.argmax(axis=1)
    assert got["auc"] == pytest.approx(sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"))
    assert got["f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert got["precision"] == pytest.approx(sk.precision_score(labels, predicted, average="macro"))
    assert got["recall"] == pytest.approx(sk.recall_score(labels, predicted, average="macro"))


def test_perfect_predictions_have_perfect_metrics_and_points_for_intervals() -> None:
    probabilities, labels = predictions("perfect")
    measured = measure(probabilities, labels, CLASSES, bootstrap=Bootstrap(samples=100), seed=1)["metrics"]
    for name in METRICS:
        best = 0.0 if name in ("ece", "brier") else 1.0
        assert measured[name] == {"value": best, "low": best, "high": best}


def test_a_metric_is_named_once_for_all_and_once_for_each_class() -> None:
    names = list(Meter(*predictions("random"), CLASSES).values())
    per_class = [f"{name}/{c}" for name, c in itertools.product(("auc", "precision", "recall", "f1"), CLASSES)]
    assert sorted(names) == sorted([*METRICS, *per_class])


def test_ece_is_the_weighted_gap_between_confidence_and_accuracy() -> None:
    # 0.62 lies in (9/15, 10/15]: 3 of 4 right. 0.95 lies in (14/15, 1]: 0 of 1 right.
    probabilities = [[0.62, 0.38]] * 4 + [[0.05, 0.95]]
    got = Meter(probabilities, [0, 0, 0, 1, 0], ("a", "b")).values()
    assert got["ece"] == pytest.approx(0.8 * abs(0.75 - 0.62) + 0.2 * 0.95)


def test_confidence_on_the_edge_of_a_bin_belongs_to_the_bin_below() -> None:
    got = reliability([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]], [0, 1, 0], bins=2)
    assert got.examples.tolist() == [2, 1]
    assert got.confidence.tolist() == [0.5, 1.0]
    assert got.accuracy.tolist() == [0.5, 1.0]


def test_brier_of_the_uniform_guess_over_two_classes_is_one_half() -> None:
    assert Meter([[0.5, 0.5]] * 3, [0, 1, 1], ("a", "b")).values()["brier"] == 0.5


def test_the_auc_of_an_absent_class_is_null_and_the_macro_is_over_the_others() -> None:
    probabilities, labels = predictions("random")
    labels = np.where(labels == 3, 0, labels)
    result = measure(probabilities, labels, CLASSES, bootstrap=Bootstrap(samples=100), seed=1)["metrics"]
    there = [sk.roc_auc_score(labels == c, probabilities[:, c]) for c in (0, 1, 2, 4)]
    assert result["auc/F"] == {"value": None, "low": None, "high": None}
    assert result["auc"]["value"] == pytest.approx(np.mean(there))
    assert result["recall/F"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert result["f1"]["value"] == pytest.approx(
        sk.f1_score(labels, probabilities.argmax(axis=1), labels=range(5), average="macro", zero_division=0)
    )


def test_with_one_class_only_no_auc_is_defined() -> None:
    result = measure([[0.9, 0.1]] * 5, [0] * 5, ("a", "b"), bootstrap=Bootstrap(samples=100), seed=1)["metrics"]
    assert [result[name]["value"] for name in ("auc", "auc/a", "auc/b")] == [None, None, None]
    assert result["categorical_accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_measure_says_everything_that_metrics_json_holds() -> None:
    probabilities, labels = [[0.8, 0.2], [0.4, 0.6], [0.3, 0.7]], [0, 0, 1]
    uncalibrated = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    result = measure(
        probabilities, labels, ["a", "b"], bootstrap=Bootstrap(samples=200), seed=3, uncalibrated=uncalibrated
    )
    assert result.pop("metrics")["categorical_accuracy"]["value"] == pytest.approx(2 / 3)
    assert result.pop("uncalibrated") == pytest.approx({"ece": 1 / 3, "brier": 2 / 3})
    assert result == {
        "examples": 3,
        "classes": ["a", "b"],
        "confusion_matrix": [[1, 1], [0, 1]],
        "operating_point": None,
        "confidence": 0.95,
        "bootstrap_samples": 200,
        "resampled": "examples",
    }


def test_without_uncalibrated_probabilities_their_place_is_null() -> None:
    result = measure([[0.8, 0.2], [0.4, 0.6]], [0, 1], ["a", "b"], bootstrap=Bootstrap(samples=100), seed=3)
    assert result["uncalibrated"] is None


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others() -> None:
    one, same, other = (
        measure(*predictions("random"), CLASSES, bootstrap=Bootstrap(samples=100), seed=seed)["metrics"]
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one["auc"]["value"] == other["auc"]["value"]
    assert one["auc"]["low"] != other["auc"]["low"]


def test_intervals_do_not_depend_on_how_many_resamples_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, labels = predictions("random", n=100)
    meter, settings = Meter(probabilities, labels, CLASSES), Bootstrap(samples=100)
    whole = intervals(meter, 100, bootstrap=settings, seed=1)
    monkeypatch.setattr(resampling, "BLOCK", 700)
    blocks = list(resamples(np.arange(100), 100, seed=1))
    assert [block.shape for block in blocks] == [(100, 7)] * 14 + [(100, 2)]
    for name, interval in intervals(meter, 100, bootstrap=settings, seed=1).items():
        assert (interval.low, interval.high) == pytest.approx((whole[name].low, whole[name].high), abs=1e-12)


def test_a_resample_draws_as_many_examples_as_there_are() -> None:
    weights = np.concatenate(list(resamples(np.arange(50), 200, seed=2)), axis=1)
    assert weights.shape == (50, 200)
    assert (weights.sum(axis=0) == 50).all()
    assert weights.mean() == 1
    assert weights.var() == pytest.approx(1 - 1 / 50, rel=0.1)  # Multinomial: n p (1 - p) with p = 1 / n.


def test_a_cluster_resample_draws_whole_patients() -> None:
    patients = np.array([7, 7, 7, 3, 3, 9])
    units = np.unique(patients, return_inverse=True)[1]
    (weights,) = resamples(units, 300, seed=2)
    for patient in (7, 3, 9):
        rows = weights[patients == patient]
        assert (rows == rows[0]).all()
    assert (weights[[0, 3, 5]].sum(axis=0) == 3).all()


def test_the_interval_of_accuracy_is_that_of_the_binomial_distribution() -> None:
    labels = np.zeros(400, int)
    probabilities = np.eye(2)[np.repeat([0, 1], [320, 80])]
    meter = Meter(probabilities, labels, ("a", "b"))
    got = intervals(meter, 400, bootstrap=Bootstrap(samples=4000), seed=0)["categorical_accuracy"]
    spread = 1.96 * math.sqrt(0.8 * 0.2 / 400)
    assert got.value == 0.8
    assert (got.low, got.high) == pytest.approx((0.8 - spread, 0.8 + spread), abs=0.005)


def test_patients_with_equal_beats_widen_the_interval_by_the_square_root_of_their_number() -> None:
    right = np.random.default_rng(4).random(100) < 0.7
    labels, patients = np.zeros(2500, int), np.repeat(np.arange(100), 25)
    meter = Meter(np.eye(2)[np.where(np.repeat(right, 25), 0, 1)], labels, ("a", "b"))
    beats, hearts = (
        intervals(meter, 2500, bootstrap=Bootstrap(), seed=0, patients=ids)["categorical_accuracy"]
        for ids in (None, patients)
    )
    assert (hearts.high - hearts.low) / (beats.high - beats.low) == pytest.approx(5, rel=0.1)


def test_about_ninety_five_of_a_hundred_intervals_hold_the_true_auc() -> None:
    # Scores N(0, 1) and N(1, 1): the true AUC is Phi(1 / sqrt(2)).
    random, truth, held = np.random.default_rng(11), 0.5 * (1 + math.erf(0.5)), 0
    labels = np.repeat([0, 1], [100, 60])
    for seed in range(200):
        score = 1 / (1 + np.exp(-random.normal(size=160) - labels))
        meter = Meter(np.stack([1 - score, score], axis=1), labels, ("a", "b"))
        auc = intervals(meter, 160, bootstrap=Bootstrap(samples=200), seed=seed)["auc/b"]
        held += auc.low <= truth <= auc.high
    assert 0.90 <= held / 200 <= 0.98


def test_one_patient_says_nothing_about_others() -> None:
    meter = Meter([[0.8, 0.2], [0.4, 0.6]], [0, 1], ("a", "b"))
    auc = intervals(meter, 2, bootstrap=Bootstrap(samples=100), seed=0, patients=["x", "x"])["auc"]
    assert auc.to_json() == {"value": 1.0, "low": None, "high": None}


def test_the_confusion_matrix_is_scikit_learns() -> None:
    probabilities, labels = predictions("ties")
    expected = sk.confusion_matrix(labels, probabilities.argmax(axis=1), labels=range(5))
    np.testing.assert_array_equal(confusion_matrix(probabilities, labels), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_curves_are_scikit_learns(kind: str) -> None:
    probabilities, labels = predictions(kind, n=150)
    for c, (roc, recalled) in enumerate(
        zip(roc_curves(probabilities, labels), precision_recall_curves(probabilities, labels), strict=True)
    ):
        false, true, _ = sk.roc_curve(labels == c, probabilities[:, c], drop_intermediate=False)
        np.testing.assert_allclose(roc, [false, true], atol=1e-12)
        precision, recall, _ = sk.precision_recall_curve(labels == c, probabilities[:, c])
        np.testing.assert_allclose(recalled, [recall[::-1], precision[::-1]], atol=1e-12)


@pytest.mark.parametrize("curves", [roc_curves, precision_recall_curves])
def test_a_thinned_curve_has_few_points_and_the_shape_of_the_whole(curves: Any) -> None:
    probabilities, labels = predictions("random", n=5000)
    for few, whole in zip(curves(probabilities, labels), curves(probabilities, labels, points=10**9), strict=True):
        assert whole.shape[1] > 200 >= few.shape[1]
        np.testing.assert_array_equal(few[:, [0, -1]], whole[:, [0, -1]])
        near = np.abs(whole[:, :, None] - few[:, None]).sum(axis=0).min(axis=1)
        assert near.max() < 0.05


def test_a_thinned_roc_curve_has_the_area_of_the_whole() -> None:
    probabilities, labels = predictions("random", n=5000)
    for c, (false, true) in enumerate(roc_curves(probabilities, labels)):
        area = sk.roc_auc_score(labels == c, probabilities[:, c])
        assert np.trapezoid(true, false) == pytest.approx(area, abs=2e-4)


def test_an_absent_class_has_no_curves() -> None:
    probabilities, labels = [[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]], [0, 1]
    assert [curve.shape for curve in roc_curves(probabilities, labels)] == [(2, 3), (2, 3), (2, 0)]
    assert [curve.shape for curve in precision_recall_curves(probabilities, labels)] == [(2, 3), (2, 3), (2, 0)]


def test_reliability_is_scikit_learns_calibration_curve() -> None:
    from sklearn.calibration import calibration_curve

    probabilities, labels = predictions("random")
    got = reliability(probabilities, labels)
    hit, confidence = probabilities.argmax(axis=1) == labels, probabilities.max(axis=1)
    accuracy, mean = calibration_curve(hit, confidence, n_bins=15)
    full = got.examples > 0
    np.testing.assert_allclose(got.accuracy[full], accuracy)
    np.testing.assert_allclose(got.confidence[full], mean)
    assert np.isnan(got.accuracy[~full]).all()
    assert got.examples.sum() == 400


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        ([[0.5, 0.5]], [0, 1], "expected probabilities (n, 2) and labels (n,), got (1, 2) and (2,)"),
        ([[0.5, 0.3, 0.2]], [0], "expected probabilities (n, 2) and labels (n,), got (1, 3) and (1,)"),
        (np.empty((0, 2)), [], "there are no examples to measure on; give data.split.test a share above 0"),
        ([[0.5, 0.5], [0.5, 0.5]], [0, 2], "row 1: label 2 is not a class; allowed: 0 to 1"),
        ([[0.5, 0.5], [0.5, math.nan]], [0, 1], "row 1: a probability is not a finite number; the training has"),
        ([[2.0, -1.0]], [0], "row 0: probabilities must be 0 or more and sum to 1, got [2.0, -1.0]"),
        ([[0.5, 0.6]], [0], "row 0: probabilities must be 0 or more and sum to 1, got [0.5, 0.6]"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_its_row(probabilities: Any, labels: Any, message: str) -> None:
    with pytest.raises(InputError) as refused:
        Meter(probabilities, labels, ("a", "b"))
    assert str(refused.value).startswith(message)


def test_metrics_calibration_and_gate_load_neither_tensorflow_nor_scikit_learn() -> None:
    code = (
        "import sys, parak8s.evaluation, parak8s.calibration, parak8s.gate;"
        "print([name for name in ('tensorflow', 'keras', 'sklearn', 'scipy', 'mlflow') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_patients_must_be_as_many_as_examples() -> None:
    with pytest.raises(InputError, match=r"patients: expected shape \(2,\), one for each example, got \(1,\)"):
        measure([[1, 0], [0, 1]], [0, 1], ("a", "b"), bootstrap=Bootstrap(samples=100), seed=0, patients=[1])
