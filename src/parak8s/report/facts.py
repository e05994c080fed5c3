"""What the report says in words and tables, as plain values: headline, tables, data card."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from parak8s.report import words
from parak8s.report.run import Run
from parak8s.report.words import Reading, count, percent

OVERALL = ("categorical_accuracy", "auc", "precision", "recall", "f1", "sensitivity", "specificity", "ece", "brier")


@dataclass(frozen=True)
class Badge:
    """The gate's verdict at a glance; ``kind`` is ``passed``, ``refused`` or ``none``."""

    kind: str
    text: str


@dataclass(frozen=True)
class Cell:
    """A cell of the confusion matrix: count, share of its row, and the background colour of that share."""

    count: int
    share: str
    colour: str
    correct: bool


def badge(verdict: Mapping[str, Any] | None) -> Badge:
    """Return what the gate said; None where it has not been asked."""
    if verdict is None:
        return Badge("none", "Not gated yet")
    if verdict["passed"]:
        return Badge("passed", "Passed the gate") if verdict["checks"] else Badge("none", "No gate rules")
    return Badge("refused", "Refused by the gate")


def headline(run: Run) -> tuple[list[Reading], list[Reading]]:
    """Return the metrics that count (``evaluation.metrics``), and the other overall ones."""
    counting = list(run.experiment.get("evaluation", {}).get("metrics", OVERALL[:2]))
    others = [name for name in OVERALL if name not in counting]
    metrics = run.metrics["metrics"]
    first, rest = (
        [words.reading(name, metrics[name]) for name in names if name in metrics] for names in (counting, others)
    )
    return first, rest


def summary(run: Run) -> str:
    """Return in a sentence how many test examples were classified correctly."""
    correct = sum(row[k] for k, row in enumerate(run.metrics["confusion_matrix"]))
    return f"{correct:,} of {count(run.metrics['examples'], 'test example')} were classified correctly."


def mistakes(run: Run) -> list[str]:
    """Return every kind of mistake in a sentence, the most frequent first."""
    matrix, classes = run.metrics["confusion_matrix"], run.classes
    found = [(n, i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j and n]
    return [
        f"{n:,} of {sum(matrix[i]):,} {classes[i]} taken for {classes[j]} ({percent(n / sum(matrix[i]))})"
        for n, i, j in sorted(found, key=lambda mistake: (-mistake[0], *mistake[1:]))
    ]


@dataclass(frozen=True)
class OperatingPoint:
    """The threshold of the second of two classes, in words and numbers.

    Args:
        wanted: The rate that is kept.
        best: Name of the rate that is as large as it can be.
        positive: The class that is called where its probability reaches the threshold.
        threshold: Rounded.
        rates: For sensitivity and specificity the name, the value on validation, and that on the test split.
        outcome: What it does to the test split, in sentences.
    """

    wanted: str
    best: str
    positive: str
    threshold: str
    rates: list[tuple[str, str, Reading]]
    outcome: str


def operating_point(run: Run) -> OperatingPoint | None:
    """Return at which threshold the second class is called; None where the experiment asks for none."""
    point, metrics = run.metrics.get("operating_point"), run.metrics["metrics"]
    if not point:
        return None
    called, ill = run.probabilities[:, 1] >= np.float32(point["threshold"]), run.labels == 1
    first, second = run.classes
    ((name, rate),) = point["wanted"].items()
    return OperatingPoint(
        wanted=f"{name} of {percent(rate)} or more",
        best="specificity" if name == "sensitivity" else "sensitivity",
        positive=point["positive"],
        threshold=_rounded(point["threshold"]),
        rates=[
            (words.TITLES[name], words.rounded(point[name]), words.reading(name, metrics[name]))
            for name in ("sensitivity", "specificity")
        ],
        outcome=(
            f"Of {int(ill.sum()):,} test examples of {second}, {int((ill & called).sum()):,} are found and "
            f"{int((ill & ~called).sum()):,} missed; of {int((~ill).sum()):,} of {first}, "
            f"{int((~ill & called).sum()):,} are called {second}."
        ),
    )


def _rounded(threshold: float) -> str:
    """Return four decimals, or as many as a small probability needs."""
    return f"{threshold:.4f}" if 0.01 <= threshold <= 0.99 else f"{threshold:.6g}"


def confusion(run: Run) -> list[tuple[str, int, list[Cell]]]:
    """Return for each true class its name, its examples, and the cells of its row."""
    rows = []
    for i, row in enumerate(run.metrics["confusion_matrix"]):
        total = sum(row)
        cells = [_cell(n, n / total if total else 0.0, i == j) for j, n in enumerate(row)]
        rows.append((run.classes[i], total, cells))
    return rows


def _cell(number: int, share: float, correct: bool) -> Cell:
    red, green, blue = (0, 114, 178) if correct else (213, 94, 0)
    strength = 0.5 * share**0.5 if number else 0
    return Cell(number, percent(share), f"rgba({red},{green},{blue},{strength:.3f})", correct)


def per_class(run: Run) -> list[tuple[str, list[Reading], int]]:
    """Return for each class its name, precision, recall, F1 and AUC, and its test examples."""
    metrics = run.metrics["metrics"]
    names = ("precision", "recall", "f1", "auc")
    return [
        (label, [words.reading(name, metrics.get(f"{name}/{label}")) for name in names], sum(row))
        for label, row in zip(run.classes, run.metrics["confusion_matrix"], strict=True)
    ]


def training_facts(run: Run) -> dict[str, str]:
    """Return how the training went."""
    epochs = run.history["epochs"]
    facts = {
        "Model": run.experiment["model"]["builder"],
        "Parameters": f"{run.history['parameters']:,}" if "parameters" in run.history else "",
        "Epochs": f"{len(epochs)}{', stopped early' if run.history.get('stopped_early') else ''}",
        "Kept": f"epoch {run.history['kept_epoch']}" if run.history.get("kept_epoch") else "",
        "Training time": training_time(run),
        "Calibration": _calibration(run),
    }
    return {name: fact for name, fact in facts.items() if fact}


def training_time(run: Run) -> str:
    """Return the time of all epochs together, or nothing where it is not known."""
    seconds = [epoch["seconds"] for epoch in run.history["epochs"] if epoch.get("seconds") is not None]
    return words.duration(sum(seconds)) if seconds else ""


def finished(run: Run) -> str:
    """Return when the last epoch ended, or nothing."""
    stamps = [epoch["timestamp_ms"] for epoch in run.history["epochs"] if epoch.get("timestamp_ms")]
    return words.date(stamps[-1]) if stamps else ""


def _calibration(run: Run) -> str:
    if not run.calibrated or run.calibration is None:
        return "none"
    temperature = run.calibration.get("temperature")
    how = f"temperature {temperature:.3g}" if temperature else str(run.calibration["method"])
    examples = run.calibration.get("examples")
    return f"{how}, fitted on {count(examples, 'example')}" if examples else how


def calibration_table(run: Run) -> list[tuple[str, str, Reading]]:
    """Return for ECE and Brier score their name, the value before calibration (or nothing) and the one after."""
    before, metrics = run.metrics.get("uncalibrated") or {}, run.metrics["metrics"]
    shown = [name for name in ("ece", "brier") if name in metrics]
    return [
        (
            words.TITLES[name],
            words.rounded(before.get(name)) if run.calibrated else "",
            words.reading(name, metrics[name]),
        )
        for name in shown
    ]


def data_card(run: Run) -> dict[str, str]:
    """Return where the data came from, and what its loader says about it."""
    manifest = run.manifest
    axis = manifest.get("axis")
    facts = {
        "Source": manifest["source"],
        "Digest": manifest["digest"],
        "Loader": manifest["loader"],
        "One input": f"{' × '.join(map(str, manifest['input_shape']))} {manifest['input_dtype']}",
        "Dimension": f"{axis[0]}, {axis[2]:g} {axis[1]} a step" if axis else "",
        "Split": f"by {manifest['split'].get('by', 'hash')}",
    }
    return {name: fact for name, fact in facts.items() if fact} | {
        f"{name[:1].upper()}{name[1:]}": str(fact) for name, fact in manifest["about"].items()
    }


def splits(run: Run) -> list[tuple[str, int, list[tuple[int, str]], int | None]]:
    """Return for each split its name, its examples, those of each class with their share, and its patients."""
    return [
        (
            name,
            split["examples"],
            [(n, percent(n / (split["examples"] or 1))) for n in split["per_class"]],
            split.get("patients"),
        )
        for name, split in run.manifest["splits"].items()
    ]


def provenance(run: Run) -> dict[str, str]:
    """Return what names the code, the machine, and the places where the run is kept."""
    environment, git, mlflow = run.environment, run.environment.get("git") or {}, run.mlflow or {}
    state = _state(git.get("dirty"))
    version = mlflow.get("model_version")
    facts = {
        "Fingerprint": run.fingerprint,
        "Git commit": f"{git['commit']}{state}" if git.get("commit") else "not from a git checkout",
        "Code digest": environment.get("code"),
        "Python": environment.get("python"),
        "Platform": environment.get("platform"),
        "CPU cores": environment.get("cpus"),
        "GPUs": ", ".join(map(str, environment["gpus"])) or "none" if "gpus" in environment else None,
        "MLflow run": mlflow.get("run_id"),
        "MLflow store": mlflow.get("tracking_uri"),
        "Registered model": f"{mlflow['model_name']} version {version}" if version else None,
        "Alias": mlflow.get("alias"),
    }
    return {name: str(fact) for name, fact in facts.items() if fact is not None}


def _state(dirty: bool | None) -> str:
    return "" if dirty is None else " (with uncommitted changes)" if dirty else " (clean)"


def packages(run: Run) -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    return {name: version for name, version in (run.environment.get("packages") or {}).items() if version}
