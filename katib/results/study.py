"""The trials as a study in memory, for Optuna's own plots and importances."""

from __future__ import annotations

import contextlib
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parak8s.experiment.dimensions import Dimension
from parak8s.katib.results.leaders import short_names, shortened
from parak8s.katib.results.records import Search, TrialRecord

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

FAR = 20
"""A value is far off when it is worse than the median by this many times the distance from the median to the best."""
FEWEST_FAR = 10
"""Trials below which no value is called far off."""

GEOMETRIC = 4
"""Ratio of the largest to the smallest number of a list from which its scale is logarithmic, as for 32, 64, 128."""


@dataclass(frozen=True)
class Shown:
    """What the pictures show.

    Args:
        study: Every trial; those that are not drawn as failed ones, so that the numbers stay.
        drawn: The trials that are drawn, in the order of suggestion.
        far: How many have a value so far off that the others could not be told apart beside it.
        names: Parameter -> what the pictures call it.
    """

    study: Study
    drawn: tuple[TrialRecord, ...]
    far: int
    names: Mapping[str, str]


def shown_of(search: Search) -> Shown:
    """Return the study of a search. Logarithmic ranges stay logarithmic; words stay text."""
    import optuna
    from optuna.trial import TrialState

    drawn = _drawn(search)
    names = short_names([parameter.name for parameter in search.space])
    kept = {trial.number for trial in drawn}
    spread = {parameter: _distribution(parameter, drawn) for parameter in search.space}
    with quiet():
        study = optuna.create_study(direction="maximize" if search.maximize else "minimize")
        study.add_trials(
            _frozen(trial, spread, names) if trial.number in kept else optuna.create_trial(state=TrialState.FAIL)
            for trial in search.ordered()
        )
    return Shown(study, tuple(drawn), len(search.ranked()) - len(drawn), names)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from announcing each study, and that its plots are experimental."""
    from optuna import logging

    level = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)


def _drawn(search: Search) -> list[TrialRecord]:
    """Return the trials with a value, without those far off, in the order of suggestion."""
    ranked = search.ranked()
    values = [trial.value for trial in ranked if trial.value is not None]
    if len(values) >= FEWEST_FAR:
        middle = statistics.median(values)
        most = FAR * abs(middle - values[0])
        ranked = [trial for trial, value in zip(ranked, values, strict=True) if not most or abs(value - middle) <= most]
    return sorted(ranked, key=lambda trial: trial.number)


def _frozen(trial: TrialRecord, spread: Mapping[Dimension, BaseDistribution], names: Mapping[str, str]) -> FrozenTrial:
    import optuna

    known = {parameter: _value(parameter, trial) for parameter in spread if parameter.name in trial.assignments}
    return optuna.create_trial(
        value=trial.value,
        params={names[parameter.name]: value for parameter, value in known.items()},
        distributions={names[parameter.name]: spread[parameter] for parameter in known},
    )


def _value(parameter: Dimension, trial: TrialRecord) -> Any:
    text = trial.assignments[parameter.name]
    if parameter.kind == "categorical":
        return shortened(text)
    return round(float(text)) if parameter.kind == "int" else float(text)


def _distribution(parameter: Dimension, trials: Sequence[TrialRecord]) -> BaseDistribution:
    """Return what holds every value that was tried, also one that was put there by hand."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    tried = [_value(parameter, trial) for trial in trials if parameter.name in trial.assignments]
    if parameter.kind == "categorical":
        return CategoricalDistribution(list(dict.fromkeys([*map(shortened, parameter.choices), *tried])))
    ends = [end for end in (parameter.low, parameter.high) if end is not None]
    numbers = [*tried, *ends, *map(float, parameter.choices)]
    log = min(numbers) > 0 and (
        parameter.distribution in ("logUniform", "logNormal")
        or (parameter.kind == "discrete" and max(numbers) / min(numbers) >= GEOMETRIC)
    )
    if parameter.kind == "int":
        return IntDistribution(round(min(numbers)), round(max(numbers)), log=log)
    return FloatDistribution(min(numbers), max(numbers), log=log)
