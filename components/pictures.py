"""What the run page of the dashboard shows: numbers, curves and short texts. No TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from parak8s import files
from parak8s.components import markdown
from parak8s.data.prepared import Manifest
from parak8s.errors import ParaK8sError
from parak8s.experiment import Experiment, documents
from parak8s.gate import Verdict
from parak8s.layout import Layout

if TYPE_CHECKING:
    from parak8s.training.progress import Record

CURVE_POINTS = 200


def facts_of(manifest: Manifest) -> dict[str, Any]:
    """Return what a dataset's metadata says of it."""
    splits = {f"examples_{name}": values["examples"] for name, values in manifest.splits.items()}
    left_out = {what: number for what, number in manifest.about.items() if what.endswith("left out")}
    known = {"digest": manifest.digest, "source": manifest.source, "classes": ", ".join(manifest.classes)}
    return known | splits | left_out


def log_epoch(metrics: Any, record: Record) -> None:
    """Put the values of an epoch into a Metrics artifact; what is not a number is left out."""
    for name, value in record.to_json().items():
        if value is not None and name not in ("stage", "timestamp_ms", "seconds"):
            metrics.log_metric(name, value)
    keep(metrics)


def log_metrics(metrics: Any, measured: Mapping[str, Any]) -> None:
    """Put the values of metrics.json into a Metrics artifact; undefined ones are left out."""
    metrics.metadata["examples"] = measured["examples"]
    for name, metric in measured["metrics"].items():
        if metric["value"] is not None:
            metrics.log_metric(name, metric["value"])
    if point := measured["operating_point"]:
        metrics.log_metric("threshold", point["threshold"])
    keep(metrics)


def keep(metrics: Any) -> None:
    """Write what a Metrics artifact shows into its file too; KFP's local runner reuses no task with a file missing."""
    files.write_json(Path(metrics.path), metrics.metadata)


def roc_curve(predictions: Path) -> tuple[list[float], list[float], list[float]]:
    """Return false positive rate, true positive rate and threshold, at most 200 points each, from (0, 0) to (1, 1).

    Two classes: of the second one. More: micro average, every class against the rest in every example is one decision.

    Args:
        predictions: ``predictions.npz`` of evaluate, with ``probabilities`` (n, k) and ``labels`` (n,).
    """
    from sklearn import metrics

    with np.load(predictions) as archive:
        probabilities, labels = archive["probabilities"], archive["labels"]
    truth = np.eye(probabilities.shape[1], dtype=bool)[labels]
    columns = slice(1, 2) if probabilities.shape[1] == 2 else slice(None)
    wrong, right, threshold = metrics.roc_curve(truth[:, columns].ravel(), probabilities[:, columns].ravel())
    chosen = np.unique(np.linspace(0, len(wrong) - 1, CURVE_POINTS).round().astype(int))
    capped = np.minimum(threshold, 1)  # the first is infinity
    return wrong[chosen].tolist(), right[chosen].tolist(), capped[chosen].tolist()


def verdict_page(verdict: Verdict) -> str:
    """Return Markdown with every check and its reason."""
    rows = [
        f"| {'yes' if check.passed else '**NO**'} | {markdown.cell(check.check)} | {markdown.cell(check.reason)} |"
        for check in verdict.checks
    ]
    table = ["| passed | check | reason |", "| --- | --- | --- |", *rows] if rows else ["The gate asks for nothing."]
    return "\n".join([f"# {'Passed' if verdict.passed else 'Refused'}", "", *table, ""])


def summary_page(experiment: Experiment, layout: Layout) -> str:
    """Return Markdown with the verdict, the metrics and where the run stands."""
    measured = files.read_json(layout.evaluation / "metrics.json")
    known = files.read_json(layout.identity)
    rows = [
        f"| {markdown.cell(name)} | {_number(value['value'])} | "
        f"{_number(value.get('low'))} to {_number(value.get('high'))} |"
        for name, value in measured["metrics"].items()
    ]
    head = [
        verdict_page(Verdict.from_json(files.read_json(layout.gate / "verdict.json"))),
        f"{experiment.name}, point {known['fingerprint']}, data {known['data_digest']}",
        "",
        f"Test split, {measured['examples']:,} examples, {measured['confidence']:.0%} intervals:",
        "",
    ]
    return "\n".join([*head, "| metric | value | interval |", "| --- | --- | --- |", *rows, ""])


def outcome_page(experiment: str, overrides: str, state: str, error: str | None) -> str:
    """Return Markdown about how a pipeline ended.

    Args:
        experiment: Text of the experiment file, which may be a broken one.
        overrides: As the run was given them.
        state: Of the run: SUCCEEDED, FAILED, CANCELLED.
        error: What KFP says of the task that failed.
    """
    try:
        name = documents.parse(experiment, "experiment").data.get("name", "experiment")
    except ParaK8sError:  # configure has said what is wrong
        name = "experiment"
    lines = [f"# {name}: {state}", "", *([f"Overrides: {markdown.code(overrides)}", ""] if overrides else [])]
    lines += [markdown.block(error), ""] if error else []
    if state != "SUCCEEDED":
        lines += ["Look into the log of the task that is red. A run of the same experiment reuses the finished steps."]
    return "\n".join([*lines, ""])


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"
