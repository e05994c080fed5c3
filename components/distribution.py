"""Trains on many workers from within a task: the TFJob on a cluster, the very same job on this machine elsewhere."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parak8s import files
from parak8s.components import cancelling
from parak8s.components.handed_on import compute_of
from parak8s.components.handing_over import InStore, SharedFolder
from parak8s.components.voices import OfCluster, OfThisMachine, say
from parak8s.errors import EnvironmentFault, InputError, ParaK8sError
from parak8s.experiment import Experiment, documents
from parak8s.experiment.compute import is_store
from parak8s.loading import parse
from parak8s.tfjobs.checks import default_directory

if TYPE_CHECKING:
    from kfp.dsl import TaskConfig

    from parak8s.training.progress import Record


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
        dataset: Prepared; where all replicas see it, it is used where it lies, and else copied or sent to them.
        training: Empty.
        task: Names this execution of the task, and nothing else.
        code: Artifact with modules of the user's own; None without any.

    Raises:
        InputError: The job cannot be built, or the cluster does not take it.
        EnvironmentFault: It failed.
        Stopped: The run was cancelled; the job is deleted.
    """
    from parak8s.training.progress import Record

    name = f"train-{hashlib.sha256(task.encode()).hexdigest()[:12]}"
    place = _place(point, name, training)
    place.give(dataset, Path(code.path) if code is not None else None)
    if code is not None:
        point = place.with_code(point)
    (_on_cluster if cancelling.on_cluster() else _here)(point, place.where, name)
    place.take(training)
    history = files.read_json(training / "history.json")
    return Record.from_json(history["epochs"][history["kept_epoch"] - 1])


def _place(point: Experiment, name: str, training: Path) -> SharedFolder | InStore:
    """Return where the replicas of the job ``name`` work."""
    runs = point.compute.runs
    if not cancelling.on_cluster():
        return SharedFolder(training.with_name(name), ["/"])
    if not runs:
        raise InputError(
            "compute.runs is not set: name a folder on a claim that all replicas and this task mount, such as compute: "
            "{volumes: [{claim: runs, path: /mnt/runs}], runs: /mnt/runs}; or an object store: compute: {runs: "
            "s3://bucket/runs}"
        )
    where = default_directory(point.compute, name)
    if is_store(runs):
        return InStore(where)
    return SharedFolder(Path(where), [volume.path for volume in point.compute.volumes])


def _on_cluster(point: Experiment, where: str, name: str) -> None:
    from parak8s.cluster.jobs import connect
    from parak8s.tfjobs.building import cluster_tfjob

    jobs = connect()
    job = cluster_tfjob(point, directory=where, namespace=jobs.namespace, name=name)
    job["spec"]["runPolicy"].pop("ttlSecondsAfterFinished", None)  # gone before it was seen to succeed, it has failed
    delete, by_hand = partial(jobs.delete, name), f"kubectl delete tfjob {name} -n {jobs.namespace}"
    with cancelling.together("the training's job", delete, by_hand):
        jobs.delete(name)  # of an earlier attempt of this task
        created = jobs.create(cancelling.ours(_training_only(job)))
        outcome = jobs.follow(name, OfCluster(), uid=created.uid)
    if not outcome.succeeded:
        raise EnvironmentFault(outcome.reason)
    try:
        jobs.delete(name, created.uid)
    except ParaK8sError as fault:  # the model is there all the same
        say(f"{fault}; {by_hand}")


def _here(point: Experiment, where: str, name: str) -> None:
    from parak8s.cluster.jobs.conditions import SUCCEEDED, condition, state_of
    from parak8s.tfjobs import local
    from parak8s.tfjobs.building import tfjob

    voice = OfThisMachine()
    job = _training_only(tfjob(point, directory=where, name=name))
    done = local.run(job, logs=Path(where) / "logs", narrator=voice)
    if state_of(done) != SUCCEEDED:
        words = [str(condition(done, state_of(done)).get("message", "")), *voice.endings.values()]
        raise EnvironmentFault(f"the TFJob {name} is {state_of(done)}: {'; '.join(filter(None, words))}")


def _training_only(job: dict[str, Any]) -> dict[str, Any]:
    """Let the replicas of a job train, and leave the other steps to the pipeline."""
    for replicas in job["spec"]["tfReplicaSpecs"].values():
        for container in replicas["template"]["spec"]["containers"]:
            container["command"] += ["--only", "train"]
    return job
