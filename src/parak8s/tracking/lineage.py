"""The lineage of a run, a model version or a run directory: from the released model back to data, code and config."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from parak8s import files
from parak8s.errors import EnvironmentFault, InputError
from parak8s.experiment import Tracking, documents, flatten
from parak8s.secrets import redacted, without_passwords
from parak8s.tracking import connection, registry
from parak8s.tracking.connection import tracking_uri
from parak8s.tracking.publication import DOCUMENTS, OTHERS
from parak8s.tracking.versions import ALLOWED, version_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

SAYS = {
    "experiment.yaml": "the whole config",
    "environment.json": "code and package versions",
    "dataset/manifest.json": "where the data came from",
    "evaluation/metrics.json": "metrics with their intervals",
    "gate/verdict.json": "the gate's verdict",
}
"""What each document of a run is the only one to say."""
UNREGISTERED = "model: no version of this run is registered"


@dataclass(frozen=True)
class Lineage:
    """Everything that a run or a model version came from, without passwords.

    Args:
        reference: What was asked for.
        tracking_uri: Store that was asked; empty where none was.
        model: ``name``, ``version``, ``aliases``; None where no version was registered.
        run: ``id``, ``name``, ``status``, ``experiment``, as far as known.
        fingerprint: Of the point.
        data: ``digest``, ``source``, ``loader``.
        code: ``commit``, ``dirty``, ``digest``.
        packages: Version of each package, and of ``python``.
        parameters: The experiment, flattened.
        metrics: ``value``, ``low`` and ``high`` of each metric.
        gate: ``passed`` and ``checks``; None where nobody judged.
        artifacts: Where each file or folder is.
        missing: What could not be found out, one sentence each.
    """

    reference: str
    tracking_uri: str = ""
    model: Mapping[str, Any] | None = None
    run: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str | None = None
    data: Mapping[str, str | None] = field(default_factory=dict)
    code: Mapping[str, str | bool | None] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    gate: Mapping[str, Any] | None = None
    artifacts: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the sections in their order, as plain JSON values."""
        return {**asdict(self), "missing": list(self.missing)}


def lineage(reference: str, tracking: Tracking) -> Lineage:
    """Return the lineage of ``reference``.

    Args:
        reference: A run id, ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, or a run directory with result.json.
        tracking: Which store to ask; a run directory names its own.

    Raises:
        InputError: There is no such run, model, version, alias or directory; says what there is.
        EnvironmentFault: MLflow cannot be reached; not for a run directory, whose files say most of it.
    """
    if (directory := Path(reference)).is_dir():
        return _of_directory(directory, reference, tracking)
    if "/" in reference and not reference.startswith("models:/"):
        raise InputError(f"{reference}: no such directory; {ALLOWED}")
    uri = tracking_uri(tracking)
    client = connection.connect(uri, create=False)
    with connection.reaching(uri):
        version = version_of(client, reference, uri) if reference.startswith("models:/") else None
        if version and not version.run_id:
            raise InputError(f"{reference}: the version names no run, so nothing more is known of it")
        run = _run(client, (version.run_id if version else None) or reference, uri)
        return replace(_of_run(client, run, version), reference=reference, tracking_uri=redacted(uri))


def _of_directory(directory: Path, reference: str, tracking: Tracking) -> Lineage:
    if not (directory / "result.json").exists():
        raise InputError(f"{directory} is not a finished run: no result.json; give 'parak8s run' again")
    result = files.read_json(directory / "result.json")
    known = result.get("mlflow") or {}
    stored = known.get("tracking_uri") or ""
    uri = stored if stored and redacted(stored) == stored and "***" not in stored else tracking_uri(tracking)
    model = {"name": known["model_name"], "version": known.get("model_version")} if known.get("model_name") else None
    local = replace(
        _of_documents(directory),
        reference=reference,
        tracking_uri=redacted(uri),
        fingerprint=result.get("fingerprint"),
        model=model,
        run={"id": known["run_id"]} if known.get("run_id") else {},
        artifacts={name: str(directory / name) for name in (*DOCUMENTS, *OTHERS) if (directory / name).exists()},
    )
    try:
        return _with_store(local, uri)
    except (EnvironmentFault, InputError) as problem:
        return replace(local, missing=(*local.missing, f"aliases and the state of the MLflow run: {problem}"))


def _with_store(local: Lineage, uri: str) -> Lineage:
    """Add to what the directory says what only the store knows."""
    if not local.run:
        return replace(local, missing=(*local.missing, "MLflow: the run was not sent yet"))
    client = connection.connect(uri, create=False)
    with connection.reaching(uri):
        stored = _of_run(client, _run(client, local.run["id"], uri), None)
    return replace(
        local,
        run=stored.run,
        model=stored.model,
        missing=(*local.missing, *(text for text in stored.missing if text == UNREGISTERED)),
    )


def _of_run(client: MlflowClient, run: Run, version: ModelVersion | None) -> Lineage:
    """Return what the store knows; what a document of ParaK8s does not say is taken from the run itself."""
    root = run.info.artifact_uri
    with tempfile.TemporaryDirectory() as folder:
        for name in _documents_there(client, root):
            registry.fetch(client, f"{root}/{name}", Path(folder, name).parent)
        found = _of_documents(Path(folder))
    tags, model = run.data.tags, _model(client, run.info.run_id, version)
    listed = {name: f"{root}/{name}" for name in _names(client, root)}
    for output in run.outputs.model_outputs if run.outputs else []:
        listed["model (MLflow)"] = f"models:/{output.model_id}"
    return replace(
        found,
        model=model,
        run={
            "id": run.info.run_id,
            "name": run.info.run_name or "",
            "status": run.info.status,
            "experiment": client.get_experiment(run.info.experiment_id).name,
        },
        fingerprint=tags.get("parak8s.fingerprint"),
        data=found.data or _given({"digest": tags.get("parak8s.data_digest")}),
        code=found.code or _given({"commit": tags.get("parak8s.git_commit") or tags.get("mlflow.source.git.commit")}),
        parameters=found.parameters or dict(run.data.params),
        metrics=found.metrics or {name: {"value": value} for name, value in run.data.metrics.items()},
        artifacts={path: redacted(uri) for path, uri in listed.items()},
        missing=found.missing if model else (*found.missing, UNREGISTERED),
    )


def _given(values: Mapping[str, str | None]) -> dict[str, str | None]:
    return {key: value for key, value in values.items() if value}


def _of_documents(folder: Path) -> Lineage:
    """Return what the documents of a run say, in a run directory or in a copy of some of it."""
    there = {name for name in SAYS if (folder / name).exists()}
    read = {name: files.read_json(folder / name) for name in there if name.endswith(".json")}
    environment, manifest = read.get("environment.json", {}), read.get("dataset/manifest.json", {})
    code = {**environment.get("git", {}), "digest": environment.get("code")} if environment else {}
    config = documents.read(folder / "experiment.yaml").data if "experiment.yaml" in there else {}
    missing = [f"{name}: {what}" for name, what in SAYS.items() if name not in there]
    if environment and not code.get("commit"):
        missing.append("code: no git commit; the code digest alone says which code it was")
    elif code.get("dirty"):
        missing.append("code: the changes that were not committed; the commit alone does not give this code back")
    return Lineage(
        reference="",
        data=without_passwords({key: manifest[key] for key in ("digest", "source", "loader") if key in manifest}),
        code=code,
        packages=_given({"python": environment.get("python"), **environment.get("packages", {})}),  # type: ignore[arg-type]
        parameters=flatten(without_passwords(config)),
        metrics=_measured(read.get("evaluation/metrics.json", {})),
        gate=read.get("gate/verdict.json"),
        missing=tuple(missing),
    )


def _measured(document: Mapping[str, Any]) -> dict[str, Mapping[str, float | None]]:
    """Return the metrics, and the threshold of the operating point where there is one."""
    metrics, point = dict(document.get("metrics", {})), document.get("operating_point")
    return metrics | ({"threshold": {"value": point["threshold"]}} if point else {})


def _documents_there(client: MlflowClient, root: str) -> list[str]:
    """Return the documents that the run has."""
    folders = {folder: _names(client, root, folder) for folder in {str(PurePosixPath(name).parent) for name in SAYS}}
    return [name for name in SAYS if PurePosixPath(name).name in folders[str(PurePosixPath(name).parent)]]


def _names(client: MlflowClient, root: str, folder: str = ".") -> list[str]:
    """Return the names of the files and folders in one folder of a run."""
    from mlflow import artifacts

    uri = root if folder == "." else f"{root}/{folder}"
    listed = artifacts.list_artifacts(artifact_uri=uri, tracking_uri=client.tracking_uri)
    return [PurePosixPath(item.path).name for item in listed]


def _model(client: MlflowClient, run_id: str, version: ModelVersion | None) -> dict[str, Any] | None:
    """Return the version, or the newest one of the run, with the aliases that it holds."""
    if version is None:
        versions = client.search_model_versions(f"run_id='{run_id}'")
        version = max(versions, key=lambda each: int(each.version), default=None)
    if version is None:
        return None
    aliases = client.get_registered_model(version.name).aliases
    held = sorted(alias for alias, number in aliases.items() if str(number) == str(version.version))
    return {"name": version.name, "version": str(version.version), "aliases": held}


def _run(client: MlflowClient, run_id: str, uri: str) -> Run:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    latest = client.search_runs(experiments, order_by=["attributes.start_time DESC"], max_results=100)
    names = {run.info.run_id: run.info.run_name or "" for run in latest}
    near = get_close_matches(run_id, names, n=1) or [each for each, name in names.items() if name == run_id][:1]
    hint = f"did you mean {near[0]!r} ({names[near[0]]})? " if near else ""
    shown = ", ".join(f"{each} ({name})" for each, name in list(names.items())[:5]) or "none yet"
    raise InputError(f"no run {run_id!r} at {redacted(uri)}; {hint}the latest: {shown}; {ALLOWED}")
