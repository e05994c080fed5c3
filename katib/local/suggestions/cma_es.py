"""The covariance matrix adaptation evolution strategy, by cmaes, with its restarts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import cmaes
import numpy as np

from parak8s.errors import InputError
from parak8s.katib.local.suggestions.algorithm import Past, Problem, Suggestion
from parak8s.katib.local.suggestions.draws import behind, generator, loss, point, seed_32
from parak8s.katib.local.suggestions.scales import Scale
from parak8s.katib.local.suggestions.settings import Settings

GROWTH = 2
"""How much larger a population is after each restart, as in Katib."""

RESTART = 1
"""Marks the draws of a restart."""


@dataclass
class _Budgets:
    """What a search with restarts has spent, in trials.

    Args:
        restarts: With a larger population.
        small: Trials of runs with a small population.
        large: Trials of runs with a large one.
        is_small: Whether the present run is one of the small ones.
    """

    restarts: int = 0
    small: int = 0
    large: int = 0
    is_small: bool = True


class CmaEs:
    """CMA-ES over the ranges, each stretched to 0..1; lists are drawn at random, as Katib does.

    A generation is over when as many of its trials as the population has have an objective; more of them than that, and
    those that failed, teach nothing. The strategy is told the generations anew from the past, so its state is written
    nowhere. Optuna's sampler does the same but has no restarts since 4.4. A search without restarts that has converged
    goes on drawing around what it found.

    Settings: ``random_state``; ``sigma``, the first standard deviation as a share of each range, of its logarithms
    where it is logarithmic (1/6; Katib's one number has the units of all ranges at once); ``restart_strategy``:
    ``none``, ``ipop`` (the population doubles) or ``bipop`` (as much is spent on smaller populations).

    Raises:
        InputError: There are fewer than two ranges; the strategy needs them.

    Source: Hansen (2016), arXiv:1604.00772; Auger and Hansen (2005), doi:10.1109/CEC.2005.1554902 (IPOP); Hansen
    (2009), doi:10.1145/1570256.1570333 (BIPOP).
    """

    _last: int
    _generation: int
    _size: int

    def __init__(self, problem: Problem) -> None:
        settings = Settings("cmaes", problem, {"random_state", "sigma", "restart_strategy"})
        self._maximize, self._parallel = problem.maximize, problem.parallel
        self._seed, self._sigma = settings.seed(), settings.number("sigma", 1 / 6, above=True)
        self._strategy = settings.word("restart_strategy", "none", ("none", "ipop", "bipop"))
        self._scales = [Scale(parameter) for parameter in problem.space]
        self._ranges = [scale for scale in self._scales if scale.parameter.is_range and scale.count != 1]
        if len(self._ranges) < 2:
            raise InputError(
                f"cmaes: the space has {len(self._ranges)} ranges with more than one value, expected 2 or more; "
                "add one, or take another algorithm, such as tpe"
            )
        self._begin()

    def horizon(self, number: int) -> int:
        """Return how many trials must be over: all, where one runs at a time."""
        return behind(number, self._parallel)

    def suggest(self, number: int, past: Sequence[Past]) -> Suggestion:
        """Return a draw from the present generation's distribution."""
        if number < self._last:
            self._begin()
        self._last = number
        self._learn(past)
        self._optimizer.reseed_rng(seed_32(self._seed, number))
        drawn = zip(self._ranges, self._optimizer.ask(), strict=True)
        chosen = point(self._scales, generator(self._seed, number))
        chosen |= {scale.parameter.name: scale.value(float(share)) for scale, share in drawn}
        return Suggestion(chosen, {"generation": self._generation})

    def _begin(self) -> None:
        self._last, self._generation, self._runs, self._budgets = 0, 0, 0, _Budgets()
        self._start(np.full(len(self._ranges), 0.5), None)
        self._size = self._optimizer.population_size

    def _start(self, mean: np.ndarray, size: int | None) -> None:
        bounds = np.array([[0.0, 1.0]] * len(mean))
        self._optimizer = cmaes.CMA(mean, self._sigma, bounds, n_max_resampling=10 * len(mean), population_size=size)

    def _learn(self, past: Sequence[Past]) -> None:
        """Tell the strategy every generation that is over and was not told yet."""
        generations: dict[int, list[tuple[np.ndarray, float]]] = defaultdict(list)
        for trial in past:
            worth = loss(trial, maximize=self._maximize)
            if worth is not None and trial.memory["generation"] >= self._generation:
                shares = [scale.share(trial.assignments[scale.parameter.name]) for scale in self._ranges]
                generations[trial.memory["generation"]].append((np.array(shares), worth))
        while len(solutions := generations[self._generation]) >= self._optimizer.population_size:
            if not self._optimizer.should_stop():
                self._optimizer.tell(solutions[: self._optimizer.population_size])
            self._generation += 1
            if self._strategy != "none" and self._optimizer.should_stop():
                self._restart()

    def _restart(self) -> None:
        self._runs += 1
        rng = generator(self._seed, self._runs, RESTART)
        self._start(rng.random(len(self._ranges)), self._next_size(rng))

    def _next_size(self, rng: np.random.Generator) -> int:
        spent, budgets = self._optimizer.population_size * self._optimizer.generation, self._budgets
        budgets.small, budgets.large = (
            (budgets.small + spent, budgets.large) if budgets.is_small else (budgets.small, budgets.large + spent)
        )
        budgets.is_small = self._strategy == "bipop" and budgets.restarts > 0 and budgets.small < budgets.large
        if budgets.is_small:
            return math.floor(self._size * math.pow(GROWTH, budgets.restarts * rng.random() ** 2))
        budgets.restarts += 1
        size: int = self._size * GROWTH**budgets.restarts
        return size
