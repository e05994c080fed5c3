"""The section ``search``: a subset of the space, and how it is searched."""

import contextlib
import json
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from parak8s.errors import InputError
from parak8s.experiment import documents
from parak8s.experiment.algorithms import Algorithm
from parak8s.experiment.dimensions import Distribution
from parak8s.experiment.rules import Count, Finite, Monitor, Positive, RuleError, Section

Value = str | int | float | bool


def written(value: Value) -> str:
    """Return the text that ``-s path=TEXT`` reads as ``value``; in quotes where it would be read as something else."""
    if not isinstance(value, str):
        return json.dumps(value)
    with contextlib.suppress(InputError):
        if value.isprintable() and documents.scalar(value.strip(), "") == value:
            return value
    quoted = json.dumps(value, ensure_ascii=False)  # YAML too, but for characters that only YAML refuses or folds
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in quoted)


class Parameter(Section):
    """The range of one searched value: ``{min, max, log, step}`` or ``{values}``."""

    min: Finite | None = None
    max: Finite | None = None
    step: Positive | None = None
    log: bool = False
    """The same as ``distribution: logUniform``."""
    distribution: Distribution | None = None
    """How a range is drawn from; null: uniform. A normal one has its mean in the middle of the range (of its logarithms
    for ``logNormal``) and a sixth of the range as its standard deviation."""
    values: Annotated[tuple[Value, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _range_or_values(self) -> Self:
        if self.values is not None:
            self._refuse_range_beside(self.values)
        elif self.min is None or self.max is None:
            raise ValueError("give both min and max, or values")
        elif self.min >= self.max:
            raise RuleError("min", f"must be below max, got min {self.min:g} and max {self.max:g}")
        elif self.log and self.distribution not in (None, "logUniform"):
            message = f"log: true is distribution: logUniform, got {self.distribution} too; take one of both away"
            raise RuleError("distribution", message)
        elif self.drawn in ("logUniform", "logNormal") and self.min <= 0:
            raise RuleError("min", f"must be above 0 for a logarithmic range, got {self.min:g}")
        elif self.step and self.step > self.max - self.min:
            raise RuleError("step", f"must fit into the range from {self.min:g} to {self.max:g}, got {self.step:g}")
        return self

    def _refuse_range_beside(self, values: tuple[Value, ...]) -> None:
        if self.log or (self.min, self.max, self.step) != (None, None, None):
            raise ValueError("values stand alone; take min, max, step and log away, or values")
        if self.distribution is not None:
            raise RuleError("distribution", f"is for a range, got {self.distribution} with values; take it away")
        texts = [written(value) for value in values]
        if twice := [text for text in texts if texts.count(text) > 1]:
            raise RuleError("values", f"{twice[0]} is there twice; keep one")

    @property
    def drawn(self) -> Distribution:
        """How a range is drawn from."""
        return self.distribution or ("logUniform" if self.log else "uniform")


class Objective(Section):
    """What a search optimises."""

    metric: Monitor
    """A value of every epoch. The test split takes no part in a search."""
    type: Literal["maximize", "minimize"] = "maximize"
    goal: Finite | None = None
    """A value that ends the search when it is reached."""
    additional: tuple[Monitor, ...] = ()
    """Other values of an epoch that the search collects."""

    @model_validator(mode="after")
    def _each_is_collected_once(self) -> Self:
        if self.metric in self.additional:
            raise RuleError("additional", f"{self.metric} is the objective itself; take it away here")
        if len(set(self.additional)) < len(self.additional):
            raise RuleError("additional", f"each value once, got {', '.join(self.additional)}")
        return self


class TrialStopping(Section):
    """Stops a trial whose best value so far is below the median of the running averages of those that are over."""

    algorithm: Literal["medianstop"] = "medianstop"
    min_trials_required: Count = 3
    """Trials that must be over before one is stopped."""
    start_step: Count = 4
    """Values that a trial reports before it can be stopped."""


class Search(Section):
    """A subset of the space: dotted paths into this file, with ranges."""

    objective: Objective
    algorithm: Algorithm = "random"
    settings: dict[str, str | int | float] = Field(default_factory=dict)
    """Settings of the algorithm, as Katib calls them; ``random_state`` is the seed of this file unless given."""
    trials: Count = 20
    """At most."""
    parallel: Count = 1
    """Trials at the same time."""
    max_failed: Annotated[int, Field(ge=0)] | None = None
    """Failed trials with which the search has failed, those without a value of the objective too; null: any number."""
    resume: Literal["LongRunning", "FromVolume", "Never"] = "LongRunning"
    """Whether more trials can be added afterwards: the service goes on, keeps its state on a volume, or is deleted."""
    early_stopping: TrialStopping | None = None
    trial_deadline_s: Annotated[int, Field(ge=1, lt=2**31)] = 86_400
    """Longest life of one trial, so that one that hangs does not hold the search for ever."""
    parameters: Annotated[dict[str, Parameter], Field(min_length=1)]

    @model_validator(mode="after")
    def _can_be_run(self) -> Self:
        if self.parallel > self.trials:
            raise RuleError("parallel", f"must be at most trials ({self.trials}), got {self.parallel}")
        if self.max_failed is not None and self.max_failed > self.trials:
            raise RuleError("max_failed", f"must be at most trials ({self.trials}), got {self.max_failed}")
        if self.algorithm == "pbt" and self.resume != "FromVolume":
            message = f"pbt keeps the checkpoints of its trials on a volume: write FromVolume, got {self.resume}"
            raise RuleError("resume", message)
        if self.algorithm == "hyperband" and self.early_stopping:
            message = "hyperband stops trials itself, and waits for ever for one that others stop; write null"
            raise RuleError("early_stopping", message)
        return self
