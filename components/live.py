"""Tells of every epoch while a pod trains: in its log, and in the MLflow run that the platform began for it."""

import contextlib
import logging
import sys
from collections.abc import Iterator

from parak8s.errors import EnvironmentFault
from parak8s.experiment import Experiment
from parak8s.tracking import Tracker
from parak8s.training.progress import Record

log = logging.getLogger(__name__)


class Log:
    """Prints a line for each epoch."""

    def on_steps(self, epoch: int, done: int, total: int) -> None:
        """Nothing: a log is not a bar."""

    def on_epoch(self, record: Record) -> None:
        """Print the epoch's values."""
        said = ("epoch", "stage", "timestamp_ms")
        values = {name: value for name, value in record.to_json().items() if name not in said}
        line = "  ".join(f"{name} {value:.4f}" for name, value in values.items() if value is not None)
        print(f"epoch {record.epoch:>3}  {line}", file=sys.stderr, flush=True)  # noqa: T201 - a pod's log is its voice


class Platform:
    """Sends every epoch to the run that MLFLOW_RUN_ID names. What it cannot send, the step register sends.

    A server that is away costs a warning, not the training.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.tracker = Tracker(experiment)
        self.run_id: str | None = None
        with self._forgiven():
            self.run_id = self.tracker.begin("", {})

    def on_steps(self, epoch: int, done: int, total: int) -> None:
        """Nothing: MLflow gets whole epochs."""

    def on_epoch(self, record: Record) -> None:
        """Send the epoch."""
        if self.run_id is not None:
            with self._forgiven():
                self.tracker.log_epoch(self.run_id, record.to_json())

    @contextlib.contextmanager
    def _forgiven(self) -> Iterator[None]:
        try:
            yield
        except EnvironmentFault as fault:
            self.run_id = None
            log.warning("epochs are not sent while training: %s", fault)
