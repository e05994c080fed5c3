"""Tree-structured Parzen estimators, by Optuna."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from parak8s.katib.local.suggestions.algorithm import Past, Problem, Suggestion
from parak8s.katib.local.suggestions.draws import behind, loss, seed_32
from parak8s.katib.local.suggestions.scales import Scale
from parak8s.katib.local.suggestions.settings import Settings

EVER = datetime(2000, 1, 1)
"""Optuna wants a time, and looks at none."""

MOST_GOOD = 25
"""Trials that Hyperopt's rule counts as good at most."""


class Tpe:
    """Optuna's TPESampler on one study, which grows with the search.

    While trials run at the same time, the running ones repel (``constant_liar``). Whatever Optuna has no distribution
    for, a normal one or logarithmic steps, it sees as an even number from 0 to 1.

    Settings: ``random_state``; ``n_startup_trials`` (10); ``n_ei_candidates`` (24), which Hyperopt calls
    ``n_EI_candidates``. Of ``tpe`` alone, from Hyperopt, which Katib runs there: ``prior_weight`` (1), and ``gamma``,
    with which ``ceil(gamma * sqrt(n))`` of n trials count as good, 25 at most; without it, Optuna's tenth does.

    Args:
        problem: What is searched.
        multivariate: Whether the parameters are looked at together, as ``multivariate-tpe`` does.

    Source: Bergstra et al. (2011), Algorithms for Hyper-Parameter Optimization; Watanabe (2023), arXiv:2304.11127.
    """

    _told: int
    _running: set[int]

    def __init__(self, problem: Problem, *, multivariate: bool) -> None:
        self._problem = problem
        self._scales = {parameter.name: Scale(parameter) for parameter in problem.space}
        self._distributions = {name: _distribution(scale) for name, scale in self._scales.items()}
        self._seed, self._options = _options(problem, multivariate=multivariate)
        self._begin()

    def horizon(self, number: int) -> int:
        """Return how many trials must be over: all, where one runs at a time."""
        return behind(number, self._problem.parallel)

    def suggest(self, number: int, past: Sequence[Past]) -> Suggestion:
        """Return the point whose improvement is expected to be best."""
        if self._told > number:
            self._begin()
        with _silence():
            self._tell(past)
            self._study.sampler = optuna.samplers.TPESampler(seed=seed_32(self._seed, number), **self._options)
            found = self._study.ask(self._distributions).params
        self._told, self._running = number + 1, {*self._running, number}
        return Suggestion({name: _text(scale, found[name]) for name, scale in self._scales.items()}, {"params": found})

    def _begin(self) -> None:
        with _silence():
            self._study = optuna.create_study(direction="minimize")
        self._told, self._running = 0, set()

    def _tell(self, past: Sequence[Past]) -> None:
        for number in sorted(self._running):
            if past[number].state != "Running":
                value = loss(past[number], maximize=self._problem.maximize)
                state = TrialState.FAIL if value is None else TrialState.COMPLETE
                self._study.tell(number, value, state=state)
                self._running.discard(number)
        for trial in past[self._told :]:
            self._study.add_trial(self._as_optunas(trial))
            if trial.state == "Running":
                self._running.add(trial.number)

    def _as_optunas(self, trial: Past) -> FrozenTrial:
        value = loss(trial, maximize=self._problem.maximize)
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        running = trial.state == "Running"
        return _Unshared(
            number=trial.number,
            trial_id=trial.number,
            state=TrialState.RUNNING if running else state,
            value=value,
            datetime_start=EVER,
            datetime_complete=None if running else EVER,
            params=dict(trial.memory["params"]),
            distributions=self._distributions,
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )


class _Unshared(FrozenTrial):
    """A trial that nobody else holds: the study's copy of it takes most of the time, and is spared."""

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTrial:
        return self


def _options(problem: Problem, *, multivariate: bool) -> tuple[int, dict[str, Any]]:
    known = {"random_state", "n_startup_trials", "n_ei_candidates"}
    name = "multivariate-tpe" if multivariate else "tpe"
    settings = Settings(name, problem, known if multivariate else known | {"gamma", "prior_weight", "n_EI_candidates"})
    candidates = "n_EI_candidates" if "n_EI_candidates" in problem.settings else "n_ei_candidates"
    options: dict[str, Any] = {
        "multivariate": multivariate,
        "constant_liar": problem.parallel > 1,
        "n_startup_trials": settings.whole("n_startup_trials", 10),
        "n_ei_candidates": settings.whole(candidates, 24, least=1),
    }
    if "gamma" in problem.settings:
        gamma = settings.number("gamma", high=1)
        options["gamma"] = lambda trials: min(math.ceil(gamma * math.sqrt(trials)), MOST_GOOD)
    if "prior_weight" in problem.settings:
        options["prior_weight"] = settings.number("prior_weight", above=True)
    return settings.seed(), options


def _distribution(scale: Scale) -> BaseDistribution:
    parameter = scale.parameter
    if not parameter.is_range:
        return CategoricalDistribution(parameter.choices)
    if scale.is_even and scale.count is not None:
        return IntDistribution(0, scale.count - 1)
    if _has_own_logarithm(scale) and parameter.kind == "int":
        return IntDistribution(round(parameter.low or 1), round(parameter.high or 1), log=True)
    if _has_own_logarithm(scale) or parameter.distribution == "uniform":
        log = parameter.distribution == "logUniform"
        return FloatDistribution(parameter.low or 0.0, parameter.high or 0.0, log=log)
    return FloatDistribution(0.0, 1.0)


def _has_own_logarithm(scale: Scale) -> bool:
    parameter = scale.parameter
    steps = parameter.step not in (None, 0, 1) if parameter.kind == "int" else bool(parameter.step)
    return parameter.distribution == "logUniform" and not steps


def _text(scale: Scale, value: Any) -> str:
    """Return Optuna's value of a parameter as the trial's text."""
    parameter = scale.parameter
    if not parameter.is_range:
        return str(value)
    if scale.is_even:
        return scale.nth(value)
    if _has_own_logarithm(scale) or parameter.distribution == "uniform":
        return parameter.text(value)
    return scale.value(value)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep Optuna from narrating, and from warning of arguments that it will drop some day."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
