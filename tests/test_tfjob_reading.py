"""How the laptop engine reads a TFJob: mistakes, TF_CONFIG, variables."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from parak8s.errors import InputError
from parak8s.tfjobs.local import run
from parak8s.tfjobs.local.addresses import tf_config
from parak8s.tfjobs.local.containers import expanded
from parak8s.tfjobs.local.gpus import dealt
from parak8s.tfjobs.local.reading import read
from tfjob_case import Heard, replicas, said, tfjob


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return a good job with one value changed; ... takes the key out."""
    job = tfjob({"Worker": replicas("true")})
    *above, key = path.split(".")
    inside: Any = job
    for step in above:
        inside = inside[int(step)] if step.isdecimal() else inside.setdefault(step, {})
    if value is ...:
        del inside[key]
    else:
        inside[key] = value
    return job


POD = "spec.tfReplicaSpecs.Worker.template.spec"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("kind", "PyTorchJob", "kind: expected a TFJob of kubeflow.org/v1, got kubeflow.org/v1 PyTorchJob"),
        ("metadata.name", ..., "metadata.name: missing; write one, such as ecg"),
        (
            "metadata.name",
            "My_Job",
            "metadata.name: expected at most 63 small letters, digits and inner -, beginning with a letter, "
            "got 'My_Job'",
        ),
        (
            "spec.cleanPodPolicy",
            "All",
            "spec.cleanPodPolicy: no such field; it belongs into spec.runPolicy",
        ),
        (
            "spec.runPolicy.backofLimit",
            3,
            "spec.runPolicy.backofLimit: no such field; did you mean 'backoffLimit'? allowed: activeDeadlineSeconds, "
            "backoffLimit, cleanPodPolicy, managedBy, schedulingPolicy, suspend, ttlSecondsAfterFinished",
        ),
        ("spec.successPolicy", "All", "spec.successPolicy: expected '' or AllWorkers, got 'All'"),
        (
            "spec.runPolicy.cleanPodPolicy",
            "running",
            "spec.runPolicy.cleanPodPolicy: expected None, Running or All, got 'running'",
        ),
        (
            "spec.runPolicy.backoffLimit",
            "3",
            "spec.runPolicy.backoffLimit: expected a whole number of at least 0, got '3'",
        ),
        (
            "spec.runPolicy.activeDeadlineSeconds",
            0,
            "spec.runPolicy.activeDeadlineSeconds: expected a whole number of at least 1, got 0",
        ),
        ("spec.runPolicy.suspend", "yes", "spec.runPolicy.suspend: expected true or false, got 'yes'"),
        (
            "spec.tfReplicaSpecs.Wroker",
            {},
            "spec.tfReplicaSpecs.Wroker: no such type of replica; did you mean 'Worker'? "
            "allowed: Chief, Evaluator, Master, PS, Worker",
        ),
        ("spec.tfReplicaSpecs.worker", {}, "spec.tfReplicaSpecs.worker: Worker is there twice; keep one of them"),
        (
            "spec.tfReplicaSpecs",
            {"Chief": replicas("true"), "Master": replicas("true")},
            "spec.tfReplicaSpecs: Chief and Master are the same; keep one of them",
        ),
        (
            "spec.tfReplicaSpecs",
            {"PS": replicas("true")},
            "spec.tfReplicaSpecs: a job ends when its Chief or its Workers do; write one of them, got PS",
        ),
        (
            "spec.tfReplicaSpecs",
            {},
            "spec.tfReplicaSpecs: a job ends when its Chief or its Workers do; write one of them, got nothing",
        ),
        (
            "spec.tfReplicaSpecs.Worker.replicas",
            0,
            "spec.tfReplicaSpecs.Worker.replicas: expected a whole number of at least 1, got 0",
        ),
        (
            "spec.tfReplicaSpecs.Worker.restartPolicy",
            "Sometimes",
            "spec.tfReplicaSpecs.Worker.restartPolicy: expected Always, OnFailure, Never or ExitCode, got 'Sometimes'",
        ),
        (
            f"{POD}.containers.0.name",
            "main",
            f"{POD}.containers: expected one named tensorflow, got main; rename the one that trains",
        ),
        (f"{POD}.containers", [], f"{POD}.containers: expected one named tensorflow, got none; write it"),
        (f"{POD}.containers", "x", f"{POD}.containers: expected a list, got 'x'"),
        (
            f"{POD}.containers.0.command",
            ...,
            f"{POD}.containers[0].command: missing; a laptop does not know what the image would start; "
            "write the command",
        ),
        (
            f"{POD}.containers.0.command",
            ["sleep", 3],
            f"{POD}.containers[0].command[1]: expected text, in quotes and without a zero byte, got 3",
        ),
        (
            f"{POD}.containers.0.command",
            ["no-such-program"],
            f"{POD}.containers[0].command[0]: this machine has no such program; install it, or write one that it has, "
            "got 'no-such-program'",
        ),
        (
            f"{POD}.containers.0.workingDir",
            "/no/such",
            f"{POD}.containers[0].workingDir: no such folder on this machine; leave it out or make it, got '/no/such'",
        ),
        (
            f"{POD}.containers.0.env",
            [{"name": "N", "value": 1}],
            f"{POD}.containers[0].env[0].value: expected text, in quotes and without a zero byte, got 1",
        ),
        (
            f"{POD}.containers.0.env",
            [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            f"{POD}.containers[0].env[0].valueFrom.secretKeyRef: a laptop does not see what the cluster keeps; "
            "set the variable TOKEN here before the job starts: export TOKEN=...",
        ),
        (
            f"{POD}.containers.0.envFrom",
            [{"secretRef": {"name": "s"}}],
            f"{POD}.containers[0].envFrom[0]: a laptop does not see what the cluster keeps; "
            "name each variable under env, with secretKeyRef or configMapKeyRef",
        ),
    ],
)
def test_a_wrong_object_gives_one_sentence_and_starts_nothing(
    path: str, value: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        run(changed(path, value), logs=tmp_path / "logs", environment={"PATH": os.defpath})
    assert str(error.value) == message
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_mapping_is_no_tfjob(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape("expected a TFJob, a mapping (key: value), got null")):
        run(None, logs=tmp_path)  # type: ignore[arg-type]


def test_what_a_laptop_cannot_do_is_listed_once(tmp_path: Path) -> None:
    job = tfjob({"Worker": replicas("true", count=2, volumes=[{"name": "v"}], nodeSelector={"gpu": "a100"})})
    pod = job["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]
    pod["containers"].append({"name": "istio-proxy", "image": "istio"})
    pod["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": 1}}
    job["spec"]["runPolicy"]["ttlSecondsAfterFinished"] = 60
    heard = Heard()
    run(job, logs=tmp_path, narrator=heard)
    assert heard.events[0] == (
        "told",
        "a laptop leaves out: ttlSecondsAfterFinished, the container istio-proxy, image, resources, volumes, "
        "nodeSelector",
    )


def gpu_job() -> Any:
    asking = {"resources": {"limits": {"cpu": "2", "nvidia.com/gpu": "2"}}}
    shows = 'echo "${CUDA_VISIBLE_DEVICES-unset}"'
    job = tfjob({"Chief": replicas("sh", "-c", shows), "Worker": replicas("sh", "-c", shows, count=2)})
    job["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0] |= asking
    job["spec"]["runPolicy"]["cleanPodPolicy"] = "None"
    return job


def seen(job: Any, logs: Path, **environment: str) -> list[str]:
    run(job, logs=logs, environment={"PATH": os.defpath, **environment})
    return [said(logs, name)[0] for name in ("chief-0", "worker-0", "worker-1")]


def test_gpus_are_dealt_out_as_on_a_cluster(tmp_path: Path) -> None:
    assert seen(gpu_job(), tmp_path / "a", CUDA_VISIBLE_DEVICES="7,5,3,1,0") == ["-1", "7,5", "3,1"]
    assert seen(gpu_job(), tmp_path / "b", CUDA_VISIBLE_DEVICES="-1") == ["-1", "-1", "-1"]
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidia3", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    found = dealt(read(gpu_job()), {}, tmp_path)
    assert [found[name]["CUDA_VISIBLE_DEVICES"] for name in ("chief-0", "worker-0", "worker-1")] == ["-1", "0,1", "2,3"]


def test_more_gpus_than_there_are_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"asks for 4 GPUs in all \(nvidia.com/gpu\), this machine has 3; ask for fewer"
    ):
        seen(gpu_job(), tmp_path, CUDA_VISIBLE_DEVICES="0,1,2")


FOUND = {"chief": ["127.0.0.1:1"], "worker": ["127.0.0.1:2", "127.0.0.1:3"], "ps": ["127.0.0.1:4"]}
FOUND_WITH_EVALUATOR = {**FOUND, "evaluator": ["127.0.0.1:5"]}
CLUSTER = '{"chief":["127.0.0.1:1"],"ps":["127.0.0.1:4"],"worker":["127.0.0.1:2","127.0.0.1:3"]}'


@pytest.mark.parametrize(
    ("kind", "index", "task"),
    [
        ("Chief", 0, '{"type":"chief","index":0}'),
        ("Worker", 1, '{"type":"worker","index":1}'),
        ("PS", 0, '{"type":"ps","index":0}'),
        ("Evaluator", 0, '{"type":"evaluator","index":0}'),
    ],
)
def test_tf_config_is_what_the_operator_writes_and_leaves_the_evaluator_out(kind: str, index: int, task: str) -> None:
    one, two = replicas("true"), replicas("true", count=2)
    job = read(tfjob({"Chief": one, "Worker": two, "PS": one, "Evaluator": one}))
    text = f'{{"cluster":{CLUSTER},"task":{task},"environment":"cloud"}}'
    assert tf_config(job, kind, index, FOUND_WITH_EVALUATOR) == text


@pytest.mark.parametrize(
    ("kind", "sparse"),
    [
        ("Worker", '{"worker":{"0":"127.0.0.1:2"},"ps":["127.0.0.1:4"]}'),
        ("PS", '{"worker":{},"ps":["127.0.0.1:4"]}'),
        ("Chief", '{"worker":{},"ps":[]}'),
    ],
)
def test_dynamic_workers_are_told_of_parameter_servers_and_themselves(kind: str, sparse: str) -> None:
    one, two = replicas("true"), replicas("true", count=2)
    values = tfjob({"Chief": one, "Worker": two, "PS": one})
    values["spec"]["enableDynamicWorker"] = True
    text = f'{{"sparseCluster":{sparse},"task":{{"type":"{kind.lower()}","index":0}}}}'
    assert tf_config(read(values), kind, 0, FOUND) == text


def test_a_job_of_one_replica_gets_no_tf_config_not_even_that_of_its_engine(tmp_path: Path) -> None:
    job = tfjob({"Worker": replicas("sh", "-c", "echo ${TF_CONFIG-none}")})
    run(job, logs=tmp_path, environment={"PATH": os.defpath, "TF_CONFIG": "mine"})
    assert said(tmp_path, "worker-0") == ["none"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$(A) and $(B)", "1 and $(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$(A)", "$$(A)"),
        ("a$$b $c ${A} $A", "a$b $c ${A} $A"),
        ("$(A", "$(A"),
        ("$($(A)", "$($(A)"),
        ("$", "$"),
        ("$(A)$(A)", "11"),
        ("$()", "$()"),
    ],
)
def test_variables_are_expanded_as_kubernetes_does(text: str, value: str) -> None:
    assert expanded(text, {"A": "1"}) == value


def test_a_dollar_written_twice_arrives_as_one() -> None:
    text = "cost: $5, $(A), $$(B), $${C}"
    assert expanded(text.replace("$", "$$"), {"A": "1", "B": "2"}) == text


def test_a_container_gets_its_own_variables_facts_of_its_pod_and_secrets_of_this_machine(tmp_path: Path) -> None:
    env = [
        {"name": "EPOCHS", "value": "5"},
        {"name": "ARGUMENT", "value": "--epochs=$(EPOCHS) $(LATER)"},
        {"name": "LATER", "value": "x"},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {
            "name": "INDEX",
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['training.kubeflow.org/replica-index']"}},
        },
        {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
        {"name": "MAYBE", "valueFrom": {"secretKeyRef": {"name": "db", "key": "x", "optional": True}}},
    ]
    job = tfjob({"Worker": replicas("sh", "-c", "echo $0 $1 $ARGUMENT ${MAYBE-unset}", env=env)})
    container = job["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]
    container["args"] = ["$(POD)/$(INDEX)", "$(DB_PASSWORD)"]
    done = run(job, logs=tmp_path, environment={"PATH": os.defpath, "DB_PASSWORD": "sesame"})
    assert said(tmp_path, "worker-0") == ["ecg-worker-0/0 sesame --epochs=5 $(LATER) unset"]
    assert "sesame" not in json.dumps(done)


def test_python_is_the_one_that_runs_the_engine(tmp_path: Path) -> None:
    job = tfjob({"Worker": replicas("python", "-c", "import sys; print(sys.executable)")})
    run(job, logs=tmp_path, environment={"PATH": os.defpath})
    assert said(tmp_path, "worker-0") == [str(Path(sys.executable).parent / "python")]


def test_a_replica_starts_in_its_working_directory(tmp_path: Path) -> None:
    job = tfjob({"Worker": replicas("pwd")})
    job["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["workingDir"] = str(tmp_path)
    run(job, logs=tmp_path / "logs")
    assert said(tmp_path / "logs", "worker-0") == [str(tmp_path)]
