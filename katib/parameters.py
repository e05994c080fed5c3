"""What is searched, as an Experiment holds it, and what a trial calls it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from parak8s.experiment.dimensions import Dimension
from parak8s.katib.objects import FeasibleSpace, ParameterSpec, TrialParameter

TRIAL_NAME = TrialParameter(name="trialName", description="Name of the trial", reference="${trialSpec.Name}")


def parameter_spec(axis: Dimension) -> ParameterSpec:
    """Return an element of ``spec.parameters``; all its values are text."""
    return ParameterSpec(name=axis.name, parameter_type=axis.kind, feasible_space=_space(axis))


def _space(axis: Dimension) -> FeasibleSpace:
    if not axis.is_range:
        return FeasibleSpace(list=axis.choices)
    low, high, step = (None if each is None else axis.text(each) for each in (axis.low, axis.high, axis.step))
    drawn = None if axis.distribution == "uniform" else axis.distribution
    return FeasibleSpace(min=low, max=high, step=step, distribution=drawn)


def trial_parameters(paths: Sequence[str]) -> tuple[TrialParameter, ...]:
    """Return the elements of ``trialParameters``: the trial's name, and a value for each searched path.

    A value is named after the end of its path, ``learningRate``; where two would have one name, after more of it,
    ``optimizerLearningRate``.
    """
    return (
        TRIAL_NAME,
        *(
            TrialParameter(name=name, description=f"Value of {path}", reference=path)
            for path, name in zip(paths, _names(paths), strict=True)
        ),
    )


def _names(paths: Sequence[str]) -> list[str]:
    lengths = [1] * len(paths)
    while True:
        names = [_camel(path.split(".")[-length:]) for path, length in zip(paths, lengths, strict=True)]
        counts = Counter([*names, TRIAL_NAME.name])
        longer = [
            length + (counts[name] > 1 and length <= path.count("."))
            for path, name, length in zip(paths, names, lengths, strict=True)
        ]
        if longer == lengths:
            return [_numbered(names, place) for place in range(len(names))]
        lengths = longer


def _camel(keys: Sequence[str]) -> str:
    first, *rest = [word for key in keys for word in key.split("_") if word] or ["value"]
    return first[0].lower() + first[1:] + "".join(word[0].upper() + word[1:] for word in rest)


def _numbered(names: Sequence[str], place: int) -> str:
    """Return a name with its number where whole paths have the same one: ``a.b_c`` and ``a.bC``."""
    before = names[:place].count(names[place]) + (names[place] == TRIAL_NAME.name)
    return f"{names[place]}{before + 1}" if before else names[place]
