"""Hyperband: many short trials, few long ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parak8s.errors import InputError, nearest
from parak8s.katib.local.suggestions.algorithm import Past, Problem, Suggestion
from parak8s.katib.local.suggestions.draws import generator, loss, point
from parak8s.katib.local.suggestions.scales import Scale
from parak8s.katib.local.suggestions.settings import Settings


@dataclass(frozen=True)
class Rung:
    """Trials of the same length.

    Args:
        first: Number of its first trial.
        trials: How many there are.
        resource: What each may use.
        before: Number of the first trial of the rung that these are the best of; None for random ones.
    """

    first: int
    trials: int
    resource: float
    before: int | None


def schedule(most: float, eta: int) -> list[Rung]:
    """Return the rungs of all brackets, the one with the shortest trials first.

    A bracket s begins with ``floor((s_max + 1) / (s + 1)) * eta**s`` trials; each rung keeps one in eta. For 81 and 3:
    81@1 27@3 9@9 3@27 1@81, 27@3 9@9 3@27 1@81, 9@9 3@27 1@81, 6@27 2@81, 5@81. Katib's own service rounds up and
    begins with 81, 34, 15, 8 and 5, or with as many as it is asked for at once.

    Args:
        most: Resource of the longest trials, 1 or more.
        eta: 2 or more.

    Source: Li et al. (2018), Hyperband, JMLR 18(185), Algorithm 1 and Table 1.
    """
    deepest = 0
    while eta ** (deepest + 1) <= most:
        deepest += 1
    rungs, first = [], 0
    for bracket in range(deepest, -1, -1):
        before = None
        for rung in range(bracket + 1):
            trials = (deepest + 1) // (bracket + 1) * eta ** (bracket - rung)
            rungs.append(Rung(first, trials, most / eta ** (bracket - rung), before))
            before, first = first, first + trials
    return rungs


class Hyperband:
    """Follows :func:`schedule`; failed trials rank behind all others, and of equal ones the earlier is ahead.

    The resource is the algorithm's to choose: the range that the Experiment gives it is not looked at, as in Katib.

    Settings: ``r_l``, the largest resource; ``resource_name``, the parameter that says how much a trial may use;
    ``eta`` (3); ``random_state``.

    Raises:
        InputError: ``resource_name`` is no range of the space.
    """

    def __init__(self, problem: Problem) -> None:
        settings = Settings("hyperband", problem, {"r_l", "resource_name", "eta", "random_state"})
        self._rungs = schedule(settings.number("r_l", low=1), settings.whole("eta", 3, least=2))
        self._seed, self._maximize = settings.seed(), problem.maximize
        ranges = {parameter.name: parameter for parameter in problem.space if parameter.is_range}
        name = problem.settings.get("resource_name", "")
        if name not in ranges:
            raise InputError(
                f"hyperband: resource_name is {name!r}, expected an int or double; {nearest(name, ranges)}"
            )
        self._resource = ranges[name]
        self._scales = [Scale(parameter) for parameter in problem.space]

    def horizon(self, number: int) -> int:
        """Return 0 for a random trial; for one of the best, all trials up to the end of the rung before."""
        rung = self._rung(number)
        return 0 if rung is None or rung.before is None else rung.first

    def suggest(self, number: int, past: Sequence[Past]) -> Suggestion | None:
        """Return a random point, or one of the best of the rung before; None after the last bracket."""
        rung = self._rung(number)
        if rung is None:
            return None
        if rung.before is None:
            chosen = point(self._scales, generator(self._seed, number))
        else:
            ranked = sorted(past[rung.before : rung.first], key=self._rank)
            chosen = dict(ranked[number - rung.first].assignments)
        return Suggestion({**chosen, self._resource.name: self._resource.text(rung.resource)})

    def _rung(self, number: int) -> Rung | None:
        return next((rung for rung in self._rungs if number < rung.first + rung.trials), None)

    def _rank(self, trial: Past) -> tuple[bool, float, int]:
        worth = loss(trial, maximize=self._maximize)
        return (worth is None, worth or 0.0, trial.number)
