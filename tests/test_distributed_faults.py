"""Twenty kills at random moments for each way of training, and a peer that hangs. Takes minutes."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import team_case
from parak8s.tfjobs import local
from test_distributed import assert_all_were_counted, job, outcomes, trained

pytestmark = pytest.mark.slow

KILLS, OF_A_JOB, JOBS = 20, 5, 20
"""How many kills in all; in one job at most, as one may be over before; and of how many jobs at most."""
LAST_S = 30.0
"""Longest time from one kill to the next: a replica starts, meets, trains and ends within it."""


LONG = {"epochs": 40, "early_stopping": None}


class Killer(local.Quiet):
    """Kills a random replica with -9 at a random moment, a few times; it knows the processes from the engine."""

    def __init__(self, seed: int, kills: int) -> None:
        self.random, self.left = random.Random(seed), kills
        self.running: dict[str, int] = {}
        self.over = threading.Event()
        self.shots: list[str] = []

    def began(self, replica: str, start: int, process: int) -> None:
        self.running[replica] = process

    def ended(self, replica: str, code: int, then: str) -> None:
        self.running.pop(replica, None)

    def kill(self) -> None:
        while self.left and not self.over.wait(self.random.uniform(0.1, LAST_S)):
            victim = self.random.choice(sorted(self.running) or [""])
            if victim:
                os.kill(self.running[victim], signal.SIGKILL)
                self.shots.append(victim)
                self.left -= 1


def shot_at(directory: Path, dataset: Path, replicas: dict[str, int], killer: Killer, **settings: Any) -> None:
    """Run a job under fire until it has succeeded."""
    directory.mkdir()
    thread = threading.Thread(target=killer.kill)
    thread.start()
    try:
        ended = local.run(
            job(directory, dataset, replicas, settings, backoff=1000), logs=directory / "logs", narrator=killer
        )
    finally:
        killer.over.set()
        thread.join()
    states = [each["type"] for each in ended["status"]["conditions"] if each["status"] == "True"]
    assert states[-1] == "Succeeded", [path.read_text()[-2000:] for path in (directory / "logs").iterdir()]


def under_fire(tmp_path: Path, dataset: Path, replicas: dict[str, int], **settings: Any) -> Iterator[Path]:
    """Yield the folders of jobs that have succeeded all the same, until all kills are done."""
    left = KILLS
    for seed in range(JOBS):
        killer = Killer(seed, min(left, OF_A_JOB))
        shot_at(tmp_path / str(seed), dataset, replicas, killer, **settings)
        print(seed, killer.shots)
        left -= len(killer.shots)
        yield tmp_path / str(seed)
        if not left:
            return
    pytest.fail(f"{left} kills were left after {JOBS} jobs")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return team_case.prepare(tmp_path_factory.mktemp("data") / "dataset", train=2000)


@pytest.mark.parametrize("devices", [1, 2])
def test_devices_of_one_machine_lose_nothing_to_random_kills(devices: int, dataset: Path, tmp_path: Path) -> None:
    settings = LONG | {"devices": devices}
    unbroken = trained(tmp_path / "unbroken", dataset, {"Worker": 1}, **settings)
    assert unbroken["alone"]["replicas"] == devices
    for folder in under_fire(tmp_path, dataset, {"Worker": 1}, **settings):
        assert outcomes(folder) == unbroken


def test_workers_in_step_lose_nothing_to_random_kills(dataset: Path, tmp_path: Path) -> None:
    unbroken = trained(tmp_path / "unbroken", dataset, {"Worker": 2}, **LONG)
    for folder in under_fire(tmp_path, dataset, {"Worker": 2}, **LONG):
        assert outcomes(folder) == unbroken


def test_parameter_servers_go_on_after_random_kills(dataset: Path, tmp_path: Path) -> None:
    for folder in under_fire(tmp_path, dataset, {"Chief": 1, "Worker": 2, "PS": 1}, **LONG):
        chief = outcomes(folder)["chief-0"]
        assert_all_were_counted(chief, examples=2000)
        assert [epoch["epoch"] for epoch in chief["epochs"]] == list(range(1, 41))
        assert chief["epochs"][-1]["loss"] < chief["epochs"][0]["loss"] / 2


def test_a_peer_that_hangs_is_left_and_the_job_goes_on_without_it(dataset: Path, tmp_path: Path) -> None:
    """Nobody restarts a process that does not end; but the others must not wait for ever, and say why they leave."""
    directory = tmp_path / "d"
    directory.mkdir()

    class Nurse(local.Quiet):
        """Kills the hanging replica when its peer has left."""

        process, left = 0, False

        def began(self, replica: str, start: int, process: int) -> None:
            self.process = process if replica == "worker-1" else self.process

        def ended(self, replica: str, code: int, then: str) -> None:
            if replica == "worker-0" and code == 200 and not self.left:
                self.left = True
                os.kill(self.process, signal.SIGKILL)

    nurse, started = Nurse(), time.monotonic()
    shots = [["worker-1", 2, 4, "SIGSTOP", "worker-1"]]
    local.run(
        job(directory, dataset, {"Worker": 2}, {**LONG, "epochs": 3, "shots": shots}),
        logs=directory / "logs",
        narrator=nurse,
    )
    assert nurse.left, (directory / "logs" / "worker-0.log").read_text()
    print(f"{time.monotonic() - started:.0f} s")
    assert len(outcomes(directory)["worker-0"]["epochs"]) == 3
