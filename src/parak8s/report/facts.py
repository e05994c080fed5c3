"""What the report says in words and tables, as plain values: headline, tables, data card, limits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from parak8s.report import words
from parak8s.report.run import Run
from parak8s.report.words import Reading, count, percent

SMALL = 50
"""Test examples below which the figures of a class are called uncertain."""
OVERALL = ("categorical_accuracy", "auc", "precision", "recall", "f1", "ece", "brier")


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


def calibrated(run: Run) -> bool:
    """Return whether the probabilities were changed by a calibration."""
    return run.calibration is not None and run.calibration.get("method", "none") != "none"


def _calibration(run: Run) -> str:
    if not calibrated(run) or run.calibration is None:
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
            words.rounded(before.get(name)) if calibrated(run) else "",
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
        "Axis": f"{axis[0]}, {axis[2]:g} {axis[1]} a step" if axis else "",
        "Split": f"by {manifest['split'].get('by', 'hash')}",
    }
    return {name: fact for name, fact in facts.items() if fact} | {k: str(v) for k, v in manifest["about"].items()}


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
    state = {True: " (with uncommitted changes)", False: " (clean)"}.get(git.get("dirty"), "")
    version = mlflow.get("model_version")
    facts = {
        "Fingerprint": run.fingerprint,
        "Git commit": f"{git['commit']}{state}" if git.get("commit") else "not from a git checkout",
        "Code digest": environment.get("code"),
        "Python": environment.get("python"),
        "Platform": environment.get("platform"),
        "CPU cores": environment.get("cpus"),
        "GPUs": ", ".join(map(str, environment.get("gpus") or ())) or "none",
        "MLflow run": mlflow.get("run_id"),
        "MLflow server": mlflow.get("tracking_uri"),
        "Registered model": f"{mlflow['model_name']} version {version}" if version else None,
        "Alias": mlflow.get("alias"),
    }
    return {name: str(fact) for name, fact in facts.items() if fact is not None}


def packages(run: Run) -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    return {name: version for name, version in (run.environment.get("packages") or {}).items() if version}


def limits(run: Run) -> list[str]:
    """Return what a reader must know before relying on the figures, each a sentence or two, the gravest first."""
    return [*_of_use(run), *_of_split(run), *_of_classes(run), *_of_figures(run), *_of_origin(run)]


def _of_use(run: Run) -> Iterator[str]:
    if is_synthetic(run):
        yield (
            "Trained and tested on synthetic data: not for clinical use. The figures show that the software works; "
            "they say nothing about patients."
        )
    else:
        yield (
            "Tested only on the data described on this page. It has not been validated for diagnosis, "
            "nor on other devices, sites or populations."
        )
    if run.verdict is not None and not run.verdict["passed"]:
        yield "The gate refused this model: it is not meant to be used."


def is_synthetic(run: Run) -> bool:
    """Return whether the data was generated."""
    return str(run.manifest["source"]).startswith("synthetic:")


def _of_split(run: Run) -> Iterator[str]:
    patients = (run.manifest["splits"].get("test") or {}).get("patients")
    if run.manifest["split"].get("by") == "patient":
        yield "Split by patient: no patient of the test split was seen in training."
    elif patients:
        shared = run.shared_patients
        who = (
            f"{shared} of the {patients} patients of the test split are"
            if shared is not None
            else "the same patients are"
        )
        if shared != 0:
            yield f"Split by example, not by patient: {who} in the train split too, so the figures are optimistic for new patients."
    elif not is_synthetic(run):
        yield (
            "The data does not say which patient an example is from: the same patients may be in the train and the test "
            "split, which would make the figures optimistic for new patients."
        )


def _of_classes(run: Run) -> Iterator[str]:
    support = {label: sum(row) for label, row in zip(run.classes, run.metrics["confusion_matrix"], strict=True)}
    small = [f"{label} ({n})" for label, n in support.items() if n < SMALL]
    if small:
        yield f"Few test examples, so uncertain figures: {', '.join(small)}."
    recalls = {label: (run.metrics["metrics"].get(f"recall/{label}") or {}).get("value") for label in run.classes}
    found = {label: recall for label, recall in recalls.items() if support[label] and words.defined(recall)}
    if found and min(found.values()) < 1:
        weakest = min(found, key=lambda label: found[label])
        yield f"Weakest class: {weakest}, of which {percent(1 - found[weakest])} were missed."


def _of_figures(run: Run) -> Iterator[str]:
    confidence, samples = run.metrics["confidence"], run.metrics["bootstrap_samples"]
    yield (
        f"Intervals are {confidence * 100:g} % percentile intervals over {samples:,} bootstrap resamples of the test split. "
        "They cover chance in the choice of test examples, not another training seed, device or site."
    )
    if not calibrated(run):
        yield "The probabilities are not calibrated: do not read them as chances."


def _of_origin(run: Run) -> Iterator[str]:
    if (run.environment.get("git") or {}).get("dirty"):
        yield "The code had uncommitted changes: the commit alone does not reproduce this run; the code digest tells."
