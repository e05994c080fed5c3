"""What a run directory becomes in MLflow: parameters, tags, metrics, dataset, artifacts, model; nothing twice."""

from __future__ import annotations

import hashlib
import json
import math
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parak8s import files
from parak8s.errors import InputError
from parak8s.experiment import Experiment, flatten
from parak8s.secrets import redacted, without_passwords
from parak8s.tracking import registry

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

DOCUMENTS = (
    "experiment.yaml",
    "environment.json",
    "dataset/manifest.json",
    "training/history.json",
    "training/certificate.json",
    "evaluation/metrics.json",
    "model/calibration.json",
    "model/operating_point.json",
    "gate/verdict.json",
)
"""Small texts of a run directory; MLflow gets them under the same path, without passwords."""
OTHERS = ("report.html", "model/saved_model")
"""What else MLflow gets. The Keras model goes with the logged model: :func:`parak8s.tracking.registry.log_model`."""
NEEDED = (
    "dataset/manifest.json",
    "training/history.json",
    "evaluation/metrics.json",
    "model/model.keras",
)
VERSIONS = ("parak8s", "tensorflow", "keras", "numpy", "mlflow")
KEY_LENGTH, PARAM_LENGTH, TAG_LENGTH, DATASET_DIGEST_LENGTH, BATCH, METRICS = (
    250,
    6000,
    8000,
    36,
    100,
    1000,
)
"""Limits of MLflow 3: characters, then entries of one request (mlflow.utils.validation)."""


def read(directory: Path) -> dict[str, Any]:
    """Return the JSON documents of a complete run directory by path.

    Raises:
        InputError: A file is missing, so the run is not complete.
    """
    if absent := [name for name in NEEDED if not (directory / name).exists()]:
        raise InputError(f"{directory} is not a finished run: no {', '.join(absent)}; give 'parak8s run' again")
    found = (name for name in DOCUMENTS if name.endswith(".json") and (directory / name).exists())
    return {name: files.read_json(directory / name) for name in found}


def publish(
    client: MlflowClient,
    run: Run,
    directory: Path,
    documents: Mapping[str, Any],
    experiment: Experiment,
    fingerprint: str,
) -> None:
    """Send what ``run`` does not have yet, then mark it as finished.

    Args:
        client: Where to.
        run: As it is now.
        directory: The run directory.
        documents: From :func:`read`.
        experiment: Whose parameters are sent.
        fingerprint: Of the point.
    """
    run_id, manifest = run.info.run_id, documents["dataset/manifest.json"]
    _send_parameters(client, run, experiment)
    _send_dataset(client, run, manifest)
    model_id = registry.log_model(client, run, directory / "model/model.keras", manifest["input_dtype"])
    _send_epochs(client, run_id, documents["training/history.json"]["epochs"])
    moment = int((directory / "evaluation/metrics.json").stat().st_mtime * 1000)
    _send_results(client, run, documents["evaluation/metrics.json"], model_id, moment)
    _send_artifacts(client, run, directory)
    send_tags(client, run, _tags(documents, fingerprint))
    if run.info.status != "FINISHED":
        client.set_terminated(run_id, "FINISHED")


def _key(name: str) -> str:
    """Return ``name`` with what MLflow does not allow in a name replaced."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:KEY_LENGTH]


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def epoch_metrics(record: Mapping[str, Any]) -> list[Metric]:
    """Return one entry of ``epochs`` in training/history.json as MLflow metrics; what is null is left out."""
    from mlflow.entities import Metric

    moment, epoch = int(record["timestamp_ms"]), int(record["epoch"])
    said = ("epoch", "stage", "timestamp_ms")
    values = {name: value for name, value in record.items() if name not in said and value is not None}
    return [Metric(_key(name), float(value), moment, epoch) for name, value in values.items()]


def _send_epochs(client: MlflowClient, run_id: str, epochs: Sequence[Mapping[str, Any]]) -> None:
    metrics = [metric for record in epochs for metric in epoch_metrics(record)]
    there = {(key, past.step) for key in {m.key for m in metrics} for past in client.get_metric_history(run_id, key)}
    for part in _parts(
        [metric for metric in metrics if (metric.key, metric.step) not in there],
        METRICS,
    ):
        client.log_batch(run_id, metrics=part)


def results(measured: Mapping[str, Any]) -> dict[str, float]:
    """Return the flat metrics of evaluation/metrics.json: each value, ``NAME_low`` and ``NAME_high``."""
    flat: dict[str, float | None] = {}
    for name, metric in measured["metrics"].items():
        flat |= {
            name: metric["value"],
            f"{name}_low": metric.get("low"),
            f"{name}_high": metric.get("high"),
        }
    flat["threshold"] = (measured.get("operating_point") or {}).get("threshold")
    flat |= {f"uncalibrated_{name}": value for name, value in measured.get("uncalibrated", {}).items()}
    return {_key(name): float(value) for name, value in flat.items() if isinstance(value, int | float)}


def _send_results(
    client: MlflowClient,
    run: Run,
    measured: Mapping[str, Any],
    model_id: str,
    moment: int,
) -> None:
    from mlflow.entities import Metric

    there = run.data.metrics
    metrics = [
        Metric(name, value, moment, 0, model_id=model_id)
        for name, value in results(measured).items()
        if not (there.get(name) == value or (math.isnan(value) and math.isnan(there.get(name, 0))))
    ]
    for part in _parts(metrics, METRICS):
        client.log_batch(run.info.run_id, metrics=part)


def parameters(experiment: Experiment) -> dict[str, str]:
    """Return the experiment as MLflow parameters: dotted paths, values as JSON or text, without passwords."""
    flat = flatten(without_passwords(experiment.canonical()))
    texts = {_key(path): value if isinstance(value, str) else json.dumps(value) for path, value in flat.items()}
    return {path: text if len(text) <= PARAM_LENGTH else f"{text[: PARAM_LENGTH - 1]}…" for path, text in texts.items()}


def _send_parameters(client: MlflowClient, run: Run, experiment: Experiment) -> None:
    from mlflow.entities import Param

    missing = [Param(key, value) for key, value in parameters(experiment).items() if key not in run.data.params]
    for part in _parts(missing, BATCH):
        client.log_batch(run.info.run_id, params=part)


def send_tags(client: MlflowClient, run: Run, tags: Mapping[str, str]) -> None:
    """Set the tags that differ from what ``run`` has."""
    from mlflow.entities import RunTag

    new = [
        RunTag(key, value[:TAG_LENGTH]) for key, value in tags.items() if run.data.tags.get(key) != value[:TAG_LENGTH]
    ]
    for part in _parts(new, BATCH):
        client.log_batch(run.info.run_id, tags=part)


def _tags(documents: Mapping[str, Any], fingerprint: str) -> dict[str, str]:
    """Return what a run is found by."""
    environment, verdict = (
        documents.get("environment.json", {}),
        documents.get("gate/verdict.json"),
    )
    git = environment.get("git") or {}
    tags = {
        "parak8s.fingerprint": fingerprint,
        "parak8s.data_digest": documents["dataset/manifest.json"]["digest"],
        "parak8s.git_commit": git.get("commit"),
        "mlflow.source.git.commit": git.get("commit"),
        "parak8s.git_dirty": None if git.get("dirty") is None else json.dumps(git["dirty"]),
        "parak8s.code_digest": environment.get("code"),
        "parak8s.gate": verdict and ("passed" if verdict["passed"] else "refused"),
        "parak8s.version.python": environment.get("python"),
    }
    packages = environment.get("packages", {})
    tags |= {f"parak8s.version.{name}": packages.get(name) for name in VERSIONS}
    return {key: str(value) for key, value in tags.items() if value is not None}


def _send_dataset(client: MlflowClient, run: Run, manifest: Mapping[str, Any]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    digest = manifest["digest"].removeprefix("sha256:")[:DATASET_DIGEST_LENGTH]
    if run.inputs and digest in {each.dataset.digest for each in run.inputs.dataset_inputs}:
        return
    kind, source = _dataset_source(redacted(manifest["source"]))
    about = {
        "digest": manifest["digest"],
        "classes": manifest["classes"],
        "splits": manifest["splits"],
        "about": manifest["about"],
    }
    dataset = Dataset(manifest["loader"], digest, kind, json.dumps(source), profile=json.dumps(about))
    client.log_inputs(
        run.info.run_id,
        [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])],
    )


def _dataset_source(source: str) -> tuple[str, dict[str, Any]]:
    """Return type and content of the source as MLflow's own dataset sources write them."""
    scheme = source.partition("://")[0] if "://" in source else "file"
    if scheme in ("http", "https"):
        return "http", {"url": source}
    if scheme == "synthetic":
        return "code", {"tags": {"source": source}}
    return "local" if scheme == "file" else scheme, {"uri": source}


def _send_artifacts(client: MlflowClient, run: Run, directory: Path) -> None:
    """Send the files again when one of them differs from what was sent last."""
    run_id = run.info.run_id
    with tempfile.TemporaryDirectory() as folder:
        for name in (name for name in DOCUMENTS if (directory / name).exists()):
            files.write_text(
                Path(folder, name),
                redacted((directory / name).read_text(encoding="utf-8")),
            )
        others = [directory / name for name in OTHERS if (directory / name).exists()]
        content = _content_of([Path(folder), *others])
        if run.data.tags.get("parak8s.artifacts") == content:
            return
        client.log_artifacts(run_id, folder)
        for path in others:
            parent = path.relative_to(directory).parent.as_posix()
            client.log_artifact(run_id, str(path), None if parent == "." else parent)
    client.set_tag(run_id, "parak8s.artifacts", content)


def _content_of(roots: Sequence[Path]) -> str:
    """Return ``sha256:...`` over the names and contents of all files under ``roots``."""
    digest = hashlib.sha256()
    for root in roots:
        for path in sorted(path for path in (root, *root.rglob("*")) if path.is_file()):
            digest.update(f"{path.relative_to(root)}\0{files.sha256_of(path)}\0".encode())
    return f"sha256:{digest.hexdigest()}"
