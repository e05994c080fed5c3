"""The chain of steps: what each one reads and writes in the run's directory, and its one line for the user."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parak8s import files, provenance
from parak8s.apart import apart
from parak8s.errors import EnvironmentFault, InputError
from parak8s.experiment import Experiment
from parak8s.layout import Layout

if TYPE_CHECKING:
    from parak8s.data.prepared import Manifest
    from parak8s.tracking import Tracker
    from parak8s.training.distribution import Together
    from parak8s.training.fitting import Observer
    from parak8s.training.progress import Record

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Context:
    """What a step may use."""

    experiment: Experiment
    layout: Layout
    digest: str
    fingerprint: str
    tracker: Tracker
    observers: Sequence[Observer] = ()
    together: Together | None = None


@dataclass(frozen=True)
class Step:
    """One step of the chain.

    Args:
        name: As in ``parak8s step NAME``.
        folder: What it writes, in the run's directory.
        reads: The paths of the experiment file on which its output depends.
        act: Writes into a folder and returns one line about it.
        resumes: Whether it goes on in a folder that a killed run left.
    """

    name: str
    folder: str
    reads: tuple[str, ...]
    act: Callable[[Context, Path], str]
    resumes: bool = field(default=False, kw_only=True)


def _ingest(context: Context, folder: Path) -> str:
    from parak8s.steps.ingest import ingest

    if context.together is None:
        manifest = ingest(context.experiment, folder)
    else:
        manifest = apart(ingest, context.experiment, folder)
    if manifest.digest != context.digest:
        raise InputError(f"the source changed while it was read: {context.digest} became {manifest.digest}; run again")
    counts = (f"{values['examples']:,} {name}" for name, values in manifest.splits.items())
    left_out = [f"; {what}: {number:,}" for what, number in manifest.about.items() if what.endswith("left out")]
    return f"{', '.join(counts)}; {len(manifest.classes)} classes{''.join([*left_out, *_lacking(manifest)])}"


def _lacking(manifest: Manifest) -> Iterator[str]:
    """Say which classes a split has no example of: what is measured on it says nothing about them."""
    for name, values in manifest.splits.items():
        absent = [label for label, count in zip(manifest.classes, values["per_class"], strict=True) if not count]
        if absent and values["examples"]:
            yield f"; {name} lacks {', '.join(absent)}"


def _train(context: Context, folder: Path) -> str:
    from parak8s.steps.train import train

    files.write_json(context.layout.environment, provenance.environment(context.experiment))
    observers = [*context.observers, LiveLog(context)]
    outcome = train(context.experiment, context.layout.dataset, folder, observers, context.together)
    last = outcome.records[outcome.kept_epoch - 1]
    early = ", stopped early" if outcome.stopped_early else ""
    return f"{len(outcome.records)} epochs{early}; kept {last.epoch}: val_accuracy {last.val_accuracy:.4f}"


def _calibrate(context: Context, folder: Path) -> str:
    from parak8s.steps.calibrate import calibrate

    fitted = calibrate(context.experiment, context.layout.dataset, context.layout.training, folder)
    temperature = f" {fitted.temperature:.3f}" if fitted.temperature is not None else ""
    return f"{fitted.method}{temperature}; saved_model/1 written"


def _evaluate(context: Context, folder: Path) -> str:
    from parak8s.steps.evaluate import evaluate

    metrics = evaluate(context.experiment, context.layout.dataset, context.layout.model, folder)["metrics"]
    values = {name: metrics[name]["value"] for name in context.experiment.evaluation.metrics}
    return ", ".join(f"{name} {'undefined' if value is None else f'{value:.4f}'}" for name, value in values.items())


def _gate(context: Context, folder: Path) -> str:
    from parak8s.steps.gate import gate

    layout = context.layout
    verdict = gate(context.experiment, layout.dataset, layout.evaluation, folder, context.tracker)
    checks = verdict.checks
    return (
        f"{'passed' if verdict.passed else 'refused'}: {sum(check.passed for check in checks)} of {len(checks)} checks"
    )


def _register(context: Context, folder: Path) -> str:
    from parak8s.steps.register import register

    facts = register(
        context.experiment,
        context.layout,
        folder,
        context.tracker,
        run_id=mlflow_run(context),
        fingerprint=context.fingerprint,
    )
    if facts["model_version"] is None:
        return f"run {facts['run_id']}; not registered, because the gate said no"
    return "{model_name} version {model_version} is {alias}; run {run_id}".format_map(facts)


STEPS = (
    Step("ingest", "dataset", ("data.loader", "data.options", "data.split"), _ingest),
    Step(
        "train", "training", ("seed", "reproducibility", "data.batch_size", "model", "training"), _train, resumes=True
    ),
    Step("calibrate", "model", ("evaluation.calibration", "evaluation.operating_point"), _calibrate),
    Step("evaluate", "evaluation", ("evaluation",), _evaluate),
    Step("gate", "gate", ("gate", "registry", "tracking"), _gate),
    Step("register", "registration", ("name",), _register),
)
"""The chain: each step reads what those before it wrote. Calibration precedes evaluation, so that what is measured is
what will be served."""


def conclude(context: Context) -> None:
    """Write the report, attach it to the MLflow run, and write result.json last: it says that all is there."""
    from parak8s.report import write_report

    layout = context.layout
    registration = files.read_json(layout.registration / "mlflow.json")
    write_report(layout.root)
    context.tracker.publish(registration["run_id"], layout.root, fingerprint=context.fingerprint)
    files.write_json(layout.result, result_of(layout, context.fingerprint, context.digest))


def result_of(layout: Layout, fingerprint: str, digest: str) -> dict[str, Any]:
    """Return the small result of a complete run directory: result.json."""
    registration = files.read_json(layout.registration / "mlflow.json")
    verdict = files.read_json(layout.gate / "verdict.json")
    metrics = files.read_json(layout.evaluation / "metrics.json")["metrics"]
    return {
        "fingerprint": fingerprint,
        "data_digest": digest,
        "metrics": {name: metric["value"] for name, metric in metrics.items()},
        "gate": {"passed": verdict["passed"], "reasons": [check["reason"] for check in verdict["checks"]]},
        "mlflow": {name: registration[name] for name in ("tracking_uri", "run_id", "model_name", "model_version")},
    }


def mlflow_run(context: Context) -> str:
    """Return the MLflow run of this directory, begun on the first call.

    What an earlier call registered is evidence and stays as it is: after it, another run begins.
    """
    identity, registered = files.read_json(context.layout.identity), context.layout.registration / "mlflow.json"
    run_id = identity.get("run_id")
    if registered.is_file() and files.read_json(registered)["run_id"] == run_id:
        run_id = None
    name = f"{context.experiment.name}-{context.fingerprint}"
    run_id = context.tracker.begin(name, {"parak8s.fingerprint": context.fingerprint}, run_id)
    files.write_json(context.layout.identity, identity | {"run_id": run_id})
    return run_id


class LiveLog:
    """Sends every epoch to MLflow while the training goes on. What it cannot send, the step register sends."""

    def __init__(self, context: Context) -> None:
        self.tracker = context.tracker
        try:
            self.run_id: str | None = mlflow_run(context)
        except EnvironmentFault as fault:
            self.run_id = None
            log.warning("%s", fault)

    def on_steps(self, epoch: int, done: int, total: int) -> None:
        """Nothing: MLflow gets whole epochs."""

    def on_epoch(self, record: Record) -> None:
        """Send the epoch."""
        self.tracker.log_epoch(self.run_id, record.to_json())
