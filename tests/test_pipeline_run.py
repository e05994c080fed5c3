"""Compiled pipelines under KFP's own local runner: real processes, a real MLflow store."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from parak8s import files, loading, run
from parak8s.errors import InputError
from parak8s.layout import Layout
from parak8s.pipelines import local
from parak8s.pipelines.compiling import Request

ECG, XRAY = (Path(__file__).parents[1] / "experiments" / f"{name}.yaml" for name in ("ecg", "xray"))
SMALL = (
    "data.source=synthetic://ecg?beats=1200&seed=3",
    "data.batch_size=64",
    "model.params={filters: 4, blocks: 2, units: 8}",
    "training.epochs=2",
    "training.keep_best=val_loss",
    "evaluation.bootstrap.samples=100",
)
PASSED, REFUSED = "gate={categorical_accuracy: '>= 0.1'}", "gate={categorical_accuracy: '>= 1.0'}"


class Diary:
    """Remembers what a run tells."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.reused: list[str] = []
        self.failures: dict[str, str] = {}
        self.lines: list[str] = []

    def started(self, step: str) -> None:
        """Nothing to remember: finished says it all."""

    def finished(self, step: str, summary: str, seconds: float | None) -> None:
        (self.reused if seconds is None else self.ran).append(step)

    def failed(self, step: str, reason: str) -> None:
        self.failures[step] = reason

    def said(self, line: str) -> None:
        self.lines.append(line)


def go(root: Path, store: Path, *overrides: str, points: Path | None = None) -> tuple[Layout, Diary]:
    diary = Diary()
    settings = [*SMALL, f"tracking.uri=sqlite:///{store}", *overrides]
    return local.run(Request.read(ECG, settings, points), root, narrator=diary), diary


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def finished(folder: Path) -> tuple[Layout, Diary]:
    return go(folder / "kfp", folder / "kfp.db", PASSED)


def versions(store: Path) -> list[str]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{store}", registry_uri=f"sqlite:///{store}")
    return [str(version.version) for version in client.search_model_versions("name = 'ecg-deep-cnn'")]


def test_the_pipeline_gives_the_numbers_of_the_local_engine_bit_for_bit(
    folder: Path, finished: tuple[Layout, Diary]
) -> None:
    point = loading.load(ECG, [*SMALL, PASSED, f"tracking.uri=sqlite:///{folder / 'local.db'}"])
    here, there = run.run(point, folder / "local", narrator=Diary()), finished[0]
    with np.load(here.evaluation / "predictions.npz") as ours, np.load(there.evaluation / "predictions.npz") as theirs:
        for name in ("labels", "probabilities", "uncalibrated"):
            assert ours[name].tobytes() == theirs[name].tobytes()
    first, second = files.read_json(here.result), files.read_json(there.result)
    assert first.pop("mlflow").keys() == second.pop("mlflow").keys()
    assert first == second
    history = [files.read_json(layout.training / "history.json")["epochs"] for layout in (here, there)]
    assert [epoch["val_loss"] for epoch in history[0]] == [epoch["val_loss"] for epoch in history[1]]


def test_the_directory_holds_what_a_local_run_leaves_and_the_graph(finished: tuple[Layout, Diary]) -> None:
    layout, diary = finished
    expected = [
        "dataset/manifest.json", "training/history.json", "model/model.keras", "model/saved_model/1/saved_model.pb",
        "evaluation/metrics.json", "gate/verdict.json", "registration/mlflow.json", "environment.json",
        "experiment.yaml", "report.html", "result.json", "pipeline.yaml", "pipeline.log",
    ]  # fmt: skip
    assert [name for name in expected if not (layout.root / name).is_file()] == []
    assert not [path for path in layout.root.rglob("*") if path.is_symlink()]
    steps = ["configure", "ingest", "train", "calibrate", "evaluate", "gate", "report", "register", "outcome"]
    assert diary.ran == steps
    assert [line.split()[:2] for line in diary.lines] == [["epoch", "1"], ["epoch", "2"]]


def test_a_stricter_gate_repeats_the_gate_and_what_follows_and_registers_nothing(
    folder: Path, finished: tuple[Layout, Diary]
) -> None:
    assert versions(folder / "kfp.db") == ["1"]
    layout, diary = go(folder / "kfp", folder / "kfp.db", REFUSED)
    assert diary.reused == ["ingest", "train", "calibrate", "evaluate"]
    assert diary.ran == ["configure", "gate", "report", "record", "outcome"]
    result = files.read_json(layout.result)
    assert (result["gate"]["passed"], result["mlflow"]["model_version"]) == (False, None)
    assert versions(folder / "kfp.db") == ["1"]


def test_the_run_that_the_platform_began_is_joined_and_not_doubled(
    folder: Path, finished: tuple[Layout, Diary], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    store = f"sqlite:///{folder / 'platform.db'}"
    client = MlflowClient(store, registry_uri=store)
    experiment = client.create_experiment("of-the-platform", artifact_location=(folder / "platform").as_uri())
    begun = client.create_run(experiment).info.run_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("MLFLOW_RUN_ID", begun)
    layout, _ = go(folder / "kfp", folder / "kfp.db", REFUSED)
    assert files.read_json(layout.result)["mlflow"]["run_id"] == begun
    assert [run.info.run_id for run in client.search_runs([experiment])] == [begun]
    joined = client.get_run(begun)
    assert joined.data.params["training.epochs"] == "2"
    assert joined.data.metrics["categorical_accuracy"] == files.read_json(layout.result)["metrics"][
        "categorical_accuracy"
    ]  # fmt: skip
    assert [entity.name for entity in client.search_experiments()] == ["of-the-platform", "Default"]


def test_a_refused_input_ends_the_pipeline_with_the_sentence_of_its_task(tmp_path: Path) -> None:
    diary = Diary()
    settings = [*SMALL, "gate={f1/X: '>= 0.5'}", f"tracking.uri=sqlite:///{tmp_path / 'mlflow.db'}"]
    with pytest.raises(InputError, match=r"ingest: gate.f1/X: no class 'X'; allowed: F, N, Q, S, V; its log is in "):
        local.run(Request.read(ECG, settings), tmp_path / "run", narrator=diary)
    assert diary.failures == {"ingest": "gate.f1/X: no class 'X'; allowed: F, N, Q, S, V"}
    assert diary.ran == ["configure", "outcome"]
    assert not (tmp_path / "run" / "result.json").exists()
    (page,) = (tmp_path / "run" / "tasks").rglob("outcome/outcome")
    assert page.read_text().startswith("# ecg: FAILED")


def test_a_directory_of_one_engine_is_refused_by_the_other(folder: Path, finished: tuple[Layout, Diary]) -> None:
    point = loading.load(ECG, [*SMALL, PASSED, f"tracking.uri=sqlite:///{folder / 'local.db'}"])
    with pytest.raises(InputError, match="holds a run of --engine kfp, this is local"):
        run.run(point, folder / "kfp", narrator=Diary())


@pytest.mark.slow
def test_the_x_ray_pipeline_runs_to_a_registered_model(tmp_path: Path) -> None:
    diary = Diary()
    settings = [
        "data.source=synthetic://xray?images=240", "data.options={size: 32}", "model.params={filters: 4, blocks: 2}",
        "training.epochs=2", "gate={categorical_accuracy: '>= 0.1'}", "evaluation.bootstrap.samples=100",
        f"tracking.uri=sqlite:///{tmp_path / 'mlflow.db'}",
    ]  # fmt: skip
    layout = local.run(Request.read(XRAY, settings), tmp_path / "run", narrator=diary)
    assert diary.ran[-2:] == ["register", "outcome"]
    result = files.read_json(layout.result)
    assert result["mlflow"]["model_version"] == "1"
    with np.load(layout.evaluation / "predictions.npz") as predicted:
        truth, chosen = predicted["labels"], predicted["probabilities"].argmax(axis=1)
    assert result["metrics"]["categorical_accuracy"] == pytest.approx((truth == chosen).mean(), abs=1e-9)


@pytest.mark.slow
def test_a_sweep_over_a_network_of_ones_own_keeps_the_best_point(tmp_path: Path) -> None:
    """The network lies in the user's folder alone, and reaches the tasks inside the pipeline."""
    (tmp_path / "mine.py").write_text(
        "def network(input_shape, classes, *, units: int = 4):\n"
        "    import keras\n"
        "    layers = [keras.layers.Flatten(), keras.layers.Dense(units, 'relu'), keras.layers.Dense(classes)]\n"
        "    return keras.Sequential([keras.Input(input_shape), *layers])\n"
    )
    (tmp_path / "points.yaml").write_text(
        "idle: {training.optimizer.learning_rate: 1.0e-9}\n"
        "learns: {training.optimizer.learning_rate: 3.0e-3, model.params.units: 16}\n"
    )
    settings = [*(text for text in SMALL if not text.startswith("model.params")), PASSED, "model.params={}"]
    settings += ["model.builder=mine:network", "search=null", f"tracking.uri=sqlite:///{tmp_path / 'mlflow.db'}"]
    command = [sys.executable, "-m", "parak8s.cli", "run", str(ECG), "--engine", "kfp", "--points", "points.yaml"]
    done = subprocess.run(
        [*command, "-o", "run", *(f"-s{text}" for text in settings)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    layout = Layout(tmp_path / "run")
    chosen = yaml.safe_load(layout.experiment.read_text())
    assert chosen["training"]["optimizer"]["learning_rate"] == 0.003
    assert chosen["model"]["params"] == {"units": 16}
    board = next((tmp_path / "run" / "tasks").rglob("keep-best/leaderboard")).read_text()
    assert [line.split(" | ")[1] for line in board.splitlines()[4:]] == ["learns", "idle"]
    point = loading.parse(layout.experiment.read_text().replace("mine:network", "deep_cnn").replace(
        "units: 16", "units: 8"), "chosen")  # fmt: skip
    assert point.training.epochs == 2
    assert files.read_json(layout.result)["fingerprint"] in layout.report.read_text()
