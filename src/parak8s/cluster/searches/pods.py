"""The pods of a trial: which they are, and why one ended."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from parak8s.cluster.api.troubles import Trouble, said
from parak8s.cluster.jobs import endings
from parak8s.cluster.jobs.logs import tail, why_of
from parak8s.cluster.jobs.replicas import TYPE, Replica
from parak8s.cluster.searches.connection import OF_JOB, run_of

if TYPE_CHECKING:
    from parak8s.cluster.searches.connection import Connection

Json = Mapping[str, Any]
COLLECTORS = ("metrics-logger-and-collector", "metrics-collector")
"""Containers that Katib puts into the pods of trials; with the first, what the training prints lands in its log."""
INJECTED = ("StdOut", "File", "TensorFlowEvent", "PrometheusMetric")
"""Kinds of collectors that are such a container."""
NOT_FOUND = (126, 127)
"""With these a shell ends whose command is no program, or is not there."""
KILLED = 137
RAISE = "raise compute.memory"
_LOGGED = re.compile(r"I\d{4} [\d:.]+ +\d+ main\.go:\d+\] (.*)")
"""A line of the training, as a collector repeats it (klog); its own are warnings and errors."""


@dataclass(frozen=True)
class TrialPod(Replica):
    """A pod of a trial.

    Args:
        trial: As the server gives it.
    """

    trial: Json

    @property
    def main(self) -> str:
        """Name of the container that trains."""
        return str(self.trial["spec"].get("primaryContainerName", super().main))

    @property
    def name(self) -> str:
        """Of the trial, and of the replica where it is one of several kinds."""
        name = str(self.trial["metadata"]["name"])
        return f"{name} {self.kind}-{self.index}" if TYPE in self._labels else name

    @property
    def is_ours(self) -> bool:
        """Whether it runs ``parak8s``, also where Katib has put a shell around that."""
        return any("parak8s" in str(word) for word in [*(self._spec.get("command") or [])])

    @property
    def collector(self) -> str | None:
        """Name of the container that collects its metrics."""
        return next((name for name in self.containers if name in COLLECTORS), None)

    @property
    def leads(self) -> bool:
        """Whether its metrics are collected."""
        wanted = self.trial["spec"].get("primaryPodLabels") or {}
        return all(self._labels.get(key) == value for key, value in wanted.items())

    @property
    def lacks_collector(self) -> bool:
        """Whether Katib did not put a collector into it although it ought to."""
        kind = ((self.trial["spec"].get("metricsCollector") or {}).get("collector") or {}).get("kind", "StdOut")
        return self.leads and kind in INJECTED and self.collector is None


def by_trial(trials: Iterable[Json], pods: Iterable[Json]) -> dict[str, list[TrialPod]]:
    """Return trial -> its pods, the newest last."""
    known: dict[str, list[TrialPod]] = {}
    found = {trial["metadata"]["name"]: trial for trial in trials}
    for pod in sorted(pods, key=lambda each: str(each["metadata"].get("creationTimestamp", ""))):
        labels = pod["metadata"].get("labels") or {}
        name = next((labels[label] for label in OF_JOB.values() if labels.get(label) in found), None)
        if name is not None:
            known.setdefault(name, []).append(TrialPod(pod, found[name]))
    return known


def newest(pods: Iterable[TrialPod]) -> list[TrialPod]:
    """Return of every replica of a trial the pod that it has now."""
    return [*{pod.name: pod for pod in pods}.values()]


def ended(connection: Connection, pod: TrialPod) -> Trouble | None:
    """Return why a pod of a trial failed; None when it did not."""
    found = endings.ended(pod)
    if found is None or found.kind != "Error":
        return found
    code, last = pod.ended.get("exitCode"), said(pod.ended.get("message") or last_words(connection, pod))
    if code == KILLED:
        now = pod.asks_for("memory") or "nothing"
        return replace(found, words=f"was killed (137), most often for lack of memory; {RAISE} (now {now})")
    if code in NOT_FOUND:
        fix = "is ParaK8s in compute.image?" if pod.is_ours else "check the command of trialTemplate.trialSpec"
        return replace(found, words=f"its command is not there ({code}){f': {last}' if last else ''}; {fix}")
    return endings.ended(pod, last)


def last_words(connection: Connection, pod: TrialPod) -> str:
    """Return the line that says why a trial failed, from its own log, else from what the collector repeats."""
    again = "terminated" not in (pod.container.get("state") or {})
    own = why_of(tail(connection, pod, previous=again))
    if own or pod.collector is None:
        return own
    lines = (_LOGGED.fullmatch(line) for line in tail(connection, pod, container=pod.collector))
    return why_of([line[1] for line in lines if line and line[1].strip()])


def limit_of(trial: Json, key: str) -> Any:
    """Return a limit of a trial's job: ``activeDeadlineSeconds`` or ``backoffLimit``; None where it has none."""
    spec = run_of(dict(trial)).get("spec") or {}
    return (spec.get("runPolicy") or {}).get(key, spec.get(key))
