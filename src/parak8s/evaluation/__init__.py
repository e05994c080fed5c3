"""What is measured on the test split: metrics, their intervals, curves. NumPy only."""

from parak8s.evaluation.measures import (
    Reliability,
    confusion_matrix,
    measure,
    precision_recall_curves,
    reliability,
    roc_curves,
)
from parak8s.evaluation.operating_point import Decision, choose

__all__ = [
    "Decision",
    "Reliability",
    "choose",
    "confusion_matrix",
    "measure",
    "precision_recall_curves",
    "reliability",
    "roc_curves",
]
