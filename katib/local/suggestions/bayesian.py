"""Bayesian optimization, by scikit-optimize."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import skopt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from parak8s.errors import InputError
from parak8s.katib.local.suggestions.algorithm import Past, Problem, Suggestion
from parak8s.katib.local.suggestions.boosting import BoostedQuantiles
from parak8s.katib.local.suggestions.draws import behind, loss, seed_32
from parak8s.katib.local.suggestions.scales import Scale
from parak8s.katib.local.suggestions.settings import Settings


class Bayesian:
    """scikit-optimize's Optimizer, fitted anew to the past for each suggestion.

    Every range is stretched to 0..1 by its distribution, steps and lists are numbered. A running trial counts as the
    best one so far, as under ``cl_min``; a failed one as the worst, so that the same point is not tried again and
    again (Katib leaves it out). The weights of ``gp_hedge`` are carried on from one suggestion to the next.

    Settings: ``random_state``; ``base_estimator``: GP (default), RF, ET or GBRT; ``n_initial_points`` (10), which are
    random; ``acq_func``: gp_hedge (default), LCB, EI or PI; ``acq_optimizer``: auto (default), sampling or lbfgs.

    Raises:
        InputError: EIps or PIps is asked for, which need the seconds that trials took, or lbfgs for trees.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem, self._scales = problem, [Scale(parameter) for parameter in problem.space]
        self._searched = [scale for scale in self._scales if scale.count != 1]
        self._seed, self._options = _options(problem)

    def horizon(self, number: int) -> int:
        """Return how many trials must be over: all, where one runs at a time."""
        return behind(number, self._problem.parallel)

    def suggest(self, number: int, past: Sequence[Past]) -> Suggestion:
        """Return the point whose acquisition is best; a random one at first."""
        chosen = {scale.parameter.name: scale.value(0.5) for scale in self._scales}
        if not self._searched:
            return Suggestion(chosen)
        with threadpool_limits(1), warnings.catch_warnings():  # several threads are slower here, and round otherwise
            warnings.simplefilter("ignore")  # of a kernel's bounds, and of points that were tried before
            optimizer = self._optimizer(seed_32(self._seed, number))
            _recall_hedge(optimizer, past)
            points, losses = self._told(past)
            if points:
                optimizer.tell(points, losses)
            found = optimizer.ask()
        for scale, value in zip(self._searched, found, strict=True):
            chosen[scale.parameter.name] = scale.nth(int(value)) if scale.is_even else scale.value(float(value))
        return Suggestion(chosen, _hedge(optimizer))

    def _optimizer(self, seed: int) -> Any:
        options = self._options
        if options["base_estimator"] == "GBRT":
            options = {**options, "base_estimator": BoostedQuantiles(seed), "acq_optimizer": "sampling"}
        dimensions = [_dimension(scale) for scale in self._searched]
        return skopt.Optimizer(dimensions, random_state=np.random.RandomState(seed), **options)

    def _told(self, past: Sequence[Past]) -> tuple[list[list[float]], list[float]]:
        """Return the points that were tried, and what each counts as; nothing while no trial has an objective."""
        losses = [loss(trial, maximize=self._problem.maximize) for trial in past]
        known = [each for each in losses if each is not None]
        if not known:
            return [], []
        lies = {"Running": min(known)}
        counted = [
            lies.get(trial.state, max(known)) if each is None else each
            for trial, each in zip(past, losses, strict=True)
        ]
        return [[_place(scale, trial) for scale in self._searched] for trial in past], counted


def _options(problem: Problem) -> tuple[int, dict[str, Any]]:
    known = {"random_state", "base_estimator", "n_initial_points", "acq_func", "acq_optimizer"}
    settings = Settings("bayesianoptimization", problem, known)
    if problem.settings.get("acq_func") in ("EIps", "PIps"):
        raise InputError(
            f"bayesianoptimization: acq_func {problem.settings['acq_func']} weighs the seconds that each trial took, "
            "which no Experiment reports; write EI or PI"
        )
    options = {
        "base_estimator": settings.word("base_estimator", "GP", ("GP", "RF", "ET", "GBRT")),
        "n_initial_points": settings.whole("n_initial_points", 10, least=1),
        "acq_func": settings.word("acq_func", "gp_hedge", ("gp_hedge", "LCB", "EI", "PI")),
        "acq_optimizer": settings.word("acq_optimizer", "auto", ("auto", "sampling", "lbfgs")),
    }
    if options["acq_optimizer"] == "lbfgs" and options["base_estimator"] != "GP":
        raise InputError(
            f"bayesianoptimization: acq_optimizer lbfgs follows a slope, which {options['base_estimator']} has not; "
            "write auto or sampling"
        )
    return settings.seed(), options


def _dimension(scale: Scale) -> Any:
    name = scale.parameter.name
    if not scale.parameter.is_range:
        return skopt.space.Categorical(list(range(scale.count or 1)), name=name)
    if scale.is_even and scale.count is not None:
        return skopt.space.Integer(0, scale.count - 1, name=name)
    return skopt.space.Real(0.0, 1.0, name=name)


def _place(scale: Scale, trial: Past) -> float:
    text = trial.assignments[scale.parameter.name]
    return scale.index(text) if scale.is_even else scale.share(text)


def _recall_hedge(optimizer: Any, past: Sequence[Past]) -> None:
    """Give gp_hedge what it had gained when it last chose, and the candidates that it chose from."""
    noted = next((trial.memory for trial in reversed(past) if "gains" in trial.memory), None)
    if noted is not None:
        optimizer.gains_ = np.array(noted["gains"])
        optimizer.next_xs_ = [np.array(candidate) for candidate in noted["candidates"]]


def _hedge(optimizer: Any) -> dict[str, Any]:
    if optimizer.acq_func != "gp_hedge" or not optimizer.models:
        return {}
    candidates = [np.asarray(candidate, float).tolist() for candidate in optimizer.next_xs_]
    return {"gains": optimizer.gains_.tolist(), "candidates": candidates}
