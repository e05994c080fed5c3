"""Every point of a grid, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from parak8s.errors import InputError
from parak8s.experiment.dimensions import Dimension
from parak8s.katib.local.suggestions.algorithm import Past, Problem, Suggestion
from parak8s.katib.local.suggestions.scales import Scale
from parak8s.katib.local.suggestions.settings import Settings


class Grid:
    """The product of all values, in the order of the parameters, the last one changing fastest.

    Whole numbers have a step of 1 where none is given. The distribution of a parameter changes nothing.
    Settings: ``random_state`` is taken and changes nothing; Katib visits the points in a random order.

    Raises:
        InputError: A ``double`` has no step.
    """

    def __init__(self, problem: Problem) -> None:
        Settings("grid", problem, {"random_state"})
        self._axes = [_axis(parameter) for parameter in problem.space]

    def horizon(self, number: int) -> int:  # noqa: ARG002 - part of the protocol
        """Return 0: the grid is known beforehand."""
        return 0

    def suggest(self, number: int, past: Sequence[Past]) -> Suggestion | None:  # noqa: ARG002
        """Return the point of that number; None after the last one."""
        chosen, rest = {}, number
        for axis in reversed(self._axes):
            rest, index = divmod(rest, axis.count or 1)
            chosen[axis.parameter.name] = axis.nth(index)
        if rest:
            return None
        return Suggestion({axis.parameter.name: chosen[axis.parameter.name] for axis in self._axes})


def _axis(parameter: Dimension) -> Scale:
    axis = Scale(replace(parameter, choices=tuple(dict.fromkeys(parameter.choices))))
    if axis.count is None:
        raise InputError(f"grid: {parameter.name} can take any value of its range; give it a step")
    return axis
