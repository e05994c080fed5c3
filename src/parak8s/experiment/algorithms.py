"""The algorithms of a search: their settings, and what each can search, as Katib's suggestion services check it.

Pure tables and rules: what reads an experiment file uses them, and what reads an Experiment that others wrote.

Source: github.com/kubeflow/katib, pkg/suggestion/v1beta1 (hyperopt, optuna, goptuna, skopt, hyperband, pbt), 0.19.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from parak8s.errors import Mistake, nearest
from parak8s.experiment.algorithm_settings import CHECKPOINTS, Setting, at_least, example, one_of, share, wrong
from parak8s.experiment.dimensions import ALMOST, Dimension, count

Algorithm = Literal[
    "random", "grid", "bayesianoptimization", "tpe", "multivariate-tpe", "cmaes", "sobol", "hyperband", "pbt"
]


@dataclass(frozen=True)
class Rules:
    """What an algorithm takes.

    Args:
        settings: Name -> what it may be.
        normal: Whether it draws from normal distributions; otherwise Katib draws uniformly, and says nothing.
        more: Its own rules.
    """

    settings: Mapping[str, Setting]
    normal: bool = False
    more: Callable[["Problem"], Iterator[Mistake]] = lambda _: iter(())


@dataclass(frozen=True)
class Problem:
    """What :func:`check` was asked about."""

    settings: Mapping[str, str]
    dimensions: Sequence[Dimension]
    parallel: int | None
    trials: int | None
    ranges: tuple[Dimension, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", tuple(each for each in self.dimensions if each.is_range))


def check(
    algorithm: str,
    settings: Mapping[str, str],
    dimensions: Sequence[Dimension],
    *,
    parallel: int | None = None,
    trials: int | None = None,
) -> list[Mistake]:
    """Return what Katib's service of an algorithm would refuse, or fail at.

    Args:
        algorithm: Katib's name.
        settings: Of the algorithm, as the text that an Experiment holds; see :func:`completed`.
        dimensions: What is searched; min is not above max.
        parallel: ``parallelTrialCount``; None where it is not known.
        trials: ``maxTrialCount``; None for no limit.

    Returns:
        Mistakes with paths of the section ``search``, such as ``settings.gamma``; an empty path is the whole section.
    """
    if algorithm not in ALGORITHMS:
        return [Mistake("algorithm", f"no such algorithm, got {algorithm!r}; {nearest(algorithm, [*ALGORITHMS])}")]
    rules = ALGORITHMS[algorithm]  # type: ignore[index]
    found = [*_setting_mistakes(algorithm, rules.settings, settings, dimensions)]
    found += [mistake for each in dimensions for mistake in _dimension_mistakes(algorithm, rules, each)]
    return found or [*rules.more(Problem(settings, dimensions, parallel, trials))]


def surprises(algorithm: str, dimensions: Sequence[Dimension]) -> list[Mistake]:
    """Return what Katib takes, but not as it was meant: a file that is written anew is kept from it.

    Args:
        algorithm: As for :func:`check`, which found nothing.
        dimensions: As for :func:`check`.
    """
    found = [mistake for each in dimensions if each.is_range for mistake in _uneven(each)]
    whole = [each for each in dimensions if each.kind == "int" and algorithm == "pbt"]
    return [*found, *(_clamped(each) for each in whole)]


def completed(algorithm: Algorithm, settings: Mapping[str, str | int | float], seed: int) -> dict[str, str]:
    """Return the settings as text, as an Experiment holds them, with ``random_state`` and what must not be left out."""
    known = ALGORITHMS[algorithm].settings
    defaults = {name: setting.default for name, setting in known.items() if setting.default is not None}
    given = {name: value if isinstance(value, str) else repr(value) for name, value in settings.items()}
    return {"random_state": str(seed), **defaults, **given}


def budgets(settings: Mapping[str, str]) -> tuple[int, int]:
    """Return the smallest and the largest value that ``hyperband`` gives to its resource."""
    most, eta, rounds = _halving(settings)
    return int(most * eta**-rounds), int(most)


def _setting_mistakes(
    algorithm: str, known: Mapping[str, Setting], given: Mapping[str, str], dimensions: Sequence[Dimension]
) -> Iterator[Mistake]:
    for name, text in given.items():
        if name not in known:
            yield Mistake(f"settings.{name}", f"no setting of {algorithm}; {nearest(name, [*known])}")
        elif message := wrong(known[name], text, [each.name for each in dimensions]):
            yield Mistake(f"settings.{name}", message)
    for name, setting in known.items():
        if setting.required and name not in given:
            yield Mistake(f"settings.{name}", f"missing; {algorithm} needs it: write {example(setting)}")


def _dimension_mistakes(algorithm: str, rules: Rules, dimension: Dimension) -> Iterator[Mistake]:
    path, step = f"parameters.{dimension.name}", dimension.step
    if dimension.distribution in ("normal", "logNormal") and not rules.normal:
        normal = [name for name, each in ALGORITHMS.items() if each.normal]
        message = f"{algorithm} has no {dimension.distribution} distribution; take uniform or logUniform, or one of the"
        yield Mistake(f"{path}.distribution", f"{message} algorithms {' and '.join(normal)}")
    if dimension.kind == "int" and step is not None and not float(step).is_integer():
        yield Mistake(f"{path}.step", f"must be a whole number, as the values are, got {step:g}")


def _grid(problem: Problem) -> Iterator[Mistake]:
    endless = [each.name for each in problem.ranges if each.kind == "double" and each.step is None]
    if endless:
        yield Mistake("", f"a grid needs points: give a step, or values, for {', '.join(endless)}")
        return
    points = math.prod(count(each) for each in problem.dimensions)
    if problem.trials is not None and problem.trials > points:
        message = f"must be at most the {points} points of the grid, got {problem.trials}"
        yield Mistake("trials", message)


def _uneven(dimension: Dimension) -> Iterator[Mistake]:
    low, high, step = dimension.low, dimension.high, dimension.step or 1
    if low is None or high is None or dimension.step is None:
        return
    steps = (high - low) / step
    if abs(steps - round(steps)) > ALMOST:
        fits = f"{low + max(1, round(steps)) * step:.12g}"
        message = f"{step:g} does not divide the range from {low:g} to {high:g}, whose end would be no point of it"
        yield Mistake(f"parameters.{dimension.name}.step", f"{message}; write max: {fits}")


def _two_ranges(problem: Problem) -> Iterator[Mistake]:
    lists = [each.name for each in problem.dimensions if not each.is_range]
    if lists:
        message = f"cmaes searches ranges alone: give min and max for {', '.join(lists)}, or take tpe"
        yield Mistake("", message)
    elif len(problem.ranges) < 2:
        yield Mistake("", "cmaes needs at least two parameters, got 1; search another one, or take tpe")


def _halving(settings: Mapping[str, str]) -> tuple[float, float, int]:
    """Return the resource, the factor, and how often it is divided by it, computed as Katib does."""
    most, eta = float(settings["r_l"]), float(settings.get("eta", "3"))
    return most, eta, int(math.log(most) / math.log(int(eta)))


def _hyperband(problem: Problem) -> Iterator[Mistake]:
    name = problem.settings["resource_name"]
    resource = next(each for each in problem.dimensions if each.name == name)
    if resource.kind != "int":
        yield Mistake("settings.resource_name", f"must be a range of whole numbers, got {name}; give it min and max")
    most, eta, rounds = _halving(problem.settings)
    least = math.ceil(int(eta) ** rounds)
    if problem.parallel is not None and problem.parallel < least:
        message = f"must be at least {least} for hyperband with r_l {most:g} and eta {eta:g}, got {problem.parallel}"
        yield Mistake("parallel", message)


def _pbt(problem: Problem) -> Iterator[Mistake]:
    for each in problem.ranges:
        if each.step is None:
            message = "missing; pbt begins at points of a range: write how far apart they are"
            yield Mistake(f"parameters.{each.name}.step", message)


def _clamped(dimension: Dimension) -> Mistake:
    low, high, step = dimension.low or 0.0, dimension.high or 0.0, dimension.step or 1.0
    points = ", ".join(f"{low + each * step:g}" for each in range(min(count(dimension), 20)))
    message = f"pbt writes a whole number at an end of its range as {high:.1f}, which no key for whole numbers takes"
    return Mistake(f"parameters.{dimension.name}", f"{message}; write values: [{points}]")


_SEED = {"random_state": Setting("whole", lambda number: 0 <= number < 2**32, f"a whole number from 0 to {2**32 - 1}")}
"""Katib's sobol, hyperband and pbt read past it; the engine of a laptop does not."""

_ABOVE_ZERO = Setting("number", lambda number: number > 0, "a number above 0")

ALGORITHMS: Mapping[Algorithm, Rules] = {
    "random": Rules(_SEED, normal=True),
    "grid": Rules(_SEED, more=_grid),
    "tpe": Rules(
        {
            "gamma": Setting("number", lambda number: 0 < number < 1, "a number above 0 and below 1"),
            "prior_weight": _ABOVE_ZERO,
            "n_EI_candidates": at_least(1),
            **_SEED,
        },
        normal=True,
    ),
    "multivariate-tpe": Rules({"n_startup_trials": at_least(0), "n_ei_candidates": at_least(0), **_SEED}),
    "cmaes": Rules(
        {
            "sigma": Setting("number", lambda number: number >= 0, "a number from 0 on"),
            "restart_strategy": one_of("none", "ipop", "bipop"),
            **_SEED,
        },
        more=_two_ranges,
    ),
    "sobol": Rules(_SEED),
    "bayesianoptimization": Rules(
        {
            "base_estimator": one_of("GP", "RF", "ET", "GBRT"),
            "n_initial_points": at_least(0),
            "acq_func": one_of("gp_hedge", "LCB", "EI", "PI", "EIps", "PIps"),
            "acq_optimizer": one_of("auto", "sampling", "lbfgs"),
            **_SEED,
        }
    ),
    "hyperband": Rules(
        {
            "r_l": Setting("number", lambda number: number >= 1, "a number from 1 on, such as 27", required=True),
            "resource_name": Setting("parameter", required=True),
            "eta": Setting("number", lambda number: number >= 2, "a number from 2 on"),
            **_SEED,
        },
        more=_hyperband,
    ),
    "pbt": Rules(
        {
            "n_population": at_least(5, required=True),
            "truncation_threshold": share(required=True),
            "resample_probability": share(),
            "suggestion_trial_dir": Setting("path", required=True, default=CHECKPOINTS),
            **_SEED,
        },
        more=_pbt,
    ),
}
