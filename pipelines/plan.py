"""What a run would do, told before anything runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from parak8s import provenance
from parak8s.cluster.limits import MAX_PARAMETER_BYTES, parameters_bytes
from parak8s.components.spec import dumped
from parak8s.experiment import Compute, documents
from parak8s.layout import Layout
from parak8s.pipelines.compiling import MAX_SPEC_BYTES, Request, documents_for
from parak8s.pipelines.resources import NEVER_CACHED, NUMBER, TRAINS, Resources, resources_of
from parak8s.run import is_done, keys
from parak8s.steps.ingest import identify
from parak8s.steps.pretrained import pinned
from parak8s.tfjobs.building import replicas_of

ORDER = (
    *("own-code", "tune", "configure", "points", "ingest", *TRAINS, "keep-best", "calibrate", "evaluate", "gate"),
    *("report", "register", "record", "outcome"),
)
"""Tasks of all pipelines, in the order in which they run."""


@dataclass(frozen=True)
class Task:
    """One task of a pipeline.

    Args:
        name: Of the task.
        times: How often it runs: training once for each point of a sweep, own-code once for each piece.
        resources: What each of its pods takes.
        cached: Whether KFP reuses it when its inputs are the same.
        reused: Whether ``parak8s run`` would reuse it in the directory; None where that has no such step.
    """

    name: str
    times: int
    resources: Resources
    cached: bool
    reused: bool | None


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Args:
        fingerprint: Of the point.
        digest: Of its data.
        directory: Where ``parak8s run`` would work.
        tasks: In the order in which they run.
        sizes: What is measured -> bytes, and the most that a cluster takes.
    """

    fingerprint: str
    digest: str
    directory: Path
    tasks: tuple[Task, ...]
    sizes: Mapping[str, tuple[int, int]]


def plan(request: Request, root: Path | None = None) -> Plan:
    """Return what a run of the request would do; the data is read, to know its version, and nothing is written."""
    experiment = pinned(request.experiment)
    digest = identify(experiment)[1]
    fingerprint = provenance.fingerprint(experiment, digest)
    layout = Layout(root or Path("runs") / experiment.name / fingerprint)
    done = {step.name: is_done(layout.root / step.folder, key) for step, key in keys(experiment, digest, fingerprint)}
    points = len(documents.parse(request.points, "points").data) if request.points else 1
    found = documents_for(request)
    components = Counter(NUMBER.sub("", name.removeprefix("comp-")) for name in found[0]["components"])
    tasks = [
        Task(
            name=name,
            times=points * _pods(name, experiment.compute) if name in TRAINS else components[name],
            resources=resources_of(name, experiment.compute),
            cached=name not in NEVER_CACHED,
            reused=done.get("train" if name in TRAINS else name) if request.points is None else None,
        )
        for name in ORDER
        if components[name]
    ]
    sizes = {
        "pipeline": (len(dumped(found).encode()), MAX_SPEC_BYTES),
        "parameters": (parameters_bytes(request.arguments), MAX_PARAMETER_BYTES),
    }
    return Plan(fingerprint, digest, layout.root, tuple(tasks), sizes)


def _pods(task: str, compute: Compute) -> int:
    """Return how many pods train at once: the replicas of a job; the task that creates it only looks on."""
    return sum(replicas_of(compute).values()) if task != "train" else 1
