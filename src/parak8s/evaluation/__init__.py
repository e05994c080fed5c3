"""What is measured on the test split: metrics, their intervals, curves. NumPy only."""

from parak8s.evaluation.measures import (
    Reliability,
    confusion_matrix,
    measure,
    precision_recall_curves,
    reliability,
    roc_curves,
)

__all__ = [
    "Reliability",
    "confusion_matrix",
    "measure",
    "precision_recall_curves",
    "reliability",
    "roc_curves",
]
