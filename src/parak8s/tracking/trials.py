"""The trials of a search in MLflow: nested runs of one run, which stands for the search."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parak8s import files
from parak8s.errors import EnvironmentFault, InputError
from parak8s.experiment import Experiment
from parak8s.secrets import redacted
from parak8s.tracking.publication import PARAM_LENGTH, TAG_LENGTH
from parak8s.tracking.tracker import Tracker

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

SEARCH_TAG, OF_SEARCH_TAG, TRIAL_TAG = "parak8s.search", "parak8s.trial_of", "parak8s.trial"
PARENT_TAG = "mlflow.parentRunId"
UID = "PARAK8S_SEARCH_UID"
"""Environment variable: what tells the search from others of its name."""


class TrialRun:
    """The nested run of one trial. What MLflow does not take is left in the trial's folder; nothing here fails.

    Args:
        experiment: Whose MLflow experiment it is.
        name: Of the trial.
        search: Name of the search.
        assignments: Path -> value of the point, as text.
        folder: Of the trial: it remembers the run, which a killed trial goes on with.
    """

    def __init__(
        self, experiment: Experiment, name: str, search: str, assignments: Mapping[str, str], folder: Path
    ) -> None:
        self.tracker, self.name, self.run_id = Tracker(experiment), name, None
        self._memory = folder / "mlflow.json"
        try:
            self.run_id = self._begun(search, assignments)
        except (EnvironmentFault, InputError) as fault:
            log.warning("%s", fault)

    def log_epoch(self, record: Mapping[str, Any]) -> None:
        """Send the metrics of an epoch."""
        self.tracker.log_epoch(self.run_id, record)

    def finish(self, model: Path) -> None:
        """Send the model as ``NAME.keras``, and end the run."""
        self._try(lambda client, run_id: _send_model(client, run_id, model, self.name))
        self.end("FINISHED")

    def end(self, status: str, reason: str = "") -> None:
        """End the run: FINISHED, KILLED or FAILED."""

        def act(client: MlflowClient, run_id: str) -> None:
            if reason:
                client.set_tag(run_id, "parak8s.failure", redacted(reason)[:TAG_LENGTH])
            client.set_terminated(run_id, status)

        self._try(act)

    def _begun(self, search: str, assignments: Mapping[str, str]) -> str:
        from mlflow.entities import Param

        with self.tracker.reach() as client:
            if self._memory.is_file():
                known = str(files.read_json(self._memory)["run_id"])
                if self.tracker.has(client, known):
                    client.update_run(known, status="RUNNING")
                    return known
            parent = search_run(self.tracker, client, search, os.environ.get(UID))
            tags = {PARENT_TAG: parent, OF_SEARCH_TAG: search, TRIAL_TAG: self.name}
            run = client.create_run(self.tracker.experiment_id(client), tags=tags, run_name=self.name)
            params = [Param(path, value[:PARAM_LENGTH]) for path, value in assignments.items()]
            client.log_batch(run.info.run_id, params=params)
        run_id = str(run.info.run_id)
        files.write_json(self._memory, {"run_id": run_id})
        return run_id

    def _try(self, act: Any) -> None:
        if self.run_id is None:
            return
        try:
            with self.tracker.reach() as client:
                act(client, self.run_id)
        except (EnvironmentFault, InputError) as fault:
            log.warning("%s", fault)


def search_run(tracker: Tracker, client: MlflowClient, search: str, uid: str | None = None) -> str:
    """Return the run that stands for a search; whoever asks first makes it.

    Args:
        tracker: Of its experiment.
        client: Where to look.
        search: Its name.
        uid: What tells it from others of that name; None where nobody knows.

    Two who ask at the same moment both make one; the earlier one stays, by its start and its id.
    """
    experiment_id = tracker.experiment_id(client)
    mark = f"{search}/{uid}" if uid else search
    query = f"tags.`{SEARCH_TAG}` = '{mark}'"

    def first() -> str | None:
        found = client.search_runs([experiment_id], query, order_by=["attributes.start_time ASC"])
        return min(found, key=lambda run: (run.info.start_time, run.info.run_id)).info.run_id if found else None

    if known := first():
        return known
    made = client.create_run(experiment_id, tags={SEARCH_TAG: mark}, run_name=search).info.run_id
    chosen = first() or made
    if chosen != made:
        client.delete_run(made)
    return str(chosen)


def _send_model(client: MlflowClient, run_id: str, model: Path, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        client.log_artifact(run_id, str(shutil.copyfile(model, Path(folder, f"{name}.keras"))), "model")


def conclude_search(
    experiment: Experiment,
    search: str,
    best: Mapping[str, str],
    value: float | None,
    documents: list[Path],
    *,
    uid: str | None = None,
    succeeded: bool = True,
) -> str:
    """Write the outcome of a search into the run that stands for it; return the run's id.

    Args:
        experiment: Whose MLflow experiment it is.
        search: Name of the search.
        best: Path -> value of the best point, as text.
        value: Its objective.
        documents: Files that go with the run.
        uid: What tells it from others of its name.
        succeeded: Whether it did not fail.

    Raises:
        EnvironmentFault: MLflow cannot be reached.
    """
    tracker = Tracker(experiment)
    with tracker.reach() as client:
        run_id = search_run(tracker, client, search, uid)
        _end_stragglers(tracker, client, run_id)
        for path, text in best.items():
            client.set_tag(run_id, f"parak8s.best.{path}", text[:TAG_LENGTH])
        if value is not None and experiment.search is not None:
            client.log_metric(run_id, f"best_{experiment.search.objective.metric}", value)
        for document in documents:
            client.log_artifact(run_id, str(document))
        client.set_terminated(run_id, "FINISHED" if succeeded else "FAILED")
    return run_id


def _end_stragglers(tracker: Tracker, client: MlflowClient, parent: str) -> None:
    """End the runs of trials that were killed with the search, and could not end them."""
    query = f"tags.`{PARENT_TAG}` = '{parent}' and attributes.status = 'RUNNING'"
    for run in client.search_runs([tracker.experiment_id(client)], query):
        client.set_terminated(run.info.run_id, "KILLED")
