"""Every component: its yaml is fresh and complete, and its function does the step's work on real files."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from kfp import dsl

from parak8s import components, files, loading, run
from parak8s.components import runtime
from parak8s.components.spec import documents_of
from parak8s.layout import Layout
from parak8s.training.progress import Record

FOLDER = Path(components.__file__).parent
SMALL = (
    "data.source=synthetic://ecg?beats=1200&seed=3",
    "data.batch_size=64",
    "model.params={filters: 4, blocks: 2, units: 8}",
    "training.epochs=2",
    "evaluation.bootstrap.samples=100",
    "gate={categorical_accuracy: '>= 0.1'}",
)
ECG = Path(__file__).parents[1] / "experiments" / "ecg.yaml"


def component(name: str) -> Any:
    return getattr(import_module(f"parak8s.components.{name}"), name)


def shipped(name: str) -> Any:
    return yaml.safe_load((FOLDER / name / "component.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", components.COMPONENTS)
def test_component_yaml_is_what_the_function_beside_it_compiles_to(name: str) -> None:
    assert [shipped(name)] == documents_of(component(name)), "give: make compile"


@pytest.mark.parametrize("name", components.COMPONENTS)
def test_every_input_and_output_is_documented(name: str) -> None:
    (spec,) = shipped(name)["components"].values()
    for side in ("inputDefinitions", "outputDefinitions"):
        for kind in spec.get(side, {}).values():
            for port, about in kind.items():
                assert about.get("description") or about["parameterType"] == "TASK_FINAL_STATUS", f"{name}: {port}"


def test_every_folder_of_components_is_a_component() -> None:
    found = {path.parent.name for path in FOLDER.glob("*/component.yaml")}
    assert found == set(components.COMPONENTS)


def test_the_yaml_files_load_with_kfp_alone() -> None:
    """Other people's pipelines load them without ParaK8s, TensorFlow or MLflow installed."""
    program = (
        "import sys\n"
        "for name in ('parak8s', 'tensorflow', 'keras', 'mlflow', 'pydantic'): sys.modules[name] = None\n"
        "from kfp import components\n"
        f"for path in {[str(path) for path in sorted(FOLDER.glob('*/component.yaml'))]!r}:\n"
        "    print(components.load_component_from_file(path).name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == sorted(name.replace("_", "-") for name in components.COMPONENTS)


@pytest.mark.parametrize(("name", "types"), [
    ("ingest", {"dataset": "system.Dataset"}),
    ("train", {"training": "system.Model", "metrics": "system.Metrics"}),
    ("distributed_train", {"training": "system.Model", "metrics": "system.Metrics"}),
    ("calibrate", {"model": "system.Model"}),
    ("evaluate", {
        "evaluation": "system.Artifact", "metrics": "system.Metrics",
        "confusion_matrix": "system.ClassificationMetrics", "roc_curve": "system.ClassificationMetrics",
    }),
    ("gate", {"verdict": "system.Artifact", "summary": "system.Markdown"}),
    ("report", {"page": "system.HTML", "summary": "system.Markdown"}),
    ("register", {"registered": "system.Model"}),
    ("outcome", {"outcome": "system.Markdown"}),
])  # fmt: skip
def test_outputs_have_the_types_that_the_dashboard_draws(name: str, types: dict[str, str]) -> None:
    (spec,) = shipped(name)["components"].values()
    outputs = spec["outputDefinitions"]["artifacts"]
    assert {port: about["artifactType"]["schemaTitle"] for port, about in outputs.items()} == types


class Workbench:
    """Calls component functions on artifacts in a folder, as KFP's executor does."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.made: dict[str, Any] = {}

    def artifact(self, kind: Callable[..., Any], name: str) -> Any:
        self.made[name] = kind(name=name, uri=str(self.root / name), metadata={})
        return self.made[name]

    def __call__(self, name: str, **arguments: Any) -> Any:
        outputs = shipped(name)["components"]
        (spec,) = outputs.values()
        kinds = {"system.Artifact": dsl.Artifact, "system.Dataset": dsl.Dataset, "system.Model": dsl.Model,
                 "system.Metrics": dsl.Metrics, "system.ClassificationMetrics": dsl.ClassificationMetrics,
                 "system.HTML": dsl.HTML, "system.Markdown": dsl.Markdown}  # fmt: skip
        made = {
            port: self.artifact(kinds[about["artifactType"]["schemaTitle"]], f"{name}-{port}")
            for port, about in spec.get("outputDefinitions", {}).get("artifacts", {}).items()
        }
        return component(name).python_func(**arguments, **made)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def bench(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """Return a workbench on which the steps were called one after another."""
    bench = Workbench(tmp_path_factory.mktemp("artifacts"))
    overrides = " ".join(f'"{text}"' for text in (*SMALL, f"tracking.uri=sqlite:///{store / 'mlflow.db'}"))
    known = bench("configure", experiment=ECG.read_text(encoding="utf-8"), overrides=overrides)
    bench("ingest", settings=known.ingest)
    dataset = bench.made["ingest-dataset"]
    bench("train", settings=known.train, dataset=dataset)
    training = bench.made["train-training"]
    bench("calibrate", settings=known.calibrate, dataset=dataset, training=training)
    model = bench.made["calibrate-model"]
    bench("evaluate", settings=known.evaluate, dataset=dataset, model=model)
    evaluation = bench.made["evaluate-evaluation"]
    bench.made["passed"] = bench("gate", experiment=known.experiment, dataset=dataset, evaluation=evaluation)
    run = {"dataset": dataset, "training": training, "model": model, "evaluation": evaluation}
    run |= {"verdict": bench.made["gate-verdict"], "experiment": known.experiment}
    run |= {"fingerprint": known.fingerprint, "digest": known.digest}
    bench("report", **run)
    bench("register", job="job-1", page=bench.made["report-page"], **run)
    bench.made["known"], bench.made["run"] = known, run
    return bench


@pytest.fixture(scope="module")
def local(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Return what the local engine makes of the same file."""

    class Silent:
        def started(self, step: str) -> None: ...
        def finished(self, step: str, summary: str, seconds: float | None) -> None: ...

    point = loading.load(ECG, [*SMALL, f"tracking.uri=sqlite:///{store / 'local.db'}"])
    return run.run(point, tmp_path_factory.mktemp("local") / "run", narrator=Silent())


def test_components_give_the_numbers_of_the_local_engine_bit_for_bit(bench: Workbench, local: Layout) -> None:
    evaluation = Path(bench.made["evaluate-evaluation"].path)
    with np.load(evaluation / "predictions.npz") as ours, np.load(local.evaluation / "predictions.npz") as theirs:
        for name in ("labels", "probabilities", "uncalibrated"):
            assert ours[name].tobytes() == theirs[name].tobytes()
    assert (evaluation / "metrics.json").read_text() == (local.evaluation / "metrics.json").read_text()
    assert bench.made["known"].fingerprint == files.read_json(local.result)["fingerprint"]


@pytest.mark.slow
def test_two_workers_on_this_machine_give_the_losses_of_the_component_train(
    bench: Workbench, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    many = Workbench(tmp_path)
    settings, dataset = bench.made["known"].train, bench.made["ingest-dataset"]
    many("distributed_train", settings=settings, dataset=dataset, compute="{workers: 2}", task_config=None)
    ours, theirs = (
        [epoch["loss"] for epoch in files.read_json(Path(made.path) / "history.json")["epochs"]]
        for made in (many.made["distributed_train-training"], bench.made["train-training"])
    )
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert many.made["distributed_train-metrics"].metadata["epoch"] == 2
    said = capfd.readouterr().err.splitlines()
    assert {"worker-0 is done", "worker-1 is done"} <= set(said)
    assert [line.split("  loss")[0] for line in said if line.startswith("epoch ")] == ["epoch   1", "epoch   2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "distributed_train-metrics",
        "distributed_train-training",
    ]


def test_the_run_page_gets_the_metrics_and_the_confusion_matrix_of_the_test_split(bench: Workbench) -> None:
    measured = files.read_json(Path(bench.made["evaluate-evaluation"].path) / "metrics.json")
    metrics = bench.made["evaluate-metrics"].metadata
    assert metrics["categorical_accuracy"] == measured["metrics"]["categorical_accuracy"]["value"]
    shown = bench.made["evaluate-confusion_matrix"].metadata["confusionMatrix"]
    assert [spec["displayName"] for spec in shown["annotationSpecs"]] == list(measured["classes"])
    assert [row["row"] for row in shown["rows"]] == measured["confusion_matrix"]


def test_the_roc_curve_is_the_micro_average_of_scikit_learn(bench: Workbench) -> None:
    from sklearn import metrics

    with np.load(Path(bench.made["evaluate-evaluation"].path) / "predictions.npz") as archive:
        truth = np.eye(archive["probabilities"].shape[1])[archive["labels"]].ravel()
        expected = metrics.roc_auc_score(truth, archive["probabilities"].ravel())
    points = bench.made["evaluate-roc_curve"].metadata["confidenceMetrics"]
    curve = np.array([(point["falsePositiveRate"], point["recall"]) for point in points])
    assert (curve[0].tolist(), curve[-1].tolist(), len(curve) <= 200) == ([0, 0], [1, 1], True)
    assert np.trapezoid(curve[:, 1], curve[:, 0]) == pytest.approx(expected, abs=2e-3)
    json.dumps(points, allow_nan=False)


def test_the_verdict_and_the_pages_are_there(bench: Workbench) -> None:
    assert bench.made["passed"] is True
    assert bench.made["gate-verdict"].metadata == {"passed": True}
    assert Path(bench.made["gate-summary"].path).read_text().startswith("# Passed\n")
    page = Path(bench.made["report-page"].path).read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert bench.made["known"].fingerprint in page
    assert "| auc |" in Path(bench.made["report-summary"].path).read_text()


def test_every_output_of_a_step_is_a_file_or_folder_also_where_the_run_page_shows_numbers(bench: Workbench) -> None:
    ports = [name for name in bench.made if name.partition("-")[0] in ("ingest", "train", "calibrate", "evaluate")]
    assert len(ports) == 8
    assert [name for name in ports if not Path(bench.made[name].path).exists()] == []
    assert files.read_json(Path(bench.made["train-metrics"].path))["epoch"] == 2


def test_a_second_attempt_to_register_goes_on_with_the_run_and_version_of_the_first(bench: Workbench) -> None:
    first = dict(bench.made["register-registered"].metadata)
    assert (first["model_name"], first["model_version"], first["alias"]) == ("ecg-deep-cnn", "1", "champion")
    bench("register", job="job-1", page=bench.made["report-page"], **bench.made["run"])
    assert bench.made["register-registered"].metadata == first
    bench("register", job="job-2", page=bench.made["report-page"], **bench.made["run"])
    other = bench.made["register-registered"].metadata
    assert (other["run_id"] != first["run_id"], other["model_version"]) == (True, "2")


def test_load_ecg_prepares_what_ingest_prepares(tmp_path: Path) -> None:
    bench = Workbench(tmp_path)
    bench("load_ecg", source="synthetic://ecg?beats=300", train=0.5, validation=0.2, calibration=0.0, test=0.3)
    manifest = files.read_json(tmp_path / "load_ecg-dataset" / "manifest.json")
    assert sum(split["examples"] for split in manifest["splits"].values()) == 300
    assert manifest["splits"]["calibration"]["examples"] == 0
    assert bench.made["load_ecg-dataset"].metadata["digest"] == manifest["digest"]


def test_load_xray_prepares_what_ingest_prepares(tmp_path: Path) -> None:
    bench = Workbench(tmp_path)
    bench(
        "load_xray", source="synthetic://xray?images=120", size=32, train=0.5, validation=0.2, calibration=0.0, test=0.3
    )
    manifest = files.read_json(tmp_path / "load_xray-dataset" / "manifest.json")
    assert (sum(split["examples"] for split in manifest["splits"].values()), manifest["input_shape"]) == (
        120,
        [32, 32, 1],
    )
    assert bench.made["load_xray-dataset"].metadata["digest"] == manifest["digest"]


def test_build_model_gives_an_untrained_network_for_the_dataset(bench: Workbench) -> None:
    from parak8s.models import saved

    params = "{filters: 4, blocks: 1, units: 8}"
    bench("build_model", dataset=bench.made["ingest-dataset"], params=params, seed=5)
    network = saved.load(Path(bench.made["build_model-model"].path) / "model.keras")
    assert (network.input_shape, network.output_shape) == ((None, 187), (None, 5))
    assert bench.made["build_model-model"].metadata["parameters"] == network.count_params()


def test_keep_best_takes_the_point_that_did_best_on_the_validation_split(bench: Workbench, tmp_path: Path) -> None:
    points: list[dict[str, str]] = []
    trained: list[dsl.Model] = []
    for name, losses in {"low": [0.9, 0.4], "lowest": [0.8, 0.3], "late": [0.2, 0.5]}.items():
        folder, overrides = tmp_path / name, f"training.optimizer.learning_rate=0.0{len(points) + 1}"
        folder.mkdir()
        epochs = [
            {"epoch": epoch, "loss": 1.0, "accuracy": 0.5, "val_loss": loss, "val_accuracy": 0.5, "val_auc": None,
             "val_f1": 0.5, "learning_rate": 0.1, "seconds": 1.0, "timestamp_ms": 1}
            for epoch, loss in enumerate(losses, start=1)
        ]  # fmt: skip
        files.write_json(folder / "history.json", {"epochs": epochs, "kept_epoch": 2})
        points.append({"name": name, "overrides": overrides})
        trained.insert(0, dsl.Model(name=name, uri=str(folder), metadata={"overrides": overrides}))
    run = bench.made["run"]
    best = Workbench(tmp_path)
    told = best("keep_best", experiment=run["experiment"], digest=run["digest"], points=points, trained=trained,
                monitor="val_loss")  # fmt: skip
    assert best.made["keep_best-training"].metadata["point"] == "lowest"
    assert files.read_json(tmp_path / "keep_best-training" / "history.json")["epochs"][1]["val_loss"] == 0.3
    assert loading.parse(told.experiment, "best").training.optimizer.learning_rate == 0.02
    board = Path(best.made["keep_best-leaderboard"].path).read_text().splitlines()
    assert [line.split(" | ")[1] for line in board[4:]] == ["lowest", "low", "late"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("training.epoch=2", "-s training.epoch=2: training.epoch: no such key; did you mean 'epochs'?"),
        ("training.epochs=2.5", "-s training.epochs=2.5: training.epochs: expected a whole number, got 2.5"),
        ("'unclosed", "No closing quotation; write path=value"),
        ("epochs", "-s epochs: expected path=value"),
    ],
)
def test_configure_refuses_with_the_words_of_the_command_line(
    overrides: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        component("configure").python_func(experiment=ECG.read_text(encoding="utf-8"), overrides=overrides)
    told = capfd.readouterr().err
    assert stop.value.code == 2
    assert told.startswith("parak8s: ")
    assert said in told
    assert told.endswith("exit code 2\n")


def test_a_wrong_monitor_is_refused_before_any_point_trains(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = ECG.read_text(encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        Workbench(tmp_path)("points", experiment=text, settings="", points="a: {seed: 1}\n", monitor="val_los")
    assert stop.value.code == 2
    assert "monitor: no value 'val_los' of an epoch; did you mean 'val_loss'?" in capfd.readouterr().err


def test_a_tracking_server_that_is_away_costs_a_warning_and_not_the_training(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    point = loading.parse(ECG.read_text(encoding="utf-8"), "ecg")
    log, platform = runtime.observers(point, is_point_of_sweep=False)
    numbers: dict[str, Any] = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy", "val_auc", "val_f1"), 0.5)
    platform.on_epoch(Record(epoch=1, **numbers, learning_rate=0.1, seconds=1.0, timestamp_ms=1))
    warned = [record.getMessage() for record in caplog.records if record.name == "parak8s.components.live"]
    assert [message.partition(": ")[0] for message in warned] == ["epochs are not sent while training"]
    assert [type(each) for each in runtime.observers(point, is_point_of_sweep=True)] == [type(log)]


def test_a_pod_refuses_to_keep_the_evidence_in_a_file_that_goes_away_with_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    text = ECG.read_text(encoding="utf-8").replace("beats=12000", "beats=300")
    with pytest.raises(SystemExit):
        component("configure").python_func(experiment=text, overrides="tracking.uri=sqlite:///mlflow.db")
    assert "a file that is lost with its pod" in capfd.readouterr().err
    kept = "tracking.uri=sqlite:////mnt/mlflow.db compute.volumes='[{claim: evidence, path: /mnt}]'"
    assert component("configure").python_func(experiment=text, overrides=kept).digest.startswith("sha256:")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert component("configure").python_func(experiment=text, overrides="tracking.uri=null")


def test_the_outcome_says_what_happened_also_of_a_broken_experiment(tmp_path: Path) -> None:
    bench = Workbench(tmp_path)
    status = dsl.PipelineTaskFinalStatus("FAILED", "job", "experiment", 1, "task configure failed")
    bench("outcome", experiment="name: [", overrides="a=1", status=status)
    page = Path(bench.made["outcome-outcome"].path).read_text()
    assert page.startswith("# experiment: FAILED\n")
    assert "task configure failed" in page
    assert bench.made["outcome-outcome"].metadata == {"state": "FAILED", "error": "task configure failed"}


@pytest.mark.parametrize("name", ["configure", "ingest", "report", "outcome", "points", "keep_best"])
def test_components_that_compute_no_gradients_do_not_load_tensorflow(
    name: str, bench: Workbench, tmp_path: Path
) -> None:
    """The function runs in a fresh process, as in a pod, with TensorFlow and Keras out of reach."""
    run = {key: value.uri if isinstance(value, dsl.Artifact) else value for key, value in bench.made["run"].items()}
    known = bench.made["known"]
    arguments: dict[str, Any] = {
        "configure": {"experiment": run["experiment"]},
        "ingest": {"settings": known.ingest},
        "report": run,
        "outcome": {"experiment": run["experiment"], "overrides": "", "status": {"state": "SUCCEEDED"}},
        "points": {"experiment": run["experiment"], "settings": known.train, "points": "a: {}"},
        "keep_best": {"experiment": run["experiment"], "digest": run["digest"], "monitor": "val_loss",
                      "points": [{"name": "a", "overrides": ""}], "trained": [run["training"]]},
    }[name]  # fmt: skip
    program = Path(__file__).with_name("component_alone.py")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    done = subprocess.run(
        [sys.executable, str(program), name, json.dumps(arguments)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr[-2000:]) == (0, "")
    assert done.stdout.splitlines()[-1] == "no tensorflow"
