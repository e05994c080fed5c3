"""What a trial's metrics are, by the rules of Katib's metrics collector, line by line as they are printed.

Source: github.com/kubeflow/katib, pkg/metricscollector/v1beta1/file-metricscollector and
pkg/controller.v1beta1/trial/trial_controller_util.go.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

DEFAULT_FILTER = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"
"""Name and value, where ``metricsFormat`` says nothing else. ``nan`` and ``inf`` give an empty value."""

UNAVAILABLE = "unavailable"
"""What Katib writes for a metric without a value."""

_BEGINNING = datetime.min.replace(tzinfo=UTC)
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_NAME_BEFORE = re.compile(r"\s*([\w|-]+)", re.ASCII)
_VALUE = re.compile(r"\s*([+-]?\d*(?:\.\d+)?(?:[Ee][+-]?\d+)?)", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Format:
    """How metrics are printed.

    Args:
        metrics: Their names, the objective first.
        kind: Text with ``name=value``, or a JSON object on each line.
        filters: Regular expressions for text, each with the name and the value as its first two groups.
    """

    metrics: tuple[str, ...]
    kind: Literal["TEXT", "JSON"] = "TEXT"
    filters: tuple[str, ...] = (DEFAULT_FILTER,)


@dataclass
class Observed:
    """What is known of one metric, as text, as it was printed."""

    min: str = UNAVAILABLE
    max: str = UNAVAILABLE
    latest: str = UNAVAILABLE
    moment: datetime = _BEGINNING

    def add(self, text: str, moment: datetime) -> None:
        """Take one more value. What is no number can only be the latest."""
        value = number(text)
        if value is not None:
            if self.min == UNAVAILABLE or value < float(self.min):
                self.min = text
            if self.max == UNAVAILABLE or value > float(self.max):
                self.max = text
        if moment >= self.moment:
            self.moment, self.latest = moment, text

    def to_json(self, name: str) -> dict[str, str]:
        """Return the metric as Katib writes it into an observation."""
        return {"name": name, "min": self.min, "max": self.max, "latest": self.latest}


@dataclass
class Collector:
    """Takes the lines that a trial prints.

    Args:
        format: How metrics are printed.
        keep: How many values of the objective are kept, from the first on.
    """

    format: Format
    keep: int = 0
    observed: dict[str, Observed] = field(default_factory=dict)
    first: list[float] = field(default_factory=list)
    broken: str = ""
    """Why nothing can be collected any more."""

    def __post_init__(self) -> None:
        self._filters = [re.compile(each, re.ASCII) for each in self.format.filters]
        self._objective = self.format.metrics[0]

    def feed(self, line: str) -> Iterator[tuple[str, str]]:
        """Take a line; yield the metrics in it, as text."""
        found = self._of_json(line) if self.format.kind == "JSON" else self._of_text(line)
        for name, text, moment in found:
            self.observed.setdefault(name, Observed()).add(text, moment)
            value = number(text)
            if name == self._objective and value is not None and len(self.first) < self.keep:
                self.first.append(value)
            yield name, text

    def observation(self) -> list[dict[str, str]]:
        """Return the metrics as ``status.observation.metrics`` holds them; nothing where the objective is not there."""
        if self.broken or self._objective not in self.observed:
            return []
        return [self.observed[name].to_json(name) for name in self.format.metrics if name in self.observed]

    def why_unavailable(self) -> str:
        """Return in words why there is no objective; nothing where there is one."""
        if self.broken:
            return self.broken
        if self._objective not in self.observed:
            return f"no line says {self._objective}=VALUE"
        if self.observed[self._objective].max == UNAVAILABLE:
            return f"{self._objective} was printed, but never as a number (nan and inf are none)"
        return ""

    def _of_text(self, line: str) -> Iterator[tuple[str, str, datetime]]:
        if not any(name in line for name in self.format.metrics):
            return
        moment = moment_of(line.partition(" ")[0]) if " " in line else None
        for filter_, expression in zip(self.format.filters, self._filters, strict=True):
            found = _by_default(line) if filter_ == DEFAULT_FILTER else expression.finditer(line)
            for match in found:
                name, text = (match[1] or "").strip(), (match[2] or "").strip()
                if name in self.format.metrics:
                    yield name, text, moment or _BEGINNING

    def _of_json(self, line: str) -> Iterator[tuple[str, str, datetime]]:
        if not line or self.broken:
            return
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        if not isinstance(values, Mapping):
            self.broken = f"the format is JSON, but a line is no JSON object: {line[:80]!r}"
            return
        moment = _moment_of_json(values.get("timestamp"))
        for name in self.format.metrics:
            if isinstance(text := values.get(name), str):
                yield name, text.strip(), moment or _BEGINNING


def _by_default(line: str) -> Iterator[tuple[str, str, str]]:
    """Yield what :data:`DEFAULT_FILTER` finds, name and value at places 1 and 2, in time linear in the line's length.

    Python's regular expressions try each letter of a long word as the beginning of a name; Go's do not.
    """
    free = 0  # up to here the line belongs to matches before
    for equals in re.finditer("=", line):
        end = equals.start()
        name = _NAME_BEFORE.match(line[free:end][::-1]) if end >= free else None
        if name is not None:
            value = _VALUE.match(line, end + 1)
            assert value is not None
            yield "", name[1][::-1], value[1]
            free = value.end()


def number(text: str) -> float | None:
    """Return the finite number that ``text`` is; None for anything else."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def moment_of(text: str) -> datetime | None:
    """Return the moment that RFC 3339 ``text`` names; None for anything else. Microseconds are the finest."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    try:
        return datetime.fromisoformat(f"{match[1]}{(match[2] or '')[:7]}{match[3].replace('Z', '+00:00')}")
    except ValueError:
        return None


def _moment_of_json(value: Any) -> datetime | None:
    if isinstance(value, str):
        return moment_of(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        try:
            return datetime.fromtimestamp(value, UTC)
        except (OverflowError, OSError, ValueError):
            return None
    return None


def value_of(metrics: Sequence[Mapping[str, str]], name: str, strategy: str) -> float | None:
    """Return a metric of an observation by its strategy (``min``, ``max``, ``latest``); None where it has no number."""
    for metric in metrics:
        if metric["name"] == name:
            chosen = metric[strategy]
            return number(metric["latest"] if chosen == UNAVAILABLE else chosen)
    return None
