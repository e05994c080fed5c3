"""Runs the steps of one experiment in one directory. What is finished is not done again."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import yaml

from parak8s import files, provenance
from parak8s.connection import without_passwords
from parak8s.errors import EnvironmentFault, InputError, from_os_error
from parak8s.experiment import Experiment, flatten
from parak8s.layout import Layout

if TYPE_CHECKING:
    from parak8s.progress import Record
    from parak8s.tracking import Tracker
    from parak8s.training import Observer

log = logging.getLogger(__name__)


class Narrator(Protocol):
    """Tells the user what happens."""

    def started(self, step: str) -> None:
        """A step begins."""

    def finished(self, step: str, summary: str, seconds: float | None) -> None:
        """A step is over; ``seconds`` is None when it was finished before."""


@dataclass(frozen=True)
class Context:
    """What a step may use."""

    experiment: Experiment
    layout: Layout
    digest: str
    fingerprint: str
    tracker: Tracker
    observers: Sequence[Observer] = ()


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


def run(
    experiment: Experiment,
    root: Path | None = None,
    *,
    narrator: Narrator,
    observers: Sequence[Observer] = (),
    only: str | None = None,
) -> Layout:
    """Run all steps, or ``only`` one of them, and return where everything lies.

    Args:
        experiment: What to run.
        root: The run's directory; None for ``runs/NAME/FINGERPRINT``.
        narrator: Told of every step.
        observers: Told of every training step and epoch.
        only: Name of a single step; those before it must be finished.

    Raises:
        InputError: The data or the file breaks a rule, or ``root`` holds another point's run.
        EnvironmentFault: The disk, the network or a server fails; the same command goes on from there.
    """
    from parak8s.steps.ingest import identify
    from parak8s.tracking import Tracker

    digest = identify(experiment)[1]
    fingerprint = provenance.fingerprint(experiment, digest)
    layout = Layout(root or Path("runs") / experiment.name / fingerprint)
    context = Context(experiment, layout, digest, fingerprint, Tracker(experiment), observers)
    with _os_errors_explained(layout.root), _alone_in(layout.root):
        _claim(context)
        key = digest
        for step in STEPS:
            key = provenance.digest([key, step.name, _slice(experiment, step.reads)])
            if only is None or step.name == only:
                _do(step, context, key, narrator)
            elif not _is_done(layout.root / step.folder, key):
                raise InputError(f"{layout.root}: the step {step.name} is not done; give: parak8s step {step.name}")
            if step.name == only:
                break
        if only is None:
            _conclude(context)
    return layout


def _ingest(context: Context, folder: Path) -> str:
    from parak8s.steps.ingest import ingest

    manifest = ingest(context.experiment, folder)
    counts = (f"{values['examples']:,} {name}" for name, values in manifest.splits.items())
    return f"{', '.join(counts)}; {len(manifest.classes)} classes"


def _train(context: Context, folder: Path) -> str:
    from parak8s.steps.train import train

    observers = [*context.observers, LiveLog(context)]
    outcome = train(context.experiment, context.layout.dataset, folder, observers)
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
    return ", ".join(f"{name} {metrics[name]['value']:.4f}" for name in context.experiment.evaluation.metrics)


def _gate(context: Context, folder: Path) -> str:
    from parak8s.steps.gate import gate

    layout = context.layout
    verdict = gate(context.experiment, layout.dataset, layout.evaluation, folder, context.tracker)
    checks = verdict.checks
    return (
        f"{'passed' if verdict.passed else 'refused'}: {sum(check.passed for check in checks)} of {len(checks)} checks"
    )


def _register(context: Context, folder: Path) -> str:
    from parak8s.report import write_report
    from parak8s.steps.register import register

    try:
        facts = register(
            context.experiment,
            context.layout,
            folder,
            context.tracker,
            run_id=_mlflow_run(context),
            fingerprint=context.fingerprint,
        )
    except EnvironmentFault:
        write_report(context.layout.root)  # whatever MLflow says, the user gets the page
        raise
    if facts["model_version"] is None:
        return f"run {facts['run_id']}; not registered, because the gate said no"
    return "{model_name} version {model_version} is {alias}; run {run_id}".format_map(facts)


def _conclude(context: Context) -> None:
    """Write the report, attach it to the MLflow run, and write result.json last: it says that all is there."""
    from parak8s.report import write_report

    layout = context.layout
    registration = files.read_json(layout.registration / "mlflow.json")
    if layout.result.is_file() and layout.result.stat().st_mtime > (layout.registration / "step.json").stat().st_mtime:
        return
    write_report(layout.root)
    context.tracker.publish(registration["run_id"], layout.root, fingerprint=context.fingerprint)
    verdict = files.read_json(layout.gate / "verdict.json")
    metrics = files.read_json(layout.evaluation / "metrics.json")["metrics"]
    result = {
        "fingerprint": context.fingerprint,
        "data_digest": context.digest,
        "metrics": {name: metric["value"] for name, metric in metrics.items()},
        "gate": {"passed": verdict["passed"], "reasons": [check["reason"] for check in verdict["checks"]]},
        "mlflow": {name: registration[name] for name in ("tracking_uri", "run_id", "model_name", "model_version")},
    }
    files.write_json(layout.result, result)


STEPS = (
    Step("ingest", "dataset", ("data.loader", "data.options", "data.split"), _ingest),
    Step(
        "train", "training", ("seed", "reproducibility", "data.batch_size", "model", "training"), _train, resumes=True
    ),
    Step("calibrate", "model", ("evaluation.calibration",), _calibrate),
    Step("evaluate", "evaluation", ("evaluation",), _evaluate),
    Step("gate", "gate", ("gate", "registry", "tracking"), _gate),
    Step("register", "registration", ("name",), _register),
)
"""The chain: each step reads what those before it wrote. Calibration precedes evaluation, so that what is measured is
what will be served."""


def _slice(experiment: Experiment, paths: Sequence[str]) -> dict[str, Any]:
    """Return the values of the experiment at ``paths``."""
    return {path: _at(experiment.canonical(), path.split(".")) for path in paths}


def _at(values: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        values = values[key]
    return values


def _do(step: Step, context: Context, key: str, narrator: Narrator) -> None:
    """Run a step unless its folder is complete and was made from the same inputs."""
    target = context.layout.root / step.folder
    if _is_done(target, key):
        narrator.finished(step.name, files.read_json(target / "step.json")["summary"], None)
        return
    narrator.started(step.name)
    started = time.perf_counter()
    with files.folder(target, resume=key if step.resumes else None) as partial:
        summary = step.act(context, partial)
        seconds = time.perf_counter() - started
        files.write_json(partial / "step.json", {"step": step.name, "key": key, "summary": summary, "seconds": seconds})
    narrator.finished(step.name, summary, seconds)


def _is_done(folder: Path, key: str) -> bool:
    mark = folder / "step.json"
    return mark.is_file() and files.read_json(mark)["key"] == key


def _claim(context: Context) -> None:
    """Write down whose run this directory is, or refuse when it is another's."""
    layout, mine = context.layout, {"fingerprint": context.fingerprint, "data_digest": context.digest}
    if layout.identity.is_file():
        theirs = files.read_json(layout.identity)
        if theirs["fingerprint"] != context.fingerprint:
            raise InputError(
                f"{layout.root} holds the run of another point: {_difference(context, theirs)}. "
                "Choose another folder with -o, or delete this one"
            )
        mine |= theirs
    files.write_json(layout.identity, mine)
    values = without_passwords(context.experiment.canonical())
    files.write_text(layout.experiment, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    files.write_json(layout.environment, provenance.environment())


def _difference(context: Context, theirs: dict[str, str]) -> str:
    if theirs["data_digest"] != context.digest:
        return f"its data is {theirs['data_digest']}, yours {context.digest}"
    old = flatten(yaml.safe_load(context.layout.experiment.read_text(encoding="utf-8")))
    new = provenance.identity(context.experiment)
    changed = [f"{path} {old.get(path)!r} -> {value!r}" for path, value in new.items() if old.get(path) != value]
    return ", ".join(changed) or "the code has changed since"


def _mlflow_run(context: Context) -> str:
    """Return the MLflow run of this directory, begun on the first call."""
    identity = files.read_json(context.layout.identity)
    name = f"{context.experiment.name}-{context.fingerprint}"
    run_id = context.tracker.begin(name, {"parak8s.fingerprint": context.fingerprint}, identity.get("run_id"))
    files.write_json(context.layout.identity, identity | {"run_id": run_id})
    return run_id


class LiveLog:
    """Sends every epoch to MLflow while the training goes on. What it cannot send, the step register sends."""

    def __init__(self, context: Context) -> None:
        self.tracker = context.tracker
        try:
            self.run_id: str | None = _mlflow_run(context)
        except EnvironmentFault as fault:
            self.run_id = None
            log.warning("%s", fault)

    def on_steps(self, epoch: int, done: int, total: int) -> None:
        """Nothing: MLflow gets whole epochs."""

    def on_epoch(self, record: Record) -> None:
        """Send the epoch."""
        self.tracker.log_epoch(self.run_id, record.to_json())


@contextlib.contextmanager
def _alone_in(root: Path) -> Iterator[None]:
    """Hold the directory's lock, so that two runs never write into one directory."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EnvironmentFault(f"{root}: another run is working here; wait for it, or choose another -o") from None
        yield


@contextlib.contextmanager
def _os_errors_explained(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise from_os_error(error, root) from error
