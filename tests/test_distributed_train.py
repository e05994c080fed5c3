"""The component distributed_train on an emulated cluster: what the job gets, what comes of it, how it is cancelled."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kfp import dsl

from kubernetes_server import KubernetesServer, Moment, kubernetes_server, pod, status
from object_store import BUCKET, emptied, serving
from parak8s import files
from parak8s.components.distributed_train import distributed_train
from parak8s.components.handed_on import compute_of
from parak8s.components.handing_over import InStore
from parak8s.errors import InputError
from parak8s.stores import StoreAway
from parak8s.workplace import opened
from tfjobs_case import kubeconfig

SETTINGS = "name: train\ndata: {loader: ecg, source: 'synthetic://ecg?beats=300'}\nmodel: {builder: deep_cnn}\n"
EPOCH = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy", "val_auc", "val_f1", "learning_rate"), 0.5)
HANDED_ON: dict[str, Any] = {
    "resources": {"limits": {"cpu": "1500m", "memory": "6Gi", "nvidia.com/gpu": "1"}, "requests": {"cpu": "1500m"}},
    "env": [
        {"name": "TF_NUM_INTRAOP_THREADS", "value": "1"},
        {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "secretkey"}}},
        {"name": "KFP_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ],
    "node_selector": {"accelerator": "a100"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule", "value": ""}],
}


class Cluster:
    """An emulated cluster whose replicas train in no time, on a shared folder that is mounted everywhere.

    Args:
        root: Of the test; ``runs`` in it is the shared folder.
        server: Where the job is created.
    """

    def __init__(self, root: Path, server: KubernetesServer) -> None:
        self.root, self.server, self.runs = root, server, root / "runs"
        self.dataset = dsl.Dataset(uri=str(root / "dataset"))
        self.training = dsl.Model(uri=str(root / "artifacts" / "training"), metadata={})
        self.metrics = dsl.Metrics(uri=str(root / "artifacts" / "metrics"), metadata={})
        self.jobs: list[dict[str, Any]] = []
        self.seen: list[Path] = []
        server.on_create = self.replicas
        self.runs.mkdir()
        write_dataset(root / "dataset")

    def replicas(self, job: dict[str, Any]) -> None:
        """Do what the replicas of a job do: read the dataset, write the training."""
        self.jobs.append(job)
        name = job["metadata"]["name"]
        shared = self.runs / name
        self.seen.append((shared / "dataset").resolve())
        files.write_text(shared / "training" / "model.keras", (shared / "dataset" / "numbers.npy").read_bytes().hex())
        epochs = [{"epoch": number, **EPOCH, "seconds": 1.0, "timestamp_ms": 1} for number in (1, 2)]
        files.write_json(shared / "training" / "history.json", {"epochs": epochs, "kept_epoch": 2})
        running, done = ([pod(f"worker-{index}", phase, job=name) for index in (0, 1)] for phase in PHASES)
        self.server.script = [Moment(status("Running"), running), Moment(status("Succeeded"), done)]
        self.server.logs = {f"{name}-worker-0": [["  epoch   1  loss 0.5000", "  epoch   2  loss 0.5000"]]}
        self.server.looks = 0

    @property
    def compute(self) -> str:
        return json.dumps({"workers": 2, "runs": str(self.runs), "job": {"deadline_s": 3600, "ttl_s": 0}})

    def config(self, **more: Any) -> dsl.TaskConfig:
        claim = {"name": "runs", "persistentVolumeClaim": {"claimName": "runs"}}
        mount = {"name": "runs", "mountPath": str(self.runs)}
        return dsl.TaskConfig(**{**HANDED_ON, "volumes": [claim], "volume_mounts": [mount], **more})

    def train(self, **options: Any) -> None:
        given = {"settings": SETTINGS, "compute": self.compute, "task_config": self.config(), **options}
        made = {"training": self.training, "metrics": self.metrics}
        distributed_train.python_func(dataset=self.dataset, **made, **given)


PHASES = ("Running", "Succeeded")


def write_dataset(folder: Path) -> None:
    folder.mkdir(parents=True)
    np.save(folder / "numbers.npy", np.arange(4))


@pytest.fixture(name="cluster")
def a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with kubernetes_server() as server:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, server.uri)))
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        monkeypatch.setenv("KFP_POD_NAME", "ecg-x7k2p")
        monkeypatch.setenv("KFP_POD_UID", "17")
        yield Cluster(tmp_path, server)


def test_the_job_gets_what_the_task_is_given_and_trains_and_no_more(cluster: Cluster) -> None:
    cluster.train()
    (job,) = cluster.jobs
    name = job["metadata"]["name"]
    assert "ttlSecondsAfterFinished" not in job["spec"]["runPolicy"]  # the task deletes it
    assert job["metadata"]["ownerReferences"] == [{"apiVersion": "v1", "kind": "Pod", "name": "ecg-x7k2p", "uid": "17"}]
    assert job["spec"]["runPolicy"]["activeDeadlineSeconds"] == 3600
    workers = job["spec"]["tfReplicaSpecs"]["Worker"]
    spec = workers["template"]["spec"]
    (container,) = spec["containers"]
    assert workers["replicas"] == 2
    assert container["command"][:2] == ["parak8s", "replica"]
    assert container["command"][3:] == ["--output", f"{cluster.runs}/{name}", "--only", "train"]
    assert container["resources"]["limits"] == {"cpu": "1.5", "memory": "6Gi", "nvidia.com/gpu": "1"}
    variables = {each["name"]: each for each in container["env"]}
    assert variables["TF_NUM_INTRAOP_THREADS"]["value"] == "1"
    assert variables["AWS_SECRET_ACCESS_KEY"]["valueFrom"]["secretKeyRef"] == {"name": "s3", "key": "secretkey"}
    assert "KFP_POD_NAME" not in variables
    assert spec["nodeSelector"] == {"accelerator": "a100"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    claims = {each["name"]: each.get("persistentVolumeClaim") for each in spec["volumes"]}
    assert claims[mounts[str(cluster.runs)]] == {"claimName": "runs"}


def test_the_network_its_metrics_and_the_leaders_lines_come_back_and_nothing_is_left(
    cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster.train(overrides="training.epochs=2")
    folder = Path(cluster.training.path)
    assert (folder / "model.keras").read_text() == (cluster.root / "dataset" / "numbers.npy").read_bytes().hex()
    assert sorted(path.name for path in folder.iterdir()) == ["environment.json", "history.json", "model.keras"]
    assert cluster.training.metadata == {"overrides": "training.epochs=2"}
    assert (cluster.metrics.metadata["epoch"], cluster.metrics.metadata["val_loss"]) == (2, 0.5)
    assert capfd.readouterr().err.splitlines() == [
        "worker-0 begins",
        "worker-1 begins",
        "epoch   1  loss 0.5000",
        "epoch   2  loss 0.5000",
        "worker-0 is done after 12 s",
        "worker-1 is done after 12 s",
    ]
    assert cluster.server.jobs == {}
    assert [*cluster.runs.iterdir()] == []


def test_a_job_that_cannot_be_deleted_does_not_cost_the_network(
    cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    trains = cluster.server.on_create

    def trains_and_stays(job: dict[str, Any]) -> None:
        trains(job)
        cluster.server.forbidden = frozenset({"delete tfjobs"})

    cluster.server.on_create = trains_and_stays
    cluster.train()
    assert (Path(cluster.training.path) / "model.keras").is_file()
    (name,) = cluster.server.jobs
    assert f"kubectl delete tfjob {name} -n ml" in capfd.readouterr().err


def test_a_dataset_that_all_replicas_see_is_used_where_it_lies_and_another_one_copied(cluster: Cluster) -> None:
    cluster.train()
    there = cluster.runs / "datasets" / "mine"
    write_dataset(there)
    cluster.dataset, cluster.training = dsl.Dataset(uri=str(there)), dsl.Model(uri=f"{cluster.root}/b", metadata={})
    cluster.train()
    first, second = (job["metadata"]["name"] for job in cluster.jobs)
    assert cluster.seen == [cluster.runs / first / "dataset", there]
    assert first != second
    assert (there / "numbers.npy").is_file()


def test_modules_of_ones_own_go_along(cluster: Cluster, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "mine_of_the_test.py").write_text("def net(input_shape, classes):\n    pass\n")
    own = SETTINGS.replace("deep_cnn", "'mine_of_the_test:net'")
    held: list[bool] = []

    def look(job: dict[str, Any]) -> None:
        held.append((cluster.runs / job["metadata"]["name"] / "code" / "mine_of_the_test.py").is_file())
        cluster.replicas(job)

    cluster.server.on_create = look
    cluster.train(settings=own, code=dsl.Artifact(uri=str(code)))
    (job,) = cluster.jobs
    (container,) = job["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"]
    (path,) = [each["value"] for each in container["env"] if each["name"] == "PYTHONPATH"]
    assert path.split(":")[0] == f"{cluster.runs}/{job['metadata']['name']}/code"
    assert held == [True]


def test_through_an_object_store_dataset_and_code_go_there_and_the_network_comes_back(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failure what lies in the store stays, and another attempt of the task goes on with it."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "net_of_the_test.py").write_text("def net(input_shape, classes):\n    pass\n")
    own = {
        "settings": SETTINGS.replace("deep_cnn", "'net_of_the_test:net'"),
        "code": dsl.Artifact(uri=str(tmp_path / "code")),
        "compute": json.dumps({"workers": 2, "runs": f"{BUCKET}/runs"}),
        "task_config": cluster.config(volumes=[], volume_mounts=[]),
    }
    found: list[Any] = []

    def address_in(job: dict[str, Any]) -> str:
        (container,) = job["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"]
        return str(container["command"][4])

    def fail(job: dict[str, Any]) -> None:
        with opened(address_in(job)) as leader, leader.led():
            leader.claim()
            leader.layout.starts.write_text("[]")
        cluster.server.script = [
            Moment(status("Failed", "no"), [pod("worker-0", "Failed", job=job["metadata"]["name"])])
        ]

    def replicas(job: dict[str, Any]) -> None:
        with opened(address_in(job)) as leader, leader.led():
            leader.claim()
            assert not leader.layout.starts.exists()  # another attempt of the task counts anew
            found.extend([(leader.layout.code / "net_of_the_test.py").is_file(), sys.path[0], os.environ["PYTHONPATH"]])
            cluster.runs = leader.layout.root.parent
            cluster.replicas(job)

    with serving() as address:
        store = emptied(address, monkeypatch)
        monkeypatch.setattr(sys, "path", [*sys.path])
        cluster.server.on_create = fail
        with pytest.raises(SystemExit):
            cluster.train(**own)
        (name,) = cluster.server.jobs
        kept = [each.partition("~")[0] for each in store.names(f"{BUCKET}/runs/{name}")]
        assert kept == [".starts.json", "code/net_of_the_test.py", "dataset/numbers.npy", "index.json"]
        monkeypatch.setenv("PYTHONPATH", "/before")
        cluster.server.on_create = replicas
        cluster.train(**own)
        assert store.names() == []
    code = f"{cluster.runs}/{name}/code"
    assert found == [True, code, f"{code}:/before"]
    made = Path(cluster.training.path) / "model.keras"
    assert made.read_text() == (cluster.root / "dataset" / "numbers.npy").read_bytes().hex()


def test_a_store_that_is_away_at_the_very_end_does_not_cost_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serving() as address:
        emptied(address, monkeypatch)
        (tmp_path / "run" / "training").mkdir(parents=True)
        (tmp_path / "run" / "training" / "model.keras").write_text("m")
        between = InStore(f"{BUCKET}/runs/small")
        between.snapshots.claim()
        between.snapshots.send(tmp_path / "run")

        def away() -> None:
            raise StoreAway("s3://clinic/runs/small: cannot be written")

        monkeypatch.setattr(between.snapshots, "delete", away)
        between.take(tmp_path / "taken")
    assert (tmp_path / "taken" / "model.keras").read_text() == "m"
    assert "s3://clinic/runs/small: cannot be written; delete what lies there" in caplog.messages


def test_a_job_that_fails_stays_to_be_looked_at_and_another_attempt_begins_anew(
    cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    words = "TFJob ml/x has failed because 1 Worker replica(s) failed."

    def fail(job: dict[str, Any]) -> None:
        cluster.server.script = [
            Moment(status("Failed", words), [pod("worker-1", "Failed", job=job["metadata"]["name"])])
        ]
        cluster.server.logs = {f"{job['metadata']['name']}-worker-1": [["parak8s: the loss became nan"]]}

    cluster.server.on_create = fail
    with pytest.raises(SystemExit) as stop:
        cluster.train()
    (name,) = cluster.server.jobs
    assert stop.value.code == 1
    told = "worker-1: ended with exit code 1: the loss became nan"
    assert f"parak8s: the TFJob {name} is Failed: {words}; {told}\nexit code 1\n" in capfd.readouterr().err
    assert (cluster.runs / name / "dataset" / "numbers.npy").is_file()
    assert not Path(cluster.training.path).exists()
    cluster.server.on_create = cluster.replicas
    cluster.train()
    assert [job["metadata"]["name"] for job in cluster.jobs] == [name]
    assert cluster.server.jobs == {}


def test_a_run_that_is_cancelled_takes_its_job_along(cluster: Cluster) -> None:
    def run_on(job: dict[str, Any]) -> None:
        cluster.server.script = [Moment(status("Running"), [pod("worker-0", job=job["metadata"]["name"])])]

    cluster.server.on_create = run_on
    config = {**HANDED_ON, "volumes": cluster.config().volumes, "volume_mounts": cluster.config().volume_mounts}
    arguments = {
        "dataset": cluster.dataset.uri,
        "settings": SETTINGS,
        "compute": cluster.compute,
        "task_config": config,
    }
    program = Path(__file__).with_name("component_alone.py")
    folder = cluster.root / "alone"
    folder.mkdir()
    task = subprocess.Popen(
        [sys.executable, str(program), "distributed_train", json.dumps(arguments)],
        cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not cluster.server.sent("GET /api/v1/namespaces/ml/pods") and task.poll() is None:
        time.sleep(0.05)
    os.kill(task.pid, signal.SIGTERM)
    _, said = task.communicate(timeout=60)
    assert task.returncode == 130, said
    assert said.endswith("parak8s: the run was cancelled, and the training's job with it\nexit code 130\n")
    assert cluster.server.jobs == {}
    (request,) = cluster.server.sent("DELETE .*")[1:]
    assert request.json == {"propagationPolicy": "Foreground"}


def test_the_task_itself_loads_no_tensorflow(cluster: Cluster) -> None:
    config = {"volumes": cluster.config().volumes, "volume_mounts": cluster.config().volume_mounts}
    arguments = {
        "dataset": cluster.dataset.uri,
        "settings": SETTINGS,
        "compute": cluster.compute,
        "task_config": config,
    }
    program = Path(__file__).with_name("component_alone.py")
    done = subprocess.run(
        [sys.executable, str(program), "distributed_train", json.dumps(arguments)],
        cwd=cluster.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "no tensorflow"


def test_a_replica_that_only_trains_needs_no_tracking_server(cluster: Cluster) -> None:
    from parak8s.loading import parse
    from parak8s.replica import take_part
    from parak8s.workplace import Workplace

    class Nobody:
        def started(self, step: str) -> None: ...
        def finished(self, step: str, summary: str, seconds: float | None) -> None: ...

    point = parse(SETTINGS, "settings")
    with pytest.raises(InputError, match=r"empty/dataset: not a prepared dataset"):
        take_part(point, Workplace(cluster.root / "empty"), narrator=Nobody(), train_only=True)


def test_without_a_shared_folder_it_is_said_what_to_name(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cluster.train(compute="{workers: 2}")
    assert stop.value.code == 2
    assert capfd.readouterr().err == (
        "parak8s: compute.runs is not set: name a folder on a claim that all replicas and this task mount, such as "
        "compute: {volumes: [{claim: runs, path: /mnt/runs}], runs: /mnt/runs}; or an object store: compute: {runs: "
        "s3://bucket/runs}\nexit code 2\n"
    )


def test_a_wrong_compute_is_refused_as_in_a_file(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cluster.train(compute="{worker: 2}")
    assert "compute.worker: no such key; did you mean 'workers'?" in capfd.readouterr().err


def test_what_is_handed_on_is_the_section_compute() -> None:
    memory = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "datasets"}}
    mounts = [{"name": "shm", "mountPath": "/dev/shm"}, {"name": "data", "mountPath": "/mnt/data"}]
    config = dsl.TaskConfig(**HANDED_ON, volumes=[memory, claim], volume_mounts=mounts)
    assert compute_of(config) == {
        "cpus": 1.5,
        "memory": "6Gi",
        "gpu_type": "nvidia.com/gpu",
        "gpus": 1,
        "env": {"TF_NUM_INTRAOP_THREADS": "1"},
        "secrets": [{"name": "s3", "env": {"AWS_SECRET_ACCESS_KEY": "secretkey"}}],
        "node_selector": {"accelerator": "a100"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "shared_memory": "2Gi",
        "volumes": [{"claim": "datasets", "path": "/mnt/data"}],
    }
    assert compute_of(None) == compute_of(dsl.TaskConfig()) == {}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"env": [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}}]},
            "the variable LEVEL comes from configMapKeyRef: a distributed training takes values and Secrets",
        ),
        (
            {"volumes": [{"name": "a", "secret": {}}], "volume_mounts": [{"name": "a", "mountPath": "/keys"}]},
            "/keys is mounted from secret: a distributed training takes whole PersistentVolumeClaims, and memory at "
            "/dev/shm",
        ),
        (
            {
                "volumes": [{"name": "a", "persistentVolumeClaim": {"claimName": "a"}}],
                "volume_mounts": [{"name": "a", "mountPath": "/mnt", "subPath": "x"}],
            },
            "/mnt is mounted from persistentVolumeClaim, its folder x: a distributed training takes whole "
            "PersistentVolumeClaims, and memory at /dev/shm",
        ),
    ],
)
def test_what_a_job_cannot_be_given_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        compute_of(dsl.TaskConfig(**config))
    assert str(refused.value) == message
