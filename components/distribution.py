"""Trains on many workers from within a task: the TFJob on a cluster, the very same job on this machine elsewhere."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parak8s import files
from parak8s.components import cancelling
from parak8s.components.handed_on import compute_of
from parak8s.components.voices import OfCluster, OfThisMachine, say
from parak8s.errors import EnvironmentFault, InputError, ParaK8sError
from parak8s.experiment import Experiment, documents
from parak8s.experiment.compute import lies_in
from parak8s.image import IMAGE
from parak8s.layout import Layout
from parak8s.loading import parse

if TYPE_CHECKING:
    from kfp.dsl import TaskConfig

    from parak8s.training.progress import Record

CODE = "code"
"""In the folder that the replicas share: modules of the user's own."""


def placed(point: Experiment, compute: str, config: TaskConfig | None) -> Experiment:
    """Return the experiment with the section ``compute`` that its job shall have.

    Args:
        point: What to train.
        compute: Text of a section ``compute``; its keys replace those of ``point``.
        config: What KFP hands on; it replaces both.

    Raises:
        ExperimentError: A key or a value is none.
    """
    given = documents.parse(compute, "compute").data if compute else {}
    values = point.canonical()
    values["compute"] = {**values["compute"], **given, **compute_of(config)}
    return parse(documents.dump(values), "settings with compute")


def train(point: Experiment, dataset: Path, training: Path, *, task: str, code: Any = None) -> Record:
    """Train on many workers and write what comes of it into the folder ``training``; return the epoch that is kept.

    Args:
        point: With the section ``compute`` of the job.
        dataset: Prepared; where all replicas see it, it is used where it lies, and else copied to them.
        training: Empty.
        task: Names this execution of the task, and nothing else.
        code: Artifact with modules of the user's own; None without any.

    Raises:
        InputError: The job cannot be built, or the cluster does not take it.
        EnvironmentFault: It failed.
        Stopped: The run was cancelled; the job is deleted.
    """
    from parak8s.training.progress import Record

    on_cluster = cancelling.on_cluster()
    name = f"train-{hashlib.sha256(task.encode()).hexdigest()[:12]}"
    if on_cluster and not point.compute.runs:
        raise InputError(
            "compute.runs is not set: name a folder on a claim that all replicas and this task mount, such as compute: "
            "{volumes: [{claim: runs, path: /mnt/runs}], runs: /mnt/runs}"
        )
    shared = Path(str(point.compute.runs)) / name if on_cluster else training.with_name(name)
    mounts = [volume.path for volume in point.compute.volumes] if on_cluster else ["/"]
    with _prepared(shared, dataset, mounts, code):
        point = _with_code(point, shared / CODE) if code is not None else point
        (_on_cluster if on_cluster else _here)(point, shared, name)
        made = Layout(shared).training
        shutil.copytree(made, training, dirs_exist_ok=True)
    history = files.read_json(training / "history.json")
    return Record.from_json(history["epochs"][history["kept_epoch"] - 1])


@contextlib.contextmanager
def _prepared(shared: Path, dataset: Path, mounts: Sequence[str], code: Any) -> Iterator[None]:
    """Give the replicas their folder; it is gone after a success, and kept after a failure, to go on from."""
    shared.mkdir(parents=True, exist_ok=True)
    shared.chmod(0o777)  # the replicas run as another user than this pod
    own = Layout(shared).dataset
    if not own.exists():
        if any(lies_in(str(dataset.resolve()), mount) for mount in mounts):
            own.symlink_to(dataset.resolve())
        else:
            _copy(dataset, own)
    if code is not None and not (shared / CODE).exists():
        _copy(Path(code.path), shared / CODE)
    yield
    shutil.rmtree(shared, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    with files.folder(target) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)


def _with_code(point: Experiment, folder: Path) -> Experiment:
    """Return the experiment whose replicas find modules of the user's own in ``folder``."""
    before = point.compute.env.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    path = os.pathsep.join(filter(None, [str(folder), before]))
    changes = {"env": {**point.compute.env, "PYTHONPATH": path}, "image": point.compute.image or IMAGE}
    return point.model_copy(update={"compute": point.compute.model_copy(update=changes)})


def _on_cluster(point: Experiment, shared: Path, name: str) -> None:
    from parak8s.cluster.jobs import connect
    from parak8s.tfjobs.building import cluster_tfjob

    jobs = connect()
    job = cluster_tfjob(point, directory=str(shared), namespace=jobs.namespace, name=name)
    job["spec"]["runPolicy"].pop("ttlSecondsAfterFinished", None)  # gone before it was seen to succeed, it has failed
    delete, by_hand = partial(jobs.delete, name), f"kubectl delete tfjob {name} -n {jobs.namespace}"
    with cancelling.together("the training's job", delete, by_hand):
        jobs.delete(name)  # of an earlier attempt of this task
        Layout(shared).starts.unlink(missing_ok=True)
        created = jobs.create(cancelling.ours(_training_only(job)))
        outcome = jobs.follow(name, OfCluster(), uid=created.uid)
    if not outcome.succeeded:
        raise EnvironmentFault(outcome.reason)
    try:
        jobs.delete(name, created.uid)
    except ParaK8sError as fault:  # the model is there all the same
        say(f"{fault}; {by_hand}")


def _here(point: Experiment, shared: Path, name: str) -> None:
    from parak8s.cluster.jobs.conditions import SUCCEEDED, condition, state_of
    from parak8s.tfjobs import local
    from parak8s.tfjobs.building import tfjob

    voice = OfThisMachine()
    job = _training_only(tfjob(point, directory=str(shared), name=name))
    done = local.run(job, logs=shared / "logs", narrator=voice)
    if state_of(done) != SUCCEEDED:
        words = [str(condition(done, state_of(done)).get("message", "")), *voice.endings.values()]
        raise EnvironmentFault(f"the TFJob {name} is {state_of(done)}: {'; '.join(filter(None, words))}")


def _training_only(job: dict[str, Any]) -> dict[str, Any]:
    """Let the replicas of a job train, and leave the other steps to the pipeline."""
    for replicas in job["spec"]["tfReplicaSpecs"].values():
        for container in replicas["template"]["spec"]["containers"]:
            container["command"] += ["--only", "train"]
    return job
