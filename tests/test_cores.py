"""Replicas that compute in step on one machine have cores of their own, as many each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from joblib import cpu_count

from parak8s.team import Team
from parak8s.training.cores import share_of

HERE = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]


def team(role: str, index: int, **cluster: list[str]) -> Team:
    found = Team.from_environment(
        {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": role, "index": index}})}
    )
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("cores", "shares"),
    [
        ([0, 1, 2], [[0], [1], [2]]),
        ([1, 2, 4, 5, 7, 8, 9, 11], [[1, 2], [4, 5], [7, 8]]),
        ([0, 1], [[], [], []]),
        ([], [[], [], []]),
    ],
)
def test_each_replica_in_step_has_as_many_cores_as_each_other(cores: list[int], shares: list[list[int]]) -> None:
    who = [("chief", 0), ("worker", 0), ("worker", 1)]
    found = [share_of(team(*each, chief=HERE[:1], worker=HERE[1:]), cores) for each in who]
    assert found == shares


@pytest.mark.parametrize(
    "cluster",
    [
        {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]},
        {"worker": ["ecg-worker-0.ml.svc:2222", "127.0.0.1:2222"]},
        {"chief": HERE[:1], "worker": HERE[1:2], "ps": HERE[2:]},
    ],
    ids=["two machines", "another machine", "parameter servers"],
)
def test_other_replicas_may_use_all_cores(cluster: dict[str, list[str]]) -> None:
    assert share_of(team("worker", 0, **cluster), range(8)) == []


def test_evaluators_take_no_cores() -> None:
    assert share_of(team("worker", 1, worker=["localhost:1", "[::1]:2"], evaluator=HERE[:1]), range(4)) == [2, 3]


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two cores, and Linux"
)
def test_a_replica_keeps_to_its_share() -> None:
    program = (
        "import os; from parak8s.team import Team; from parak8s.training.cores import take_share; "
        "take_share(Team.from_environment()); print(sorted(os.sched_getaffinity(0)))"
    )
    told = {"cluster": {"worker": HERE[:2]}, "task": {"type": "worker", "index": 1}}
    around = os.environ | {"TF_CONFIG": json.dumps(told), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", program], env=around, capture_output=True, text=True, check=True)
    cores = sorted(os.sched_getaffinity(0))
    assert json.loads(done.stdout) == cores[len(cores) // 2 : len(cores) // 2 * 2]


THREADS = """
import os
from pathlib import Path
from parak8s.loading import parse
from parak8s.training import determinism

determinism.prepare(parse("{name: x, data: {loader: ecg, source: 'synthetic://ecg'}, model: {builder: deep_cnn}}", "x"))
import tensorflow as tf

(tf.ones((300, 300)) @ tf.ones((300, 300))).numpy()
names = [Path(f"/proc/self/task/{task}/comm").read_text().strip() for task in os.listdir("/proc/self/task")]
print(names.count("tf_Compute"))
"""


@pytest.mark.skipif(not Path("/proc/self").is_dir() or cpu_count() == 1, reason="needs Linux, 2 cores")
@pytest.mark.parametrize(("limit", "threads"), [({"LOKY_MAX_CPU_COUNT": "1"}, 1), ({}, cpu_count())])
def test_tensorflow_takes_a_thread_for_each_core_of_a_containers_limit(limit: dict[str, str], threads: int) -> None:
    """The variable stands for the limit of a cgroup, which joblib reads."""
    around = {name: value for name, value in os.environ.items() if not name.startswith("TF_NUM_")} | limit
    command = [sys.executable, "-c", THREADS]
    done = subprocess.run(command, env=around, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) == threads
