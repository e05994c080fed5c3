"""Runs the steps of one experiment in one directory. What is finished is not done again."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import time
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from parak8s import files, provenance
from parak8s.chain import STEPS, Context, Step, conclude
from parak8s.errors import EnvironmentFault, InputError, disk_is_full, from_os_error
from parak8s.experiment import Experiment, documents, flatten
from parak8s.layout import Layout
from parak8s.secrets import without_passwords

if TYPE_CHECKING:
    from parak8s.training.loop import Observer


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
) -> Layout:
    """Run all steps, or ``only`` one of them, and return where everything lies.

    Args:
        experiment: What to run.
        root: The run's directory; None for ``runs/NAME/FINGERPRINT``.
        narrator: Told of every step.
        observers: Told of every training step and epoch.
        only: Name of a single step; those before it must be finished.

    Raises:
        InputError: The data or the file breaks a rule, or ``root`` holds another point's run.
        EnvironmentFault: The disk, the network or a server fails; the same command goes on from there.
    """
    from parak8s.steps.ingest import identify
    from parak8s.tracking import Tracker

    digest = identify(experiment)[1]
    fingerprint = provenance.fingerprint(experiment, digest)
    layout = Layout(root or Path("runs") / experiment.name / fingerprint)
    context = Context(experiment, layout, digest, fingerprint, Tracker(experiment), observers)
    _refuse_foreign(layout)
    with _faults_explained(layout.root), _alone_in(layout.root):
        _claim(context)
        try:
            _run_steps(context, narrator, only)
        except EnvironmentFault:
            _report_so_far(layout)
            raise
        except Exception as error:
            if run_id := files.read_json(layout.identity).get("run_id"):
                context.tracker.fail(run_id, str(error))
            raise
        finally:
            _unclaim(layout)
    return layout


def _run_steps(context: Context, narrator: Narrator, only: str | None) -> None:
    key, changed = context.digest, False
    for step in STEPS:
        key = provenance.digest([key, context.fingerprint, step.name, _slice(context.experiment, step.reads)])
        done = _is_done(context.layout.root / step.folder, key)
        if only in (None, step.name):
            changed = _do(step, context, key, narrator, done) or changed
        elif not done:
            raise InputError(f"{context.layout.root}: the step {step.name} comes first; give: parak8s step {step.name}")
        if step.name == only:
            break
    if only in (None, STEPS[-1].name) and (changed or not context.layout.result.is_file()):
        conclude(context)


def _do(step: Step, context: Context, key: str, narrator: Narrator, done: bool) -> bool:
    """Run a step unless its folder is complete and was made from the same inputs; return whether it ran."""
    target = context.layout.root / step.folder
    if done:
        narrator.finished(step.name, files.read_json(target / "step.json")["summary"], None)
        return False
    narrator.started(step.name)
    context.layout.result.unlink(missing_ok=True)  # it says that everything is there
    started = time.perf_counter()
    with files.folder(target, resume=key if step.resumes else None) as partial, _faults_explained(partial):
        summary = step.act(context, partial)
        seconds = time.perf_counter() - started
        files.write_json(partial / "step.json", {"step": step.name, "key": key, "summary": summary, "seconds": seconds})
    narrator.finished(step.name, summary, seconds)
    return True


def _is_done(folder: Path, key: str) -> bool:
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


def _refuse_foreign(layout: Layout) -> None:
    """Refuse a file, and a folder that holds something but no run: nothing of the user's is ever overwritten."""
    if layout.root.exists() and not layout.root.is_dir():
        raise InputError(f"{layout.root}: is a file; -o wants a folder")
    if layout.root.is_dir() and not layout.identity.is_file():
        found = sorted(path.name for path in layout.root.iterdir() if path.name != ".lock")
        if found:
            raise InputError(f"{layout.root}: holds {found[0]!r} and no run; choose a new or an empty folder with -o")


def _report_so_far(layout: Layout) -> None:
    """Whatever MLflow says: once there is an evaluation, the user gets the page."""
    from parak8s.report import write_report

    if (layout.evaluation / "step.json").is_file():
        write_report(layout.root)


def _claim(context: Context) -> None:
    """Write down whose run this directory is, or refuse when it is another's."""
    layout, mine = context.layout, {"fingerprint": context.fingerprint, "data_digest": context.digest}
    if layout.identity.is_file():
        theirs = files.read_json(layout.identity)
        if theirs["fingerprint"] != context.fingerprint:
            raise InputError(
                f"{layout.root} holds the run of another point: {_difference(context, theirs)}. "
                "Choose another folder with -o, or delete this one"
            )
        mine |= theirs
    files.write_json(layout.identity, mine)
    values = without_passwords(context.experiment.canonical())
    files.write_text(layout.experiment, documents.dump(values))
    if not layout.environment.is_file():  # the step train writes it again when it trains
        files.write_json(layout.environment, provenance.environment(context.experiment))


def _unclaim(layout: Layout) -> None:
    """Take the claim back when nothing came of it: a refused input leaves nothing behind."""
    if not any((layout.root / name).exists() for step in STEPS for name in (step.folder, f".{step.folder}.partial")):
        for path in (layout.identity, layout.experiment, layout.environment, layout.root / ".lock"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody else's files are in it
            layout.root.rmdir()


def _difference(context: Context, theirs: dict[str, str]) -> str:
    if theirs["data_digest"] != context.digest:
        return f"its data is {theirs['data_digest']}, yours {context.digest}"
    old = flatten(documents.read(context.layout.experiment).data)
    new = provenance.identity(context.experiment)
    changed = [f"{path} {old.get(path)!r} -> {value!r}" for path, value in new.items() if old.get(path) != value]
    return ", ".join(changed) or "the code has changed since"


@contextlib.contextmanager
def _alone_in(root: Path) -> Iterator[None]:
    """Hold the directory's lock, so that two runs never write into one directory."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = (root / ".lock").read_text(encoding="utf-8").strip()
            fix = "wait for it, or choose another -o"
            raise EnvironmentFault(f"{root}: another run is working here ({who}); {fix}") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {platform.node()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        lock.flush()
        yield


@contextlib.contextmanager
def _faults_explained(root: Path) -> Iterator[None]:
    """Turn what the operating system refuses into one readable line, also where a library hides it."""
    try:
        yield
    except (InputError, EnvironmentFault):
        raise
    except OSError as error:
        raise from_os_error(error, root) from error
    except Exception as error:
        if disk_is_full(root):  # NumPy, TensorFlow and SQLite each have an exception of their own for it
            raise from_os_error(OSError(errno.ENOSPC, "no space left"), root) from error
        raise
