"""TFJobs: whole objects as they are written, each field known to the operator, and what is refused before."""

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from parak8s import __version__, loading, tfjobs
from parak8s.errors import ExperimentError, InputError
from parak8s.experiment import Experiment
from parak8s.provenance import fingerprint
from parak8s.tfjobs.building import cluster_tfjob, tfjob
from parak8s.tfjobs.objects import Metadata, PodTemplate, ReplicaSpec, RunPolicy, TFJob, TFJobSpec
from parak8s.tfjobs.pods import literal
from terminal import Terminal

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
SHIPPED = Path(tfjobs.__file__).parent
MINIMAL = "name: x\ndata: {loader: ecg, source: 'synthetic://ecg?beats=300'}\nmodel: {builder: deep_cnn}\n"
SHARED = ("compute.volumes=[{claim: runs, path: /mnt/runs}]", "compute.runs=/mnt/runs")
EVERYTHING = """
compute:
  image: registry.example/parak8s:test
  image_pull_policy: Always
  image_pull_secrets: [pull]
  gpus: 2
  gpu_type: amd.com/gpu
  cpus: 7.5
  memory: 1.5Gi
  shared_memory: 2Gi
  workers: 2
  parameter_servers: 1
  node_selector: {accelerator: a100}
  tolerations: [{key: gpu, operator: Exists, effect: NoSchedule}]
  volumes: [{claim: datasets, path: /mnt/data}, {claim: runs, path: /mnt/runs}, {claim: datasets, path: /mnt/again}]
  runs: /mnt/runs/team
  secrets: [{name: s3, env: {AWS_SECRET_ACCESS_KEY: secretkey}}]
  env: {MLFLOW_TRACKING_URI: "http://mlflow:5000", HOME: /mnt/home, PRICE: "5 $(USD)"}
  service_account: trainer
  job:
    grace_s: 30
    backoff_limit: 3
    deadline_s: 7200
    clean_pods: All
    ttl_s: 600
    success_policy: AllWorkers
    queue: team-queue
    priority_class: high
    gang: {queue: night, timeout_s: 60}
    user: 2000
"""


def experiment(*overrides: str, text: str = MINIMAL) -> Experiment:
    return loading.parse(text, "x.yaml", overrides)


def job(*overrides: str, text: str = MINIMAL, **where: Any) -> Any:
    """Return the job for a cluster, with the claim ``runs``."""
    return cluster_tfjob(experiment(*(SHARED if text == MINIMAL else ()), *overrides, text=text), **where)


def pod(built: Any, role: str = "Worker") -> Any:
    return built["spec"]["tfReplicaSpecs"][role]["template"]["spec"]


def container(built: Any, role: str = "Worker") -> Any:
    (found,) = pod(built, role)["containers"]
    return found


POD = {
    "containers": [{
        "name": "tensorflow",
        "image": f"parak8s:{__version__}",
        "command": ["parak8s", "replica", "TEXT", "--output", "/mnt/runs/x"],
        "env": [
            {"name": "HOME", "value": "/tmp"},
            {"name": "KERAS_HOME", "value": "/tmp/keras"},
            {"name": "MPLCONFIGDIR", "value": "/tmp/matplotlib"},
            {"name": "PYTHONUNBUFFERED", "value": "1"},
            {"name": "USER", "value": "parak8s"},
            {"name": "MLFLOW_TRACKING_URI", "value": "sqlite:////mnt/runs/mlflow.db"},
        ],
        "ports": [{"name": "tfjob-port", "containerPort": 2222}],
        "resources": {"requests": {"cpu": "4", "memory": "8Gi"}, "limits": {"cpu": "4", "memory": "8Gi"}},
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/tmp"},
            {"name": "volume-0", "mountPath": "/mnt/runs"},
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }],
    "volumes": [
        {"name": "scratch", "emptyDir": {}},
        {"name": "volume-0", "persistentVolumeClaim": {"claimName": "runs"}},
    ],
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
    "terminationGracePeriodSeconds": 120,
}  # fmt: skip
METADATA = {
    "labels": {
        "app.kubernetes.io/name": "parak8s",
        "app.kubernetes.io/instance": "x",
        "sidecar.istio.io/inject": "false",
    },
    "annotations": {"sidecar.istio.io/inject": "false"},
}


def with_text(template: Any, text: str) -> Any:
    """Return a golden template with the experiment's text in the command."""
    return json.loads(json.dumps(template).replace('"TEXT"', json.dumps(text)))


def test_two_workers_are_this_object() -> None:
    built = job("compute.workers=2", namespace="ml")
    text = container(built)["command"][2]
    template = with_text({"metadata": METADATA, "spec": POD}, text)
    assert built == {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": {
            "name": "x",
            "namespace": "ml",
            "labels": {"app.kubernetes.io/name": "parak8s", "app.kubernetes.io/instance": "x"},
        },
        "spec": {
            "runPolicy": {"cleanPodPolicy": "Running", "backoffLimit": 12},
            "tfReplicaSpecs": {"Worker": {"replicas": 2, "restartPolicy": "ExitCode", "template": template}},
        },
    }


def test_a_job_with_parameter_servers_has_one_chief_and_only_its_workers_get_what_computes() -> None:
    built = job(
        "compute.workers=4", "compute.parameter_servers=2", "compute.gpus=1", "compute.shared_memory=1Gi",
        "compute.node_selector={accelerator: a100}", "compute.tolerations=[{key: gpu, operator: Exists}]",
    )  # fmt: skip
    specs = built["spec"]["tfReplicaSpecs"]
    assert {role: spec["replicas"] for role, spec in specs.items()} == {"Chief": 1, "Worker": 4, "PS": 2}
    assert {spec["restartPolicy"] for spec in specs.values()} == {"ExitCode"}
    text = container(built)["command"][2]
    plain = with_text({"metadata": METADATA, "spec": POD}, text)
    assert specs["Chief"]["template"] == plain
    assert specs["PS"]["template"] == plain
    limits = {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"}
    computing = json.loads(json.dumps(plain))
    computing["spec"] |= {
        "nodeSelector": {"accelerator": "a100"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    }
    computing["spec"]["containers"][0]["resources"] = {"requests": limits, "limits": limits}
    memory = {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}
    computing["spec"]["volumes"].insert(1, memory)
    mount = {"name": "shared-memory", "mountPath": "/dev/shm"}
    computing["spec"]["containers"][0]["volumeMounts"].insert(1, mount)
    assert specs["Worker"]["template"] == computing


def test_without_gpus_all_replicas_go_to_the_chosen_nodes() -> None:
    built = job("compute.parameter_servers=1", "compute.node_selector={pool: training}")
    assert [pod(built, role)["nodeSelector"] for role in ("Chief", "Worker", "PS")] == [{"pool": "training"}] * 3


def test_every_key_of_compute_reaches_the_job() -> None:
    built = job(text=MINIMAL + EVERYTHING)
    assert built["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-queue"
    assert {key: value for key, value in built["spec"].items() if key != "tfReplicaSpecs"} == {
        "runPolicy": {
            "cleanPodPolicy": "All",
            "backoffLimit": 3,
            "activeDeadlineSeconds": 7200,
            "ttlSecondsAfterFinished": 600,
            "schedulingPolicy": {
                "minAvailable": 4, "queue": "night", "priorityClass": "high", "scheduleTimeoutSeconds": 60,
            },
            "suspend": True,
        },
        "successPolicy": "AllWorkers",
    }  # fmt: skip
    worker, template = container(built), pod(built)
    assert (worker["image"], worker["imagePullPolicy"]) == ("registry.example/parak8s:test", "Always")
    assert worker["command"][3:] == ["--output", "/mnt/runs/team/x"]
    assert worker["resources"]["limits"] == {"cpu": "7.5", "memory": "1.5Gi", "amd.com/gpu": "2"}
    assert worker["env"] == [
        {"name": "KERAS_HOME", "value": "/tmp/keras"},
        {"name": "MPLCONFIGDIR", "value": "/tmp/matplotlib"},
        {"name": "PYTHONUNBUFFERED", "value": "1"},
        {"name": "USER", "value": "parak8s"},
        {"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow:5000"},
        {"name": "HOME", "value": "/mnt/home"},
        {"name": "PRICE", "value": "5 $$(USD)"},
        {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "secretkey"}}},
    ]
    assert template["volumes"][1:] == [
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}},
        {"name": "volume-0", "persistentVolumeClaim": {"claimName": "datasets"}},
        {"name": "volume-1", "persistentVolumeClaim": {"claimName": "runs"}},
    ]
    assert worker["volumeMounts"][2:] == [
        {"name": "volume-0", "mountPath": "/mnt/data"},
        {"name": "volume-1", "mountPath": "/mnt/runs"},
        {"name": "volume-0", "mountPath": "/mnt/again"},
    ]
    assert template["serviceAccountName"] == "trainer"
    assert template["imagePullSecrets"] == [{"name": "pull"}]
    assert template["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert (template["priorityClassName"], template["terminationGracePeriodSeconds"]) == ("high", 30)
    assert template["activeDeadlineSeconds"] == 7200
    assert {template["securityContext"][key] for key in ("runAsUser", "runAsGroup", "fsGroup")} == {2000}


def test_the_platform_may_choose_the_user() -> None:
    assert pod(job("compute.job.user=null"))["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


@pytest.mark.parametrize(
    ("overrides", "suspended"),
    [((), None), (("compute.job.suspend=true",), True), (("compute.job.queue=q",), True)],
)
def test_a_job_in_a_queue_of_kueue_is_created_suspended(overrides: tuple[str, ...], suspended: bool | None) -> None:
    assert job(*overrides)["spec"]["runPolicy"].get("suspend") is suspended


def test_on_a_laptop_the_engine_alone_minds_the_deadline() -> None:
    built = tfjob(experiment("compute.job.deadline_s=60"), directory="/data/runs")
    assert built["spec"]["runPolicy"]["activeDeadlineSeconds"] == 60
    assert "activeDeadlineSeconds" not in pod(built)


def test_no_queue_holds_a_job_on_a_laptop() -> None:
    built = tfjob(experiment("compute.job.queue=q", "compute.job.suspend=true"), directory="/data/runs")
    assert "suspend" not in built["spec"]["runPolicy"]
    assert "kueue.x-k8s.io/queue-name" not in built["metadata"]["labels"]


def test_all_replicas_of_a_gang_are_placed_together() -> None:
    built = job("compute.workers=3", "compute.parameter_servers=2", "compute.job.gang={}")
    assert built["spec"]["runPolicy"]["schedulingPolicy"] == {"minAvailable": 6}


@cache
def operator_models() -> Any:
    from kubeflow.training import ApiClient

    return ApiClient()


def as_the_operator_reads_it(built: Any) -> Any:
    """Return the job as it comes out of the models of kubeflow.training and kubernetes: without what they lack."""
    client = operator_models()
    read = client.deserialize(SimpleNamespace(data=json.dumps(built)), "KubeflowOrgV1TFJob")
    return client.sanitize_for_serialization(read)


def is_read_whole(built: Any) -> bool:
    try:
        return bool(as_the_operator_reads_it(built) == built)
    except ValueError:  # a field that must be there is not
        return False


@pytest.mark.parametrize("text", [MINIMAL, MINIMAL + EVERYTHING], ids=["minimal", "everything"])
def test_every_field_is_known_to_the_models_of_kubeflow_and_kubernetes(text: str) -> None:
    assert is_read_whole(job(text=text, namespace="ml"))


def test_a_misspelt_field_anywhere_would_be_found() -> None:
    built = job("compute.workers=2", namespace="ml")
    keys = set(re.findall(r'"([a-z][A-Za-z]+)":', json.dumps(built)))
    names = {
        "tfReplicaSpecs",
        "fsGroupChangePolicy",
        "readOnlyRootFilesystem",
        "claimName",
        "emptyDir",
        "cleanPodPolicy",
    }
    assert names <= keys
    for key in keys - {"cpu", "memory"}:  # keys of the user's own kind: any resource may stand there
        misspelt = json.loads(json.dumps(built).replace(f'"{key}":', f'"{key}s":'))
        assert not is_read_whole(misspelt), key


def test_an_evaluator_can_be_written_too() -> None:
    template = PodTemplate.model_validate_json(json.dumps(job()["spec"]["tfReplicaSpecs"]["Worker"]["template"]))
    spec = ReplicaSpec(replicas=1, restart_policy="Never", template=template)
    policy = RunPolicy(clean_pod_policy="None", backoff_limit=0)
    built = TFJob(
        metadata=Metadata(name="x"), spec=TFJobSpec(run_policy=policy, tf_replica_specs={"Evaluator": spec})
    ).manifest()
    assert list(built["spec"]["tfReplicaSpecs"]) == ["Evaluator"]
    assert is_read_whole(built)


def test_a_replica_gets_the_experiment_with_all_defaults() -> None:
    text = container(job("training.epochs=3", "compute.workers=2"))["command"][2]
    assert loading.parse(text, "replica") == experiment(*SHARED, "training.epochs=3", "compute.workers=2")


def expanded(text: str, variables: dict[str, str]) -> str:
    """Do what Kubernetes does with a command: third_party/forked/golang/expansion, byte by byte."""
    given, out, cursor = text.encode(), b"", 0
    while cursor < len(given):
        if given[cursor : cursor + 1] != b"$" or cursor + 1 == len(given):
            out, cursor = out + given[cursor : cursor + 1], cursor + 1
        elif given[cursor + 1 : cursor + 2] == b"$":
            out, cursor = out + b"$", cursor + 2
        elif given[cursor + 1 : cursor + 2] == b"(" and b")" in given[cursor:]:
            end = given.index(b")", cursor)
            name = given[cursor + 2 : end].decode()
            out, cursor = out + variables.get(name, f"$({name})").encode(), end + 1
        else:  # string(input[0]) of Go makes a rune of a single byte
            out, cursor = out + b"$" + chr(given[cursor + 1]).encode(), cursor + 2
    return out.decode(errors="replace")


@given(st.text(st.sampled_from("$()AÄ "), max_size=12) | st.text(max_size=20))
def test_kubernetes_hands_on_any_text_as_it_is(text: str) -> None:
    assert expanded(literal(text), {"A": "replaced", "": "replaced"}) == text


def test_text_that_looks_like_a_variable_reaches_the_replica_as_it_is() -> None:
    source = "s3://$(BUCKET)/$$(x)/prices in $é"
    built = job("compute.env.BUCKET=b", text=MINIMAL.replace("synthetic://ecg?beats=300", source))
    text = expanded(container(built)["command"][2], {"BUCKET": "b", "x": "y"})
    assert loading.parse(text, "replica").data.source == source


@given(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True), st.integers(1, 2000), st.integers(0, 20))
def test_a_job_that_is_accepted_has_names_that_services_may_have(name: str, workers: int, servers: int) -> None:
    given = experiment().model_copy(update={"name": name})
    compute = given.compute.model_copy(update={"workers": workers, "parameter_servers": servers})
    given = given.model_copy(update={"compute": compute})
    roles = {"chief": 1, "worker": workers, "ps": servers} if servers else {"worker": workers}
    hosts = [f"{name}-{role}-{count - 1}" for role, count in roles.items()]
    fits = all(len(host) <= 63 for host in hosts) and name[0].isalpha()
    try:
        assert tfjob(given, directory="/mnt")["metadata"]["name"] == name
    except InputError:
        assert not fits
    else:
        assert fits


def test_a_name_that_no_job_can_have_is_refused_with_what_to_write() -> None:
    with pytest.raises(InputError, match=r"cannot be named '2x': expected lower-case letters, .* a letter first"):
        tfjob(experiment("name=2x"), directory="/mnt")
    long = "a" * 55
    with pytest.raises(InputError, match=f"its replica {long}-worker-0 has 64 letters, above the 63 .*; take 1 off"):
        tfjob(experiment(), directory="/mnt", name=long)


def test_the_same_experiment_gives_the_same_job() -> None:
    assert json.dumps(job()) == json.dumps(job())


@pytest.mark.parametrize("workers", [2, 4])
def test_replicas_without_a_folder_that_all_reach_are_refused(workers: int) -> None:
    message = rf"{workers} replicas must share .* /tmp/runs/x lies on none of compute.volumes; .*ReadWriteMany.*runs:"
    with pytest.raises(InputError, match=message):
        cluster_tfjob(experiment(f"compute.workers={workers}"))
    with pytest.raises(InputError, match="/mnt/runsx/here lies on none"):
        job("compute.workers=2", directory="/mnt/runsx/here")
    with pytest.raises(InputError, match="elsewhere lies on none"):
        job("compute.workers=2", directory="/mnt/runs/../elsewhere")
    with pytest.raises(InputError, match=r"^3 replicas"):
        cluster_tfjob(experiment("compute.parameter_servers=1"))


def test_a_laptop_gives_the_folder_itself_and_needs_no_volume() -> None:
    built = tfjob(experiment("compute.workers=2"), directory="/data/runs")
    assert container(built)["command"][3:] == ["--output", "/data/runs"]
    assert "env" not in container(built)  # home is home


def test_one_worker_may_work_in_its_pod() -> None:
    assert container(cluster_tfjob(experiment()))["command"][3:] == ["--output", "/tmp/runs/x"]


@pytest.mark.parametrize(
    "runs", ["s3://clinic/runs", "gs://clinic/runs/", "abfs://runs@clinic.dfs.core.windows.net/ecg"]
)
def test_replicas_that_share_an_object_store_need_no_volume(runs: str) -> None:
    built = cluster_tfjob(experiment("compute.workers=4", f"compute.runs={runs}"))
    assert container(built)["command"][3:] == ["--output", f"{runs.rstrip('/')}/x"]
    assert "MLFLOW_TRACKING_URI" not in {each["name"] for each in container(built)["env"]}
    assert [each["name"] for each in container(built)["volumeMounts"]] == ["scratch"]
    named = cluster_tfjob(experiment("compute.workers=4"), directory="s3://clinic/mine")
    assert container(named)["command"][3:] == ["--output", "s3://clinic/mine"]


@pytest.mark.parametrize(
    "address", ["file:///mnt/x", "memory://x", "http://x/y", "s4://x", "s3://", "s3:///x", "s3://my clinic/x"]
)
def test_what_is_no_object_store_that_can_be_written_to_is_refused(address: str) -> None:
    with pytest.raises(
        InputError, match=f"^{address}: expected an absolute path or an object store, such as /mnt/runs"
    ):
        job("compute.workers=2", directory=address)


def test_a_password_in_the_address_of_an_object_store_is_refused_and_not_repeated() -> None:
    with pytest.raises(
        InputError, match=r"^s3://key:\*\*\*@clinic/x: expected .* passwords belong into compute.secrets"
    ):
        job("compute.workers=2", directory="s3://key:hunter2@clinic/x")


@pytest.mark.parametrize("directory", ["runs/x", "/opt/runs", "/tmpx"])
def test_a_folder_that_no_pod_can_write_to_is_refused(directory: str) -> None:
    with pytest.raises(InputError, match=f"^no pod can write to the folder {directory}; write one on a volume"):
        job(directory=directory)


def test_the_folder_is_named_after_the_job_so_that_two_jobs_share_none() -> None:
    assert container(job(name="second"))["command"][3:] == ["--output", "/mnt/runs/second"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("compute.runs=/mnt/other", "compute.runs: must lie on one of compute.volumes, got /mnt/other; mount a claim"),
        (
            "compute.runs=http://clinic/runs",
            "compute.runs: expected an absolute path or an object store, such as /mnt/",
        ),
        ("compute.runs=runs", "compute.runs: expected an absolute path or an object store, such as /mnt/runs or s3://"),
        ("compute.job={clean_pods: None}", "compute.job.clean_pods: with parameter servers write Running or All"),
        ("compute.job={retries: 3}", "compute.job.retries: no such key; .*allowed: backoff_limit, clean_pods"),
        ("compute.job={ttl_s: -1}", "compute.job.ttl_s: must be at least 0, got -1"),
        ("compute.job={ttl_s: 2147483648}", "compute.job.ttl_s: must be at most 2147483647, got 2147483648"),
        ("compute.job={user: 0}", "compute.job.user: must be at least 1, got 0"),
        ("compute.job={clean_pods: running}", "compute.job.clean_pods: got 'running'; did you mean 'Running'?"),
    ],
)
def test_values_that_no_cluster_takes_are_refused_when_the_file_is_read(override: str, message: str) -> None:
    with pytest.raises(ExperimentError, match=re.escape(message).replace(r"\.\*", ".*")):
        experiment(*SHARED, "compute.parameter_servers=1", override)


@pytest.mark.parametrize(
    ("path", "value"),
    [("compute.env.DB_PASSWORD", "hunter2"), ("tracking.uri", "postgresql+psycopg2://me:hunter2@db/mlflow")],
)
def test_a_password_is_refused_by_its_path_and_not_repeated(path: str, value: str) -> None:
    with pytest.raises(InputError, match=f"^{path} holds a password or a token, and a TFJob shows") as refused:
        tfjob(experiment(f"{path}={value}"), directory="/mnt")
    assert "compute.secrets" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_the_value_of_a_secret_stands_nowhere_in_the_job() -> None:
    built = job("compute.secrets=[{name: db, env: {DB_PASSWORD: password}}]")
    assert {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}} in container(
        built
    )["env"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("compute.env.TF_CONFIG=x", "TF_CONFIG is set by the training operator"),
        ("compute.secrets=[{name: s, env: {TF_CONFIG: k}}]", "TF_CONFIG is set by the training operator"),
        ("compute.volumes=[{claim: c, path: /tmp/}]", "/tmp is the scratch folder of each replica; mount the claim"),
        (f"data.source={'x ' * 65_536}x", r"the experiment has 13\d,\d{3} bytes .* above the 131,071"),
    ],
)
def test_what_a_replica_cannot_be_given_is_refused(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tfjob(experiment(override), directory="/mnt")


def test_an_object_that_etcd_does_not_take_is_refused() -> None:
    costly = [
        "compute.parameter_servers=1",
        f"compute.env.V={'$' * 129_000}",
    ]  # each is written twice, in three pods twice
    with pytest.raises(
        InputError, match=r"the TFJob has 1,5\d\d,\d{3} bytes, above the 1,500,000 that a cluster takes"
    ):
        tfjob(experiment(*costly), directory="/mnt")


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``of_mine:net`` a builder of the user's own."""
    (tmp_path / "of_mine.py").write_text("def net(input_shape, classes, *, units: int = 4):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "of_mine", raising=False)


def test_code_of_the_users_own_must_be_in_an_image_on_a_cluster_alone(own_module: None) -> None:
    text = MINIMAL.replace("deep_cnn", "'of_mine:net'")
    with pytest.raises(
        InputError, match=r"^of_mine: code of your own must be in the image .* name it in compute.image"
    ):
        cluster_tfjob(experiment(text=text))
    assert container(cluster_tfjob(experiment("compute.image=mine:1", text=text)))["image"] == "mine:1"
    assert tfjob(experiment(text=text), directory="/somewhere")


def test_a_database_that_would_be_lost_with_its_pod_is_refused_on_a_cluster_alone() -> None:
    with pytest.raises(InputError, match=r"tracking.uri sqlite:///mlflow.db: a file that is lost with its pod"):
        job("tracking.uri=sqlite:///mlflow.db")
    assert job("tracking.uri=sqlite:////mnt/runs/mlflow.db")
    assert job("tracking.uri=http://mlflow:5000")
    names = [
        [each["name"] for each in container(job(given))["env"]] for given in ("seed=1", "tracking.uri=http://m:5000")
    ]
    assert ["MLFLOW_TRACKING_URI" in each for each in names] == [True, False]
    own = container(job("compute.env={MLFLOW_TRACKING_URI: 'http://mlflow:5000'}"))["env"]
    assert [each["value"] for each in own if each["name"] == "MLFLOW_TRACKING_URI"] == ["http://mlflow:5000"]
    assert tfjob(experiment("tracking.uri=sqlite:///mlflow.db"), directory="/somewhere")


def test_what_a_job_takes_on_a_cluster_leaves_the_fingerprint() -> None:
    data = "sha256:" + "0" * 64
    assert fingerprint(experiment(text=MINIMAL + EVERYTHING), data) == fingerprint(experiment(), data)


def test_building_a_job_loads_neither_tensorflow_nor_a_client_of_kubernetes() -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom parak8s import loading\n"
        "from parak8s.tfjobs.building import cluster_tfjob\n"
        f"cluster_tfjob(loading.load(Path({str(EXPERIMENTS / 'ecg.yaml')!r})))\n"
        "print({'tensorflow', 'keras', 'mlflow', 'kfp', 'kubernetes', 'kubeflow'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(MINIMAL)
    return Terminal(monkeypatch, capsys)


def test_the_command_prints_the_job_as_yaml(terminal: Terminal) -> None:
    overrides = [part for each in (*SHARED, "compute.workers=2") for part in ("-s", each)]
    assert terminal("manifest", "tfjob", "x.yaml", *overrides, "--namespace", "ml") == 0
    assert yaml.safe_load(terminal.out) == job("compute.workers=2", namespace="ml")
    assert terminal("manifest", "tfjob", "x.yaml", *overrides, "-o", "/mnt/runs/else") == 0
    assert container(yaml.safe_load(terminal.out))["command"][3:] == ["--output", "/mnt/runs/else"]


def test_the_command_says_in_one_sentence_what_is_missing(terminal: Terminal) -> None:
    assert terminal("manifest", "tfjob", "x.yaml", "-s", "compute.workers=2") == 2
    assert terminal.out == ""
    assert terminal.err.startswith("parak8s: 2 replicas must share one folder")


ON_A_CLAIM = (*SHARED, "tracking.uri=sqlite:////mnt/runs/mlflow.db")
TWO_WORKERS = ("compute.workers=2",)
FOUR_GPUS = ("compute.workers=4", "compute.gpus=1", "compute.shared_memory=2Gi", "compute.job.gang={}")
STORE = (
    "compute.workers=2",
    "compute.runs=s3://mlpipeline/runs",
    "compute.env={AWS_ENDPOINT_URL: 'http://minio-service.kubeflow:9000'}",
    "compute.secrets=[{name: mlpipeline-minio-artifact, env: {AWS_ACCESS_KEY_ID: accesskey, AWS_SECRET_ACCESS_KEY: "
    "secretkey}}, {name: mlflow, env: {MLFLOW_TRACKING_URI: uri}}]",
)
PARAMETER_SERVER = ("compute.workers=2", "compute.parameter_servers=1")


@pytest.mark.parametrize("name", ["ecg", "xray"])
@pytest.mark.parametrize(
    ("suffix", "overrides"),
    [
        ("", (*ON_A_CLAIM, *TWO_WORKERS)),
        ("-gpus", (*ON_A_CLAIM, *FOUR_GPUS)),
        ("-ps", (*ON_A_CLAIM, *PARAMETER_SERVER)),
        ("-store", STORE),
    ],
)
def test_the_shipped_jobs_are_fresh(name: str, suffix: str, overrides: tuple[str, ...]) -> None:
    built = cluster_tfjob(loading.load(EXPERIMENTS / f"{name}.yaml", (*overrides, f"name={name}{suffix}")))
    shipped = (SHIPPED / f"{name}{suffix}.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(shipped) == built, "give: make compile"


def test_the_shipped_jobs_have_the_replicas_that_their_names_promise() -> None:
    found = {path.stem: yaml.safe_load(path.read_text())["spec"]["tfReplicaSpecs"] for path in SHIPPED.glob("*.yaml")}
    replicas = {name: {role: spec["replicas"] for role, spec in specs.items()} for name, specs in found.items()}
    kinds = {
        "": {"Worker": 2},
        "-gpus": {"Worker": 4},
        "-ps": {"Chief": 1, "Worker": 2, "PS": 1},
        "-store": {"Worker": 2},
    }
    assert replicas == {f"{name}{suffix}": counts for name in ("ecg", "xray") for suffix, counts in kinds.items()}
