"""Models in MLflow: the logged model of a run, its version in the registry, and the version that holds the alias."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from parak8s import files
from parak8s.errors import InputError
from parak8s.models import saved

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion
    from numpy.typing import NDArray

KERAS_FILE = "model.keras"
LOGGED_NAME = "classifier"
DIGEST_TAG = "parak8s.model_digest"
PROMOTED_TAG = "parak8s.promoted_to"


@dataclass(frozen=True)
class Champion:
    """The model version that holds an alias.

    Args:
        name: Registered model.
        alias: The alias it holds.
        version: Number of the version, as text.
        run_id: Run that made it; empty where nobody said.
        tags: Tags of the version: ``parak8s.fingerprint``, ``parak8s.data_digest``.
    """

    name: str
    alias: str
    version: str
    run_id: str
    tags: Mapping[str, str]


def log_model(client: MlflowClient, run: Run, file: Path, input_dtype: str) -> str:
    """Log the Keras model in ``file`` as the run's model, once, and return its id.

    It is MLflow's Keras flavour with the graph exported, because a ``.keras`` file with layers of one's own loads only
    where these were imported before. ``mlflow.pyfunc.load_model(uri).predict(batch)`` needs TensorFlow and nothing of
    ParaK8s: raw batch (batch, *input_shape) -> probabilities float32 (batch, k). ``model.keras`` itself lies beside.

    Args:
        client: Where it is logged.
        run: The run that made it.
        file: Keras model: raw batch -> calibrated probabilities.
        input_dtype: ``float32`` or ``uint8``.
    """
    digest = f"sha256:{files.sha256_of(file)}"
    mine = [model for model in _models_of(client, run) if model.tags.get(DIGEST_TAG) == digest]
    if ready := [model for model in mine if model.status == "READY"]:
        return str(ready[0].model_id)
    experiment_id, run_id = run.info.experiment_id, run.info.run_id
    logged = (
        mine[0] if mine else client.create_logged_model(experiment_id, LOGGED_NAME, run_id, tags={DIGEST_TAG: digest})
    )
    with tempfile.TemporaryDirectory() as folder:
        _package(file, Path(folder), logged, run_id, np.dtype(input_dtype))
        client.log_model_artifacts(logged.model_id, folder)
    _link(client, run_id, logged.model_id)
    client.finalize_logged_model(logged.model_id, "READY")
    return str(logged.model_id)


def register(client: MlflowClient, run: Run, name: str, alias: str | None) -> str:
    """Make the run's model a version of the registered model ``name`` and move ``alias`` to it, both only once.

    A second call returns the same version. It does not take the alias back from a version that got it in between.

    Args:
        client: Where it is registered.
        run: The run, published before.
        name: Registered model, created when absent.
        alias: Moves to the version; None moves nothing.

    Returns:
        The number of the version, as text.

    Raises:
        InputError: The run has no model yet.
    """
    version = _version_of(client, run, name) or _new_version(client, run, name)
    if alias and version.tags.get(f"{PROMOTED_TAG}.{alias}") is None:
        client.set_registered_model_alias(name, alias, version.version)
        client.set_model_version_tag(name, version.version, f"{PROMOTED_TAG}.{alias}", "true")
    return str(version.version)


def champion(client: MlflowClient, name: str, alias: str) -> Champion | None:
    """Return the version of ``name`` that holds ``alias``; None where there is no such model or no such alias."""
    from mlflow.exceptions import MlflowException

    try:
        number = client.get_registered_model(name).aliases.get(alias)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    if number is None:
        return None
    version = client.get_model_version(name, str(number))
    return Champion(name, alias, str(version.version), version.run_id or "", dict(version.tags))


def download(client: MlflowClient, champion: Champion, folder: Path) -> Path:
    """Fetch ``model.keras`` of ``champion`` into ``folder``; return its path.

    Raises:
        InputError: The version holds no such file: it was not registered by ParaK8s.
    """
    file = keras_file(client, champion.name, champion.version, folder)
    if file is None:
        raise InputError(
            f"models:/{champion.name}/{champion.version} ({champion.alias}) holds no {KERAS_FILE}, so nothing can be "
            "compared with it; register one with 'parak8s run', or take the alias away from it"
        )
    return file


def keras_file(client: MlflowClient, name: str, version: str, folder: Path) -> Path | None:
    """Fetch ``model.keras`` of a version into ``folder`` and return its path; None where the version has none."""
    from mlflow import artifacts

    root = client.get_model_version_download_uri(name, version)
    there = artifacts.list_artifacts(artifact_uri=root, tracking_uri=client.tracking_uri)
    if KERAS_FILE not in {item.path.rpartition("/")[2] for item in there}:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        fetched = fetch(client, f"{root}/{KERAS_FILE}", Path(aside))
        return fetched.replace(folder / KERAS_FILE)


def digest_of(client: MlflowClient, version: ModelVersion) -> str | None:
    """Return ``sha256:...`` of ``model.keras`` of a version; None where ParaK8s did not register it."""
    if not version.run_id:
        return None
    models = _models_of(client, client.get_run(version.run_id))  # a store need not keep the version's model_id
    return next((model.tags.get(DIGEST_TAG) for model in models if model.artifact_location == version.source), None)


def fetch(client: MlflowClient, uri: str, folder: Path) -> Path:
    """Fetch one artifact by its whole address: MLflow looks ``runs:`` and ``models:`` up in its global store."""
    from mlflow import artifacts

    return Path(artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=client.tracking_uri))


def _models_of(client: MlflowClient, run: Run) -> list[LoggedModel]:
    query = f"source_run_id = '{run.info.run_id}'"
    return list(client.search_logged_models([run.info.experiment_id], filter_string=query))


def _link(client: MlflowClient, run_id: str, model_id: str) -> None:
    from mlflow.entities import LoggedModelOutput

    outputs = client.get_run(run_id).outputs
    if model_id not in [output.model_id for output in (outputs.model_outputs if outputs else [])]:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])


def _package(file: Path, folder: Path, logged: LoggedModel, run_id: str, dtype: np.dtype[Any]) -> None:
    """Write an MLflow model into the empty ``folder``."""
    from mlflow import keras as flavour
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    model = saved.load(file)
    signature = ModelSignature(
        Schema([TensorSpec(dtype, (-1, *model.input_shape[1:]))]),
        Schema([TensorSpec(np.dtype("float32"), (-1, *model.output_shape[1:]))]),
    )
    with contextlib.redirect_stdout(io.StringIO()):  # Keras lists the endpoints.
        flavour.save_model(
            model,
            str(folder),
            save_exported_model=True,
            mlflow_model=Model(
                artifact_path=logged.artifact_location,
                run_id=run_id,
                model_uuid=logged.model_id,
                model_id=logged.model_id,
            ),
            signature=signature,
            input_example=_noise((2, *model.input_shape[1:]), dtype),
            pip_requirements=[
                f"{name}=={metadata.version(name)}" for name in ("mlflow", "keras", "tensorflow", "numpy")
            ],
        )
    shutil.copy(file, folder / KERAS_FILE)


def _noise(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[np.generic]:
    """Return an input example that shows no patient: the registry has more readers than the data."""
    values = np.random.default_rng(0).random(shape)
    return np.asarray(values * 255 if dtype == np.uint8 else values, dtype)


def _version_of(client: MlflowClient, run: Run, name: str) -> ModelVersion | None:
    found = client.search_model_versions(f"run_id='{run.info.run_id}'")
    mine = [version for version in found if version.name == name]
    return min(mine, key=lambda version: int(version.version), default=None)


def _new_version(client: MlflowClient, run: Run, name: str) -> ModelVersion:
    from mlflow.exceptions import MlflowException

    models = [model for model in _models_of(client, run) if model.status == "READY"]
    if not models:
        raise InputError(f"run {run.info.run_id} has no model to register; publish it first: give 'parak8s run' again")
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    newest = max(models, key=lambda model: model.creation_timestamp)
    kept = ("parak8s.fingerprint", "parak8s.data_digest", "parak8s.gate")
    tags = {key: run.data.tags[key] for key in kept if key in run.data.tags}
    # Not "models:/ID": MLflow looks that up in its global store, which need not be this one.
    return client.create_model_version(
        name, newest.artifact_location, run.info.run_id, tags=tags, model_id=newest.model_id
    )
