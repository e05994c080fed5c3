"""One trial of a search: trains one point, and prints what Katib's metrics collector reads.

The test split takes no part. A trial leaves ``training/`` as a run does, and the dataset is prepared once for all
trials that share it.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from parak8s import files, provenance
from parak8s.errors import InputError
from parak8s.experiment import Experiment
from parak8s.experiment.compute import is_store
from parak8s.team import Team

if TYPE_CHECKING:
    from parak8s.training.distribution import Together
    from parak8s.training.fitting import Observer
    from parak8s.training.progress import Record

WHERE = "PARAK8S_TRIALS"
"""Environment variable: the folder in which each trial has its own."""
TEXT = "PARAK8S_EXPERIMENT"
"""Environment variable: the text of the experiment file, where no file is named."""
WARM_START = "last.weights.h5"
"""What a trial leaves in its checkpoint folder, and begins with when it finds it there."""


def folder_of(experiment: Experiment, search: str, name: str) -> Path:
    """Return the folder of a trial: in PARAK8S_TRIALS, else in ``compute.runs``, else in this machine's scratch.

    Where ``compute.runs`` is an object store, it is for jobs alone.
    """
    if chosen := os.environ.get(WHERE):
        return Path(chosen) / name
    runs = experiment.compute.runs
    base = Path(runs) if runs and not is_store(runs) else Path(tempfile.gettempdir()) / "parak8s"
    return base / search / "trials" / name


def take_trial(
    experiment: Experiment,
    name: str,
    folder: Path,
    *,
    search: str,
    assignments: Sequence[str] = (),
    checkpoint: Path | None = None,
    say: Callable[[str], None],
) -> None:
    """Train one point of the space; print each epoch's metrics, and tell them to MLflow.

    What a killed trial left in ``folder`` is gone on with, and told again from its first epoch on: whoever collects the
    metrics hears all of them. One of several replicas (TF_CONFIG) takes its part; the leader prints.

    Args:
        experiment: The point.
        name: Of the trial.
        folder: Of the trial alone; its parent's sibling ``datasets`` holds what trials share.
        search: Name of the search: its trials are nested runs of one run in MLflow.
        assignments: The point as ``path=value``.
        checkpoint: Folder in which population based training hands the weights on.
        say: Takes a line.

    Raises:
        InputError: The point or the data breaks a rule, or the loss is no longer a number.
        Interrupted: SIGTERM came: the search has stopped the trial, or the pod must go. All is saved.
    """
    from parak8s.steps.pretrained import pinned
    from parak8s.training import determinism

    team = Team.from_environment()
    determinism.prepare(experiment, together=team is not None)
    if team is not None and not team.leads:
        from parak8s.replica import join
        from parak8s.workplace import Workplace

        join(team, experiment, Workplace(folder))
        return
    experiment = pinned(experiment)
    dataset = _shared_dataset(experiment, folder)
    with contextlib.ExitStack() as stack:
        together = _leading(team, experiment, stack)
        told = _Told(experiment, name, search, assignments, folder)
        try:
            _train(experiment, dataset, folder, checkpoint, [_Printer(experiment, say), told], together)
        except BaseException as error:
            told.end("KILLED" if _was_stopped(error) else "FAILED", str(error))
            raise
        told.finish(folder / "training" / "model.keras")


def _leading(team: Team | None, experiment: Experiment, stack: contextlib.ExitStack) -> Together | None:
    from parak8s.replica import leading

    return stack.enter_context(leading(team, experiment)) if team is not None else None


def _train(
    experiment: Experiment,
    dataset: Path,
    folder: Path,
    checkpoint: Path | None,
    observers: Sequence[Observer],
    together: Together | None,
) -> None:
    """Train into ``folder``/training, or tell what is there already."""
    from parak8s.steps.train import train
    from parak8s.training.memory import records_in
    from parak8s.training.progress import Record

    training = folder / "training"
    if (training / "history.json").is_file():
        for record in files.read_json(training / "history.json")["epochs"]:
            _tell(Record.from_json(record), observers)
        return
    key = provenance.digest([provenance.identity(experiment), str(dataset)])
    with files.folder(training, resume=key) as partial:
        for remembered in records_in(partial):
            _tell(remembered, observers)
        start = checkpoint / WARM_START if checkpoint else None
        train(experiment, dataset, partial, observers, together, start=start if start and start.is_file() else None)
        if checkpoint:
            _hand_on(partial / "model.keras", checkpoint)


def _tell(record: Record, observers: Sequence[Observer]) -> None:
    for observer in observers:
        observer.on_epoch(record)


def _hand_on(model: Path, checkpoint: Path) -> None:
    """Leave the weights for the trials that begin where this one ended."""
    import keras

    checkpoint.mkdir(parents=True, exist_ok=True)
    aside = checkpoint / f"aside.{WARM_START}"
    keras.models.load_model(model, compile=False).save_weights(aside, overwrite=True)
    aside.replace(checkpoint / WARM_START)


def _was_stopped(error: BaseException) -> bool:
    from parak8s.training.interruption import Interrupted

    return isinstance(error, Interrupted) or not isinstance(error, Exception)


def _shared_dataset(experiment: Experiment, folder: Path) -> Path:
    """Return the prepared dataset, made by whichever trial comes first."""
    from parak8s.steps.ingest import ingest

    data = experiment.data
    source = {"data": data.model_dump(mode="json", exclude={"batch_size"}), "code": provenance.code_digest()}
    home = folder.parent.parent / "datasets"
    home.mkdir(parents=True, exist_ok=True)
    dataset = home / provenance.digest(source)[:16]
    with _alone(home / f".{dataset.name}.lock"):
        if not dataset.is_dir():
            with files.folder(dataset) as partial:
                ingest(experiment, partial)
    return dataset


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process is in such a block."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Printer:
    """Prints each metric of each epoch on a line of its own: ``2026-11-22T18:03:27.000Z val_auc=0.93``.

    A value that is no finite number is told in words: ``nan`` would reach Katib as an empty value, on which its
    suggestion service stumbles.
    """

    def __init__(self, experiment: Experiment, say: Callable[[str], None]) -> None:
        objective = experiment.search.objective if experiment.search else None
        self.names = (objective.metric, *objective.additional) if objective else None
        self.say = say

    def on_steps(self, epoch: int, done: int, total: int) -> None:
        """Nothing: a line for each step would drown the others."""

    def on_epoch(self, record: Record) -> None:
        """Print the epoch."""
        for line in metric_lines(record, self.names):
            self.say(line)


def metric_lines(record: Record, names: Sequence[str] | None) -> Iterator[str]:
    """Yield the lines of an epoch: for ``names``, or for all values of the epoch."""
    values = record.to_json()
    names = names or [name for name in values if name not in ("epoch", "stage", "timestamp_ms")]
    moment = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds")
    for name in names:
        value = values[name]
        stamp = moment.replace("+00:00", "Z")
        if value is None or not math.isfinite(value):
            yield f"{stamp} epoch {record.epoch}: {name} is no number"
        else:
            yield f"{stamp} {name}={value!r}"


class _Told:
    """The trial's nested run in MLflow. A trial does not fail because MLflow does."""

    def __init__(
        self, experiment: Experiment, name: str, search: str, assignments: Sequence[str], folder: Path
    ) -> None:
        from parak8s.tracking.trials import TrialRun

        self.run = TrialRun(experiment, name, search, dict(each.split("=", 1) for each in assignments), folder)

    def on_steps(self, epoch: int, done: int, total: int) -> None:
        """Nothing: MLflow gets whole epochs."""

    def on_epoch(self, record: Record) -> None:
        """Send the epoch."""
        self.run.log_epoch(record.to_json())

    def end(self, status: str, reason: str) -> None:
        """Mark the run as ended without a model."""
        self.run.end(status, reason)

    def finish(self, model: Path) -> None:
        """Send the model under the trial's name, and mark the run as finished."""
        self.run.finish(model)


def refuse_strange_name(name: str) -> None:
    """Refuse a trial's name that is no name of a folder.

    Raises:
        InputError: It is not.
    """
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,251}[a-z0-9])?", name):
        raise InputError(f"--name {name!r}: expected lower-case letters, digits and inner hyphens, such as ecg-3f2a")
