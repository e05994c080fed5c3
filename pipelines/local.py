"""Runs a compiled pipeline on this machine: KFP's own local runner, one process for each task, and its cache."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parak8s import claims, files, provenance
from parak8s.chain import result_of
from parak8s.errors import BAD_INPUT, EnvironmentFault, InputError
from parak8s.experiment import documents
from parak8s.layout import Layout
from parak8s.pipelines.compiling import Request, compiled
from parak8s.pipelines.listening import Listener
from parak8s.secrets import without_passwords
from parak8s.steps.ingest import identify
from parak8s.steps.pretrained import pinned

if TYPE_CHECKING:
    from parak8s.pipelines.listening import Narrator

TASKS, SPEC, LOG, CACHE = "tasks", "pipeline.yaml", "pipeline.log", "cache"
"""In the run's directory: what the tasks wrote, the compiled graph, the whole log, the cache's entries."""


def run(request: Request, root: Path | None = None, *, narrator: Narrator) -> Layout:
    """Run the compiled pipeline and leave in ``root`` what ``parak8s run`` leaves there, and the tasks' own files.

    Tasks that are cached are reused: within ``root``, or among all runs of the experiment when ``root`` is None.

    Args:
        request: What to run.
        root: The run's directory; None for ``runs/NAME/FINGERPRINT-kfp``.
        narrator: Told of every task.

    Raises:
        InputError: A task refuses its input.
        EnvironmentFault: A task fails; the same command reuses those before it.
    """
    experiment = pinned(request.experiment)
    digest = identify(experiment)[1]
    fingerprint = provenance.fingerprint(experiment, digest)
    layout = Layout(root or Path("runs") / experiment.name / f"{fingerprint}-kfp")
    cache = layout.root / CACHE if root else layout.root.parent / f".kfp-{CACHE}"
    claim = claims.Claim(layout, experiment, fingerprint, digest, engine="kfp")
    with claim.held(unless=[TASKS]):
        files.write_text(layout.root / SPEC, compiled(_without_retries(request)))
        layout.result.unlink(missing_ok=True)
        _execute(layout, request.arguments, cache, narrator)
        _deposit(layout)
    return layout


def _without_retries(request: Request) -> Request:
    """Let a task that fails fail at once: here the same command is the next attempt, and reuses what is finished."""
    experiment = request.experiment
    compute = experiment.compute.model_copy(update={"retries": 0})
    return replace(request, experiment=experiment.model_copy(update={"compute": compute}))


def _execute(layout: Layout, arguments: Mapping[str, str], cache: Path, narrator: Narrator) -> None:
    from kfp import components, local

    with (layout.root / LOG).open("w", encoding="utf-8") as log, tempfile.TemporaryDirectory() as workspace:
        listener = Listener(narrator, log)
        local.init(
            runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(layout.root / TASKS),
            workspace_root=workspace, enable_caching=True, cache_root=str(cache),
        )  # fmt: skip
        pipeline = components.load_component_from_file(str(layout.root / SPEC))
        with _quiet(), _overheard(listener), contextlib.redirect_stdout(listener):
            try:
                pipeline(**arguments)
            except RuntimeError as error:
                raise _failure(listener, layout) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back KFP's warnings that an image and resources mean nothing here, and its runner's restless children."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="kfp")
        yield


@contextlib.contextmanager
def _overheard(listener: Listener) -> Iterator[None]:
    """Let the listener hear what KFP's runner logs between tasks too: there it says which ones it reuses."""
    root, handler = logging.getLogger(), logging.StreamHandler(listener)
    level, handlers = root.level, root.handlers[:]
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def _failure(listener: Listener, layout: Layout) -> Exception:
    """Return what the task that failed said, as an error of its kind."""
    said = f"{listener.failed or 'the pipeline'}: {listener.sentence or 'failed'}; its log is in {layout.root / LOG}"
    return InputError(said) if listener.exit_code == BAD_INPUT else EnvironmentFault(said)


def _deposit(layout: Layout) -> None:
    """Put the artifacts where a run directory has them, and result.json last: it says that all is there."""
    tasks = max((layout.root / TASKS).iterdir(), key=lambda folder: folder.stat().st_mtime)
    page = tasks / "report" / "page"
    for name, address in _outputs(tasks, "report")["artifacts"]["page"]["artifacts"][0]["metadata"]["made_of"].items():
        with files.folder(layout.root / name) as folder:
            shutil.copytree(address, folder, copy_function=_link, dirs_exist_ok=True)
    told = next(path for path in (tasks / "register/registered", tasks / "record/recorded") if path.is_file())
    with files.folder(layout.registration) as folder:
        _link(str(told), str(folder / "mlflow.json"))
    files.write_text(layout.report, page.read_text(encoding="utf-8"))
    files.write_text(layout.environment, (layout.training / "environment.json").read_text(encoding="utf-8"))
    point = _outputs(tasks, "keep-best" if (tasks / "keep-best").is_dir() else "configure")["parameterValues"]
    files.write_text(
        layout.experiment, documents.dump(without_passwords(documents.parse(point["experiment"], "").data))
    )
    files.write_json(layout.result, result_of(layout, point["fingerprint"], point["digest"]))


def _outputs(tasks: Path, task: str) -> dict[str, Any]:
    values: dict[str, Any] = files.read_json(tasks / task / "executor_output.json")
    return values


def _link(source: str, target: str) -> None:
    """Give a file a second name where the file system can; nobody writes into a finished file."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
