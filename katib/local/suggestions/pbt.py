"""Population based training: trials go on from each other's checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from parak8s.katib.local.suggestions.algorithm import Past, Problem, Suggestion
from parak8s.katib.local.suggestions.draws import generator, loss, point
from parak8s.katib.local.suggestions.scales import Scale
from parak8s.katib.local.suggestions.settings import Settings

GENERATION = "pbt.suggestion.katib.kubeflow.org/generation"
PARENT = "pbt.suggestion.katib.kubeflow.org/parent"
FACTORS = (0.8, 1.2)


class Pbt:
    """A population that trains in generations, without an end.

    The first generation is random. After each, members below the lower quantile, and those that failed, take over the
    parameters and the checkpoint of a random member from the upper one on; the others change their own parameters and
    go on from their own checkpoint. In Katib a member takes over the parameters but keeps its own, worse checkpoint,
    unlike in the paper. Changed values stay in the range and on its steps, at least one step away where there is one.
    Where a whole generation failed, the next one is random again.

    Settings: ``n_population`` (5 or more); ``truncation_threshold``, the lower quantile and one less the upper (0 to
    1); ``resample_probability``, with which a parameter is drawn anew and otherwise kept (without it, a number is
    multiplied by 0.8 or 1.2, and of a list a neighbour taken, the last one's being the first); ``random_state``;
    ``suggestion_trial_dir``, which means nothing on this machine.

    Source: Jaderberg et al. (2017), arXiv:1711.09846; Katib's PbtService.
    """

    def __init__(self, problem: Problem) -> None:
        known = {"n_population", "truncation_threshold", "resample_probability", "random_state", "suggestion_trial_dir"}
        settings = Settings("pbt", problem, known)
        self._size, self._seed = settings.whole("n_population", least=5), settings.seed()
        self._threshold = settings.number("truncation_threshold", high=1)
        resampled = "resample_probability" in problem.settings
        self._resample = settings.number("resample_probability", high=1) if resampled else None
        self._maximize = problem.maximize
        self._scales = [Scale(parameter) for parameter in problem.space]

    def horizon(self, number: int) -> int:
        """Return all trials up to the end of the generation before."""
        return number // self._size * self._size

    def suggest(self, number: int, past: Sequence[Past]) -> Suggestion:
        """Return a random point, or what follows from the member's place in its generation."""
        generation, rng = number // self._size, generator(self._seed, number)
        labels = {GENERATION: str(generation)}
        before = past[(generation - 1) * self._size : generation * self._size] if generation else ()
        low, upper = self._quantiles(before)
        if not upper:
            return Suggestion(point(self._scales, rng), labels=labels)
        parent = before[number % self._size]
        worth = self._worth(parent)
        if worth is None or worth < low:
            parent = upper[int(rng.integers(len(upper)))]
            chosen = dict(parent.assignments)
        else:
            chosen = self._changed(parent.assignments, rng)
        return Suggestion(chosen, labels={**labels, PARENT: parent.name}, parent=parent.name)

    def _worth(self, trial: Past) -> float | None:
        lost = loss(trial, maximize=self._maximize)
        return None if lost is None else -lost

    def _quantiles(self, members: Sequence[Past]) -> tuple[float, list[Past]]:
        """Return the lower quantile and the members from the upper one on; none where no member has an objective."""
        worths = {member.number: worth for member in members if (worth := self._worth(member)) is not None}
        if not worths:
            return 0.0, []
        low, high = np.quantile(list(worths.values()), (self._threshold, 1 - self._threshold))
        return float(low), [member for member in members if worths.get(member.number, -np.inf) >= high]

    def _changed(self, assignments: Mapping[str, str], rng: np.random.Generator) -> dict[str, str]:
        return {scale.parameter.name: self._change(scale, assignments, rng) for scale in self._scales}

    def _change(self, scale: Scale, assignments: Mapping[str, str], rng: np.random.Generator) -> str:
        text = assignments[scale.parameter.name]
        if self._resample is not None:
            return scale.value(float(rng.random())) if rng.random() < self._resample else text
        side = int(rng.integers(2))
        return scale.scaled(text, FACTORS[side]) if scale.parameter.is_range else scale.beside(text, 2 * side - 1)
