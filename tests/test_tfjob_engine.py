"""Whole TFJobs on this machine, with real processes of plain Python and sh: policies, addresses, faults."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from parak8s.errors import EnvironmentFault, Stopped
from parak8s.tfjobs.local import run
from tfjob_case import (
    CREATED,
    INDEX,
    PATIENCE_S,
    RAN,
    SUCCEEDED,
    Heard,
    alive,
    conditions,
    content,
    log,
    python,
    replicas,
    said,
    tfjob,
    wait_for,
    wait_until_written,
)

SLOW = "[ $INDEX = 0 ] || sleep 0.3 && echo whole"


def once(flag: Path, then: str) -> list[str]:
    """Return a command that does ``then`` the first time, and nothing later."""
    return ["sh", "-c", f"if [ ! -e {flag} ]; then touch {flag}; {then}; fi"]


def test_a_job_succeeds_with_its_first_worker_and_tells_every_change(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    job = tfjob({"Worker": replicas("true")})
    before = json.dumps(job)
    done = run(job, logs=tmp_path, on_status=told.append)
    assert json.dumps(job) == before
    assert {**done, "status": None} == {**job, "status": None}
    assert conditions(done) == [CREATED, RAN, SUCCEEDED]
    assert [conditions(each)[-1][0] for each in told] == ["Created", "Running", "Succeeded"]
    assert [each["status"]["replicaStatuses"] for each in told] == [
        {},
        {"Worker": {"active": 1}},
        {"Worker": {"succeeded": 1}},
    ]
    assert [key in told[0]["status"] for key in ("startTime", "completionTime")] == [False, False]
    assert done == told[-1]


def test_a_worker_that_may_not_start_again_fails_the_job_and_ends_the_others(tmp_path: Path) -> None:
    types = {"Chief": replicas("sleep", "600"), "Worker": replicas("sh", "-c", "exit 3")}
    done = run(tfjob(types), logs=tmp_path)
    assert conditions(done) == [
        CREATED,
        RAN,
        ("Failed", "True", "TFJobFailed", "TFJob heart/ecg has failed because 1 Worker replica(s) failed."),
    ]
    assert done["status"]["replicaStatuses"] == {"Chief": {}, "Worker": {"failed": 1}}
    assert "=== worker-0 ended with exit code 3, " in log(tmp_path, "worker-0")
    assert "=== chief-0 ended with exit code 143 (SIGTERM), " in log(tmp_path, "chief-0")


def test_a_permanent_exit_code_fails_the_job(tmp_path: Path) -> None:
    done = run(tfjob({"Worker": replicas("sh", "-c", "exit 127", policy="ExitCode")}), logs=tmp_path)
    failed = ("Failed", "True", "TFJobFailed", 'job "ecg" is failing because "Worker" replica(s) failed.')
    assert conditions(done) == [CREATED, RAN, failed]


@pytest.mark.parametrize("end", ["kill -9 $$", "exit 200"])
def test_a_retryable_exit_code_gets_a_new_pod(end: str, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    job = tfjob({"Worker": replicas(*once(tmp_path / "flag", end.replace("$$", "$$$$")), policy="ExitCode")})
    done = run(job, logs=tmp_path, on_status=told.append)
    assert [conditions(each)[-1][0] for each in told] == ["Created", "Running", "Restarting", "Running", "Succeeded"]
    restarting = ("Restarting", "True", "TFJobRestarting", "job ecg is restarting because Worker replica(s) failed.")
    assert conditions(told[2]) == [CREATED, restarting]
    assert told[2]["status"]["replicaStatuses"] == {"Worker": {"failed": 1}}
    assert told[3]["status"]["replicaStatuses"] == {"Worker": {"active": 1}}
    assert conditions(done) == [CREATED, RAN, SUCCEEDED]


def test_on_failure_starts_again_in_the_pod_so_that_the_operator_sees_nothing(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    job = tfjob({"Worker": replicas(*once(tmp_path / "flag", "exit 1"), policy="OnFailure")})
    run(job, logs=tmp_path, on_status=told.append)
    assert [conditions(each)[-1][0] for each in told] == ["Created", "Running", "Succeeded"]
    assert len(re.findall("=== worker-0, start [12], process", log(tmp_path, "worker-0"))) == 2


@pytest.mark.parametrize(("restart_policy", "end"), [("OnFailure", 1), ("ExitCode", 130), ("Always", 0)])
def test_a_job_fails_at_its_backoff_limit(restart_policy: str, end: int, tmp_path: Path) -> None:
    heard = Heard()
    types = {"Worker": replicas("sh", "-c", f"exit {end}", policy=restart_policy)}
    done = run(tfjob(types, backoffLimit=3), logs=tmp_path, narrator=heard)
    message = "Job ecg has failed because it has reached the specified backoff limit"
    assert conditions(done)[-1] == ("Failed", "True", "TFJobFailed", message)
    code = f"ended with exit code {end}"
    assert len(re.findall(code, log(tmp_path, "worker-0"))) == 3
    assert [each[3] for each in heard.events if each[0] == "ended"] == [
        "starts again",
        "starts again in 0.1 s",
        "failed",
    ]


def test_by_default_worker_0_decides_and_the_running_are_cleaned_up(tmp_path: Path) -> None:
    worker = replicas("sh", "-c", "[ $INDEX = 0 ] || exec sleep 600", count=2, env=INDEX)
    done = run(tfjob({"Worker": worker}, cleanPodPolicy="Running"), logs=tmp_path)
    assert conditions(done)[-1] == SUCCEEDED
    assert done["status"]["replicaStatuses"] == {"Worker": {"succeeded": 2}}
    assert "worker-1 ended with exit code 143 (SIGTERM)" in log(tmp_path, "worker-1")


def test_all_workers_means_all_of_them(tmp_path: Path) -> None:
    worker = replicas("sh", "-c", SLOW, count=2, env=INDEX)
    run(tfjob({"Worker": worker}, success="AllWorkers", cleanPodPolicy="All"), logs=tmp_path)
    assert said(tmp_path, "worker-1") == ["whole"]


def test_without_cleaning_up_what_still_runs_may_end_but_parameter_servers_are_stopped(tmp_path: Path) -> None:
    types = {"Worker": replicas("sh", "-c", SLOW, count=2, env=INDEX), "PS": replicas("sleep", "600")}
    done = run(tfjob(types), logs=tmp_path)
    assert said(tmp_path, "worker-1") == ["whole"]
    assert "worker-1 ended with exit code 0" in log(tmp_path, "worker-1")
    assert "ps-0 ended with exit code 143 (SIGTERM)" in log(tmp_path, "ps-0")
    assert done["status"]["replicaStatuses"] == {"PS": {"succeeded": 1}, "Worker": {"succeeded": 2}}


def test_the_chief_decides_where_there_is_one(tmp_path: Path) -> None:
    types = {
        "Chief": replicas("sleep", "0.3"),
        "Worker": replicas("true", count=2),
        "PS": replicas("sleep", "600"),
        "Evaluator": replicas("sleep", "600"),
    }
    told: list[dict[str, Any]] = []
    done = run(tfjob(types, cleanPodPolicy="All"), logs=tmp_path, on_status=told.append)
    assert conditions(done)[-1] == SUCCEEDED
    assert told[1]["status"]["replicaStatuses"] == {
        "Chief": {"active": 1},
        "Evaluator": {"active": 1},
        "PS": {"active": 1},
        "Worker": {"active": 2},
    }
    counts = [each["status"]["replicaStatuses"]["Worker"].get("succeeded", 0) for each in told[1:]]
    assert counts == sorted(counts)
    assert counts[-1] == 2


def test_a_job_that_takes_longer_than_its_deadline_fails(tmp_path: Path) -> None:
    done = run(tfjob({"Worker": replicas("sleep", "600")}, activeDeadlineSeconds=1), logs=tmp_path)
    message = "Job ecg has failed because it was active longer than specified deadline"
    assert conditions(done) == [CREATED, RAN, ("Failed", "True", "TFJobFailed", message)]
    assert done["status"]["replicaStatuses"] == {"Worker": {}}


def test_who_does_not_heed_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    deaf = replicas(
        "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done", terminationGracePeriodSeconds=1
    )
    first = python(
        f"import time\nwhile not open({str(tmp_path / 'ps-0.log')!r}).read().count('ready'): time.sleep(0.02)"
    )
    run(tfjob({"Worker": first, "PS": deaf}), logs=tmp_path)
    assert "ps-0 ended with exit code 137 (SIGKILL)" in log(tmp_path, "ps-0")


def test_no_sigterm_is_lost_however_early_it_comes(tmp_path: Path) -> None:
    server = replicas("sleep", "600", count=8, terminationGracePeriodSeconds=10)
    run(tfjob({"Worker": replicas("true"), "PS": server}), logs=tmp_path)
    ends = [re.findall("exit code ([0-9]+)", log(tmp_path, f"ps-{index}")) for index in range(8)]
    assert ends == [["143"]] * 8


def test_a_suspended_job_is_created_and_does_not_start(tmp_path: Path) -> None:
    done = run(tfjob({"Worker": replicas("true")}, suspend=True), logs=tmp_path / "logs")
    assert conditions(done) == [CREATED, ("Suspended", "True", "TFJobSuspended", "TFJob ecg is suspended.")]
    assert done["status"]["replicaStatuses"] == {}
    assert list(tmp_path.iterdir()) == []


def test_a_restarted_replica_keeps_its_port(tmp_path: Path) -> None:
    bind = (
        "import json, os, socket\n"
        "config = json.loads(os.environ['TF_CONFIG'])\n"
        "host, port = config['cluster']['worker'][0].split(':')\n"
        "server = socket.create_server((host, int(port)))\n"
        "print('bound', port)\n"
        f"flag = {str(tmp_path / 'flag')!r}\n"
        "if not os.path.exists(flag):\n"
        "    open(flag, 'w')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    types = {"Worker": python(bind, policy="ExitCode"), "PS": replicas("sleep", "600")}
    run(tfjob(types), logs=tmp_path)
    first, second = said(tmp_path, "worker-0")
    assert first == second
    assert re.fullmatch("bound [0-9]+", first)


OTHERS = """
apiVersion: "kubeflow.org/v1"
kind: "TFJob"
metadata:
  name: "dist-mnist-for-e2e-test"
spec:
  tfReplicaSpecs:
    ps:
      replicas: 2
      template:
        metadata:
          annotations: {sidecar.istio.io/inject: "false"}
        spec:
          containers:
            - name: tensorflow
              image: kubeflow/tf-dist-mnist-test:1.0
              command: [sh, -c, "sleep 600"]
              ports: [{containerPort: 2222, name: tfjob-port}]
              resources: {limits: {cpu: "1"}}
    worker:
      replicas: 4
      restartPolicy: OnFailure
      template:
        spec:
          volumes: [{name: training, persistentVolumeClaim: {claimName: strategy-volume}}]
          containers:
            - name: tensorflow
              image: kubeflow/tf-dist-mnist-test:1.0
              command: ["/bin/sh", "-c"]
              args: ['echo "$(GREETING), $0 of $TF_CONFIG"', "$(ME)"]
              env:
                - {name: GREETING, value: hello}
                - {name: ME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
              volumeMounts: [{mountPath: /train, name: training}]
"""


def test_a_job_that_others_wrote_runs(tmp_path: Path) -> None:
    done = run(yaml.safe_load(OTHERS), logs=tmp_path)
    assert conditions(done)[-1][3] == "TFJob default/dist-mnist-for-e2e-test successfully completed."
    assert done["status"]["replicaStatuses"] == {"PS": {"succeeded": 2}, "Worker": {"succeeded": 4}}
    (line,) = said(tmp_path, "worker-3")
    greeting, _, config = line.partition(" of ")
    assert greeting == "hello, dist-mnist-for-e2e-test-worker-3"
    found = json.loads(config)
    assert found["task"] == {"type": "worker", "index": 3}
    assert {kind: len(hosts) for kind, hosts in found["cluster"].items()} == {"ps": 2, "worker": 4}


def test_the_status_is_what_kubeflows_client_reads(tmp_path: Path) -> None:
    from kubeflow.training import models
    from kubeflow.training.api_client import ApiClient
    from kubeflow.training.utils.utils import FakeResponse

    types = {"Worker": replicas("true", count=2), "PS": replicas("sleep", "60")}
    done = run(tfjob(types, success="AllWorkers"), logs=tmp_path)
    job = ApiClient().deserialize(FakeResponse(done), models.KubeflowOrgV1TFJob)
    assert [(each.type, each.status) for each in job.status.conditions] == [
        ("Created", "True"),
        ("Running", "False"),
        ("Succeeded", "True"),
    ]
    assert job.status.replica_statuses["Worker"].succeeded == 2
    assert job.status.start_time <= job.status.completion_time <= datetime.now(UTC)
    assert ApiClient().sanitize_for_serialization(job)["status"]["replicaStatuses"] == {
        "PS": {"succeeded": 1},
        "Worker": {"succeeded": 2},
    }


TALK = """
import json, os, socket, time
config = json.loads(os.environ["TF_CONFIG"])
me, others = config["task"]["index"], config["cluster"]["worker"]
host, port = others[0].split(":")
if me == 0:
    server = socket.create_server((host, int(port)))
    for _ in others[1:]:
        link, _ = server.accept()
        print("heard", link.makefile().readline().strip())
else:
    while True:
        try:
            link = socket.create_connection((host, int(port)))
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
    link.sendall(f"worker {me}\\n".encode())
"""


def test_replicas_reach_each_other_under_the_addresses_of_tf_config(tmp_path: Path) -> None:
    done = run(tfjob({"Worker": python(TALK, count=3)}), logs=tmp_path)
    assert sorted(said(tmp_path, "worker-0")) == ["heard worker 1", "heard worker 2"]
    assert conditions(done)[-1] == SUCCEEDED


FAMILY = """
import os, subprocess, sys, time
here = {here!r}
if os.path.exists(here + "/flag"):
    sys.exit()
child = subprocess.Popen(["sleep", "600"])
stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
with open(here + "/family.partial", "w") as file:
    file.write(f"{{os.getpid()}} {{child.pid}} {{stranger.pid}} {{os.getppid()}}")
open(here + "/flag", "w")
os.rename(here + "/family.partial", here + "/family")
time.sleep(600)
"""


def family(folder: Path) -> list[int]:
    """Wait for the replica of :data:`FAMILY`; return its process, child, a child with its own session, its keeper."""
    return [int(pid) for pid in wait_for(lambda: content(folder / "family")).split()]


def in_background(act: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


@pytest.mark.parametrize("victim", [0, 3], ids=["replica", "keeper"])
def test_a_replica_that_is_killed_takes_its_children_along_and_starts_again(victim: int, tmp_path: Path) -> None:
    seen: list[int] = []

    def kill() -> None:
        seen.extend(family(tmp_path))
        os.kill(seen[victim], signal.SIGKILL)

    killer = in_background(kill)
    worker = python(FAMILY.format(here=str(tmp_path)), policy="ExitCode")
    done = run(tfjob({"Worker": worker}), logs=tmp_path)
    killer.join()
    assert conditions(done)[-1] == SUCCEEDED
    assert "worker-0 ended with exit code 137 (SIGKILL)" in log(tmp_path, "worker-0")
    assert [pid for pid in seen[: 3 if victim == 0 else 2] if alive(pid)] == []
    if victim == 3:
        os.kill(seen[2], signal.SIGKILL)  # nobody is left who knew of it


ENGINE = """
import json, os, sys, time
from pathlib import Path
from parak8s.errors import Stopped
from parak8s.tfjobs.local import run
folder = Path(sys.argv[1])
def write(job):
    (folder / "tfjob.json").write_text(json.dumps(job))
    if len(sys.argv) > 3 and job["status"]["conditions"][-1]["type"] == "Running" and not os.fork():
        (folder / "fork").write_text(str(os.getpid()))
        time.sleep(600)
try:
    run(json.loads(sys.argv[2]), logs=folder, on_status=write)
except Stopped as stop:
    print(stop)
    sys.exit(stop.exit_code)
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start an engine as a process of its own."""
    found: list[subprocess.Popen[str]] = []

    def start(job: dict[str, Any], *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", ENGINE, str(tmp_path), json.dumps(job), *options]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        found.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        return found[-1]

    yield start
    for process in found:
        process.kill()
        process.communicate()


def test_an_engine_that_is_killed_leaves_nobody_behind(tmp_path: Path, engine: Any) -> None:
    process = engine(tfjob({"Worker": python(FAMILY.format(here=str(tmp_path)))}))
    pids = family(tmp_path)
    assert [pid for pid in pids if alive(pid)] == pids
    process.kill()
    wait_for(lambda: not any(map(alive, pids)))


def test_forks_of_a_killed_engine_keep_no_replica_alive(tmp_path: Path, engine: Any) -> None:
    process = engine(tfjob({"Worker": python(FAMILY.format(here=str(tmp_path)))}), "with a fork")
    pids = family(tmp_path)
    fork = int(wait_for(lambda: content(tmp_path / "fork")))
    process.kill()
    wait_for(lambda: not any(map(alive, pids)))
    assert alive(fork)
    os.kill(fork, signal.SIGKILL)


SAVES = """
import signal, sys, time
def save(*_):
    print("saved")
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
print("ready")
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_engine_lets_all_replicas_save_and_says_so(
    number: signal.Signals, tmp_path: Path, engine: Any
) -> None:
    process = engine(tfjob({"Worker": python(SAVES, count=2, policy="ExitCode")}))
    for name in ("worker-0", "worker-1"):
        wait_until_written("ready\n", tmp_path / f"{name}.log")
    process.send_signal(number)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (
        128 + number,
        f"{number.name} stopped the job ecg; all replicas have ended\n",
    )
    assert [said(tmp_path, name) for name in ("worker-0", "worker-1")] == [["ready", "saved"]] * 2
    message = f"TFJob ecg is suspended: {number.name} stopped the engine."
    status = json.loads((tmp_path / "tfjob.json").read_text())
    assert conditions(status) == [
        CREATED,
        ("Running", "False", "TFJobSuspended", message),
        ("Suspended", "True", "TFJobSuspended", message),
    ]
    assert status["status"]["replicaStatuses"] == {"Worker": {}}


def test_the_second_signal_kills(tmp_path: Path, engine: Any) -> None:
    deaf = (
        "import signal, time\nsignal.signal(15, lambda *_: print('heard'))\nprint('ready')\nwhile True: time.sleep(9)"
    )
    process = engine(tfjob({"Worker": python(deaf)}))
    wait_until_written("ready\n", tmp_path / "worker-0.log")
    process.send_signal(signal.SIGINT)
    wait_until_written("heard", tmp_path / "worker-0.log")
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 130
    assert "worker-0 ended with exit code 137 (SIGKILL)" in log(tmp_path, "worker-0")


def test_ctrl_c_in_a_program_that_goes_on_works_as_before_afterwards(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]

    def interrupt() -> None:
        wait_until_written("ready\n", tmp_path / "worker-0.log")
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = in_background(interrupt)
    with pytest.raises(Stopped) as stop:
        run(tfjob({"Worker": python(SAVES)}), logs=tmp_path)
    interrupter.join()
    assert stop.value.exit_code == 130
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_what_the_caller_raises_ends_the_job(tmp_path: Path) -> None:
    def refuse(job: dict[str, Any]) -> None:
        if conditions(job)[-1][0] == "Running":
            seen.extend(family(tmp_path))
            raise LookupError("enough")

    seen: list[int] = []
    with pytest.raises(LookupError, match="enough"):
        run(tfjob({"Worker": python(FAMILY.format(here=str(tmp_path)))}), logs=tmp_path, on_status=refuse)
    assert len(seen) == 4
    assert [pid for pid in seen if alive(pid)] == []


def test_logs_that_cannot_be_written_are_a_fault_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(EnvironmentFault, match="logs"):
        run(tfjob({"Worker": replicas("true")}), logs=tmp_path / "logs")


def test_a_program_that_cannot_be_executed_ends_with_the_code_of_a_container_that_cannot_start(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(b"\x7fnot a program")
    (tmp_path / "program").chmod(0o755)
    run(tfjob({"Worker": replicas(str(tmp_path / "program"))}), logs=tmp_path)
    assert said(tmp_path, "worker-0") == [f"{tmp_path / 'program'}: Exec format error"]
    assert "worker-0 ended with exit code 128, " in log(tmp_path, "worker-0")
