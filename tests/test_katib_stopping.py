from __future__ import annotations

import math
import statistics

import pytest

from parak8s.errors import InputError
from parak8s.katib.local.stopping import MedianStop, Rule, RuleSet

ACCURACIES = [[0.125, 0.25, 0.5, 0.625, 0.99], [0.25, 0.25, 0.5, 0.25], [0.5, 0.75, 1.0, 0.75, 0.1]]
"""Averages of the first four: 0.375, 0.3125 and 0.75."""


def test_the_median_of_the_averages_of_the_first_values_is_the_rule() -> None:
    rule = MedianStop().rule("accuracy", ACCURACIES, maximize=True)
    assert rule is not None
    assert rule.to_json() == {"name": "accuracy", "value": "0.375", "comparison": "less", "startStep": 4}


def test_a_loss_must_not_be_greater_than_the_median() -> None:
    rule = MedianStop(min_trials_required=2, start_step=1).rule("loss", [[3.0, 1.0], [2.0, 9.0]], maximize=False)
    assert rule == Rule("loss", 2.5, "greater", 1)


def test_an_even_number_of_trials_gives_the_mean_of_the_two_in_the_middle() -> None:
    rule = MedianStop(start_step=2).rule("m", [*ACCURACIES, [0.0, 0.1]], maximize=True)
    assert rule is not None
    assert rule.value == pytest.approx(statistics.median([0.1875, 0.25, 0.625, 0.05]))


def test_there_is_no_rule_before_enough_trials_have_succeeded() -> None:
    assert MedianStop().rule("accuracy", ACCURACIES[:2], maximize=True) is None


def test_a_trial_that_reported_nothing_or_nan_does_not_count() -> None:
    assert MedianStop().rule("accuracy", [*ACCURACIES[:2], [], [math.nan]], maximize=True) is None


def test_a_trial_that_reported_fewer_values_is_averaged_over_those() -> None:
    rule = MedianStop(min_trials_required=1).rule("accuracy", [[0.25, 0.75]], maximize=True)
    assert rule == Rule("accuracy", 0.5, "less", 4)


def test_settings_are_read_and_have_katibs_defaults() -> None:
    assert MedianStop.of({}) == MedianStop(min_trials_required=3, start_step=4)
    assert MedianStop.of({"min_trials_required": "5", "start_step": "1"}) == MedianStop(5, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start_step": "0"}, "medianstop: start_step is 0, expected a whole number from 1"),
        ({"min_trials_required": "-1"}, "medianstop: min_trials_required is '-1', expected a whole number from 1"),
        ({"min_trials_required": "two"}, "medianstop: min_trials_required is 'two', expected a whole number from 1"),
        ({"startstep": "4"}, "medianstop: unknown setting 'startstep'; did you mean 'start_step'?"),
    ],
)
def test_a_wrong_setting_is_refused_in_plain_words(settings: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match="medianstop") as refused:
        MedianStop.of(settings)
    assert str(refused.value).startswith(message)


def test_a_comparison_that_katib_does_not_know_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'less'"):
        Rule("accuracy", 0.5, "lesser")  # type: ignore[arg-type]


def answers(rules: list[Rule], values: list[tuple[str, float]], *, maximize: bool = True) -> list[bool]:
    applied = RuleSet(rules, objective="accuracy", maximize=maximize)
    return [applied.take(name, value) for name, value in values]


def test_a_rule_says_nothing_before_its_first_step() -> None:
    rule = Rule("accuracy", 0.5, "less", 3)
    assert answers([rule], [("accuracy", 0.1)] * 4) == [False, False, True, True]


def test_a_rule_without_a_first_step_applies_at_once() -> None:
    assert answers([Rule("loss", 2.0, "greater")], [("loss", 2.0), ("loss", 2.1)]) == [False, True]


def test_values_of_other_metrics_do_not_count_as_steps() -> None:
    values = [("accuracy", 0.1), ("loss", 9.0), ("loss", 9.0), ("accuracy", 0.1)]
    assert answers([Rule("accuracy", 0.5, "less", 2)], values) == [False, False, False, True]


def test_the_best_objective_so_far_is_compared_also_one_before_the_first_step() -> None:
    values = [("accuracy", 0.9), ("accuracy", 0.1), ("accuracy", 0.1)]
    assert answers([Rule("accuracy", 0.5, "less", 2)], values) == [False, False, False]
    smaller = [("accuracy", 0.1), ("accuracy", 0.9), ("accuracy", 0.9)]
    assert answers([Rule("accuracy", 0.5, "greater", 2)], smaller, maximize=False) == [False, False, False]


def test_other_metrics_are_compared_as_they_are() -> None:
    assert answers([Rule("loss", 2.0, "greater", 2)], [("loss", 1.0), ("loss", 3.0)], maximize=False) == [False, True]


def test_a_trial_is_stopped_when_all_rules_have_been_reached_though_not_at_the_same_time() -> None:
    rules = [Rule("accuracy", 0.5, "less"), Rule("epoch", 3.0, "equal")]
    values = [("accuracy", 0.4), ("epoch", 2.0), ("accuracy", 0.8), ("epoch", 3.0)]
    assert answers(rules, values) == [False, False, False, True]


def test_a_rule_that_was_reached_once_stays_reached() -> None:
    values = [("epoch", 3.0), ("epoch", 4.0), ("accuracy", 0.4)]
    assert answers([Rule("epoch", 3.0, "equal"), Rule("accuracy", 0.5, "less")], values) == [False, False, True]


def test_without_rules_nothing_is_stopped() -> None:
    assert answers([], [("accuracy", 0.0)]) == [False]


def test_nan_reaches_no_rule_and_is_never_the_best() -> None:
    values = [("accuracy", math.nan), ("accuracy", 0.4)]
    assert answers([Rule("accuracy", 0.5, "less")], values) == [False, True]
