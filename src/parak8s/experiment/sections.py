"""The experiment file: one frozen record for each section. Imports neither TensorFlow nor Kubernetes."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from parak8s.errors import nearest
from parak8s.experiment.compute import Compute, Recurrence
from parak8s.experiment.rules import (
    Count,
    Digest,
    Fraction,
    Name,
    NotNegative,
    Positive,
    RuleError,
    Section,
    Text,
    Threshold,
)
from parak8s.experiment.rules import (
    Monitor as Monitor,
)
from parak8s.experiment.search import Search

METRICS = ("categorical_accuracy", "auc", "precision", "recall", "f1", "ece", "brier")
"""Names that evaluation always computes."""
PER_CLASS = ("auc", "precision", "recall", "f1")
"""Those that also exist for one class: ``f1/V``."""

AT_OPERATING_POINT = ("sensitivity", "specificity")
"""Those that exist where ``evaluation.operating_point`` is given."""

Metric = Literal[
    "categorical_accuracy", "auc", "precision", "recall", "f1", "ece", "brier", "sensitivity", "specificity"
]


class Split(Section):
    """How examples are shared out. The same example, or patient, lands in the same split for ever."""

    by: Literal["hash", "patient"] = "hash"
    """``hash``: by each example's content. ``patient``: all examples of a patient stay together."""
    train: Fraction = 0.7
    validation: Fraction = 0.1
    calibration: Fraction = 0.1
    test: Fraction = 0.1
    """Share of the test split. A source that brings its own test set keeps it: then the others share the rest."""

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        total = self.train + self.validation + self.calibration + self.test
        if not math.isclose(total, 1, abs_tol=1e-6):
            shares = " + ".join(f"{name} {share:g}" for name, share in self.fractions().items())
            raise ValueError(f"the shares must add up to 1, got {shares} = {total:g}")
        if not self.train or not self.validation:
            name = "validation" if self.train else "train"
            raise RuleError(name, "must be above 0: train to learn from, validation to choose by")
        return self

    def fractions(self) -> dict[str, float]:
        """Return the share of each split, in the order in which they are drawn."""
        return {name: getattr(self, name) for name in ("train", "validation", "calibration", "test")}


class Data(Section):
    """Where the examples come from and how they are read."""

    loader: Text
    """A registered name (``ecg``) or ``package.module:function`` of your own."""
    source: Text
    """A path or URL: file, folder, ``https://``, ``s3://``, ``gs://``, ``abfs://``, ``synthetic://``."""
    digest: Digest | None = None
    """Pins the version of the source: anything else is refused."""
    split: Split = Split()
    batch_size: Count = 256
    """Examples in one optimizer step, over all workers."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of the loader."""


class ModelSpec(Section):
    """Which network."""

    builder: Text
    """A registered name (``deep_cnn``) or ``package.module:function`` of your own."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the builder."""


class Optimizer(Section):
    """A Keras optimizer."""

    name: Literal["adam", "adamw", "nadam", "rmsprop", "sgd", "lion"] = "adamw"
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative | None = None
    momentum: Fraction | None = None
    """For ``sgd`` and ``rmsprop``."""

    @model_validator(mode="after")
    def _momentum_is_taken(self) -> Self:
        if self.momentum is not None and self.name not in ("sgd", "rmsprop"):
            raise RuleError("momentum", f"is for sgd and rmsprop; {self.name} has none: leave it out")
        return self


class Schedule(Section):
    """How the learning rate moves over the training."""

    name: Literal["constant", "cosine", "exponential"] = "constant"
    warmup_epochs: NotNegative = 0.0
    """Epochs of linear increase from zero."""
    final: Fraction = 0.0
    """Last learning rate as a fraction of the first; above 0 for ``exponential``."""

    @model_validator(mode="after")
    def _exponential_ends_above_zero(self) -> Self:
        if self.name == "exponential" and not self.final:
            raise RuleError("final", "an exponential schedule never reaches 0; write 0.01, say")
        return self


class EarlyStopping(Section):
    """Stops when the monitored value no longer improves."""

    monitor: Monitor = "val_loss"
    patience: Count = 5
    min_delta: NotNegative = 0.0


class FineTune(Section):
    """A second stage, after the one in which the backbone is frozen: its top layers learn too."""

    layers: Count
    """How many, counted from the top of the backbone as Keras counts them; batch normalization stays frozen."""
    epochs: Count = 10
    learning_rate: Positive = 1e-5
    """Takes the place of training.optimizer.learning_rate; the schedule stretches over the stage."""


class Scaling(Section):
    """Larger batches for more workers. It says what is trained, not where: N workers and one get the same numbers."""

    factor: Count = 1
    """A step takes ``factor`` times data.batch_size examples; all workers share them."""
    learning_rate: Literal["linear", "sqrt", "none"] = "linear"
    """The learning rate is multiplied by ``factor`` (Goyal et al. 2017, arXiv:1706.02677), its root, or 1."""

    def rate(self, base: float) -> float:
        """Return the learning rate for a batch that is ``factor`` times as large."""
        return base * {"linear": self.factor, "sqrt": math.sqrt(self.factor), "none": 1.0}[self.learning_rate]


class Training(Section):
    """How the network learns."""

    epochs: Count = 20
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    class_weight: Literal["balanced"] | Annotated[dict[str, Positive], Field(min_length=1)] | None = None
    """``balanced``: n / (classes * n_class). A mapping gives the weight of each class by name."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    clip_norm: Positive | None = None
    """Largest global norm of the gradient."""
    scaling: Scaling = Scaling()
    virtual_batch_size: Count | None = None
    """Batch normalization takes its statistics over groups of at most so many examples; null: over the whole batch."""
    early_stopping: EarlyStopping | None = None
    keep_best: Monitor | None = None
    """The epoch whose weights are kept: the best by this value; null keeps the last."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    jit: bool = False
    """Compile with XLA: faster on GPUs, slower on most CPUs."""
    steps_per_call: Count = 16
    """Optimizer steps in one call of the compiled graph."""
    tensorboard: bool = False
    fine_tune: FineTune | None = None
    """A second stage, for a builder that freezes its backbone (``transfer``)."""

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        stages = {"training.epochs": self.epochs}
        if self.fine_tune:
            stages["training.fine_tune.epochs"] = self.fine_tune.epochs
        for path, epochs in stages.items():
            if self.schedule.warmup_epochs >= epochs and self.schedule.warmup_epochs:
                message = f"must be below {path} ({epochs}), got {self.schedule.warmup_epochs:g}"
                raise RuleError("schedule.warmup_epochs", message)
        return self


class Bootstrap(Section):
    """Resampling of the test set for the confidence intervals."""

    samples: Annotated[int, Field(ge=100, le=100_000)] = 1000
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


Rate = Annotated[float, Field(gt=0, lt=1)]


class OperatingPoint(Section):
    """From which probability on the second of two classes is called: the one that just keeps a wanted rate.

    It is chosen on the validation split, with calibrated probabilities.
    """

    specificity: Rate | None = None
    """Least share of the examples of the first class that are not called."""
    sensitivity: Rate | None = None
    """Least share of the examples of the second class that are called."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.specificity is None) == (self.sensitivity is None):
            raise ValueError("give one of the two, such as {specificity: 0.95}; the other one follows from it")
        return self


class Evaluation(Section):
    """What is measured on the test split, and how probabilities are calibrated."""

    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = ("categorical_accuracy", "auc")
    """The metrics that count: the report leads with them and the champion is compared on them."""
    calibration: Literal["temperature", "isotonic", "none"] = "temperature"
    operating_point: OperatingPoint | None = None
    """``{specificity: 0.95}`` or ``{sensitivity: 0.95}``, for two classes; null: no class is called by a threshold."""
    bootstrap: Bootstrap = Bootstrap()


def _metric_or_class(name: str) -> str:
    """Refuse what is neither a metric nor ``metric/CLASS``."""
    base, slash, of_class = name.partition("/")
    if base not in (*METRICS, *AT_OPERATING_POINT):
        raise ValueError(f"no such metric; {nearest(base, [*METRICS, *AT_OPERATING_POINT, 'champion'])}")
    if slash and (base not in PER_CLASS or not of_class):
        raise ValueError(f"only {', '.join(PER_CLASS)} exist for a class, written as f1/NAME; {base} is for all")
    return name


def _offer_metrics(schema: dict[str, Any]) -> None:
    """Let editors complete the names of the metrics."""
    threshold = schema["additionalProperties"]
    schema["properties"] |= dict.fromkeys((*METRICS, *AT_OPERATING_POINT), threshold)
    schema |= {
        "patternProperties": {f"^({'|'.join(PER_CLASS)})/.+$": threshold},
        "additionalProperties": False,
    }


class Gate(BaseModel):
    """What a model must reach before it is registered: ``metric: ">= 0.97"``, and how it stands to the champion."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, json_schema_extra=_offer_metrics)
    __pydantic_extra__: dict[Annotated[str, AfterValidator(_metric_or_class)], Threshold] = Field(init=False)

    champion: Literal["not_worse"] | None = None

    @model_validator(mode="after")
    def _thresholds_are_reachable(self) -> Self:
        beyond = [
            f"{name}: {threshold!r}"
            for name, threshold in self.thresholds().items()
            if float(threshold.strip(" \t<>=")) > (2 if name == "brier" else 1)
        ]
        if beyond:
            raise ValueError(
                f"no metric is above 1 (brier: 2), got {', '.join(beyond)}; write a fraction, such as 0.97"
            )
        return self

    def thresholds(self) -> dict[str, str]:
        """Return the metrics with their thresholds, such as ``{"auc": ">= 0.95"}``."""
        return dict(self.__pydantic_extra__ or {})


class Tracking(Section):
    """Where MLflow keeps the runs."""

    uri: str | None = None
    """``sqlite:///mlflow.db``, ``postgresql+psycopg2://...`` or a server; null: MLFLOW_TRACKING_URI, else SQLite."""
    experiment: str | None = None
    """MLflow experiment; null: the name of this file."""
    artifacts: str | None = None
    """Where a new MLflow experiment on a database keeps its files; null: beside the SQLite file, else ./mlartifacts."""

    @field_validator("uri")
    @classmethod
    def _store_is_known(cls, uri: str | None) -> str | None:
        if uri is not None and re.match(r"postgres(ql)?://", uri):
            raise ValueError("SQLAlchemy needs the driver's name: write postgresql+psycopg2://...")
        if uri is not None and not re.match(r"sqlite:///[^:]|postgresql\+psycopg2://|https?://[^/]", uri):
            raise ValueError("expected sqlite:///FILE, postgresql+psycopg2://... or http(s)://..., got another address")
        return uri


class Registry(Section):
    """Under what name the model is registered; the alias moves to every version that passes the gate."""

    name: Text | None = None
    """Registered model; null: the name of this file."""
    alias: Name = "champion"

    @field_validator("name")
    @classmethod
    def _name_fits_a_uri(cls, name: str | None) -> str | None:
        if name and re.search("[/:]", name):
            raise ValueError(f"a registered model's name has neither / nor :, got {name!r}")
        return name

    @field_validator("alias")
    @classmethod
    def _alias_is_free(cls, alias: str) -> str:
        if alias == "latest" or re.fullmatch("v[0-9]+", alias):
            raise ValueError(f"MLflow keeps {alias!r} for itself; write champion, say")
        return alias


class Serving(Section):
    """How many servers answer."""

    replicas: Count = 1


class Experiment(Section):
    """One point of the function space, named completely."""

    name: Name
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    reproducibility: Literal["strict", "close"] = "strict"
    """``strict``: bitwise the same on the same type of machine. ``close``: seeds only, sometimes faster."""
    data: Data
    model: ModelSpec
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    gate: Gate = Gate()
    tracking: Tracking = Tracking()
    registry: Registry = Registry()
    compute: Compute = Compute()
    search: Search | None = None
    serving: Serving = Serving()
    schedule: Recurrence | None = None
    """When it runs again by itself on a cluster."""

    @model_validator(mode="after")
    def _calibration_has_data(self) -> Self:
        if self.evaluation.calibration != "none" and not self.data.split.calibration:
            method = self.evaluation.calibration
            message = (
                f"must be above 0 for evaluation.calibration {method}; give it a share, or write calibration: none"
            )
            raise RuleError("data.split.calibration", message)
        return self

    @model_validator(mode="after")
    def _operating_point_is_given(self) -> Self:
        named = {*self.evaluation.metrics, *self.gate.thresholds()}.intersection(AT_OPERATING_POINT)
        if named and self.evaluation.operating_point is None:
            names = " and ".join(sorted(named))
            message = f"must be given for the metric {names}, which depends on it; write {{specificity: 0.95}}, say"
            raise RuleError("evaluation.operating_point", message)
        return self

    @model_validator(mode="after")
    def _one_device_for_xla(self) -> Self:
        counts = {name: getattr(self.compute, name) for name in ("gpus", "workers")}
        for name, count in counts.items():
            if self.training.jit and count > 1:
                message = f"XLA compiles for one device; write false, or compute.{name}: 1 instead of {count}"
                raise RuleError("training.jit", message)
        return self

    @property
    def registered_name(self) -> str:
        """Name of the registered model."""
        return self.registry.name or self.name

    @property
    def mlflow_experiment(self) -> str:
        """Name of the MLflow experiment."""
        return self.tracking.experiment or self.name

    def canonical(self) -> dict[str, Any]:
        """Return the whole experiment with every default written out, as plain JSON values."""
        return self.model_dump(mode="json")


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return ``{"training.optimizer.name": "adamw", ...}`` of nested mappings; empty mappings are left out."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            flat |= flatten(value, path)
        else:
            flat[path] = value
    return flat
