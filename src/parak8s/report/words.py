"""Numbers, times and metric names as people read them."""

import datetime
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TITLES = {
    "categorical_accuracy": "Accuracy",
    "auc": "Area under ROC curve (AUC)",
    "precision": "Precision",
    "recall": "Recall (sensitivity)",
    "f1": "F1 score",
    "ece": "Calibration error (ECE)",
    "brier": "Brier score",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
}
NOTES = {
    "categorical_accuracy": "share of test examples classified correctly",
    "auc": "mean over the classes, each against the rest",
    "precision": "of what was called a class, the share that is; mean over the classes",
    "recall": "of a class, the share that was found; mean over the classes",
    "f1": "harmonic mean of precision and recall; mean over the classes",
    "ece": "gap between stated probability and truth; lower is better",
    "brier": "squared error of the probabilities; lower is better",
    "sensitivity": "of the second class, the share found at the operating point",
    "specificity": "of the first class, the share left in peace at the operating point",
}


@dataclass(frozen=True)
class Reading:
    """A metric as the page shows it.

    Args:
        title: Name for people.
        note: What it means, in a few words.
        value: Every digit of metrics.json, or empty where the metric is not defined.
        text: Rounded value.
        interval: Rounded confidence interval, or empty.
    """

    title: str
    note: str
    value: str
    text: str
    interval: str


def reading(name: str, metric: Mapping[str, Any] | None) -> Reading:
    """Return metric ``name`` of metrics.json, ``{"value", "low", "high"}``, for the page."""
    value, low, high = ((metric or {}).get(key) for key in ("value", "low", "high"))
    interval = f"{rounded(low)} – {rounded(high)}" if defined(low) and defined(high) else ""
    exact = str(value) if defined(value) else ""
    return Reading(TITLES.get(name, name), NOTES.get(name, ""), exact, rounded(value), interval)


def defined(value: float | None) -> bool:
    """Return whether there is a finite number."""
    return value is not None and math.isfinite(value)


def rounded(value: float | None) -> str:
    """Return four decimals, or a dash where the metric is not defined."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.4f}"


def percent(share: float) -> str:
    """Return ``12.3 %``, ``100 %``, ``< 0.1 %``: what is not quite nothing or all never looks like it."""
    if 0 < share < 0.001:
        return "< 0.1\u00a0%"
    if 0.999 < share < 1:
        return "> 99.9\u00a0%"
    return f"{share * 100:.{0 if share in (0, 1) else 1}f}\u00a0%"


def count(number: int, thing: str) -> str:
    """Return ``1 example``, ``1,200 examples``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def date(timestamp_ms: float) -> str:
    """Return ``2026-03-14 15:09 UTC``."""
    return datetime.datetime.fromtimestamp(timestamp_ms / 1000, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def yaml_lines(text: str) -> list[tuple[str, str, str]]:
    """Split each line of a YAML text into indentation, key with its colon, and the rest, for highlighting."""
    pattern = re.compile(r"^(\s*(?:- )*)((?:[^\s:#'\"{\[][^:#]*|'[^']*'|\"[^\"]*\"):(?=\s|$))?(.*)$")
    matches = (pattern.match(line) for line in text.rstrip("\n").split("\n"))
    return [(match[1], match[2] or "", match[3]) for match in matches if match]
