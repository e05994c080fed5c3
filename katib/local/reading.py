"""Reads an Experiment object: what the engine needs of it, with Katib's defaults, and what a laptop leaves out.

Source: kubeflow/katib v0.19, pkg/apis/controller/experiments/v1beta1 (types and defaults) and
pkg/webhook/v1beta1/experiment/validator.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from parak8s.errors import InputError
from parak8s.experiment.algorithms import check
from parak8s.experiment.dimensions import Dimension
from parak8s.experiment.mistakes import shown
from parak8s.katib.local.collector import DEFAULT_FILTER, Format
from parak8s.katib.local.parameters import read_parameters
from parak8s.katib.local.template import Template, read_template
from parak8s.tfjobs.local.fields import Fields

RESUMABLE = ("LongRunning", "FromVolume")
STDOUT_FILE = "/var/log/katib/metrics.log"
ENDING = ("grid", "hyperband")
"""Algorithms that end by themselves."""
PARALLEL = 3
"""Katib's default of parallelTrialCount."""

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SPEC = (
    *("objective", "algorithm", "earlyStopping", "parallelTrialCount", "maxTrialCount", "maxFailedTrialCount"),
    *("resumePolicy", "parameters", "trialTemplate", "metricsCollectorSpec", "nasConfig"),
)


@dataclass(frozen=True)
class Objective:
    """What is optimised.

    Args:
        metric: Its name.
        maximize: Whether more is better.
        goal: A value that ends the search; None for none.
        additional: Names of other metrics that are collected.
        strategies: Metric -> which of its values counts: ``min``, ``max`` or ``latest``.
    """

    metric: str
    maximize: bool
    goal: float | None = None
    additional: tuple[str, ...] = ()
    strategies: Mapping[str, str] = field(default_factory=dict)

    def reaches(self, value: float) -> bool:
        """Return whether ``value`` reaches the goal."""
        return self.goal is not None and (value >= self.goal if self.maximize else value <= self.goal)


@dataclass(frozen=True)
class Search:
    """What the engine needs of an Experiment.

    Args:
        name: Of the Experiment.
        namespace: Its namespace; ``default`` where none is written.
        objective: What is optimised.
        algorithm: Katib's name of it.
        settings: Of the algorithm, as text.
        space: What is searched.
        template: What a trial runs.
        format: How a trial prints its metrics.
        metrics_file: Where it writes them; empty for standard output.
        parallel: Trials at the same time.
        most: Trials after which the search is over; None for as many as the algorithm has.
        most_failed: Failed trials with which the search has failed; None: any number are borne.
        resume: LongRunning, FromVolume or Never.
        stopping: Settings of ``medianstop``; None where no trial is stopped early.
        left_out: What is there and means nothing on a laptop.
    """

    name: str
    namespace: str
    objective: Objective
    algorithm: str
    settings: Mapping[str, str]
    space: tuple[Dimension, ...]
    template: Template
    format: Format
    metrics_file: str = ""
    parallel: int = PARALLEL
    most: int | None = None
    most_failed: int | None = None
    resume: str = "Never"
    stopping: Mapping[str, str] | None = None
    left_out: tuple[str, ...] = ()

    @property
    def seed(self) -> int:
        """The algorithm's ``random_state``, 0 where there is none."""
        return int(self.settings.get("random_state", "0"))

    def at_once(self, parallel: int | None) -> Search:
        """Return the same with another number of trials at the same time on this machine."""
        return self if parallel is None else replace(self, parallel=parallel)


def read(values: Mapping[str, Any]) -> Search:
    """Read an Experiment object.

    Raises:
        InputError: It is no Experiment, breaks a rule of Katib, or holds what a laptop would do wrong.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"expected an Experiment, a mapping (key: value), got {shown(values)}")
    if (values.get("apiVersion"), values.get("kind")) != ("kubeflow.org/v1beta1", "Experiment"):
        found = f"{values.get('apiVersion')} {values.get('kind')}"
        raise InputError(f"kind: expected an Experiment of kubeflow.org/v1beta1, got {found}")
    whole = Fields(values)
    metadata, spec = whole.inner("metadata"), whole.inner("spec")
    spec.only(_SPEC)
    if spec.values.get("nasConfig"):
        raise spec.wrong("nasConfig", "a laptop searches parameters, no architectures; remove it")
    objective = read_objective(spec.inner("objective"))
    algorithm = spec.inner("algorithm")
    name, settings = algorithm.text("algorithmName"), _settings(algorithm)
    space = read_parameters(spec)
    template = read_template(spec.inner("trialTemplate"), [parameter.name for parameter in space])
    format_, file = _collected(spec.inner("metricsCollectorSpec"), objective)
    search = Search(
        name=_name(metadata),
        namespace=metadata.text("namespace") or "default",
        objective=objective,
        algorithm=name,
        settings=settings,
        space=space,
        template=template,
        format=format_,
        metrics_file=file,
        parallel=spec.whole("parallelTrialCount", 1, PARALLEL) or PARALLEL,
        most=spec.whole("maxTrialCount", 1),
        most_failed=spec.whole("maxFailedTrialCount", 0),
        resume=spec.choice("resumePolicy", (*RESUMABLE, "Never", ""), "Never") or "Never",
        stopping=_stopping(spec.inner("earlyStopping")),
        left_out=template.left_out,
    )
    _refuse_contradictions(search)
    return search


def _name(metadata: Fields) -> str:
    name = metadata.text("name")
    if not name:
        raise metadata.missing("name", "write one, such as ecg")
    if not _NAME.fullmatch(name):
        raise metadata.wrong("name", "expected small letters, digits and inner -, beginning with a letter")
    return name


def read_objective(fields: Fields) -> Objective:
    """Read ``spec.objective``.

    Raises:
        InputError: It breaks a rule of Katib.
    """
    if not fields.values:
        raise InputError(f"{fields.path}: missing; write type and objectiveMetricName")
    fields.only(("type", "goal", "objectiveMetricName", "additionalMetricNames", "metricStrategies"))
    kind = fields.choice("type", ("minimize", "maximize"), "")
    metric, additional = fields.text("objectiveMetricName"), fields.words("additionalMetricNames")
    if not metric:
        raise fields.missing("objectiveMetricName", "write the name of the metric, such as val_auc")
    if metric in additional:
        raise fields.wrong("additionalMetricNames", f"must not hold the objective {metric}")
    goal = fields.values.get("goal")
    if goal is not None and (not isinstance(goal, int | float) or isinstance(goal, bool) or not math.isfinite(goal)):
        raise fields.wrong("goal", "expected a finite number")
    strategies = dict.fromkeys((metric, *additional), "max" if kind == "maximize" else "min")
    for each in fields.each("metricStrategies"):
        strategies[each.text("name")] = each.choice("value", ("min", "max", "latest"), "")
    return Objective(metric, kind == "maximize", None if goal is None else float(goal), additional, strategies)


def _settings(algorithm: Fields) -> dict[str, str]:
    if not algorithm.text("algorithmName"):
        raise algorithm.missing("algorithmName", "write one, such as random")
    algorithm.only(("algorithmName", "algorithmSettings"))
    return {each.text("name"): each.text("value") for each in algorithm.each("algorithmSettings")}


def _stopping(fields: Fields) -> dict[str, str] | None:
    if not fields.values:
        return None
    fields.only(("algorithmName", "algorithmSettings"))
    if fields.text("algorithmName") != "medianstop":
        raise fields.wrong("algorithmName", "expected medianstop, the early stopping that Katib has")
    found = {each.text("name"): each.text("value") for each in fields.each("algorithmSettings")}
    for name, text in found.items():
        if name not in ("min_trials_required", "start_step"):
            raise InputError(f"{fields.path}: no setting {name!r}; allowed: min_trials_required, start_step")
        if not re.fullmatch(r"[1-9]\d*", text, re.ASCII):
            raise InputError(f"{fields.path}: {name} must be a whole number of at least 1, got {text!r}")
    return found


def _collected(fields: Fields, objective: Objective) -> tuple[Format, str]:
    """Return how metrics are printed, and into which file; an empty name stands for standard output."""
    metrics = (objective.metric, *objective.additional)
    kind = fields.inner("collector").text("kind") or "StdOut"
    source = fields.inner("source")
    file = source.inner("fileSystemPath")
    if kind == "StdOut":
        return Format(metrics, filters=_filters(source)), ""
    if kind != "File":
        rule = "a laptop reads metrics of StdOut and File; choose one of them, or run it on a cluster"
        raise InputError(f"{fields.path}.collector.kind: {rule}, got {kind!r}")
    form, path = file.choice("format", ("TEXT", "JSON"), "TEXT"), file.text("path") or STDOUT_FILE
    if not path.startswith("/"):
        raise file.wrong("path", "expected an absolute path")
    if form == "JSON":
        return Format(metrics, "JSON"), path
    return Format(metrics, "TEXT", _filters(source)), path


def _filters(source: Fields) -> tuple[str, ...]:
    given = source.inner("filter").words("metricsFormat") or (DEFAULT_FILTER,)
    for expression in given:
        try:
            groups = re.compile(expression, re.ASCII).groups
        except re.error as error:
            raise InputError(f"{source.path}.filter: no regular expression ({error}), got {expression!r}") from None
        if groups < 2:
            rule = "expected two groups in brackets, the name and the value"
            raise InputError(f"{source.path}.filter: {rule}, got {expression!r}")
    return given


def _refuse_contradictions(search: Search) -> None:
    for name, count in (("parallelTrialCount", search.parallel), ("maxFailedTrialCount", search.most_failed)):
        if search.most is not None and count is not None and count > search.most:
            raise InputError(f"spec.{name}: must be at most maxTrialCount ({search.most}), got {count}")
    found = check(search.algorithm, search.settings, search.space, parallel=search.parallel, trials=search.most)
    if found:
        where = f"spec.algorithm ({search.algorithm}): "
        raise InputError(
            where + "; ".join(f"{each.path}: {each.message}" if each.path else each.message for each in found)
        )
    if search.most is None and search.algorithm not in ENDING:
        raise InputError(f"spec.maxTrialCount: missing; {search.algorithm} has no end of its own, write one")
