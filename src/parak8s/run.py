"""Runs the steps of one experiment in one directory. What is finished is not done again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from parak8s import claims, files, provenance
from parak8s.apart import apart
from parak8s.chain import STEPS, Context, Step, conclude
from parak8s.errors import EnvironmentFault, InputError
from parak8s.experiment import Experiment, flatten
from parak8s.layout import Layout

if TYPE_CHECKING:
    from parak8s.training.distribution import Together
    from parak8s.training.fitting import Observer


class Narrator(Protocol):
    """Tells the user what happens."""

    def started(self, step: str) -> None:
        """A step begins."""

    def finished(self, step: str, summary: str, seconds: float | None) -> None:
        """A step is over; ``seconds`` is None when it was finished before."""


def run(
    experiment: Experiment,
    root: Path | None = None,
    *,
    narrator: Narrator,
    observers: Sequence[Observer] = (),
    only: str | None = None,
    together: Together | None = None,
    wait_s: float = 0,
) -> Layout:
    """Run all steps, or ``only`` one of them, and return where everything lies.

    Args:
        experiment: What to run.
        root: The run's directory; None for ``runs/NAME/FINGERPRINT``.
        narrator: Told of every step.
        observers: Told of every training step and epoch.
        only: Name of a single step; those before it must be finished.
        together: The other replicas that take part in the training.
        wait_s: How long to wait for another run that works in the directory.

    Raises:
        InputError: The data or the file breaks a rule, or ``root`` holds another point's run.
        EnvironmentFault: The disk, the network or a server fails; the same command goes on from there.
    """
    from parak8s.steps.pretrained import pinned
    from parak8s.tracking import Tracker

    experiment = pinned(experiment)
    digest, fingerprint, layout = place(experiment, root, of_job=together is not None)
    context = Context(experiment, layout, digest, fingerprint, Tracker(experiment), observers, together)
    claim = claims.Claim(layout, experiment, fingerprint, digest)
    with claim.held(
        unless=[name for step in STEPS for name in (step.folder, files.partial_of(Path(step.folder)).name)],
        wait_s=wait_s,
    ):
        try:
            _run_steps(context, narrator, only)
        except EnvironmentFault:
            _report_so_far(layout)
            raise
        except Exception as error:
            if run_id := files.read_json(layout.identity).get("run_id"):
                context.tracker.fail(run_id, str(error))
            raise
    return layout


def place(experiment: Experiment, root: Path | None, *, of_job: bool = False) -> tuple[str, str, Layout]:
    """Return the digest of the data, the fingerprint and the directory of a run; ``root`` None stands for its own.

    Args:
        experiment: What to run.
        root: The run's directory.
        of_job: This process will train with others.
    """
    from parak8s.steps.ingest import identify

    _, digest = apart(identify, experiment) if of_job else identify(experiment)
    fingerprint = provenance.fingerprint(experiment, digest)
    return digest, fingerprint, Layout(root or Path("runs") / experiment.name / fingerprint)


def _run_steps(context: Context, narrator: Narrator, only: str | None) -> None:
    changed = False
    for step, key in keys(context.experiment, context.digest, context.fingerprint):
        done = is_done(context.layout.root / step.folder, key)
        if only in (None, step.name):
            changed = _do(step, context, key, narrator, done) or changed
        elif not done:
            raise InputError(f"{context.layout.root}: the step {step.name} comes first; give: parak8s step {step.name}")
        if step.name == only:
            break
    if only in (None, STEPS[-1].name) and (changed or not context.layout.result.is_file()):
        conclude(context)


def keys(experiment: Experiment, digest: str, fingerprint: str) -> Iterator[tuple[Step, str]]:
    """Yield every step with the digest of all that its output depends on."""
    key = digest
    for step in STEPS:
        key = provenance.digest([key, fingerprint, step.name, _slice(experiment, step.reads)])
        yield step, key


def _do(step: Step, context: Context, key: str, narrator: Narrator, done: bool) -> bool:
    """Run a step unless its folder is complete and was made from the same inputs; return whether it ran."""
    target = context.layout.root / step.folder
    if done:
        narrator.finished(step.name, files.read_json(target / "step.json")["summary"], None)
        return False
    narrator.started(step.name)
    context.layout.result.unlink(missing_ok=True)  # it says that everything is there
    started = time.perf_counter()
    with files.folder(target, resume=key if step.resumes else None) as partial, claims.faults_explained(partial):
        summary = step.act(context, partial)
        seconds = time.perf_counter() - started
        files.write_json(partial / "step.json", {"step": step.name, "key": key, "summary": summary, "seconds": seconds})
    narrator.finished(step.name, summary, seconds)
    return True


def is_done(folder: Path, key: str) -> bool:
    """Return whether ``folder`` is complete and was made from what ``key`` stands for."""
    mark = folder / "step.json"
    return mark.is_file() and files.read_json(mark)["key"] == key


def _slice(experiment: Experiment, paths: Sequence[str]) -> dict[str, Any]:
    """Return the values of the experiment at and below ``paths``, but for those that do not change the numbers."""
    values = experiment.canonical()
    wanted = {path: reduce(lambda value, key: value[key], path.split("."), values) for path in paths}
    inside = {path for path in paths if not provenance.is_outside(path)}
    return {
        path: value
        for path, value in flatten(wanted).items()
        if not (provenance.is_outside(path) and any(path.startswith(f"{above}.") for above in inside))
    }


def _report_so_far(layout: Layout) -> None:
    """Whatever MLflow says: once there is an evaluation, the user gets the page."""
    from parak8s.report import write_report

    if (layout.evaluation / "step.json").is_file():
        write_report(layout.root)
