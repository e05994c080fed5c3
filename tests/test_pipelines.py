"""Pipelines as they are compiled: the graph, what the tasks get, the limits. Nothing runs."""

import json
import os
import random
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from parak8s import loading, pipelines
from parak8s.errors import InputError
from parak8s.experiment import space
from parak8s.pipelines import own_code
from parak8s.pipelines.compiling import Request, compiled, manifests, write
from parak8s.pipelines.plan import plan
from parak8s.pipelines.resources import in_kfp_units

ROOT = Path(__file__).parents[1]
EXPERIMENTS = ROOT / "experiments"
ECG, XRAY, POINTS = EXPERIMENTS / "ecg.yaml", EXPERIMENTS / "xray.yaml", EXPERIMENTS / "points" / "ecg.yaml"
SHIPPED = Path(pipelines.__file__).parent / "compiled"
MINIMAL = "name: x\ndata: {loader: ecg, source: 'synthetic://ecg?beats=300'}\nmodel: {builder: deep_cnn}\n"
EVERYTHING = """
compute:
  image: parak8s:test
  image_pull_policy: Always
  image_pull_secrets: [pull]
  gpus: 2
  cpus: 7.5
  memory: 1.5Gi
  shared_memory: 2Gi
  node_selector: {accelerator: a100}
  tolerations: [{key: gpu, operator: Exists, effect: NoSchedule}]
  volumes: [{claim: datasets, path: /mnt/data}]
  secrets: [{name: s3, env: {AWS_SECRET_ACCESS_KEY: secretkey}}]
  env: {MLFLOW_TRACKING_URI: "http://mlflow:5000"}
  retries: 5
"""


def spec(tmp_path: Path, text: str = MINIMAL, *overrides: str, points: str | None = None) -> list[Any]:
    """Return the YAML documents of the compiled pipeline."""
    (tmp_path / "x.yaml").write_text(text)
    (tmp_path / "points.yaml").write_text(points or "")
    request = Request.read(tmp_path / "x.yaml", overrides, tmp_path / "points.yaml" if points else None)
    return list(yaml.safe_load_all(compiled(request)))


def tasks(document: Any, group: str) -> Any:
    (name,) = [name for name in document["components"] if name.startswith(f"comp-{group}")]
    return document["components"][name]["dag"]["tasks"]


@pytest.mark.parametrize(
    ("name", "experiment", "points"), [("ecg", ECG, None), ("xray", XRAY, None), ("sweep", ECG, POINTS)]
)
def test_the_shipped_pipelines_are_fresh(name: str, experiment: Path, points: Path | None) -> None:
    request = Request.read(experiment, (), points, 10)
    assert (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8") == compiled(request), "give: make compile"


def test_compiling_twice_gives_the_same_bytes() -> None:
    assert compiled(Request.read(ECG)) == compiled(Request.read(ECG))


def test_the_steps_run_one_after_another_and_only_a_passed_gate_leads_to_register(tmp_path: Path) -> None:
    document, *_ = spec(tmp_path)
    steps = tasks(document, "exit-handler")
    after = {name: set(task.get("dependentTasks", [])) for name, task in steps.items()}
    chain = ["configure", "ingest", "train", "calibrate", "evaluate", "gate", "report"]
    assert set(after) == {*chain, "condition-branches-2"}
    for before, following in pairwise(chain):
        assert before in after[following]
    branches = tasks(document, "condition-branches")
    passed = "inputs.parameter_values['pipelinechannel--gate-Output'] == true"
    conditions = {
        next(iter(document["components"][branch["componentRef"]["name"]]["dag"]["tasks"])): branch["triggerPolicy"]
        for branch in branches.values()
    }
    assert conditions == {"register": {"condition": passed}, "record": {"condition": f"!({passed})"}}


def test_the_outcome_is_written_whatever_happens(tmp_path: Path) -> None:
    document, *_ = spec(tmp_path)
    outcome = document["root"]["dag"]["tasks"]["outcome"]
    assert outcome["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert list(outcome["dependentTasks"]) == [name for name in document["root"]["dag"]["tasks"] if name != "outcome"]


def test_the_run_form_shows_the_file_as_it_was_written_and_the_overrides(tmp_path: Path) -> None:
    text = f"# a remark\n{MINIMAL}"
    document, *_ = spec(tmp_path, text, "training.epochs=2", "gate.auc=>= 0.9")
    shown = document["root"]["inputDefinitions"]["parameters"]
    assert {name: value["defaultValue"] for name, value in shown.items()} == {
        "experiment": text,
        "overrides": "training.epochs=2 'gate.auc=>= 0.9'",
    }


def test_only_steps_whose_output_follows_from_their_inputs_are_cached(tmp_path: Path) -> None:
    document, *_ = spec(tmp_path, points="a: {}\nb: {training.epochs: 2}")
    found = {
        name: task["cachingOptions"].get("enableCache", False)
        for component in [*document["components"].values(), document["root"]]
        for name, task in component.get("dag", {}).get("tasks", {}).items()
        if "cachingOptions" in task
    }
    assert found == {
        "configure": False, "points": True, "ingest": True, "train": True, "keep-best": False, "calibrate": True,
        "evaluate": True, "gate": False, "report": False, "register": False, "record": False, "outcome": False,
    }  # fmt: skip


def test_steps_that_talk_to_the_network_are_tried_again(tmp_path: Path) -> None:
    document, *_ = spec(tmp_path, MINIMAL + EVERYTHING)
    found = {
        name: task["retryPolicy"]["maxRetryCount"]
        for component in document["components"].values()
        for name, task in component.get("dag", {}).get("tasks", {}).items()
        if "retryPolicy" in task
    }
    assert found == {"configure": 5, "ingest": 5, "gate": 5, "register": 5, "record": 5}


def test_compute_reaches_every_pod_and_the_accelerators_the_training(tmp_path: Path) -> None:
    document, platform = spec(tmp_path, MINIMAL + EVERYTHING)
    containers = {name: value["container"] for name, value in document["deploymentSpec"]["executors"].items()}
    assert {container["image"] for container in containers.values()} == {"parak8s:test"}
    variables = [{"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow:5000"}]
    assert [container["env"] for container in containers.values()] == [variables] * len(containers)
    resources = containers["exec-train"]["resources"]
    assert (resources["resourceCpuLimit"], resources["resourceCpuRequest"]) == ("7.5", "7.5")
    assert (resources["resourceMemoryLimit"], resources["resourceMemoryRequest"]) == ("1610612736", "1610612736")
    assert resources["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert resources["accelerator"]["resourceCount"] == "2"
    assert [name for name, value in containers.items() if "accelerator" in value["resources"]] == ["exec-train"]
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(pods) == set(containers)
    everywhere = {
        "imagePullPolicy": "Always",
        "imagePullSecret": [{"secretName": "pull", "secretNameParameter": _constant("pull")}],
        "pvcMount": [{"constant": "datasets", "mountPath": "/mnt/data", "pvcNameParameter": _constant("datasets")}],
        "secretAsEnv": [{
            "secretName": "s3", "secretNameParameter": _constant("s3"), "optional": False,
            "keyToEnv": [{"secretKey": "secretkey", "envVar": "AWS_SECRET_ACCESS_KEY"}],
        }],
    }  # fmt: skip
    assert pods["exec-gate"] == everywhere
    assert pods["exec-train"] == everywhere | {
        "nodeSelector": {"labels": {"accelerator": "a100"}},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "emptyDirMounts": [
            {"volumeName": "shared-memory", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": "2Gi"}
        ],
    }


@pytest.mark.parametrize(
    ("cpus", "written"), [("0.001", "0.001"), ("0.00149", "0.001"), ("7.5", "7.5"), ("10", "10"), ("4096", "4096")]
)
def test_cores_are_written_as_plain_decimals(tmp_path: Path, cpus: str, written: str) -> None:
    document, *_ = spec(tmp_path, MINIMAL, f"compute.cpus={cpus}")
    assert (
        document["deploymentSpec"]["executors"]["exec-train"]["container"]["resources"]["resourceCpuLimit"] == written
    )


def test_two_variables_may_come_from_one_key_of_a_secret(tmp_path: Path) -> None:
    _, platform = spec(tmp_path, MINIMAL, "compute.secrets=[{name: s, env: {A: k, B: k, C: other}}]")
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    found = [pair for each in executors["exec-train"]["secretAsEnv"] for pair in each["keyToEnv"]]
    assert found == [
        {"secretKey": "k", "envVar": "A"}, {"secretKey": "k", "envVar": "B"}, {"secretKey": "other", "envVar": "C"},
    ]  # fmt: skip
    assert {each["secretName"] for each in executors["exec-train"]["secretAsEnv"]} == {"s"}


def _constant(value: str) -> Any:
    return {"runtimeValue": {"constant": value}}


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [("8Gi", "8Gi"), ("512Mi", "512Mi"), ("1.5G", "1500000000"), ("0.5Ki", "512"), ("3k", "3000"), ("1000", "1000")],
)
def test_quantities_of_memory_keep_their_size_in_kfp(quantity: str, expected: str) -> None:
    assert in_kfp_units(quantity) == expected


def test_a_sweep_of_a_hundred_points_is_one_loop_below_100_kb() -> None:
    text = compiled(Request.read(ECG, (), POINTS, 10))
    assert len(text.encode()) < 100_000
    document = next(iter(yaml.safe_load_all(text)))
    loops = [
        task
        for component in document["components"].values()
        for task in component.get("dag", {}).get("tasks", {}).values()
        if "parameterIterator" in task
    ]
    assert len(yaml.safe_load(document["root"]["inputDefinitions"]["parameters"]["points"]["defaultValue"])) == 100
    assert [loop["iteratorPolicy"] for loop in loops] == [{"parallelismLimit": 10}]
    assert [name for name in document["deploymentSpec"]["executors"] if "train" in name] == ["exec-train"]


def test_compiling_loads_neither_tensorflow_nor_mlflow() -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom parak8s.pipelines.compiling import Request, compiled\n"
        f"compiled(Request.read(Path({str(ECG)!r}), (), Path({str(POINTS)!r})))\n"
        "print({'tensorflow', 'keras', 'mlflow', 'torch'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_parameters_above_10_000_bytes_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"take 10,\d\d\d bytes, 10,\d\d\d of them experiment \(.*/x.yaml\); Kubeflow"):
        spec(tmp_path, f"# {'x' * 10_000}\n{MINIMAL}")
    with pytest.raises(InputError, match=r"10,\d\d\d of them points \(.*/points.yaml\); .* the default, points \("):
        spec(tmp_path, MINIMAL, points=f"# {'x' * 10_000}\na: {{}}\n")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tracking.uri", "postgresql+psycopg2://me:hunter2@db/mlflow"),
        ("data.source", "s3://key:hunter2@bucket/x"),
        ("data.source", "https://host/x?X-Amz-Signature=hunter2"),
        ("compute.env.DB_PASSWORD", "hunter2"),
        ("compute.env.MLFLOW_TRACKING_URI", "http://me:hunter2@mlflow"),
    ],
)
def test_a_password_is_refused_by_its_path_where_everybody_would_read_it(tmp_path: Path, path: str, value: str) -> None:
    section, _, key = path.partition(".")
    text = MINIMAL.replace("source: 'synthetic://ecg?beats=300'", f"source: '{value}'") if section == "data" else (
        f"{MINIMAL}{section}: {json.dumps(space.override({}, [(key, value)]))}\n"
    )  # fmt: skip
    for place, given, overrides in (("-s", MINIMAL, [f"{path}={value}"]), ("x.yaml:", text, [])):
        with pytest.raises(InputError, match=f"{place} {path} holds a password or a token") as refused:
            spec(tmp_path, given, *overrides)
        assert "compute.secrets" in str(refused.value)
        assert "hunter2" not in str(refused.value)


def test_a_password_that_an_override_hides_or_a_comment_holds_is_in_the_text_all_the_same(tmp_path: Path) -> None:
    hidden = f"{MINIMAL}compute: {{env: {{DB_PASSWORD: hunter2}}}}\n"
    with pytest.raises(InputError, match=r"x.yaml: compute.env.DB_PASSWORD holds a password"):
        spec(tmp_path, hidden, "compute.env={}")
    with pytest.raises(InputError, match=r"x.yaml: line 4 holds a password"):
        spec(tmp_path, f"{MINIMAL}# was postgresql+psycopg2://me:hunter2@db/mlflow\n")


def test_a_password_among_the_points_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"points.yaml: line 2 holds a password or a token"):
        spec(tmp_path, MINIMAL, points="a: {}\n# b: s3://key:hunter2@bucket\nb: {seed: 2}\n")


def test_names_of_secrets_and_settings_called_like_a_token_are_no_passwords(tmp_path: Path) -> None:
    text = (
        f"{MINIMAL}compute:\n  secrets: [{{name: db, env: {{DB_PASSWORD: password}}}}]\n"
        "  env: {TOKENIZERS_PARALLELISM: 'false', GOOGLE_APPLICATION_CREDENTIALS: /mnt/key.json}\n"
    )
    assert spec(tmp_path, text)


def test_a_builders_tokenizer_is_no_token(tmp_path: Path, own_module: Path) -> None:
    own_module.joinpath("small.py").write_text("def net(input_shape, classes, *, tokenizer: str = 'word'):\n    pass\n")
    assert spec(tmp_path, OWN, "model.params.tokenizer=word")


def test_a_folder_is_no_file_to_write_the_pipeline_to(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(MINIMAL)
    with pytest.raises(InputError, match=r": a folder; name a file in it, such as .*/x.yaml$"):
        write(Request.read(tmp_path / "x.yaml"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["x.yaml"]


RUNS = ("compute.volumes=[{claim: runs, path: /mnt/runs}]", "compute.runs=/mnt/runs")


def test_several_workers_train_in_a_job_that_gets_what_the_task_is_given(tmp_path: Path) -> None:
    document, platform = spec(tmp_path, MINIMAL + EVERYTHING, "compute.workers=4", "compute.runs=/mnt/data/runs")
    steps = tasks(document, "exit-handler")
    assert "train" not in steps
    assert steps["calibrate"]["inputs"]["artifacts"]["training"]["taskOutputArtifact"]["producerTask"] == (
        "distributed-train"
    )
    given = steps["distributed-train"]["inputs"]["parameters"]["compute"]["runtimeValue"]["constant"]
    assert yaml.safe_load(given) == {
        "image": "parak8s:test", "image_pull_policy": "Always", "image_pull_secrets": ["pull"], "shared_memory": "2Gi",
        "workers": 4, "runs": "/mnt/data/runs",
    }  # fmt: skip
    handed_on = document["components"]["comp-distributed-train"]["taskConfigPassthroughs"]
    assert {each["field"]: each.get("applyToTask", False) for each in handed_on} == {
        "RESOURCES": False, "KUBERNETES_NODE_SELECTOR": False, "KUBERNETES_TOLERATIONS": False, "ENV": True,
        "KUBERNETES_VOLUMES": True,
    }  # fmt: skip
    container = document["deploymentSpec"]["executors"]["exec-distributed-train"]["container"]
    assert container["resources"]["accelerator"]["count"] == "2"
    on_kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-distributed-train"]
    assert on_kubernetes["nodeSelector"]["labels"] == {"accelerator": "a100"}
    assert [mount["mountPath"] for mount in on_kubernetes["pvcMount"]] == ["/mnt/data"]
    assert "emptyDirMounts" not in on_kubernetes


def test_more_memory_for_a_job_retrains_nothing(tmp_path: Path) -> None:
    def given(*overrides: str) -> Any:
        document, *_ = spec(tmp_path, MINIMAL, "compute.workers=2", *RUNS, *overrides)
        return tasks(document, "exit-handler")["distributed-train"]["inputs"]

    assert given("compute.memory=64Gi", "compute.gpus=1") == given()
    assert given("compute.workers=4") != given()


def test_the_points_of_a_sweep_train_in_jobs_too(tmp_path: Path) -> None:
    document, *_ = spec(
        tmp_path, MINIMAL, "compute.parameter_servers=1", *RUNS, points="a: {}\nb: {training.epochs: 2}"
    )
    assert list(tasks(document, "for-loop")) == ["distributed-train"]


def test_replicas_that_would_share_no_folder_on_a_cluster_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(MINIMAL)
    request = Request.read(tmp_path / "x.yaml", ["compute.workers=2"])
    for refuse in (lambda: write(request, tmp_path / "out.yaml"), lambda: manifests(request)):
        with pytest.raises(InputError, match=r"2 replicas must share one folder, and /tmp/runs/x lies on none of"):
            refuse()
    assert compiled(request)  # on this machine they share its disk


def test_the_plan_counts_every_replica_of_a_job(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(MINIMAL)
    planned = plan(Request.read(tmp_path / "x.yaml", ["compute.workers=2", "compute.parameter_servers=1", *RUNS]))
    assert [(task.name, task.times) for task in planned.tasks if "train" in task.name] == [("distributed-train", 4)]


def test_manifests_are_a_pipeline_and_a_version_named_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(MINIMAL)
    request = Request.read(tmp_path / "x.yaml")
    pipeline, version = yaml.safe_load_all(manifests(request, "ml"))
    assert pipeline == {
        "apiVersion": "pipelines.kubeflow.org/v2beta1",
        "kind": "Pipeline",
        "metadata": {"name": "x", "namespace": "ml"},
        "spec": {"displayName": "x", "description": "The experiment x: from its data to a registered model."},
    }
    assert (version["kind"], version["metadata"]["namespace"]) == ("PipelineVersion", "ml")
    assert version["spec"]["pipelineName"] == "x"
    assert version["spec"]["pipelineSpec"] == spec(tmp_path)[0]
    assert "platformSpec" not in version["spec"]
    assert manifests(request, "ml") == manifests(Request.read(tmp_path / "x.yaml"), "ml")
    (tmp_path / "x.yaml").write_text(f"{MINIMAL}seed: 1\n")
    other = list(yaml.safe_load_all(manifests(Request.read(tmp_path / "x.yaml"), "ml")))[1]
    assert other["metadata"]["name"] != version["metadata"]["name"]
    assert other["metadata"]["name"].startswith("x-")


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a package with a builder, which can be imported."""
    package = tmp_path / "nets_of_mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "small.py").write_text("def net(input_shape, classes, *, units: int = 4):\n    return None\n")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "stale.pyc").write_bytes(b"x")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("nets_of_mine", "nets_of_mine.small"):  # of another test's folder
        monkeypatch.delitem(sys.modules, name, raising=False)
    return package


OWN = MINIMAL.replace("deep_cnn", "nets_of_mine.small:net")


def test_own_code_travels_once_and_reaches_every_step(tmp_path: Path, own_module: Path) -> None:
    first = spec(tmp_path, OWN)[0]
    carriers = [
        name for name, value in first["deploymentSpec"]["executors"].items()
        if "extractall" in json.dumps(value)
    ]  # fmt: skip
    assert carriers == ["exec-own-code"]
    steps = tasks(first, "exit-handler")
    for name in ("configure", "ingest", "train", "calibrate", "evaluate", "gate", "report"):
        assert "code" in steps[name]["inputs"]["artifacts"], name
    own_module.joinpath("small.py").touch()
    assert spec(tmp_path, OWN)[0] == first


def unpacked(text: str, tmp_path: Path) -> tuple[Path, int]:
    """Return the folder that the tasks of own code leave, run one after the other, and how many they are."""
    with tempfile.TemporaryDirectory() as folder:
        carriers: list[Any] = own_code.carriers_of(loading.parse(text, "x.yaml"), Path(folder))
    before: dict[str, Any] = {}
    for number, carrier in enumerate(carriers):
        made = SimpleNamespace(path=str(tmp_path / f"code-{number}"))
        carrier.python_func(code=made, **before)
        before = {"before": made}
    return tmp_path / f"code-{len(carriers) - 1}", len(carriers)


def test_what_was_shipped_is_imported_where_the_users_folder_is_not(tmp_path: Path, own_module: Path) -> None:
    small = own_module / "small.py"
    small.write_text(f"import beside_mine\n{small.read_text()}")
    (tmp_path / "beside_mine.py").write_text("import json\n")
    (tmp_path / "not_imported.py").write_text("")
    code, _ = unpacked(OWN, tmp_path)
    files = sorted(path.relative_to(code).as_posix() for path in code.rglob("*") if path.is_file())
    assert files == ["beside_mine.py", "nets_of_mine/__init__.py", "nets_of_mine/small.py"]
    told = subprocess.run(
        [sys.executable, "-c",
         "import sys; from types import SimpleNamespace; from parak8s.components import runtime\n"
         f"with runtime.experiment({OWN!r}, SimpleNamespace(path={str(code)!r})) as point:\n"
         "    print(point.model.params, sys.modules['nets_of_mine.small'].__file__)"],
        cwd="/", env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout == f"{{'units': 4}} {code / 'nets_of_mine' / 'small.py'}\n"


@pytest.mark.parametrize(("size", "count"), [(60_000, 1), (300_000, 4), (950_000, 11)])
def test_own_code_of_up_to_a_megabyte_travels_in_tasks_that_can_be_started(
    tmp_path: Path, own_module: Path, size: int, count: int
) -> None:
    """Linux takes no argument above 128 KiB, and KFP gives a whole container to its driver as one."""
    table = random.Random(1).randbytes(size)
    own_module.joinpath("table.bin").write_bytes(table)
    document, *_ = spec(tmp_path, OWN)
    containers = [
        json.dumps(each["container"]).encode()
        for name, each in document["deploymentSpec"]["executors"].items()
        if name.startswith("exec-own-code")
    ]
    assert len(containers) == count
    assert max(map(len, containers)) < 128 * 1024
    code, pieces = unpacked(OWN, tmp_path)
    assert pieces == count
    assert (code / "nets_of_mine" / "table.bin").read_bytes() == table
    last = "own-code" if count == 1 else f"own-code-{count}"
    assert tasks(document, "exit-handler")["configure"]["dependentTasks"] == [last]


def test_own_code_above_1_mb_is_refused_with_what_to_do(tmp_path: Path, own_module: Path) -> None:
    own_module.joinpath("weights.bin").write_bytes(random.Random(1).randbytes(1_100_000))
    with pytest.raises(InputError, match=r"nets_of_mine.small have 1,1\d\d,\d\d\d bytes when packed.*build an image"):
        spec(tmp_path, OWN)


def test_a_link_in_own_code_is_not_followed_into_a_pipeline(tmp_path: Path, own_module: Path) -> None:
    own_module.joinpath("secret.txt").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match=r"secret.txt: a link"):
        spec(tmp_path, OWN)


def test_a_plan_tells_resources_reuse_and_sizes_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(MINIMAL + EVERYTHING)
    made = plan(Request.read(tmp_path / "x.yaml"), tmp_path / "run")
    found = {task.name: (task.times, task.resources.gpus, task.cached, task.reused) for task in made.tasks}
    assert found == {
        "configure": (1, 0, False, None), "ingest": (1, 0, True, False), "train": (1, 2, True, False),
        "calibrate": (1, 0, True, False), "evaluate": (1, 0, True, False), "gate": (1, 0, False, False),
        "report": (1, 0, False, None), "register": (1, 0, False, False), "record": (1, 0, False, None),
        "outcome": (1, 0, False, None),
    }  # fmt: skip
    assert made.sizes["pipeline"][0] == len(compiled(Request.read(tmp_path / "x.yaml")).partition("\n")[2].encode())
    assert made.sizes["parameters"][1] == 10_000
    assert not (tmp_path / "run").exists()
