"""Reads a finished run directory as plain values; passwords in URLs are blanked on the way in."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parak8s.errors import InputError, from_os_error
from parak8s.experiment import documents
from parak8s.secrets import redacted


@dataclass(frozen=True)
class Run:
    """What the files of a run say.

    Args:
        experiment: Content of experiment.yaml.
        experiment_text: The same as text.
        environment: environment.json.
        manifest: dataset/manifest.json.
        history: training/history.json.
        metrics: evaluation/metrics.json.
        labels: int32 (n,), true class of each test example.
        probabilities: float32 (n, k), calibrated.
        uncalibrated: float32 (n, k).
        shared_patients: Patients of the test split that are in the train split too; None where nobody knows.
        calibration: model/calibration.json, or None.
        examples: Arrays of evaluation/examples.npz, or None.
        verdict: gate/verdict.json, or None before the gate.
        mlflow: registration/mlflow.json, or None before registration.
        fingerprint: Name of the point, or None.
    """

    experiment: Mapping[str, Any]
    experiment_text: str
    environment: Mapping[str, Any]
    manifest: Mapping[str, Any]
    history: Mapping[str, Any]
    metrics: Mapping[str, Any]
    labels: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    uncalibrated: NDArray[np.float32]
    shared_patients: int | None = None
    calibration: Mapping[str, Any] | None = None
    examples: Mapping[str, NDArray[Any]] | None = None
    verdict: Mapping[str, Any] | None = None
    mlflow: Mapping[str, Any] | None = None
    fingerprint: str | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the columns."""
        return tuple(self.metrics["classes"])

    @property
    def synthetic(self) -> bool:
        """Whether the data was generated."""
        return str(self.manifest["source"]).startswith("synthetic:")

    @property
    def calibrated(self) -> bool:
        """Whether the probabilities were changed by a calibration."""
        return self.calibration is not None and self.calibration.get("method", "none") != "none"


def read_run(directory: Path) -> Run:
    """Read the files of a run that has been evaluated; what comes later (gate, registration) may be missing.

    Raises:
        InputError: A file that evaluation leaves is missing, or a file is damaged.
        EnvironmentFault: A file cannot be read.
    """
    text = _text(directory / "experiment.yaml")
    predictions = _arrays(directory / "evaluation" / "predictions.npz")
    examples = directory / "evaluation" / "examples.npz"
    return Run(
        experiment=documents.parse(text, str(directory / "experiment.yaml")).data,
        experiment_text=text,
        environment=_json(directory / "environment.json"),
        manifest=_json(directory / "dataset" / "manifest.json"),
        history=_json(directory / "training" / "history.json"),
        metrics=_json(directory / "evaluation" / "metrics.json"),
        labels=predictions["labels"],
        probabilities=predictions["probabilities"],
        uncalibrated=predictions["uncalibrated"],
        shared_patients=_shared_patients(directory / "dataset"),
        calibration=_json_or_none(directory / "model" / "calibration.json"),
        examples=_arrays(examples) if examples.exists() else None,
        verdict=_json_or_none(directory / "gate" / "verdict.json"),
        mlflow=_json_or_none(directory / "registration" / "mlflow.json"),
        fingerprint=_fingerprint(directory),
    )


def _text(path: Path) -> str:
    try:
        return redacted(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give 'parak8s run' again to finish the run first") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); delete its folder and run again") from None
    except OSError as error:
        raise from_os_error(error, path) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON ({error}); delete its folder and run again") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, got {type(value).__name__}; delete its folder and run again")
    return value


def _json_or_none(path: Path) -> dict[str, Any] | None:
    return _json(path) if path.exists() else None


def _fingerprint(directory: Path) -> str | None:
    known = _json_or_none(directory / "run.json") or _json_or_none(directory / "result.json") or {}
    return known.get("fingerprint")


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive.items())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give 'parak8s run' again to finish the run first") from None
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a NumPy archive ({error}); delete its folder and run again") from None
    except OSError as error:
        raise from_os_error(error, path) from error


def _shared_patients(dataset: Path) -> int | None:
    train, test = (dataset / split / "patients.npy" for split in ("train", "test"))
    if not (train.is_file() and test.is_file()):
        return None
    return len(np.intersect1d(np.load(train, allow_pickle=False), np.load(test, allow_pickle=False)))
