"""A job without a shared folder: each replica works in a folder of its own, and an object store keeps the run.

The store speaks S3 over HTTP; every start of a replica begins with an empty folder, as a new pod does.
"""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from object_store import BUCKET, Store, emptied, serving
from parak8s import files, replica
from parak8s.claims import Claim
from parak8s.errors import EnvironmentFault, InputError
from parak8s.experiment import Experiment
from parak8s.loading import parse
from parak8s.rendezvous import PeerLost
from parak8s.snapshots import Snapshots
from parak8s.steps.ingest import ingest
from parak8s.stores import StoreAway
from parak8s.team import Team
from parak8s.tfjobs import local
from parak8s.tfjobs.building import cluster_tfjob, tfjob
from parak8s.training.interruption import Interrupted
from parak8s.training.progress import Record
from parak8s.workplace import Keeper, Mirrored, Workplace, opened

SMALL = """
name: small
seed: 3
data: {loader: ecg, source: "synthetic://ecg?beats=600", batch_size: 64}
model: {builder: deep_cnn, params: {filters: 4, blocks: 1, units: 8}}
training:
  epochs: 3
  keep_best: loss
  optimizer: {learning_rate: 0.02}
compute: {workers: 2, runs: "s3://clinic/runs"}
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving() as found:
        yield found


@pytest.fixture
def store(address: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    return emptied(address, monkeypatch)


class Killer(local.Quiet):
    """Sends a signal to a replica when the leader says something, each once."""

    def __init__(self, *shots: tuple[str, str, int]) -> None:
        self.shots, self.processes, self.ends, self.lines = list(shots), dict[str, int](), list[Any](), list[str]()

    def began(self, replica: str, start: int, process: int) -> None:
        self.processes[replica] = process

    def said(self, replica: str, line: str) -> None:
        self.lines.append(line)
        if self.shots and self.shots[0][0] in line:
            _, victim, number = self.shots.pop(0)
            os.kill(self.processes[victim], number)

    def ended(self, replica: str, code: int, then: str) -> None:
        self.ends.append((replica, code))


def weights(model: Path) -> list[Any]:
    from parak8s.models import saved

    return [np.asarray(each).tolist() for each in saved.load(model).get_weights()]


def training_only(job: dict[str, Any]) -> dict[str, Any]:
    (container,) = job["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"]
    container["command"] += ["--only", "train"]
    return job


def succeeds(job: dict[str, Any], logs: Path, *shots: tuple[str, str, int]) -> None:
    killer = Killer(*shots)
    ended = local.run(job, logs=logs, narrator=killer)
    assert ended["status"]["conditions"][-1]["type"] == "Succeeded", killer.lines
    assert killer.shots == []


def test_a_job_whose_pods_are_replaced_trains_the_bits_of_one_in_a_folder_that_is_left_in_peace(
    store: Store, tmp_path: Path
) -> None:
    experiment, shared = parse(SMALL, "x"), tmp_path / "shared"
    (shared / "dataset").mkdir(parents=True)
    ingest(experiment, shared / "dataset")
    sender = Snapshots(f"{BUCKET}/runs/small")
    sender.claim()
    sender.send(shared)
    succeeds(
        training_only(cluster_tfjob(experiment)), tmp_path / "logs", ("epoch   1", "worker-0", signal.SIGKILL)
    )  # worker-1 is started again, too, when it misses its leader
    succeeds(training_only(tfjob(experiment, directory=str(shared))), tmp_path / "logs-of-shared")
    Snapshots(f"{BUCKET}/runs/small").fetch(tmp_path / "fetched")
    model = Path("training") / "model.keras"
    assert weights(tmp_path / "fetched" / model) == weights(shared / model)


@pytest.mark.slow
def test_a_whole_run_goes_on_after_each_kill_and_lies_in_the_store_as_in_a_folder(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    succeeds(
        cluster_tfjob(parse(SMALL, "x")), tmp_path / "logs",
        ("ingest  ", "worker-0", signal.SIGKILL), ("epoch   1", "worker-1", signal.SIGTERM),
        ("epoch   2", "worker-1", signal.SIGKILL), ("train  ", "worker-0", signal.SIGKILL),
        ("gate  ", "worker-0", signal.SIGTERM),
    )  # fmt: skip
    names = store.names(f"{BUCKET}/runs/small")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiments = [each.experiment_id for each in client.search_experiments()]
    assert [run.info.status for run in client.search_runs(experiments)] == ["FINISHED"]  # each start found it again
    assert {name.partition("/")[0] for name in names} == {
        *("dataset", "training", "model", "evaluation", "gate", "registration"),
        *("index.json", "experiment.yaml", "environment.json", "report.html", "result.json", "run.json"),
    }
    assert not [name for name in names if "~" in name]


def names(store: Store) -> list[str]:
    return sorted(name.partition("~")[0] for name in store.names(f"{BUCKET}/runs/small"))


class Silent:
    def started(self, step: str) -> None: ...
    def finished(self, step: str, summary: str, seconds: float | None) -> None: ...


def start(experiment: Experiment, makes: str, then: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the leader of a job in a new pod; it makes a file, and ends."""

    def train(experiment: Experiment, layout: Any, *more: Any) -> None:
        (layout.root / makes).parent.mkdir(parents=True, exist_ok=True)
        (layout.root / makes).write_text(makes)
        if then is not None:
            raise then

    monkeypatch.setattr(replica, "_train", train)
    with opened(f"{BUCKET}/runs/small") as place:
        replica.take_part(experiment, place, narrator=Silent(), train_only=True)


def test_starts_that_get_nowhere_are_counted_over_all_pods(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = parse(SMALL, "x", ["compute.job.backoff_limit=1"])
    for _ in range(2):
        with pytest.raises(PeerLost):
            start(experiment, "logs/noise", PeerLost("lost"), monkeypatch)
    with pytest.raises(EnvironmentFault, match="small: started 2 times in a row without an epoch or a step"):
        start(experiment, "logs/noise", None, monkeypatch)
    start(experiment, "done", None, monkeypatch)  # the next start is the first one again
    assert store.names(f"{BUCKET}/runs/small") == ["done", "index.json", "logs/noise"]


def test_what_was_made_before_a_fault_is_in_the_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="broken"):
        start(parse(SMALL, "x"), "dataset/step.json", InputError("broken"), monkeypatch)
    assert "dataset/step.json" in names(store)


RECORD = Record(**dict.fromkeys(Record.__dataclass_fields__, 1))


def away(*given: Any) -> None:
    raise StoreAway("s3://clinic does not answer")


def test_an_epoch_that_cannot_be_stored_is_stored_with_the_next_and_a_step_ends_the_replica(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = Mirrored(tmp_path / "small", Snapshots(f"{BUCKET}/runs/small"))
    keeper, put = Keeper(place, Silent()), place.snapshots.store._fs.put
    place.claim()
    monkeypatch.setattr(place.snapshots.store, "_persistently", lambda act: act())
    monkeypatch.setattr(place.snapshots.store._fs, "put", away)
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "ckpt-1").write_text("1")
    keeper.on_epoch(RECORD)
    with pytest.raises(StoreAway):
        keeper.finished("train", "", 1.0)
    assert "s3://clinic does not answer; what is not stored now is stored later" in caplog.messages
    monkeypatch.setattr(place.snapshots.store._fs, "put", put)
    (tmp_path / "small" / "ckpt-2").write_text("2")
    keeper.on_epoch(RECORD)
    place._under_way.result()
    assert names(store) == ["ckpt-1", "ckpt-2", "index.json"]


def test_the_training_does_not_wait_for_the_store_which_gets_the_epoch_as_it_was(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, go = tmp_path / "small", threading.Event()
    place = Mirrored(root, Snapshots(f"{BUCKET}/runs/small"))
    place.claim()
    put = place.snapshots.store._fs.put

    def slowly(*given: Any) -> None:
        assert go.wait(60)
        put(*given)

    monkeypatch.setattr(place.snapshots.store._fs, "put", slowly)
    files.write_text(root / "records.json", "1")
    (root / "ckpt-1").write_text("1")
    place.keep_soon()
    files.write_text(root / "records.json", "2")
    (root / "ckpt-1").unlink()
    (root / "ckpt-2").write_text("2")
    place.keep_soon()  # the first one is still on its way
    go.set()
    place._under_way.result()
    Snapshots(f"{BUCKET}/runs/small").fetch(tmp_path / "then")
    assert {path.name: path.read_text() for path in (tmp_path / "then").iterdir()} == {
        "records.json": "1",
        "ckpt-1": "1",
    }
    place.keep()
    assert names(store) == ["ckpt-2", "index.json", "records.json"]


def test_who_is_asked_to_stop_and_cannot_store_it_does_not_say_that_all_is_saved(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Mirrored(tmp_path / "small", Snapshots(f"{BUCKET}/runs/small"))

    def stopped() -> None:
        with place.led():
            place.claim()
            files.write_text(tmp_path / "small" / "pause.json", "{}")
            monkeypatch.setattr(place.snapshots, "send", away)
            raise Interrupted(3, 10, 20)

    with pytest.raises(StoreAway, match="asked to stop, and what came after the last stored epoch is lost: s3") as stop:
        stopped()
    assert stop.value.exit_code == 143


@pytest.mark.parametrize("early", [True, False])
def test_a_dataset_that_is_there_comes_while_the_replicas_meet_and_another_one_when_they_have_met(
    early: bool, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower, leader = Mirrored(tmp_path / "small", Snapshots(f"{BUCKET}/runs/small")), tmp_path / "leader"
    sender = Snapshots(f"{BUCKET}/runs/small")
    sender.claim()

    def prepare() -> None:
        (leader / "dataset").mkdir(parents=True)
        (leader / "dataset" / "labels.npy").write_text("n")
        sender.send(leader)

    def meet(*_: Any) -> dict[str, Any]:
        follower._under_way.result()
        assert (tmp_path / "small" / "dataset" / "labels.npy").exists() == early
        if not early:
            prepare()
        return {"begin": True, "params": {}, "dataset": "/leader/dataset", "training": "/leader/training"}

    def train(_: Experiment, dataset: Path, *more: Any, **settings: Any) -> None:
        read.append((dataset / "labels.npy").read_text())

    read = list[str]()
    if early:
        prepare()
    monkeypatch.setattr(replica, "attend", meet)
    monkeypatch.setattr("parak8s.steps.train.train", train)
    replica.join(Team({"worker": ("a:1", "b:1")}, "worker", 1), parse(SMALL, "x"), follower)
    assert read == ["n"]


def test_a_job_that_is_refused_does_not_disturb_the_one_that_works_there(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(f"{BUCKET}/runs/small") as place, place.led():
        place.claim()
        Claim(place.layout, parse(SMALL, "x"), "fingerprint", "digest")._write()
        (place.layout.training).mkdir()
        (place.layout.training / "model.keras").write_text("")
        place.keep()
        for overrides, certify, message in (
            (["seed=4"], False, r"^s3://clinic/runs/small holds the run of another point: seed 3 -> 4. Choose another"),
            ([], True, r"^s3://clinic/runs/small: was trained without --certify"),
        ):
            with opened(f"{BUCKET}/runs/small") as other, pytest.raises(InputError, match=message):
                replica.take_part(parse(SMALL, "x", overrides), other, narrator=Silent(), certify=certify)
        (place.layout.root / "more").write_text("")
        place.keep()


def test_a_folder_that_all_see_is_used_as_it_is(tmp_path: Path) -> None:
    with opened(str(tmp_path / "runs")) as place:
        assert type(place) is Workplace
        assert (place.layout.root, place.bring("/mnt/x/dataset")) == (tmp_path / "runs", Path("/mnt/x/dataset"))


def test_each_replica_has_an_empty_folder_that_is_gone_afterwards(store: Store) -> None:
    with opened(f"{BUCKET}/runs/small/") as one, opened(f"{BUCKET}/runs/small") as other:
        roots = one.layout.root, other.layout.root
        assert roots[0] != roots[1]
        assert [root.name for root in roots] == ["small", "small"]
        assert not any(root.exists() for root in roots)
        with one.led():
            one.claim()
            (roots[0] / "dataset").mkdir(parents=True)
            (roots[0] / "dataset" / "manifest.json").write_text("{}")
        assert not other.is_trained()
        assert other.bring("/somewhere/else/dataset") == roots[1] / "dataset"
        assert (roots[1] / "dataset" / "manifest.json").read_text() == "{}"
    assert not any(root.exists() for root in roots)
