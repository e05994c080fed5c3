"""The figures of a run: what evaluation gives, handed to the drawings."""

from dataclasses import dataclass

import numpy as np

from parak8s import evaluation
from parak8s.report import curves
from parak8s.report.drawing import Picture
from parak8s.report.run import Run
from parak8s.report.words import Reading, percent, reading, rounded


@dataclass(frozen=True)
class Legend:
    """One class in the key of the curves.

    Args:
        label: The class.
        colour: Of its line.
        dashes: Of its line; empty for a whole one.
        roc: Area under its ROC curve, from metrics.json.
        precision_recall: Area under its precision-recall curve (average precision).
        share: Of the test split; what a guess would reach as ``precision_recall``.
    """

    label: str
    colour: str
    dashes: str
    roc: Reading
    precision_recall: str
    share: str


@dataclass(frozen=True)
class Discrimination:
    """ROC and precision-recall curves and the key to both."""

    roc: Picture
    precision_recall: Picture
    key: tuple[Legend, ...]


def learning(run: Run) -> list[Picture]:
    """Return the learning curves."""
    return curves.learning_curves(run.history)


def discrimination(run: Run) -> Discrimination:
    """Return how well each class is told from the rest, at every threshold."""
    roc = evaluation.roc_curves(run.probabilities, run.labels)
    tradeoff = evaluation.precision_recall_curves(run.probabilities, run.labels)
    areas = average_precisions(run)
    key = []
    for index, label in enumerate(run.classes):
        area = reading("auc", run.metrics["metrics"].get(f"auc/{label}"))
        share = percent(float(np.mean(run.labels == index)))
        key.append(Legend(label, *curves.line_style(index), area, rounded(areas[index]), share))
    point, metrics = run.metrics.get("operating_point"), run.metrics["metrics"]
    rates = [metrics[name]["value"] for name in ("specificity", "sensitivity")] if point else []
    mark = (1 - rates[0], rates[1]) if rates and None not in rates else None
    drawn = [dict(zip(run.classes, ((x, y) for x, y in lines), strict=True)) for lines in (roc, tradeoff)]
    return Discrimination(curves.roc(drawn[0], mark), curves.precision_recall(drawn[1]), tuple(key))


def average_precisions(run: Run) -> list[float | None]:
    """Return for each class the mean precision over its recall, a sum of steps; None for one without examples."""
    whole = evaluation.precision_recall_curves(run.probabilities, run.labels, points=len(run.labels) + 1)
    return [float(np.sum(np.diff(recall) * precision[1:])) if len(recall) else None for recall, precision in whole]


def reliability(run: Run) -> Picture:
    """Return how far stated probabilities can be trusted, before and after calibration."""
    after = _bins(evaluation.reliability(run.probabilities, run.labels))
    if not run.calibrated:
        return curves.reliability(after, None)
    return curves.reliability(_bins(evaluation.reliability(run.uncalibrated, run.labels)), after)


def _bins(diagram: evaluation.Reliability) -> list[tuple[float, float, int]]:
    columns = zip(diagram.confidence.tolist(), diagram.accuracy.tolist(), diagram.examples.tolist(), strict=True)
    return [(confidence, correct, size) for confidence, correct, size in columns if size]
