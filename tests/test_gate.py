"""The gate: thresholds, the champion, and what it says about them."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from parak8s.errors import InputError
from parak8s.evaluation.bootstrap import Interval
from parak8s.experiment import METRICS as METRIC_NAMES
from parak8s.experiment import Bootstrap, Gate
from parak8s.gate import Comparison, Verdict, compare, judge

METRICS: dict[str, dict[str, float | None]] = {
    "auc": {"value": 0.94123, "low": 0.93101, "high": 0.95099},
    "f1": {"value": 0.9, "low": 0.88, "high": 0.92},
    "f1/V": {"value": 0.8, "low": 0.7, "high": 0.9},
    "ece": {"value": 0.021, "low": 0.02, "high": 0.03},
    "auc/F": {"value": None, "low": None, "high": None},
    "recall": {"value": math.nan, "low": math.nan, "high": math.nan},
    "precision": {"value": 0.9, "low": None, "high": None},
}


def verdict(**rules: str) -> Verdict:
    return judge(Gate.model_validate(rules), METRICS, None)


def test_a_metric_below_its_threshold_fails_with_numbers() -> None:
    assert verdict(auc=">= 0.95").to_json() == {
        "passed": False,
        "checks": [
            {
                "check": "auc >= 0.95",
                "value": "0.9412",
                "passed": False,
                "reason": "auc is 0.9412 (95 % interval 0.931 to 0.951), below the required 0.95",
            }
        ],
    }


@pytest.mark.parametrize(
    ("rule", "passed", "end"),
    [
        (">= 0.9", True, "at least the required 0.9"),
        (">= 0.91", False, "below the required 0.91"),
        (">0.9", False, "not above the required 0.9"),
        (">.89", True, "above the required .89"),
        ("<=9e-1", True, "at most the allowed 9e-1"),
        (" <= 0.89 ", False, "above the allowed 0.89"),
        ("< 0.9", False, "not below the allowed 0.9"),
        ("< 1", True, "below the allowed 1"),
    ],
)
def test_thresholds_hold_the_value_against_the_limit(rule: str, passed: bool, end: str) -> None:
    (check,) = verdict(f1=rule).checks
    assert check.passed is passed
    assert check.reason == f"f1 is 0.9000 (95 % interval 0.88 to 0.92), {end}"


def test_one_failed_check_is_enough_and_all_are_told() -> None:
    result = verdict(**{"auc": ">= 0.9", "f1/V": ">= 0.85", "ece": "<= 0.05"})
    assert not result.passed
    assert [(check.check, check.passed) for check in result.checks] == [
        ("auc >= 0.9", True),
        ("f1/V >= 0.85", False),
        ("ece <= 0.05", True),
    ]


def test_a_gate_without_rules_lets_everything_pass() -> None:
    assert verdict() == Verdict(())
    assert verdict().passed


def test_a_metric_that_was_not_measured_fails_and_names_the_nearest() -> None:
    (check,) = verdict(**{"f1/X": ">= 0.1"}).checks
    assert (check.check, check.value, check.passed) == ("f1/X >= 0.1", "not measured", False)
    assert check.reason.startswith("f1/X was not measured; did you mean 'f1/V'? allowed: auc, auc/F, ece, f1, f1/V")


@pytest.mark.parametrize("name", ["auc/F", "recall"])
def test_a_metric_that_is_not_defined_fails(name: str) -> None:
    (check,) = verdict(**{name: ">= 0"}).checks
    assert (check.value, check.passed) == ("not defined", False)
    assert check.reason.startswith(f"{name} is not defined on this test set")


def test_a_value_without_an_interval_is_told_without_one() -> None:
    (check,) = verdict(precision=">= 0.9").checks
    assert check.reason == "precision is 0.9000, at least the required 0.9"


def test_the_interval_is_named_by_its_confidence() -> None:
    (check,) = judge(Gate.model_validate({"f1": ">= 0.9"}), METRICS, None, confidence=0.99).checks
    assert check.reason == "f1 is 0.9000 (99 % interval 0.88 to 0.92), at least the required 0.9"


@pytest.mark.parametrize(
    ("value", "limit", "text"),
    [(0.9499999, "0.95", "0.9499999"), (0.94996, "0.94998", "0.94996"), (0.95, "0.95", "0.9500")],
)
def test_a_value_is_told_with_the_digits_that_show_its_side_of_the_limit(value: Any, limit: str, text: str) -> None:
    gate = Gate.model_validate({"auc": f">= {limit}"})
    (check,) = judge(gate, {"auc": {"value": value, "low": None, "high": None}}, None).checks
    assert check.value == text
    assert check.passed is (value >= float(limit))


def test_without_a_champion_the_comparison_passes_and_says_so() -> None:
    (check,) = verdict(champion="not_worse").checks
    assert (check.check, check.value, check.passed) == ("champion: not_worse", "no champion", True)
    assert check.reason == "no model holds the alias yet, so none can be better"


def against(**differences: tuple[float, float, float]) -> Comparison:
    return Comparison("ecg", "3", {name: Interval(*numbers) for name, numbers in differences.items()})


@pytest.mark.parametrize(
    ("numbers", "value", "passed", "reason"),
    [
        (
            (-0.012, -0.018, -0.006),
            "-0.012",
            False,
            "auc is 0.012 worse than that of the champion ecg version 3"
            " (95 % interval of the improvement -0.018 to -0.006), wholly below zero: significantly worse",
        ),
        (
            (-0.001, -0.003, 0.0002),
            "-0.001",
            True,
            "auc is 0.001 worse than that of the champion ecg version 3"
            " (95 % interval of the improvement -0.003 to 0.0002), so not significantly worse",
        ),
        (
            (0.02, 0.01, 0.03),
            "+0.02",
            True,
            "auc is 0.02 better than that of the champion ecg version 3"
            " (95 % interval of the improvement 0.01 to 0.03), so not significantly worse",
        ),
        (
            (0.0, 0.0, 0.0),
            "+0",
            True,
            "auc is equal to that of the champion ecg version 3"
            " (95 % interval of the improvement 0 to 0), so not significantly worse",
        ),
        (
            (0.01, math.nan, math.nan),
            "not defined",
            False,
            "auc cannot be compared with that of the champion ecg version 3: it is not defined on this test set,"
            " or all examples come from one patient",
        ),
    ],
)
def test_only_an_interval_wholly_below_zero_is_worse(
    numbers: tuple[float, float, float], value: Any, passed: bool, reason: str
) -> None:
    (check,) = judge(Gate(champion="not_worse"), METRICS, against(auc=numbers)).checks
    assert (check.check, check.value, check.passed, check.reason) == (
        "champion: not_worse (auc)",
        value,
        passed,
        reason,
    )


def test_float_noise_against_the_champion_is_no_evidence() -> None:
    assert judge(Gate(champion="not_worse"), METRICS, against(brier=(-2e-8, -3e-8, -1e-8))).passed


def test_one_metric_that_is_worse_is_enough() -> None:
    comparison = against(auc=(0.02, 0.01, 0.03), f1=(-0.1, -0.2, -0.05))
    assert [check.passed for check in judge(Gate(champion="not_worse"), METRICS, comparison).checks] == [True, False]


def test_a_comparison_counts_only_when_the_gate_asks_for_it() -> None:
    assert judge(Gate(), METRICS, against(auc=(-0.5, -0.6, -0.4))) == Verdict(())


def test_a_verdict_comes_back_from_its_json() -> None:
    result = verdict(auc=">= 0.9", f1=">= 0.95")
    assert Verdict.from_json(json.loads(json.dumps(result.to_json()))) == result


def predictions(noise: float, seed: int = 0, n: int = 1500) -> tuple[Any, NDArray[np.int64]]:
    """Return probabilities (n, 3) that are the worse the more noise, and labels."""
    labels = np.random.default_rng(1).integers(0, 3, n)
    logits = 2 * np.eye(3)[labels] + noise * np.random.default_rng(seed).normal(size=(n, 3))
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True), labels


def compared(
    challenger: Any, champion: Any, labels: Any, metrics: Sequence[str] = ("f1/b", *METRIC_NAMES), **options: Any
) -> Comparison:
    settings: dict[str, Any] = {"name": "ecg", "version": "3", "bootstrap": Bootstrap(samples=400), "seed": 5} | options
    return compare(challenger, champion, labels, ("a", "b", "c"), metrics, **settings)


def test_a_clearly_worse_challenger_is_refused_and_a_clearly_better_one_is_not() -> None:
    good, labels = predictions(1)
    bad, _ = predictions(3)
    metrics = ("categorical_accuracy", "auc", "f1", "brier")
    worse = compared(bad, good, labels, metrics).differences
    better = compared(good, bad, labels, metrics).differences
    assert all(interval.high < 0 for interval in worse.values())
    assert all(interval.low > 0 for interval in better.values())
    assert not judge(Gate(champion="not_worse"), METRICS, compared(bad, good, labels)).passed
    assert judge(Gate(champion="not_worse"), METRICS, compared(good, bad, labels)).passed


def test_the_same_predictions_differ_by_exactly_nothing() -> None:
    same, labels = predictions(1)
    assert set(compared(same, same, labels).differences.values()) == {Interval(0, 0, 0)}


def test_the_difference_of_accuracy_is_that_of_mcnemars_table() -> None:
    # Right by both 700, by the champion alone 60, by the challenger alone 40, by none 200.
    labels = np.zeros(1000, int)
    champion, challenger = (np.eye(3)[np.repeat(p, [700, 60, 40, 200])] for p in ([0, 0, 1, 1], [0, 1, 0, 1]))
    settings = Bootstrap(samples=4000)
    got = compared(challenger, champion, labels, ["categorical_accuracy"], bootstrap=settings).differences
    spread = 1.96 * math.sqrt((0.1 - 0.02**2) / 1000)  # Variance of one paired difference, which is -1, 0 or 1.
    difference = got["categorical_accuracy"]
    assert difference.value == pytest.approx(-0.02)
    assert (difference.low, difference.high) == pytest.approx((-0.02 - spread, -0.02 + spread), abs=0.002)


def test_a_lower_brier_score_is_an_improvement() -> None:
    labels = np.array([0, 1] * 50)
    sharp, blunt = np.eye(3)[labels], np.full((100, 3), 1 / 3)
    assert compared(sharp, blunt, labels, ["brier"]).differences["brier"].value == pytest.approx(2 / 3)


def test_patients_are_resampled_whole_in_a_comparison() -> None:
    better, labels = predictions(1, n=300)
    worse, _ = predictions(1.2, n=300, seed=3)
    patients = np.repeat(np.arange(3), 100)
    beats, hearts = (
        compared(better, worse, labels, ["auc"], patients=ids).differences["auc"] for ids in (None, patients)
    )
    assert beats.value == hearts.value
    assert (beats.low, beats.high) != (hearts.low, hearts.high)


def test_an_unknown_metric_and_a_champion_of_other_classes_are_refused() -> None:
    same, labels = predictions(1)
    with pytest.raises(InputError, match=r"no metric 'f1/bb'; did you mean 'f1/b'\?"):
        compared(same, same, labels, ["f1/bb"])
    with pytest.raises(InputError, match=r"expected probabilities \(n, 3\) and labels \(n,\), got \(1500, 2\)"):
        compared(same, same[:, :2], labels)
