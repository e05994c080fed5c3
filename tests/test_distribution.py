"""A worker goes on where the leader is, in the folder that both of them see."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import patch

import pytest
import tensorflow as tf

import team_case
from parak8s.errors import EnvironmentFault, InputError
from parak8s.experiment import Data, Experiment, ModelSpec
from parak8s.rendezvous import Meeting, PeerLost
from parak8s.steps.train import train
from parak8s.team import Team
from parak8s.training import distribution
from parak8s.training.distribution import Together, seen_in_time, state_of, strategy
from parak8s.training.progress import Record

TEAM = {"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}, "task": {"type": "worker", "index": 1}}
EXPERIMENT = Experiment(
    name="test", data=Data(loader="ecg", source="synthetic://ecg"), model=ModelSpec(builder="deep_cnn")
)
NEW = {"dataset": None, "epochs": 0, "paused_at": [None, None]}
"""What a training's folder remembers at the beginning."""


def train_until(epochs: int, directory: Path) -> None:
    """Leave what a training of so many epochs leaves."""
    checkpoints = directory / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    record = Record(1, 1.0, 0.5, 1.0, 0.5, 0.5, 0.5, 0.1, 1.0, 1)
    (directory / "records.json").write_text(json.dumps([record.to_json()] * epochs))
    (checkpoints / f"epochs-{epochs}.index").touch()
    (checkpoints / "checkpoint").write_text(f'model_checkpoint_path: "epochs-{epochs}"\n')


def test_a_worker_that_sees_another_folder_than_the_leader_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribution, "LATE_S", 0.0)
    team = Team.from_environment({"TF_CONFIG": json.dumps(TEAM)})
    assert team is not None
    together = Together(team, 1, 1, told={"state": {**NEW, "epochs": 3}})
    with (
        pytest.raises(
            EnvironmentFault, match=r"worker-1 sees .*'epochs': 0.* here, worker-0 .*'epochs': 3.*same volume"
        ),
        strategy(EXPERIMENT, tmp_path, tmp_path, together),
    ):
        pass


def test_a_folder_may_show_late_what_the_leader_wrote(tmp_path: Path) -> None:
    assert state_of(tmp_path, tmp_path) == NEW
    wanted = {**NEW, "dataset": "2d711642b726", "epochs": 2}  # printf x | sha256sum

    def written() -> None:
        (tmp_path / "manifest.json").write_text("x")
        train_until(2, tmp_path)

    late = threading.Timer(0.5, written)
    late.start()
    assert seen_in_time(tmp_path, tmp_path, wanted) == wanted
    late.join()


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Graph execution error:\n\nfailed to connect to ps-0\nmore", r"lost \(failed to connect to ps-0\);"),
        (
            "Graph execution error:\n\nDetected at node CollectiveReduceV2 defined at (most recent call last):\n"
            '  File "/x/parak8s", line 10, in <module>\n\nCollective ops is aborted by: Socket closed\nmore',
            r"lost \(Collective ops is aborted by: Socket closed\);",
        ),
        ("Graph execution error:", r"lost \(UnavailableError\);"),
    ],
)
def test_who_loses_a_peer_says_what_tensorflow_said(message: str, words: str, tmp_path: Path) -> None:
    team = Team.from_environment({"TF_CONFIG": json.dumps(TEAM)})
    assert team is not None
    together = Together(team, 1, 60, told={"state": state_of(tmp_path, tmp_path)})
    with (
        pytest.raises(PeerLost, match=words),
        patch.object(distribution, "strategy_for"),
        patch.object(distribution, "take_share"),  # this process has other tests to run
        strategy(EXPERIMENT, tmp_path, tmp_path, together),
    ):
        raise tf.errors.UnavailableError(None, None, message)


def test_the_leader_looks_at_the_dataset_before_the_others_must_be_there(tmp_path: Path) -> None:
    """Reading every file may take longer than they would wait."""
    dataset = team_case.prepare(tmp_path / "dataset")
    (dataset / "train" / "labels.npy").write_bytes(b"damaged")
    team = Team.from_environment({"TF_CONFIG": json.dumps({**TEAM, "task": {"type": "worker", "index": 0}})})
    assert team is not None
    together = Together(team, 0.1, 1, Meeting(team))
    with pytest.raises(InputError, match=r"labels\.npy: missing or changed since ingest"):
        train(EXPERIMENT.model_copy(update={"reproducibility": "close"}), dataset, tmp_path, together=together)


WATCHED = """
import sys, time
from parak8s.training.watchdog import Watchdog
with Watchdog(1) as watchdog:
    for pause_s in map(float, sys.argv[1:]):
        time.sleep(pause_s)
        watchdog.on_steps(1, 1, 9)
"""


@pytest.mark.parametrize(("pauses_s", "code"), [((3, 4), 0), ((0.1, 20), 200)], ids=["slow steps", "a hung peer"])
def test_a_training_whose_steps_take_long_is_no_training_that_hangs(pauses_s: tuple[float, ...], code: int) -> None:
    program = [sys.executable, "-c", WATCHED, *map(str, pauses_s)]
    around = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert subprocess.run(program, env=around, check=False).returncode == code
