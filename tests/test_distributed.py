"""Many workers train what one trains, and go on where they were shot: real processes, run by the laptop engine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import team_case
from parak8s.tfjobs import local

Outcome = dict[str, Any]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return team_case.prepare(tmp_path_factory.mktemp("data") / "dataset")


def job(
    directory: Path, dataset: Path, replicas: dict[str, int], settings: dict[str, Any], backoff: int = 20
) -> dict[str, Any]:
    """Return the TFJob that trains on these replicas, as others write theirs: any command."""
    command = [sys.executable, str(Path(team_case.__file__)), str(dataset), str(directory), json.dumps(settings)]
    environment = [
        {"name": "PYTHONPATH", "value": ":".join(path for path in sys.path if path)},
        {"name": "TF_CPP_MIN_LOG_LEVEL", "value": "2"},
    ]
    container = {"name": "tensorflow", "command": command, "env": environment}
    specs = {
        role: {"replicas": count, "restartPolicy": "ExitCode", "template": {"spec": {"containers": [container]}}}
        for role, count in replicas.items()
    }
    run_policy = {"backoffLimit": backoff, "cleanPodPolicy": "Running"}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": {"name": "team"},
        "spec": {"runPolicy": run_policy, "tfReplicaSpecs": specs},
    }


def trained(directory: Path, dataset: Path, replicas: dict[str, int], **settings: Any) -> Outcome:
    """Return what each replica says came of it, by name; what they wrote is shown where one fails."""
    directory.mkdir()
    return succeeded(job(directory, dataset, replicas, settings), directory)


def succeeded(team: dict[str, Any], directory: Path) -> Outcome:
    ended = local.run(team, logs=directory / "logs")
    states = [each["type"] for each in ended["status"]["conditions"] if each["status"] == "True"]
    logs = "\n".join(f"{path.name}:\n{path.read_text()[-3000:]}" for path in sorted((directory / "logs").iterdir()))
    assert states[-1] == "Succeeded", logs
    return outcomes(directory)


def each_in_a_folder_of_its_own(team: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Let the chief find ``directory`` where it works, and the others a folder with nothing in it."""
    team = json.loads(json.dumps(team).replace(json.dumps(str(directory)), '"."'))
    for role, spec in team["spec"]["tfReplicaSpecs"].items():
        home = directory if role == "Chief" else directory / f"of-{role}"
        home.mkdir(exist_ok=True)
        spec["template"]["spec"]["containers"][0]["workingDir"] = str(home)
    return team


def outcomes(directory: Path) -> Outcome:
    """Return what each replica wrote at its end, by name."""
    return {path.stem.removeprefix("told-"): json.loads(path.read_text()) for path in directory.glob("told-*.json")}


@pytest.fixture(scope="module")
def alone(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return trained(tmp_path_factory.mktemp("one") / "d", dataset, {"Worker": 1})["alone"]


@pytest.fixture(scope="module")
def two(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return trained(tmp_path_factory.mktemp("two") / "d", dataset, {"Worker": 2})


def losses(outcome: Outcome) -> list[float]:
    return [epoch[name] for epoch in outcome["epochs"] for name in ("loss", "val_loss")]


def test_two_workers_have_the_losses_of_one(alone: Outcome, two: Outcome) -> None:
    """With augmentation, dropout, batch normalization, a regularizer, clipping, class weights, early stopping and the
    best epoch's weights; in batches of 31, the last of 7."""
    leader = two["worker-0"]
    assert (leader["replicas"], alone["replicas"]) == (2, 1)
    assert (len(leader["epochs"]), leader["kept"], leader["stopped_early"]) == (3, 1, True)
    assert losses(leader) == pytest.approx(losses(alone), rel=1e-5)
    for name in ("accuracy", "val_accuracy", "val_auc", "val_f1"):
        assert [epoch[name] for epoch in leader["epochs"]] == [epoch[name] for epoch in alone["epochs"]]
    distance = np.linalg.norm(np.subtract(leader["weights"], alone["weights"])) / np.linalg.norm(alone["weights"])
    assert distance < 1e-4


def test_all_workers_end_with_the_same_bits(two: Outcome) -> None:
    assert two["worker-1"] == two["worker-0"]


def test_two_workers_have_the_losses_of_one_where_groups_are_normalized_apart(dataset: Path, tmp_path: Path) -> None:
    """A worker has one of the two groups of 31 examples; the last 7 are one group, which both have rows of."""
    settings = {"epochs": 2, "early_stopping": None, "virtual_batch_size": 16}
    one = trained(tmp_path / "one", dataset, {"Worker": 1}, **settings)["alone"]
    both = trained(tmp_path / "two", dataset, {"Worker": 2}, **settings)
    assert losses(both["worker-0"]) == pytest.approx(losses(one), rel=1e-5)
    assert both["worker-1"] == both["worker-0"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "rounding"),
    [
        ({"precision": "mixed_bfloat16"}, 0.02),
        ({"precision": "mixed_float16"}, 0.02),
        ({"fine_tune": {"layers": 2, "epochs": 2, "learning_rate": 0.01}}, 1e-5),
    ],
    ids=["bfloat16", "float16", "two stages"],
)
def test_two_workers_train_as_one_does_also_with(
    settings: dict[str, Any], rounding: float, dataset: Path, tmp_path: Path
) -> None:
    common = {"epochs": 2, "early_stopping": None, "keep_best": None}
    one = trained(tmp_path / "one", dataset, {"Worker": 1}, **common, **settings)["alone"]
    both = trained(tmp_path / "two", dataset, {"Worker": 2}, **common, **settings)
    stages = [epoch["stage"] for epoch in one["epochs"]]
    assert stages == ([1, 1, 2, 2] if "fine_tune" in settings else [1, 1])
    assert losses(both["worker-0"]) == pytest.approx(losses(one), rel=rounding)
    assert both["worker-1"] == both["worker-0"]


SHOTS = [
    ["worker-1", 1, 2, "SIGKILL", "worker-1"],
    ["worker-0", 2, 2, "SIGKILL", "worker-0"],
    ["worker-1", 3, 2, "SIGTERM", "worker-1"],
]
"""A worker dies, the leader dies, a worker is asked to stop: then the step is remembered, not only the epoch."""


def test_a_job_that_is_shot_three_times_ends_with_the_bits_of_one_that_is_not(
    dataset: Path, two: Outcome, tmp_path: Path
) -> None:
    outcome = trained(tmp_path / "d", dataset, {"Worker": 2}, shots=SHOTS)
    assert len(list((tmp_path / "d").glob("shot-*"))) == len(SHOTS)
    assert outcome["worker-0"] == two["worker-0"]
    assert outcome["worker-1"] == two["worker-1"]
    said = (tmp_path / "d" / "logs" / "worker-0.log").read_text()
    assert "asked to stop after 2 of 4 steps of epoch 3" in said


def assert_all_were_counted(outcome: Outcome, examples: int) -> None:
    """An epoch that lacks a batch, or has one twice, would have right answers in another number than ``examples``."""
    right = np.array([epoch["accuracy"] for epoch in outcome["epochs"]]) * examples
    np.testing.assert_allclose(right, right.round(), atol=1e-6)


def test_parameter_servers_train_and_survive_the_loss_of_a_worker_of_a_server_and_of_the_chief(
    dataset: Path, alone: Outcome, tmp_path: Path
) -> None:
    shots = [
        ["chief-0", 2, 2, "SIGKILL", "worker-1"],
        ["chief-0", 3, 2, "SIGKILL", "chief-0"],
        ["chief-0", 4, 2, "SIGKILL", "ps-0"],
    ]
    settings = {"shots": shots, "epochs": 5, "early_stopping": None}
    team = job(tmp_path, dataset, {"Chief": 1, "Worker": 2, "PS": 1}, settings)
    chief = succeeded(each_in_a_folder_of_its_own(team, tmp_path), tmp_path)["chief-0"]
    assert not [path for role in ("PS", "Worker") for path in (tmp_path / f"of-{role}").iterdir()]
    assert len(chief["epochs"]) == 5
    assert_all_were_counted(chief, examples=100)
    first, last = (chief["epochs"][index]["loss"] for index in (0, -1))
    assert last < first / 2
    assert len(list(tmp_path.glob("shot-*"))) == len(shots)
    assert chief["epochs"][0]["loss"] == pytest.approx(alone["epochs"][0]["loss"], rel=0.3)


def test_parameter_servers_stay_until_the_chief_has_saved_when_the_whole_job_is_asked_to_stop(
    dataset: Path, tmp_path: Path
) -> None:
    everybody = ("ps-0", "worker-0", "worker-1", "chief-0")
    shots = [["chief-0", 2, 2, "SIGTERM", victim] for victim in everybody]
    trained(tmp_path / "d", dataset, {"Chief": 1, "Worker": 2, "PS": 1}, shots=shots, epochs=3, early_stopping=None)
    assert len(list((tmp_path / "d").glob("shot-*"))) == len(shots)
    said = (tmp_path / "d" / "logs" / "chief-0.log").read_text()
    assert re.search(r"asked to stop after \d of 4 steps of epoch [23]; all is saved", said), said


def test_a_step_that_was_handed_out_is_no_progress_until_a_worker_has_taken_it(dataset: Path) -> None:
    program = [sys.executable, str(Path(__file__).with_name("coordinated_case.py")), str(dataset)]
    around = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(program, env=around, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    held, whole = json.loads(done.stdout.splitlines()[-1])
    assert held == []
    assert whole == [[1, 4], [2, 4], [3, 4], [4, 4]]
