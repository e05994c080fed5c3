"""Tells of every epoch while a pod trains: in its log, and in the MLflow run that the platform began for it."""

import sys

from parak8s.experiment import Experiment
from parak8s.tracking import Tracker
from parak8s.training.progress import Record


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
    """Sends every epoch to the run that MLFLOW_RUN_ID names. What it cannot send, the step register sends."""

    def __init__(self, experiment: Experiment) -> None:
        self.tracker = Tracker(experiment)
        self.run_id = self.tracker.begin("", {})

    def on_steps(self, epoch: int, done: int, total: int) -> None:
        """Nothing: MLflow gets whole epochs."""

    def on_epoch(self, record: Record) -> None:
        """Send the epoch."""
        self.tracker.log_epoch(self.run_id, record.to_json())
