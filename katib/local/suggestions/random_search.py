"""Random search."""

from __future__ import annotations

from collections.abc import Sequence

from parak8s.katib.local.suggestions.algorithm import Past, Problem, Suggestion
from parak8s.katib.local.suggestions.draws import generator, point
from parak8s.katib.local.suggestions.scales import Scale
from parak8s.katib.local.suggestions.settings import Settings


class Random:
    """Draws each point anew from the distributions of the parameters.

    Settings: ``random_state``.
    """

    def __init__(self, problem: Problem) -> None:
        self._seed = Settings("random", problem, {"random_state"}).seed()
        self._scales = [Scale(parameter) for parameter in problem.space]

    def horizon(self, number: int) -> int:  # noqa: ARG002 - part of the protocol
        """Return 0: a draw looks at no trial."""
        return 0

    def suggest(self, number: int, past: Sequence[Past]) -> Suggestion:  # noqa: ARG002
        """Return a random point."""
        return Suggestion(point(self._scales, generator(self._seed, number)))
