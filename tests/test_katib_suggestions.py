"""Each algorithm of the laptop's Katib against literals, properties, and SciPy and Optuna themselves."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import groupby, pairwise

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import qmc

from parak8s.errors import InputError
from parak8s.experiment.dimensions import Dimension, Distribution, Kind
from parak8s.katib.local.suggestions import ALGORITHMS, make
from parak8s.katib.local.suggestions.algorithm import Algorithm, Past, Problem, State
from parak8s.katib.local.suggestions.draws import behind, loss
from parak8s.katib.local.suggestions.hyperband import schedule
from parak8s.katib.local.suggestions.scales import Scale

Values = Mapping[str, str]
Objective = Callable[[Values], float | None]

RATE = Dimension("rate", "double", 1e-5, 1e-1, distribution="logUniform")
DROPOUT = Dimension("dropout", "double", 0.1, 0.5, step=0.1)
NOISE = Dimension("noise", "double", -1.0, 1.0, distribution="normal")
LAYERS = Dimension("layers", "int", 1, 9)
WIDTH = Dimension("width", "int", 8, 128, step=8, distribution="logUniform")
BATCH = Dimension("batch", "discrete", choices=("16", "32", "64"))
KIND = Dimension("kind", "categorical", choices=("cnn", "lstm"))
MIXED = (RATE, DROPOUT, NOISE, LAYERS, WIDTH, BATCH, KIND)
STEPPED = (LAYERS, DROPOUT, KIND)
SETTINGS = {
    "hyperband": {"r_l": "9", "resource_name": "layers"},
    "pbt": {"n_population": "5", "truncation_threshold": "0.25"},
    "bayesianoptimization": {"n_initial_points": "3"},
    "tpe": {"n_startup_trials": "3"},
    "multivariate-tpe": {"n_startup_trials": "3"},
}


def problem(
    space: Sequence[Dimension] = MIXED,
    chosen: Values | None = None,
    *,
    maximize: bool = False,
    seed: int = 7,
    parallel: int = 1,
) -> Problem:
    return Problem(tuple(space), maximize, chosen or {}, seed, parallel)


def standard(name: str, *, seed: int = 7, parallel: int = 1) -> Problem:
    space = STEPPED if name == "grid" else MIXED
    return problem(space, SETTINGS.get(name), seed=seed, parallel=parallel)


def seen(past: Sequence[Past], horizon: int) -> list[Past]:
    """What the engine shows: nothing of how the trials from the horizon on ended."""
    later = [Past(each.number, each.name, each.assignments, "Running", None, each.memory) for each in past[horizon:]]
    return [*past[:horizon], *later]


def ended(number: int, assignments: Values, value: float | None, memory: Mapping[str, object] | None = None) -> Past:
    state: State = "Failed" if value is None else "Succeeded"
    noted = json.loads(json.dumps(dict(memory or {})))  # the engine keeps it in a file
    return Past(number, f"trial-{number}", assignments, state, value, noted)


def search(algorithm: Algorithm, objective: Objective, trials: int) -> list[Past]:
    past: list[Past] = []
    for number in range(trials):
        found = algorithm.suggest(number, seen(past, algorithm.horizon(number)))
        if found is None:
            break
        past.append(ended(number, found.assignments, objective(found.assignments), found.memory))
    return past


def bumpy(values: Values) -> float | None:
    """Some function of everything; no value where there are two layers."""
    if values["layers"] == "2":
        return None
    return sum(math.sin(3 * float(text)) for name, text in values.items() if name != "kind") + len(values["kind"])


def branin(values: Values) -> float:
    x, y = float(values["x0"]), float(values["x1"])
    inner = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return inner**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def hartmann(values: Values) -> float:
    slopes = [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
    centres = [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
    x = np.array([float(values[f"x{axis}"]) for axis in range(6)])
    distances = (np.array(slopes) * (x - 1e-4 * np.array(centres)) ** 2).sum(axis=1)
    return -float(np.array([1, 1.2, 3, 3.2]) @ np.exp(-distances))


def box(*ranges: tuple[float, float]) -> tuple[Dimension, ...]:
    return tuple(Dimension(f"x{axis}", "double", low, high) for axis, (low, high) in enumerate(ranges))


BRANIN = box((-5, 10), (0, 15))
HARTMANN = box(*[(0, 1)] * 6)


# --- what holds for all


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_search_that_is_resumed_at_any_trial_goes_on_as_if_it_had_never_stopped(name: str, parallel: int) -> None:
    task = standard(name, parallel=parallel)
    past = search(make(name, task), bumpy, 7 if name == "bayesianoptimization" else 40)
    for number in range(len(past)):
        algorithm = make(name, task)
        found = algorithm.suggest(number, seen(past[:number], algorithm.horizon(number)))
        assert found is not None
        assert dict(found.assignments) == dict(past[number].assignments)
        assert json.loads(json.dumps(found.memory)) == past[number].memory


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name != "bayesianoptimization"])
@settings(max_examples=8)
@given(seed=st.integers(0, 2**40), parallel=st.integers(1, 5), failing=st.sets(st.integers(0, 29)))
def test_any_search_gives_the_same_suggestions_again_and_whatever_was_asked_in_between(
    name: str, seed: int, parallel: int, failing: set[int]
) -> None:
    task = standard(name, seed=seed, parallel=parallel)
    count = iter(range(30))

    def objective(values: Values) -> float | None:
        return None if next(count) in failing else bumpy({**values, "layers": "1"})

    algorithm = make(name, task)
    past = search(algorithm, objective, 30)
    for number in (len(past) - 1, len(past) // 2, len(past) - 1, 0):  # also backwards
        found = algorithm.suggest(number, seen(past[:number], algorithm.horizon(number)))
        assert found is not None
        assert dict(found.assignments) == dict(past[number].assignments)


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name not in ("grid", "sobol")])
def test_another_seed_gives_another_search_and_random_state_stands_above_the_seed(name: str) -> None:
    chosen = SETTINGS.get(name, {})
    first, second, third = (
        make(name, Problem(MIXED, False, {**chosen, **state}, seed)).suggest(0, [])
        for seed, state in ((1, {}), (2, {}), (2, {"random_state": "1"}))
    )
    assert first is not None
    assert second is not None
    assert first.assignments != second.assignments
    assert first == third


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name not in ("grid", "sobol")])
def test_the_first_suggestions_differ_from_each_other(name: str) -> None:
    past = search(make(name, standard(name, parallel=5)), lambda _: 0.0, 5)
    assert len({each.assignments["rate"] for each in past}) == 5


@pytest.mark.parametrize("name", ["tpe", "multivariate-tpe", "cmaes", "bayesianoptimization"])
def test_a_model_waits_for_every_trial_where_one_runs_at_a_time(name: str) -> None:
    assert [make(name, standard(name)).horizon(number) for number in (0, 1, 9)] == [0, 1, 9]
    assert [make(name, standard(name, parallel=4)).horizon(number) for number in (0, 6, 7, 20)] == [0, 0, 1, 14]


def test_the_horizon_leaves_all_places_busy() -> None:
    assert [behind(10, parallel) for parallel in (1, 2, 4, 8)] == [10, 8, 4, 0]


def check(parameter: Dimension, text: str) -> None:
    """The value is one that the parameter can take, written as its kind is."""
    if not parameter.is_range:
        assert text in parameter.choices
        return
    assert parameter.low is not None
    assert parameter.high is not None
    assert parameter.low <= float(text) <= parameter.high
    if parameter.kind == "int":
        assert text == str(int(text))
    step = Decimal(str(parameter.step or (1 if parameter.kind == "int" else 0)))
    if step:
        assert (Decimal(text) - Decimal(str(parameter.low))) % step == 0


@st.composite
def parameters(draw: st.DrawFn, index: int) -> Dimension:
    kind: Kind = draw(st.sampled_from(("double", "int", "discrete", "categorical")))
    name = f"p{index}"
    if kind in ("discrete", "categorical"):
        return Dimension(name, kind, choices=tuple(map(str, range(draw(st.integers(1, 4))))))
    distribution: Distribution = draw(st.sampled_from(("uniform", "logUniform", "normal", "logNormal")))
    least = 1 if distribution.startswith("log") else -50
    scale = Decimal(1) if kind == "int" else Decimal("0.01")
    low = draw(st.integers(least, 100)) * scale
    high = low + draw(st.integers(0, 500)) * scale
    step = draw(st.none() | st.integers(1, 60).map(lambda steps: float(steps * scale)))
    return Dimension(name, kind, float(low), float(high), step, distribution)


SPACES = st.integers(1, 4).flatmap(lambda size: st.tuples(*(parameters(index) for index in range(size))))
STEPS = Dimension("steps", "int", 1, 9)


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name not in ("grid", "bayesianoptimization")])
@settings(max_examples=25)
@given(space=SPACES, seed=st.integers(0, 1000), values=st.lists(st.none() | st.floats(-1e6, 1e6), min_size=20))
def test_every_suggestion_lies_in_the_space(
    name: str, space: tuple[Dimension, ...], seed: int, values: list[float | None]
) -> None:
    if name in ("cmaes", "hyperband"):  # need one more range, or two
        space = (*space, STEPS, *box((0, 1)))
    chosen = {**SETTINGS.get(name, {}), **({"resource_name": "steps"} if name == "hyperband" else {})}
    outcomes = iter(values)
    past = search(make(name, problem(space, chosen, seed=seed)), lambda _: next(outcomes), 20)
    for each in past:
        assert list(each.assignments) == [parameter.name for parameter in space]
        for parameter in space:
            check(parameter, each.assignments[parameter.name])


@settings(max_examples=5)
@given(space=SPACES, seed=st.integers(0, 1000))
@pytest.mark.parametrize("estimator", ["ET", "GBRT"])
def test_every_suggestion_of_bayesian_optimization_lies_in_the_space(
    estimator: str, space: tuple[Dimension, ...], seed: int
) -> None:
    task = problem(space, {"base_estimator": estimator, "n_initial_points": "2", "acq_func": "EI"}, seed=seed)
    for each in search(make("bayesianoptimization", task), lambda values: float(len(str(values)) % 5), 4):
        for parameter in space:
            check(parameter, each.assignments[parameter.name])


def test_no_library_is_imported_before_an_algorithm_needs_it() -> None:
    code = (
        "import sys; from parak8s.katib.local.suggestions import make;"
        "print(sorted({'optuna', 'cmaes', 'skopt', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": "src"}, capture_output=True, text=True)
    assert answer.stdout == "[]\n"


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [
        ("rndom", {}, "unknown algorithm 'rndom'; did you mean 'random'?"),
        ("random", {"seed": "1"}, "random: unknown setting 'seed'; allowed: random_state"),
        ("random", {"random_state": "-1"}, "random: random_state is '-1'; expected a number from 0"),
        ("tpe", {"gamma": "1.5"}, "tpe: gamma is '1.5'; expected a number from 0 to 1"),
        ("tpe", {"prior_weight": "0"}, "tpe: prior_weight is '0'; expected a number above 0"),
        ("tpe", {"n_EI_candidates": "2.5"}, "tpe: n_EI_candidates is '2.5'; expected a whole number from 1"),
        ("tpe", {"n_ei_candidates": "many"}, "tpe: n_ei_candidates is 'many'; expected a number from 1"),
        ("multivariate-tpe", {"gamma": "0.2"}, "multivariate-tpe: unknown setting 'gamma'"),
        ("cmaes", {"sigma": "nan"}, "cmaes: sigma is 'nan'; expected a number above 0"),
        ("cmaes", {"restart_strategy": "pop"}, "cmaes: restart_strategy is 'pop'; did you mean 'ipop'?"),
        ("bayesianoptimization", {"base_estimator": "gp"}, "bayesianoptimization: base_estimator is 'gp'; did you"),
        ("bayesianoptimization", {"acq_func": "EIps"}, "bayesianoptimization: acq_func EIps weighs the seconds"),
        (
            "bayesianoptimization",
            {"acq_optimizer": "lbfgs", "base_estimator": "RF"},
            "bayesianoptimization: acq_optimizer lbfgs follows a slope, which RF has not; write auto or sampling",
        ),
        ("hyperband", {"resource_name": "layers"}, "hyperband: the setting r_l is missing"),
        ("hyperband", {"r_l": "9"}, "hyperband: resource_name is '', expected an int or double"),
        ("hyperband", {"r_l": "9", "resource_name": "kind"}, "hyperband: resource_name is 'kind', expected an int"),
        ("hyperband", {"r_l": "9", "eta": "1", "resource_name": "layers"}, "hyperband: eta is '1'; expected a number"),
        ("pbt", {"truncation_threshold": "0.2"}, "pbt: the setting n_population is missing"),
        ("pbt", {"n_population": "4"}, "pbt: n_population is '4'; expected a number from 5"),
        ("pbt", {"n_population": "5", "truncation_threshold": "2"}, "pbt: truncation_threshold is '2'; expected a num"),
        ("grid", {}, "grid: rate can take any value of its range; give it a step"),
    ],
)
def test_a_wrong_setting_or_space_is_refused_in_plain_words(name: str, chosen: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=r".") as refused:
        make(name, problem(MIXED, chosen))
    assert str(refused.value).startswith(message)


def test_a_trial_that_was_stopped_early_counts_with_its_value_and_one_that_failed_does_not() -> None:
    def of(state: State, value: float | None) -> float | None:
        return loss(Past(0, "trial", {}, state, value), maximize=True)

    assert of("Succeeded", 0.5) == of("EarlyStopped", 0.5) == -0.5
    assert of("EarlyStopped", None) is None
    assert of("Succeeded", math.inf) is None
    assert of("Failed", 0.5) is of("Killed", 0.5) is of("MetricsUnavailable", None) is of("Running", None) is None
    assert loss(Past(0, "trial", {}, "Succeeded", 0.5), maximize=False) == 0.5


# --- values and their distributions


def test_the_values_of_steps_are_written_without_the_dust_of_floats() -> None:
    scale = Scale(Dimension("p", "double", 0.1, 0.7, step=0.1))
    assert scale.count == 7
    assert [scale.nth(index) for index in range(7)] == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7"]
    assert [scale.index(text) for text in ("0.1", "0.30000000000000004", "0.7")] == [0, 2, 6]


def test_steps_that_do_not_end_at_the_largest_value_stay_below_it() -> None:
    scale = Scale(Dimension("p", "int", 1, 9, step=3))
    assert [scale.value(share) for share in (0.0, 0.33, 0.34, 0.66, 0.67, 1.0)] == ["1", "1", "4", "4", "7", "7"]


def test_whole_numbers_on_a_logarithmic_scale_are_as_probable_as_the_logarithms_that_round_to_them() -> None:
    scale = Scale(Dimension("p", "int", 1, 8, distribution="logUniform"))
    drawn = Counter(scale.value((index + 0.5) / 20_000) for index in range(20_000))
    for number in range(1, 9):
        expected = math.log((number + 0.5) / (number - 0.5)) / math.log(8.5 / 0.5)
        assert drawn[str(number)] / 20_000 == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("distribution", ["uniform", "logUniform", "normal", "logNormal"])
def test_a_share_and_its_value_stand_for_each_other(distribution: Distribution) -> None:
    scale = Scale(Dimension("p", "double", 0.5, 32.0, distribution=distribution))
    for share in np.linspace(0, 1, 41):
        assert scale.share(scale.value(float(share))) == pytest.approx(share, abs=1e-9)


def drawn(parameter: Dimension, trials: int = 4000) -> np.ndarray:
    algorithm = make("random", problem((parameter,)))
    found = [algorithm.suggest(number, []) for number in range(trials)]
    return np.array([float(each.assignments["p"]) for each in found if each is not None])


def test_a_normal_parameter_has_the_moments_of_the_normal_distribution_within_three_deviations() -> None:
    truncated = stats.truncnorm(-3, 3, loc=5.0, scale=1.0)
    values = drawn(Dimension("p", "double", 2.0, 8.0, distribution="normal"))
    assert values.mean() == pytest.approx(5.0, abs=4 * truncated.std() / math.sqrt(4000))
    assert values.std() == pytest.approx(truncated.std(), abs=0.05)
    assert stats.kstest(values, truncated.cdf).pvalue > 0.01


def test_the_logarithms_of_a_log_normal_parameter_are_normal() -> None:
    values = drawn(Dimension("p", "double", 1e-4, 1e-2, distribution="logNormal"))
    truncated = stats.truncnorm(-3, 3, loc=-3.0, scale=2 / 6)
    assert stats.kstest(np.log10(values), truncated.cdf).pvalue > 0.01


def test_a_normal_whole_number_is_the_normal_one_rounded() -> None:
    values = drawn(Dimension("p", "int", 0, 12, distribution="normal"))
    truncated = stats.truncnorm(-3, 3, loc=6.0, scale=2.0)
    counts = [int((values == number).sum()) for number in range(2, 11)]
    expected = [4000 * float(truncated.cdf(n + 0.5) - truncated.cdf(n - 0.5)) for n in range(2, 11)]
    rest, rest_expected = 4000 - sum(counts), 4000 - sum(expected)
    assert stats.chisquare([*counts, rest], [*expected, rest_expected]).pvalue > 0.01


def test_random_draws_are_uniform_over_ranges_logarithms_steps_and_lists() -> None:
    assert stats.kstest(drawn(Dimension("p", "double", -2.0, 3.0)), stats.uniform(-2, 5).cdf).pvalue > 0.01
    logs = np.log10(drawn(Dimension("p", "double", 1e-5, 1e-1, distribution="logUniform")))
    assert stats.kstest(logs, stats.uniform(-5, 4).cdf).pvalue > 0.01
    for even in (Dimension("p", "double", 0.1, 0.5, step=0.1), Dimension("p", "discrete", choices=("1", "5", "7"))):
        assert stats.chisquare(list(Counter(drawn(even)).values())).pvalue > 0.01


# --- grid and Sobol


def test_the_grid_is_every_point_once_the_last_parameter_fastest_and_then_ends() -> None:
    layers = Dimension("layers", "int", 1, 3)
    space = (layers, Dimension("dropout", "double", 0.1, 0.3, step=0.1), KIND)
    past = search(make("grid", problem(space)), lambda _: 0.0, 100)
    expected = [
        {"layers": count, "dropout": dropout, "kind": kind}
        for count in ("1", "2", "3")
        for dropout in ("0.1", "0.2", "0.3")
        for kind in ("cnn", "lstm")
    ]
    assert [each.assignments for each in past] == expected
    assert make("grid", problem((layers,))).suggest(3, past[:3]) is None


def test_a_grid_reaches_a_largest_value_that_floats_would_miss() -> None:
    tenths = Dimension("p", "double", 0.0, 1.0, step=0.1)
    past = search(make("grid", problem((tenths,))), lambda _: 0.0, 100)
    texts = [each.assignments["p"] for each in past]
    assert texts == ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0"]


def test_a_grid_tries_a_value_that_a_list_names_twice_once() -> None:
    twice = Dimension("p", "discrete", choices=("1", "2", "1"))
    assert len(search(make("grid", problem((twice,))), lambda _: 0.0, 100)) == 2


def test_the_points_are_those_of_scipys_unscrambled_sobol_sequence_after_its_first() -> None:
    past = search(make("sobol", problem(box((0, 1), (-4, 4), (0, 10)))), lambda _: 0.0, 63)
    points = [[float(text) for text in each.assignments.values()] for each in past]
    expected = qmc.Sobol(3, scramble=False).random(64)[1:] * [1, 8, 10] + [0, -4, 0]
    assert np.array_equal(points, expected)
    assert points[0] == [0.5, 0.0, 5.0]


def test_sobol_visits_the_values_of_lists_and_steps_equally_often() -> None:
    space = (Dimension("p", "categorical", choices=("a", "b", "c", "d")), Dimension("q", "int", 1, 4))
    algorithm = make("sobol", problem(space))
    found = [algorithm.suggest(number, []) for number in range(63)]
    counts = Counter(each.assignments["p"] for each in found if each is not None)
    assert counts == {"a": 15, "b": 16, "c": 16, "d": 16}  # the point that is left out is the 16th
    assert Counter(each.assignments["q"] for each in found if each) == {"1": 15, "2": 16, "3": 16, "4": 16}


# --- the models


@pytest.mark.parametrize("parallel", [1, 4])
@pytest.mark.parametrize("name", ["tpe", "multivariate-tpe"])
def test_tpe_asks_optunas_own_sampler_about_the_same_trials(name: str, parallel: int) -> None:
    algorithm = make(name, problem(BRANIN, parallel=parallel))
    past = seen(search(algorithm, branin, 30), horizon := algorithm.horizon(30))
    study = optuna.create_study()
    ranges = {each.name: optuna.distributions.FloatDistribution(each.low or 0, each.high or 0) for each in BRANIN}
    for trial in past:
        values = {axis: float(text) for axis, text in trial.assignments.items()}
        state = optuna.trial.TrialState.COMPLETE if trial.number < horizon else optuna.trial.TrialState.RUNNING
        study.add_trial(
            optuna.trial.create_trial(params=values, distributions=dict(ranges), value=trial.value, state=state)
        )
    seed = int(np.random.SeedSequence([7, 30]).generate_state(1)[0])
    multivariate = name == "multivariate-tpe"
    study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=multivariate, constant_liar=parallel > 1)
    found = algorithm.suggest(30, past)
    assert found is not None
    assert {axis: float(text) for axis, text in found.assignments.items()} == study.ask(dict(ranges)).params


def best(
    name: str, space: tuple[Dimension, ...], objective: Callable[[Values], float], trials: int, seed: int
) -> float:
    past = search(make(name, problem(space, seed=seed)), objective, trials)
    return min(each.value for each in past if each.value is not None)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "objective", "space"),
    [
        ("tpe", branin, BRANIN),
        ("multivariate-tpe", branin, BRANIN),
        pytest.param("tpe", hartmann, HARTMANN, marks=SLOW),
        pytest.param("multivariate-tpe", hartmann, HARTMANN, marks=SLOW),
    ],
)
def test_tpe_finds_what_optunas_own_search_finds(
    name: str, objective: Callable[[Values], float], space: tuple[Dimension, ...]
) -> None:
    def optunas(seed: int) -> float:
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=name == "multivariate-tpe")
        study = optuna.create_study(sampler=sampler)
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study.optimize(
            lambda trial: objective({p.name: str(trial.suggest_float(p.name, p.low or 0, p.high or 0)) for p in space}),
            n_trials=60,
        )
        optuna.logging.set_verbosity(verbosity)
        return study.best_value

    ours = [best(name, space, objective, 60, seed) for seed in range(20)]
    theirs = [optunas(1000 + seed) for seed in range(20)]
    assert stats.mannwhitneyu(ours, theirs, alternative="greater").pvalue > 0.01


def test_tpe_maximizes_as_it_minimizes_the_negative() -> None:
    smaller = search(make("tpe", problem(BRANIN)), branin, 25)
    larger = search(make("tpe", problem(BRANIN, maximize=True)), lambda values: -branin(values), 25)
    assert [each.assignments for each in smaller] == [each.assignments for each in larger]


def test_hyperopts_settings_change_what_tpe_does_after_its_first_trials() -> None:
    plain = [each.assignments for each in search(make("tpe", problem(BRANIN)), branin, 25)]
    for chosen in ({"gamma": "0.9"}, {"prior_weight": "5"}, {"n_EI_candidates": "3"}, {"n_ei_candidates": "3"}):
        other = [each.assignments for each in search(make("tpe", problem(BRANIN, chosen)), branin, 25)]
        assert other[:10] == plain[:10]
        assert other[10:] != plain[10:]


def test_optuna_says_nothing_and_its_own_loudness_stays(capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search(make("tpe", problem(BRANIN, {"gamma": "0.2", "prior_weight": "2"})), branin, 12)
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before


def test_cma_es_solves_a_sphere() -> None:
    space = box(*[(-5, 5)] * 3)

    def sphere(values: Values) -> float:
        return sum((float(text) - 1) ** 2 for text in values.values())

    assert max(best("cmaes", space, sphere, 200, seed) for seed in range(5)) < 1e-3
    assert min(best("random", space, sphere, 200, seed) for seed in range(5)) > 1e-2


def generations(strategy: str, trials: int) -> list[int]:
    """Sizes of the generations on a plateau, where every run ends as soon as one may, without repetitions."""
    past = search(make("cmaes", problem(BRANIN, {"restart_strategy": strategy})), lambda _: 1.0, trials)
    counts = Counter(each.memory["generation"] for each in past)
    sizes = [counts[generation] for generation in range(len(counts) - 1)]  # the last one may not be full
    return [size for size, _ in groupby(sizes)]


def test_ipop_doubles_the_population_with_each_restart() -> None:
    assert generations("ipop", 700) == [6, 12, 24]


def test_bipop_has_runs_with_small_populations_between_those_that_double() -> None:
    sizes = generations("bipop", 1500)
    assert sizes[:2] == [6, 12]
    largest, small = 12, 0
    for size in sizes[2:]:
        if size > largest:
            assert size == 2 * largest
            largest = size
        else:
            small += 1
    assert largest >= 48
    assert small >= 2


def test_without_restarts_the_population_stays_and_a_search_that_has_converged_goes_on() -> None:
    assert generations("none", 700) == [6]


def test_cma_es_refuses_a_space_with_fewer_than_two_ranges() -> None:
    single = Dimension("p", "int", 3, 3)
    with pytest.raises(InputError, match="cmaes: the space has 1 ranges with more than one value, expected 2 or more"):
        make("cmaes", problem((LAYERS, single, KIND)))


def test_a_failed_trial_is_no_part_of_a_generation_of_cma_es() -> None:
    count = iter(range(40))
    past = search(make("cmaes", problem(BRANIN)), lambda _: None if next(count) % 2 else 1.0, 36)
    assert Counter(each.memory["generation"] for each in past) == {0: 11, 1: 12, 2: 12, 3: 1}


def test_bayesian_optimization_beats_random_search() -> None:
    def found(name: str, seed: int, chosen: Values | None = None) -> float:
        past = search(make(name, problem(BRANIN, chosen, seed=seed)), branin, 20)
        return min(each.value for each in past if each.value is not None)

    chosen = {"n_initial_points": "8", "acq_func": "EI", "acq_optimizer": "sampling"}
    modelled = [found("bayesianoptimization", seed, chosen) for seed in range(3)]
    at_random = [found("random", seed) for seed in range(40)]
    assert max(modelled) < np.median(at_random)
    assert np.median(modelled) < np.quantile(at_random, 0.1)


@pytest.mark.parametrize("estimator", ["GP", "RF", "ET", "GBRT"])
def test_bayesian_optimization_takes_each_estimator_and_does_not_repeat_itself(estimator: str) -> None:
    task = problem(BRANIN, {"base_estimator": estimator, "n_initial_points": "3"})
    past = search(make("bayesianoptimization", task), branin, 6)
    assert len({tuple(each.assignments.values()) for each in past}) == 6


def test_bayesian_optimization_does_not_try_a_failed_region_again_and_again() -> None:
    def fails_on_the_left(values: Values) -> float | None:
        return None if float(values["x0"]) < 0 else float(values["x0"])

    space = box((-1, 1))
    task = problem(space, {"n_initial_points": "6", "acq_func": "EI", "acq_optimizer": "sampling"})
    past = search(make("bayesianoptimization", task), fails_on_the_left, 14)
    assert sum(each.value is None for each in past[6:]) <= 4


# --- hyperband

TO_NINE = {"r_l": "9", "resource_name": "steps"}


def test_the_schedule_is_table_1_of_the_paper() -> None:
    rungs = [(rung.trials, rung.resource) for rung in schedule(81, 3)]
    assert rungs == [
        *[(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        *[(27, 3), (9, 9), (3, 27), (1, 81)],
        *[(9, 9), (3, 27), (1, 81)],
        *[(6, 27), (2, 81)],
        (5, 81),
    ]
    assert sum(trials for trials, _ in rungs) == 187
    brackets = [rungs[:5], rungs[5:9], rungs[9:12], rungs[12:14], rungs[14:]]
    assert [sum(trials * resource for trials, resource in each) for each in brackets] == [405, 324, 243, 324, 405]


def test_the_schedule_counts_brackets_in_whole_numbers() -> None:
    assert math.log(243) / math.log(3) < 5
    assert schedule(243, 3)[0].trials == 243
    assert sum(rung.before is None for rung in schedule(243, 3)) == 6


def test_hyperband_runs_the_schedule_and_ends() -> None:
    task = problem(MIXED, {"r_l": "81", "resource_name": "layers"})
    past = search(make("hyperband", task), lambda _: 0.0, 1000)
    runs = [(resource, len(list(group))) for resource, group in groupby(each.assignments["layers"] for each in past)]
    assert len(past) == 187
    assert runs == [
        *[("1", 81), ("3", 27), ("9", 9), ("27", 3), ("81", 1)],
        *[("3", 27), ("9", 9), ("27", 3), ("81", 1)],
        *[("9", 9), ("27", 3), ("81", 1)],
        *[("27", 6), ("81", 2 + 5)],
    ]


@pytest.mark.parametrize("maximize", [True, False])
def test_hyperband_goes_on_with_the_best_third_in_their_order(maximize: bool) -> None:
    task = problem((RATE, STEPS), TO_NINE, maximize=maximize)
    past = search(make("hyperband", task), lambda values: float(values["rate"]), 100)
    rates = [float(each.assignments["rate"]) for each in past]
    for start, stop, following in ((0, 9, 3), (9, 12, 1), (13, 16, 1)):
        expected = sorted(rates[start:stop], reverse=maximize)[:following]
        assert rates[stop : stop + following] == expected


def test_failed_trials_rank_behind_all_others() -> None:
    count = iter(range(100))
    task = problem((RATE, STEPS), TO_NINE)
    past = search(make("hyperband", task), lambda _: 5.0 if next(count) in (4, 6) else None, 12)
    rates = [each.assignments["rate"] for each in past]
    assert rates[9:12] == [rates[4], rates[6], rates[0]]


def test_a_rung_waits_for_the_whole_rung_before() -> None:
    algorithm = make("hyperband", problem((STEPS,), TO_NINE))
    assert [algorithm.horizon(number) for number in (0, 8, 9, 11, 12, 13, 15, 16, 17, 19)] == [
        *[0, 0, 9, 9, 12],
        *[0, 0, 16, 0, 0],
    ]
    assert algorithm.horizon(1000) == 0


# --- population based training

GENERATION = "pbt.suggestion.katib.kubeflow.org/generation"
PARENT = "pbt.suggestion.katib.kubeflow.org/parent"
POPULATION = {"n_population": "10", "truncation_threshold": "0.2"}


def members(
    objective: Objective, generations: int = 2, **chosen: str
) -> tuple[list[Past], list[tuple[str, str | None]]]:
    """The trials of some generations; the generation and the parent that their labels name."""
    algorithm, past, labels = make("pbt", problem(MIXED, {**POPULATION, **chosen})), list[Past](), []
    for number in range(10 * generations):
        found = algorithm.suggest(number, seen(past, algorithm.horizon(number)))
        assert found is not None
        assert found.parent == found.labels.get(PARENT)
        labels.append((found.labels[GENERATION], found.parent))
        past.append(ended(number, found.assignments, objective(found.assignments), found.memory))
    return past, labels


def rate(values: Values) -> float:
    return float(values["rate"])


def test_the_worst_members_take_over_the_parameters_and_the_checkpoint_of_one_of_the_best() -> None:
    past, labels = members(rate)  # the smaller the better
    order = sorted(past[:10], key=lambda each: rate(each.assignments))
    best_names, worst = [each.name for each in order[:2]], {each.number for each in order[-2:]}
    for number in range(10):
        generation, parent = labels[10 + number]
        assert generation == "1"
        if number in worst:
            assert parent in best_names
            donor = next(each for each in order if each.name == parent)
            assert past[10 + number].assignments == donor.assignments
        else:
            assert parent == f"trial-{number}"
            assert past[10 + number].assignments != past[number].assignments


def test_the_first_generation_is_random_and_has_no_parents() -> None:
    past, labels = members(rate, generations=1)
    assert labels == [("0", None)] * 10
    assert len({each.assignments["rate"] for each in past}) == 10


def test_a_changed_number_is_a_fifth_larger_or_smaller_within_its_range_and_steps() -> None:
    past, labels = members(rate, generations=4)
    by_name = {each.name: each for each in past}
    kept = [(by_name[parent], each) for each, (_, parent) in zip(past, labels, strict=True) if parent]
    changes = [(a, b) for a, b in kept if a.assignments != b.assignments]
    assert len(changes) > 20
    for before, after in changes:
        old, new = rate(before.assignments), rate(after.assignments)
        assert new == pytest.approx(max(0.8 * old, 1e-5)) or new == pytest.approx(min(1.2 * old, 0.1))
        assert abs(int(after.assignments["layers"]) - int(before.assignments["layers"])) <= 2
        for parameter in MIXED:
            check(parameter, after.assignments[parameter.name])


def test_a_whole_number_is_changed_by_one_at_least() -> None:
    scale = Scale(LAYERS)
    assert [scale.scaled(text, 1.2) for text in ("1", "2", "5", "8", "9")] == ["2", "3", "6", "9", "9"]
    assert [scale.scaled(text, 0.8) for text in ("1", "2", "5", "8", "9")] == ["1", "1", "4", "6", "7"]


def test_a_word_is_changed_to_its_neighbour_and_the_last_one_has_the_first_as_its_own() -> None:
    scale = Scale(BATCH)
    assert [scale.beside(text, 1) for text in BATCH.choices] == ["32", "64", "16"]
    assert [scale.beside(text, -1) for text in BATCH.choices] == ["64", "16", "32"]


def test_with_a_probability_parameters_are_drawn_anew_and_kept_otherwise() -> None:
    never, _ = members(rate, resample_probability="0")
    always, _ = members(rate, resample_probability="1")
    worst = {each.number for each in sorted(never[:10], key=lambda each: rate(each.assignments))[-2:]}
    for number in set(range(10)) - worst:
        assert never[10 + number].assignments == never[number].assignments
        assert always[10 + number].assignments["rate"] != always[number].assignments["rate"]


def test_a_failed_member_takes_over_from_one_of_the_best() -> None:
    count = iter(range(20))
    past, labels = members(lambda values: None if next(count) == 3 else rate(values))
    best_names = [each.name for each in sorted((each for each in past[:10] if each.value), key=lambda t: t.value or 0)]
    assert labels[13][1] in best_names[:2]


def test_after_a_generation_that_failed_as_a_whole_the_next_is_random() -> None:
    past, labels = members(lambda _: None)
    assert labels[10:] == [("1", None)] * 10
    assert {each.assignments["rate"] for each in past[:10]}.isdisjoint(each.assignments["rate"] for each in past[10:])


def test_a_generation_waits_for_the_whole_one_before() -> None:
    algorithm = make("pbt", problem(MIXED, POPULATION))
    assert [algorithm.horizon(number) for number in (0, 9, 10, 19, 20, 35)] == [0, 0, 10, 10, 20, 30]


def test_a_population_gets_better_from_generation_to_generation() -> None:
    past, _ = members(rate, generations=6)
    means = [float(np.mean([math.log(each.value or 1) for each in past[i : i + 10]])) for i in range(0, 60, 10)]
    assert all(after < before for before, after in pairwise(means[:3]))
    assert means[-1] < means[0]
