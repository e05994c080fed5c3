"""One MLflow run for each experiment, sent from the run directory: whatever is not there yet, and nothing twice.

Everything is in files first. Training never waits for MLflow: what it missed, :meth:`Tracker.publish` sends.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parak8s.errors import EnvironmentFault, InputError
from parak8s.experiment import Experiment
from parak8s.secrets import redacted
from parak8s.tracking import connection, publication, registry
from parak8s.tracking.connection import tracking_uri
from parak8s.tracking.registry import Champion

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


log = logging.getLogger(__name__)


class Tracker:
    """Sends one experiment to MLflow.

    Args:
        experiment: Says where to, and under which names.

    Raises:
        InputError: The address names no driver, or ``tracking.artifacts`` holds a password.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.uri = tracking_uri(experiment.tracking)
        artifacts = experiment.tracking.artifacts
        if artifacts and redacted(artifacts) != artifacts:
            raise InputError(
                "tracking.artifacts holds a password, which MLflow would show to everyone: leave it to the environment"
            )
        self._live: MlflowClient | None = None
        self._sent: dict[str, set[int]] = {}
        self._silent = False

    def begin(self, run_name: str, tags: Mapping[str, str], run_id: str | None = None) -> str:
        """Return the id of the run to log to, made when needed.

        Args:
            run_name: What MLflow calls a new run.
            tags: Of the run.
            run_id: The run of an earlier, interrupted call: it goes on, unless this store does not have it. Without
                one, the run that the platform names in MLFLOW_RUN_ID is joined, else a new one begins.

        Raises:
            InputError: MLFLOW_RUN_ID names no run, or the MLflow experiment was deleted.
            EnvironmentFault: MLflow cannot be reached. The training can go on without a run.
        """
        with self.reach() as client:
            run = _find(client, run_id) if run_id else None
            run = run or self._platform_run(client)
            if run is None:
                run = client.create_run(self.experiment_id(client), tags=dict(tags), run_name=run_name)
            else:
                publication.send_tags(client, run, tags)
                if run.info.status in ("FAILED", "KILLED"):
                    client.update_run(run.info.run_id, status="RUNNING")
            return str(run.info.run_id)

    def find(self, tag: str, value: str) -> str | None:
        """Return the run of this MLflow experiment that has the tag; None where there is none."""
        with self.reach() as client:
            kept = client.get_experiment_by_name(self.experiment.mlflow_experiment)
            query = f"tags.`{tag}` = '{value}'"
            found = client.search_runs([kept.experiment_id], query, max_results=1) if kept else []
            return str(found[0].info.run_id) if found else None

    def links(self, run_id: str, version: str | None) -> dict[str, str]:
        """Return the pages of the run and of the model version; nothing where no server shows them."""
        if connection.is_database(self.uri):
            return {}
        with self.reach() as client:
            experiment_id = client.get_run(run_id).info.experiment_id
        root = f"{redacted(self.uri).rstrip('/')}/#"
        model = {"model_page": f"{root}/models/{self.experiment.registered_name}/versions/{version}"} if version else {}
        return {"run_page": f"{root}/experiments/{experiment_id}/runs/{run_id}", **model}

    def log_epoch(self, run_id: str | None, record: Mapping[str, Any]) -> None:
        """Send the metrics of one epoch while the training goes on; never fails, and waits for a dead server only once.

        Args:
            run_id: From :meth:`begin`; None where there is no run.
            record: One entry of ``epochs`` in training/history.json.
        """
        if run_id is None or self._silent:
            return
        try:
            with connection.reaching(self.uri, connection.QUICK):
                self._log_epoch(run_id, record)
        except (EnvironmentFault, InputError) as fault:
            self._silent = True
            log.warning("%s", fault)

    def publish(self, run_id: str, directory: Path, *, fingerprint: str) -> None:
        """Send everything in the run directory that MLflow does not have yet, and finish the run.

        Raises:
            InputError: A file is missing, so the run is not complete.
            EnvironmentFault: MLflow cannot be reached. What was sent stays; the next call sends the rest.
        """
        documents = publication.read(directory)
        with self.reach() as client:
            publication.publish(client, client.get_run(run_id), directory, documents, self.experiment, fingerprint)

    def fail(self, run_id: str, reason: str) -> None:
        """Mark the run as failed. Says so in the log, and goes on, when MLflow cannot be reached."""
        try:
            with self.reach() as client:
                client.set_tag(run_id, "parak8s.failure", redacted(reason)[: publication.TAG_LENGTH])
                client.set_terminated(run_id, "FAILED")
        except (EnvironmentFault, InputError) as fault:
            log.warning("%s", fault)

    def register(self, run_id: str, *, alias: bool = True) -> str:
        """Return the version of the published run's model, made on the first call; see :func:`registry.register`.

        Args:
            run_id: From :meth:`begin`.
            alias: Move ``registry.alias`` to the version.
        """
        name, moved = (
            self.experiment.registered_name,
            self.experiment.registry.alias if alias else None,
        )
        with self.reach() as client:
            return registry.register(client, client.get_run(run_id), name, moved)

    def champion(self) -> Champion | None:
        """Return the version that holds ``registry.alias``; None where there is none yet."""
        with self.reach() as client:
            return registry.champion(client, self.experiment.registered_name, self.experiment.registry.alias)

    def download(self, champion: Champion, folder: Path) -> Path:
        """Fetch ``model.keras`` of the champion into ``folder``; return its path."""
        with self.reach() as client:
            return registry.download(client, champion, folder)

    @contextlib.contextmanager
    def reach(self) -> Iterator[MlflowClient]:
        """Yield a client of a store that has just answered.

        Raises:
            InputError: MLflow does not take a value.
            EnvironmentFault: The store does not answer, or refuses.
        """
        client = connection.connect(self.uri)
        with connection.reaching(self.uri):
            yield client

    def has(self, client: MlflowClient, run_id: str) -> bool:
        """Return whether the store has the run, and it is not deleted."""
        return _find(client, run_id) is not None

    def _platform_run(self, client: MlflowClient) -> Run | None:
        joined = os.environ.get("MLFLOW_RUN_ID")
        if not joined:
            return None
        if run := _find(client, joined):
            return run
        raise InputError(
            f"MLFLOW_RUN_ID {joined}: no such run at {redacted(self.uri)}; unset it, or set MLFLOW_TRACKING_URI too"
        )

    def experiment_id(self, client: MlflowClient) -> str:
        """Return the MLflow experiment, made when absent; another process may make it at the same moment.

        Raises:
            InputError: It was deleted.
        """
        from mlflow.exceptions import MlflowException

        name = self.experiment.mlflow_experiment
        found = client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(client.create_experiment(name, artifact_location=self._artifact_location()))
            except MlflowException as error:
                found = client.get_experiment_by_name(name)
                if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            fix = f"choose another tracking.experiment, or 'mlflow experiments restore -x {found.experiment_id}'"
            raise InputError(f"MLflow experiment {name!r} at {redacted(self.uri)} was deleted; {fix}")
        return str(found.experiment_id)

    def _artifact_location(self) -> str | None:
        """Return where a new MLflow experiment keeps its files; None where a server decides."""
        if chosen := self.experiment.tracking.artifacts:
            return chosen if "://" in chosen else Path(chosen).resolve().as_uri()
        if not connection.is_database(self.uri):
            return None
        file = connection.sqlite_file(self.uri)
        return ((file.parent if file else Path()) / "mlartifacts").resolve().as_uri()

    def _log_epoch(self, run_id: str, record: Mapping[str, Any]) -> None:
        from mlflow import MlflowClient

        if self._live is None:
            self._live = MlflowClient(self.uri, registry_uri=self.uri)
        if run_id not in self._sent:
            self._sent[run_id] = {metric.step for metric in self._live.get_metric_history(run_id, "loss")}
        if record["epoch"] not in self._sent[run_id]:
            self._live.log_batch(run_id, metrics=publication.epoch_metrics(record))
            self._sent[run_id].add(record["epoch"])


def _find(client: MlflowClient, run_id: str) -> Run | None:
    """Return the run; None where it does not exist or was deleted."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None
