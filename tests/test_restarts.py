"""A job that gets nowhere ends: the leader's starts are counted in the folder that all of them see."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from parak8s.claims import Claim, refuse_busy, refuse_foreign
from parak8s.errors import EnvironmentFault, InputError
from parak8s.experiment import Experiment, documents
from parak8s.layout import Layout
from parak8s.loading import parse
from parak8s.rendezvous import PeerLost, PeerMissing
from parak8s.restarts import counted
from parak8s.steps.pretrained import as_begun
from parak8s.tfjobs import local
from parak8s.training.interruption import Interrupted, termination, told_first
from tfjob_case import PATIENCE_S

TEXT = """
name: x
data: {loader: ecg, source: "synthetic://ecg"}
model: {builder: deep_cnn}
compute: {workers: 2, job: {rendezvous_s: 1}}
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def point(*settings: str) -> Experiment:
    return parse(TEXT, "x", list(settings))


def start(
    layout: Layout,
    experiment: Experiment,
    error: Exception | None = None,
    number: signal.Signals = signal.SIGKILL,
) -> None:
    """Start once, and end with an error; with none, by a signal."""
    if error is not None:
        with pytest.raises(type(error)), counted(layout, experiment):
            raise error
        return
    child = os.fork()
    if not child:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(143))  # as parak8s replica has it
        with counted(layout, experiment):
            os.kill(os.getpid(), number)
            time.sleep(60)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == {signal.SIGKILL: -9, signal.SIGTERM: 143}[number]


def is_given_up(layout: Layout, experiment: Experiment) -> bool:
    try:
        with counted(layout, experiment):
            return False
    except EnvironmentFault as error:
        return "times in a row without an epoch or a step of the run" in str(error)


def test_after_six_fruitless_restarts_the_job_ends_and_may_be_created_again(layout: Layout) -> None:
    for _ in range(7):
        start(layout, point())
    with pytest.raises(
        EnvironmentFault, match="started 7 times in a row without an epoch or a step of the run"
    ) as given_up:
        start(layout, point(), InputError(""))
    assert given_up.value.exit_code == 1
    assert not is_given_up(layout, point())


@pytest.mark.parametrize(("limit", "starts"), [(1, 2), (2, 3)])
def test_the_file_says_how_often_to_try(layout: Layout, limit: int, starts: int) -> None:
    experiment = point(f"compute.job.backoff_limit={limit}")
    for _ in range(starts):
        start(layout, experiment)
    assert is_given_up(layout, experiment)


@pytest.mark.parametrize(
    "made",
    [
        ".training.partial/checkpoints/ckpt-3.index",
        ".training.partial/pause/4-16.index",
        ".training.partial/alone/checkpoints/ckpt-1.index",
        "dataset/step.json",
    ],
)
def test_what_is_done_in_between_begins_the_count_anew(layout: Layout, made: str) -> None:
    for _ in range(7):
        start(layout, point())
    path = layout.root / made
    path.parent.mkdir(parents=True)
    path.touch()
    assert not is_given_up(layout, point())


def test_a_job_with_more_memory_is_another_try(layout: Layout) -> None:
    for _ in range(7):
        start(layout, point("compute.memory=8Gi"))
    assert not is_given_up(layout, point("compute.memory=16Gi"))


@pytest.mark.parametrize(
    ("error", "given_up"),
    [
        (PeerLost("lost"), True),
        (PeerMissing("the cluster is full"), False),
        (Interrupted(1, 0, 10), False),
        (InputError("the job is over"), False),
    ],
)
def test_only_starts_that_may_be_at_fault_count(layout: Layout, error: Exception, given_up: bool) -> None:
    for _ in range(7):
        start(layout, point(), error)
    assert is_given_up(layout, point()) is given_up


def test_to_be_asked_to_stop_counts_for_nothing(layout: Layout) -> None:
    for _ in range(7):
        start(layout, point(), number=signal.SIGTERM)
    assert not is_given_up(layout, point())


def test_a_training_that_is_asked_to_stop_and_loses_a_peer_before_it_can_counts_for_nothing(layout: Layout) -> None:
    def training() -> None:
        with counted(layout, point()), termination() as asked:
            os.kill(os.getpid(), signal.SIGTERM)
            assert asked()
            raise PeerLost("ps-0")

    for _ in range(7):
        with pytest.raises(PeerLost):
            training()
    assert not is_given_up(layout, point())


def test_a_full_disk_does_not_keep_a_training_from_stopping(layout: Layout) -> None:
    def cannot_write() -> None:
        raise OSError(28, "No space left on device")

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # whoever hears of it after the training
    try:
        with told_first(cannot_write), termination() as asked:
            os.kill(os.getpid(), signal.SIGTERM)
            assert asked()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_refused_folder_is_left_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(InputError), counted(Layout(tmp_path / "new"), point()):
        raise InputError("no such source")
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_was_killed_while_it_wrote_does_not_stand_in_the_way(layout: Layout) -> None:
    (layout.root / f"..starts.json.{uuid.uuid4().hex}").touch()
    refuse_foreign(layout)
    (layout.root / ".starts.json.old").touch()
    with pytest.raises(InputError, match=r"holds '\.starts\.json\.old' and no run"):
        refuse_foreign(layout)


def test_a_start_that_ends_well_leaves_nothing(layout: Layout) -> None:
    start(layout, point())
    with counted(layout, point()):
        assert json.loads(layout.starts.read_text())["starts"] == 2
    assert not layout.root.exists()  # it was empty


def test_a_job_without_a_bound_of_its_own_ends_when_its_memory_is_never_enough(tmp_path: Path) -> None:
    """The engine restarts after 137 as the operator does, which counts nothing."""
    root = tmp_path / "run"
    program = (
        "import os, sys\n"
        "from parak8s.restarts import counted\n"
        "from parak8s.layout import Layout\n"
        "from parak8s.loading import parse\n"
        "from parak8s.errors import EnvironmentFault\n"
        "from pathlib import Path\n"
        "try:\n"
        "    with counted(Layout(Path(sys.argv[1])), parse(sys.argv[2], 'x', ['compute.job.backoff_limit=2'])):\n"
        "        os._exit(137)\n"
        "except EnvironmentFault as error:\n"
        "    sys.exit(error.exit_code)\n"
    )
    container = {"name": "tensorflow", "command": [sys.executable, "-c", program, str(root), TEXT]}
    worker = {"replicas": 1, "restartPolicy": "ExitCode", "template": {"spec": {"containers": [container]}}}
    job: dict[str, Any] = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": {"name": "x"},
        "spec": {"runPolicy": {"backoffLimit": 1000}, "tfReplicaSpecs": {"Worker": worker}},
    }
    codes: list[int] = []

    class Listener(local.Quiet):
        def ended(self, replica: str, code: int, then: str) -> None:
            codes.append(code)

    ended = local.run(job, logs=tmp_path / "logs", narrator=Listener())
    assert codes == [137, 137, 137, 1]
    assert [each["type"] for each in ended["status"]["conditions"] if each["status"] == "True"][-1] == "Failed"


@pytest.mark.parametrize("workers", [1, 2])
def test_the_leader_of_a_job_counts_its_starts_before_it_loads_tensorflow(workers: int, tmp_path: Path) -> None:
    experiment, layout = parse(TEXT, "x"), Layout(tmp_path / "run")
    for _ in range(7):
        start(layout, experiment)
    cluster = {"worker": [f"127.0.0.1:{2222 + index}" for index in range(workers)]}
    config = {"cluster": cluster, "task": {"type": "worker", "index": 0}}
    (tmp_path / "away" / "tensorflow").mkdir(parents=True)
    (tmp_path / "away" / "tensorflow" / "__init__.py").write_text("raise MemoryError")
    environment = os.environ | {"TF_CONFIG": json.dumps(config), "PYTHONPATH": str(tmp_path / "away")}
    command = [sys.executable, "-m", "parak8s.cli", "replica", TEXT, "-o", str(layout.root)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert f"parak8s: {layout.root}: started 7 times in a row" in done.stderr


def test_a_training_without_a_certificate_is_not_certified_afterwards(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "run.json").write_text("{}")
    command = [sys.executable, "-m", "parak8s.cli", "replica", TEXT, "-o", str(tmp_path), "--certify"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert f"{tmp_path}: was trained without --certify; give another folder with -o" in done.stderr


def test_a_job_that_may_not_start_again_counts_nothing(layout: Layout) -> None:
    for _ in range(3):
        start(layout, point("compute.job.backoff_limit=0"), PeerLost("worker-1"))
    assert list(layout.root.iterdir()) == []


def test_the_lock_of_a_machine_that_was_lost_is_waited_for(layout: Layout) -> None:
    claim = Claim(layout, point(), "ecg-1", "sha256:0")
    with layout.root.joinpath(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EnvironmentFault, match="another run is working here"), claim.held(unless=[]):
            pass
        with pytest.raises(EnvironmentFault, match="another run is working here"):
            refuse_busy(layout)
        threading.Timer(1, fcntl.flock, (lock, fcntl.LOCK_UN)).start()
        with claim.held(unless=[], wait_s=PATIENCE_S):
            assert json.loads(layout.identity.read_text())["fingerprint"] == "ecg-1"
    refuse_busy(layout)


@pytest.mark.parametrize(
    ("begun", "weights", "goes_on_with"),
    [
        ("models:/x/3", "models:/x@champion", "models:/x/3"),
        ("models:/x/3", "models:/x/4", "models:/x/4"),
        ("models:/y/3", "models:/x@champion", "models:/x@champion"),
        (None, "models:/x@champion", "models:/x@champion"),
        ("models:/x/3", "best.keras", "best.keras"),
    ],
)
def test_a_job_goes_on_with_the_weights_that_it_began_with(
    tmp_path: Path, begun: str | None, weights: str, goes_on_with: str
) -> None:
    network, written = "model={builder: transfer, params: {weights: '%s'}}", tmp_path / "experiment.yaml"
    if begun is not None:
        at_first = point(
            network % begun,
            "data.options.normalize=none",
            "data.loader=xray",
            f"model.params.weights_digest=sha256:{'1' * 64}",
        )
        written.write_text(documents.dump(at_first.canonical()))
    now = as_begun(point(network % weights, "data.options.normalize=none", "data.loader=xray"), written)
    assert now.model.params["weights"] == goes_on_with
    assert now.model.params.get("weights_digest") == (f"sha256:{'1' * 64}" if "x/3" in goes_on_with else None)
