"""The component tune and its pipeline: the graph as it is compiled, and the search on an emulated cluster."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import dsl
from typer.testing import CliRunner

from katib_server import Katib, KatibServer, done, failed, katib_server, status, trial
from parak8s import loading
from parak8s.cli import app
from parak8s.components.tune import tune
from parak8s.errors import InputError
from parak8s.pipelines.compiling import Request, compiled, write
from tfjobs_case import kubeconfig

LR = "training.optimizer.learning_rate"
TEXT = f"""# what we know of hearts
name: ecg
data: {{loader: ecg, source: "synthetic://ecg?beats=300"}}
model: {{builder: deep_cnn}}
tracking: {{uri: "http://mlflow:5000"}}
training:
  epochs: 3    # few
search:
  objective: {{metric: val_auc}}
  algorithm: tpe
  trials: 4
  parallel: 2
  parameters:
    {LR}: {{min: 1.0e-4, max: 1.0e-2, log: true}}
"""
ON_NODES = """compute:
  image: parak8s:test
  gpus: 2
  cpus: 7
  node_selector: {accelerator: a100}
  volumes: [{claim: runs, path: /mnt/runs}]
  runs: /mnt/runs
"""


# The pipeline


def request(tmp_path: Path, text: str = TEXT, *overrides: str, **options: Any) -> Request:
    (tmp_path / "x.yaml").write_text(text)
    return Request.read(tmp_path / "x.yaml", overrides, **{"tune": True, **options})


def steps_of(document: Any) -> dict[str, Any]:
    (name,) = [name for name in document["components"] if name.startswith("comp-exit-handler")]
    found: dict[str, Any] = document["components"][name]["dag"]["tasks"]
    return found


def test_the_best_point_goes_through_all_steps_after_the_search(tmp_path: Path) -> None:
    document, *_ = yaml.safe_load_all(compiled(request(tmp_path, TEXT, "training.epochs=2")))
    steps = steps_of(document)
    after = {name: set(task.get("dependentTasks", [])) for name, task in steps.items()}
    chain = ["tune", "configure", "ingest", "train", "calibrate", "evaluate", "gate", "report"]
    assert set(after) == {*chain, "condition-branches-2"}
    for before, following in pairwise(chain):
        assert before in after[following]
    assert steps["configure"]["inputs"]["parameters"] == {
        "experiment": {"taskOutputParameter": {"outputParameterKey": "best", "producerTask": "tune"}}
    }
    given = steps["tune"]["inputs"]["parameters"]
    assert given["experiment"] == {"componentInputParameter": "pipelinechannel--experiment"}
    assert given["overrides"] == {"componentInputParameter": "pipelinechannel--overrides"}
    assert steps["tune"]["cachingOptions"] == {"enableCache": True}
    assert document["pipelineInfo"]["name"] == "ecg-tune"
    shown = document["root"]["inputDefinitions"]["parameters"]
    assert {name: value["defaultValue"] for name, value in shown.items()} == {
        "experiment": TEXT,
        "overrides": "training.epochs=2",
    }


def test_what_the_trials_need_is_handed_on_to_them(tmp_path: Path) -> None:
    document, platform = yaml.safe_load_all(compiled(request(tmp_path, TEXT + ON_NODES)))
    given = steps_of(document)["tune"]["inputs"]["parameters"]["compute"]["runtimeValue"]["constant"]
    assert yaml.safe_load(given) == {"image": "parak8s:test", "runs": "/mnt/runs"}
    handed_on = document["components"]["comp-tune"]["taskConfigPassthroughs"]
    assert {each["field"]: each.get("applyToTask", False) for each in handed_on} == {
        "RESOURCES": False, "KUBERNETES_NODE_SELECTOR": False, "KUBERNETES_TOLERATIONS": False, "ENV": True,
        "KUBERNETES_VOLUMES": True,
    }  # fmt: skip
    resources = document["deploymentSpec"]["executors"]["exec-tune"]["container"]["resources"]
    assert (resources["accelerator"]["count"], resources["resourceCpuLimit"]) == ("2", "7")
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert pods["exec-tune"]["nodeSelector"]["labels"] == {"accelerator": "a100"}
    assert [mount["mountPath"] for mount in pods["exec-tune"]["pvcMount"]] == ["/mnt/runs"]


def test_the_best_point_of_many_workers_trains_in_a_job_too(tmp_path: Path) -> None:
    document, *_ = yaml.safe_load_all(compiled(request(tmp_path, TEXT + ON_NODES + "  workers: 2\n")))
    assert {"tune", "distributed-train"} <= set(steps_of(document))


def test_a_search_without_a_space_is_refused_before_anything_is_compiled(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        request(tmp_path, TEXT.partition("search:")[0])
    assert str(refused.value) == (
        f"{tmp_path}/x.yaml: has no section search; --tune needs one: an objective, and parameters"
    )


def test_a_search_and_named_points_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        request(tmp_path, points=tmp_path / "points.yaml")
    assert str(refused.value) == "--tune and --points: a search makes its own points; give one of both"


def test_trials_that_no_cluster_could_run_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    wanted = request(tmp_path, f"{TEXT}compute: {{env: {{PARAK8S_EXPERIMENT: mine}}}}\n")
    with pytest.raises(InputError, match=r"compute.env: PARAK8S_EXPERIMENT holds the text of the experiment"):
        write(wanted, tmp_path / "out.yaml")
    assert not (tmp_path / "out.yaml").exists()


def test_the_command_compiles_the_search(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(TEXT)
    target = tmp_path / "out.yaml"
    ended = CliRunner().invoke(app, ["compile", str(tmp_path / "x.yaml"), "--tune", "-o", str(target)])
    assert ended.exit_code == 0, ended.output
    assert "comp-tune" in target.read_text()


# The component on a cluster


class Cluster:
    """An emulated cluster whose Katib searches in no time.

    Args:
        root: Of the test.
        server: Where the Experiment is created.
    """

    def __init__(self, root: Path, server: KatibServer) -> None:
        self.root, self.server = root, server
        self.trials = dsl.Artifact(uri=str(root / "artifacts" / "trials"), metadata={})
        self.metrics = dsl.Metrics(uri=str(root / "artifacts" / "metrics"), metadata={})
        self.leaderboard = dsl.Markdown(uri=str(root / "artifacts" / "leaderboard"), metadata={})
        self.made: list[dict[str, Any]] = []
        server.on_create = self.search

    def search(self, experiment: dict[str, Any]) -> None:
        """Do what Katib does: three trials, of which one fails."""
        self.made.append(experiment)
        found = named(experiment, trial("a", "Succeeded", 0.91), failed("b"), trial("c", "Succeeded", 0.93))
        self.play(Katib(status(), named(experiment, trial("a"))), Katib(done(best=found[2]), found))

    def play(self, *story: Katib) -> None:
        self.server.story, self.server.looks = list(story), 0

    def tune(self, **options: Any) -> Any:
        made = {"trials": self.trials, "metrics": self.metrics, "leaderboard": self.leaderboard}
        given = {"experiment": TEXT, "task_config": dsl.TaskConfig(), **options}
        return tune.python_func(**made, **given)


def named(experiment: dict[str, Any], *trials: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Give trials the names and the points that they have in an experiment."""
    for place, each in enumerate(trials, start=1):
        each["metadata"]["name"] = each["metadata"]["name"].replace("ecg", experiment["metadata"]["name"])
        each["spec"]["parameterAssignments"] = [{"name": LR, "value": f"{place}e-3"}]
    return trials


@pytest.fixture(name="cluster")
def a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with katib_server() as server:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, server.uri)))
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        monkeypatch.setenv("KFP_POD_NAME", "ecg-x7k2p")
        monkeypatch.setenv("KFP_POD_UID", "17")
        yield Cluster(tmp_path, server)


def test_katib_gets_the_search_with_what_the_task_is_given(cluster: Cluster) -> None:
    config: dict[str, Any] = {
        "resources": {"limits": {"cpu": "1500m", "nvidia.com/gpu": "1"}},
        "node_selector": {"disk": "fast"},
    }
    cluster.tune(
        overrides="training.epochs=2", compute="{image: 'parak8s:test'}", max_trials=6, parallel=3,
        task_config=dsl.TaskConfig(**config),
    )  # fmt: skip
    (made,) = cluster.made
    name = made["metadata"]["name"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "ecg-x7k2p", "uid": "17"}
    assert made["metadata"]["ownerReferences"] == [owner]
    assert name.startswith("tune-")
    assert len(name) == len("tune-") + 12
    spec = made["spec"]
    assert (spec["maxTrialCount"], spec["parallelTrialCount"], spec["resumePolicy"]) == (6, 3, "Never")
    assert [each["name"] for each in spec["parameters"]] == [LR]
    pod = spec["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "parak8s:test"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["nodeSelector"] == {"disk": "fast"}
    (text,) = [each["value"] for each in container["env"] if each["name"] == "PARAK8S_EXPERIMENT"]
    assert yaml.safe_load(text)["training"]["epochs"] == 2


def test_the_best_point_stands_in_the_text_as_it_was_written(cluster: Cluster) -> None:
    best = cluster.tune(overrides="training.epochs=2").best
    assert best.splitlines()[0].endswith("-c, val_auc 0.93")
    assert "# what we know of hearts" in best
    assert "epochs: 2    # few" in best
    point = loading.parse(best, "best")
    assert point.training.optimizer.learning_rate == 0.003
    assert (point.training.epochs, point.search is not None) == (2, True)
    assert (Path(cluster.trials.path) / "best.yaml").read_text() == best


def test_trials_their_table_and_the_best_value_are_left(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    cluster.tune()
    (made,) = cluster.made
    name = made["metadata"]["name"]
    folder = Path(cluster.trials.path)
    assert sorted(path.name for path in folder.iterdir()) == ["best.yaml", "report.html", "trials.csv"]
    rows = list(csv.DictReader((folder / "trials.csv").open(newline="")))
    assert [(row["name"], row["state"], row[LR], row["val_auc"]) for row in rows] == [
        (f"{name}-a", "Succeeded", "1e-3", "0.91"),
        (f"{name}-b", "Failed", "2e-3", ""),
        (f"{name}-c", "Succeeded", "3e-3", "0.93"),
    ]
    assert rows[1]["reason"] == "its job failed more often than backoffLimit (2) allows"
    assert cluster.metrics.metadata == {"best val_auc": 0.93, "trials": 3, "trials without a value": 1}
    page = Path(cluster.leaderboard.path).read_text().splitlines()
    assert page[:5] == [
        "# ecg: 3 trials by val_auc, tpe",
        "",
        "| rank | trial | val_auc | learning_rate | time | state |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| 1 | {name}-c | 0.93 | 0.003 | 1 min 30 s | succeeded |",
    ]
    said = capfd.readouterr().err.splitlines()
    assert f"the best so far is {name}-c: val_auc 0.93, {LR}=3e-3" in said
    assert f"{name}-a is done after 90 s val_auc 0.91" in said


def test_a_search_that_fails_leaves_its_table_and_says_why(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    def fail(experiment: dict[str, Any]) -> None:
        words = "Experiment has failed because max failed count has reached"
        over = status("Failed", words, trials=1, trialsFailed=1)
        cluster.play(Katib(over, named(experiment, failed("a"))))

    cluster.server.on_create = fail
    with pytest.raises(SystemExit) as stop:
        cluster.tune(overrides="search.max_failed=0")
    assert stop.value.code == 1
    (name,) = cluster.server.found
    assert capfd.readouterr().err.splitlines()[-2:] == [
        f"parak8s: the Experiment {name} is Failed: more trials failed than maxFailedTrialCount (0) allows: 1 of 1; "
        f"{name}-a: its job failed more often than backoffLimit (2) allows",
        "exit code 1",
    ]
    assert (Path(cluster.trials.path) / "trials.csv").is_file()
    assert not Path(cluster.leaderboard.path).exists()


def test_another_attempt_of_the_task_begins_anew(cluster: Cluster) -> None:
    cluster.tune()
    cluster.tune()
    first, second = (made["metadata"]["name"] for made in cluster.made)
    assert first == second
    assert len(cluster.server.sent("DELETE .*")) == 2


def test_what_cannot_be_searched_is_said_before_katib_is_asked(
    cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    for text, words in (
        (TEXT.partition("search:")[0], "ecg has no section search: write what to search, and by which metric"),
        (TEXT.replace("trials: 4", "trials: no"), "experiment: 1 mistake"),
        (TEXT.replace("http://mlflow:5000", "sqlite:////tmp/x.db"), "a file that is lost with its pod"),
    ):
        with pytest.raises(SystemExit) as stop:
            cluster.tune(experiment=text)
        assert stop.value.code == 2
        assert words in capfd.readouterr().err
    assert cluster.server.requests == []


def arguments() -> str:
    return json.dumps({"experiment": TEXT, "task_config": {}})


def test_a_run_that_is_cancelled_takes_its_search_along(cluster: Cluster) -> None:
    cluster.server.on_create = lambda made: cluster.play(Katib(status(), named(made, trial("a"))))
    program = Path(__file__).with_name("component_alone.py")
    task = subprocess.Popen(
        [sys.executable, str(program), "tune", arguments()],
        cwd=cluster.root, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not cluster.server.sent("GET /api/v1/namespaces/ml/pods") and task.poll() is None:
        time.sleep(0.05)
    os.kill(task.pid, signal.SIGTERM)
    _, said = task.communicate(timeout=60)
    assert task.returncode == 130, said
    assert said.endswith("parak8s: the run was cancelled, and the search with it\nexit code 130\n")
    assert cluster.server.found == {}


def test_the_task_itself_loads_no_tensorflow(cluster: Cluster) -> None:
    program = Path(__file__).with_name("component_alone.py")
    ended = subprocess.run(
        [sys.executable, str(program), "tune", arguments()],
        cwd=cluster.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "no tensorflow"


# The component without a cluster


def test_under_kfps_local_runner_the_laptop_engine_searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    small = TEXT.replace("beats=300", "beats=600").replace('tracking: {uri: "http://mlflow:5000"}\n', "")
    small = small.replace("model: {builder: deep_cnn}", "model: {builder: deep_cnn, params: {filters: 2, blocks: 1}}")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from kfp import local\n"
        "from parak8s.components.tune import tune\n"
        "local.init(local.SubprocessRunner(use_venv=False), pipeline_root='root')\n"
        "task = tune(experiment=Path('x.yaml').read_text(), overrides='training.epochs=1', max_trials=2)\n"
        "Path('best.yaml').write_text(task.outputs['best'])\n"
        "Path('where').write_text(task.outputs['trials'].path)\n"
    )
    Path("x.yaml").write_text(small)
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    with (Path(Path("where").read_text()) / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["Succeeded"] * 2
    best = max(rows, key=lambda row: float(row["val_auc"]))
    written = yaml.safe_load(Path("best.yaml").read_text())
    assert written["training"]["optimizer"]["learning_rate"] == float(best[LR])
    assert "# what we know of hearts" in Path("best.yaml").read_text()
