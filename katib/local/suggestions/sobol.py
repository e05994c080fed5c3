"""The Sobol sequence: points that fill the space evenly."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import qmc

from parak8s.katib.local.suggestions.algorithm import Past, Problem, Suggestion
from parak8s.katib.local.suggestions.scales import Scale
from parak8s.katib.local.suggestions.settings import Settings


class Sobol:
    """Takes the points of the unscrambled Sobol sequence with the direction numbers of Joe and Kuo (2008).

    It begins with the middle of the space, as Katib's goptuna does: the sequence's own first point, the least value of
    every parameter, is left out. Its dimensions are the parameters in their order (goptuna: by name). Values of a list
    and steps share the interval evenly (goptuna never reaches the largest whole number of a range). ``random_state`` is
    taken, and changes nothing.
    """

    def __init__(self, problem: Problem) -> None:
        Settings("sobol", problem, ("random_state",))
        self._scales = [Scale(parameter) for parameter in problem.space]

    def horizon(self, number: int) -> int:  # noqa: ARG002 - part of the protocol
        """Return 0: the sequence is known beforehand."""
        return 0

    def suggest(self, number: int, past: Sequence[Past]) -> Suggestion:  # noqa: ARG002
        """Return the point of that number, the sequence's first one not counted."""
        sequence = qmc.Sobol(len(self._scales), scramble=False).fast_forward(number + 1)
        shares = sequence.random(1)[0]
        return Suggestion(
            {scale.parameter.name: scale.value(float(share)) for scale, share in zip(self._scales, shares, strict=True)}
        )
