"""The main job, end to end on a small synthetic source, with real TensorFlow and a real MLflow store."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from parak8s import chain, files
from parak8s.errors import EnvironmentFault, InputError
from parak8s.experiment import Experiment
from parak8s.layout import Layout
from parak8s.loading import load
from parak8s.run import run

FILE = Path(__file__).parents[1] / "experiments" / "ecg.yaml"
SMALL = (
    "data.source=synthetic://ecg?beats=1500&seed=3",
    "data.batch_size=64",
    "data.options.augment={stretch: 0.1, scale: 0.1, noise: 0.01}",
    "model.params={filters: 4, blocks: 2, units: 8, dropout: 0.1}",
    "training.epochs=4",
    "training.keep_best=val_loss",
    "evaluation.bootstrap.samples=100",
    "gate={categorical_accuracy: '>= 0.5'}",
)


class Diary:
    """Remembers what a run tells."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.reused: list[str] = []

    def started(self, step: str) -> None:
        """Nothing to remember: finished says it all."""

    def finished(self, step: str, summary: str, seconds: float | None) -> None:
        (self.reused if seconds is None else self.ran).append(step)


def experiment(store: Path, *overrides: str) -> Experiment:
    return load(FILE, [*SMALL, f"tracking.uri=sqlite:///{store / 'mlflow.db'}", *overrides])


def go(store: Path, root: Path, *overrides: str, only: str | None = None) -> tuple[Layout, Diary]:
    diary = Diary()
    return run(experiment(store, *overrides), root, narrator=diary, only=only), diary


def command(store: Path, root: Path, *overrides: str) -> list[str]:
    settings = [*SMALL, f"tracking.uri=sqlite:///{store / 'mlflow.db'}", *overrides]
    return [sys.executable, "-m", "parak8s.cli", "run", str(FILE), "-o", str(root), *(f"-s{text}" for text in settings)]


def weights(root: Path) -> list[np.ndarray]:
    """Return the weights and statistics of the model, in order."""
    import keras

    from parak8s.models import calibrators, signals

    assert calibrators
    assert signals
    model = keras.saving.load_model(root / "model" / "model.keras", compile=False)
    return [np.asarray(weight) for weight in model.get_weights()]


def assert_same_numbers(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert [value.tobytes() for value in first] == [value.tobytes() for value in second]
    a, b = (np.load(root / "evaluation" / "predictions.npz") for root in (one, other))
    for name in ("labels", "probabilities", "uncalibrated"):
        assert a[name].tobytes() == b[name].tobytes()
    assert (one / "evaluation" / "metrics.json").read_text() == (other / "evaluation" / "metrics.json").read_text()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def finished(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return go(store, tmp_path_factory.mktemp("runs") / "first")[0]


def test_a_run_leaves_the_files_that_the_readme_names(finished: Layout) -> None:
    expected = [
        "dataset/manifest.json",
        "dataset/train/inputs.npy",
        "model/model.keras",
        "model/saved_model/1/saved_model.pb",
        "evaluation/metrics.json",
        "report.html",
        "result.json",
    ]
    assert [name for name in expected if not (finished.root / name).is_file()] == []
    assert [path.name for path in finished.root.iterdir() if path.name.endswith((".partial", ".old"))] == []


def test_the_result_says_who_the_point_is_and_how_good(finished: Layout) -> None:
    result = files.read_json(finished.result)
    assert set(result) == {"fingerprint", "data_digest", "metrics", "gate", "mlflow"}
    assert len(result["fingerprint"]) == 16
    assert result["data_digest"].startswith("sha256:")
    predictions = np.load(finished.evaluation / "predictions.npz")
    accuracy = np.mean(predictions["probabilities"].argmax(1) == predictions["labels"])
    assert result["metrics"]["categorical_accuracy"] == pytest.approx(accuracy, abs=1e-12)
    assert result["gate"]["passed"] is True
    assert set(result["mlflow"]) == {"tracking_uri", "run_id", "model_name", "model_version"}
    assert result["mlflow"]["model_version"] == "1"


def test_the_servable_takes_raw_signals_and_equals_the_python_path(finished: Layout) -> None:
    import tensorflow as tf

    served = tf.saved_model.load(str(finished.model / "saved_model" / "1")).signatures["serving_default"]
    inputs = np.load(finished.dataset / "test" / "inputs.npy")
    answer = served(inputs=tf.constant(inputs))
    predictions = np.load(finished.evaluation / "predictions.npz")["probabilities"]
    assert set(answer) == {"probabilities", "label"}
    np.testing.assert_allclose(answer["probabilities"].numpy(), predictions, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(answer["label"].numpy(), predictions.argmax(1))


def test_the_servable_gives_no_label_to_what_is_not_a_number(finished: Layout) -> None:
    import tensorflow as tf

    served = tf.saved_model.load(str(finished.model / "saved_model" / "1")).signatures["serving_default"]
    inputs = np.load(finished.dataset / "test" / "inputs.npy")[:2].copy()
    inputs[1, 5] = np.nan
    assert served(inputs=tf.constant(inputs))["label"].numpy()[1] == -1
    assert served(inputs=tf.constant(inputs))["label"].numpy()[0] >= 0


def test_finished_steps_are_not_repeated(finished: Layout, store: Path) -> None:
    before = finished.report.stat().st_mtime_ns, finished.result.stat().st_mtime_ns
    _, diary = go(store, finished.root)
    assert (diary.ran, diary.reused) == ([], [step.name for step in chain.STEPS])
    assert (finished.report.stat().st_mtime_ns, finished.result.stat().st_mtime_ns) == before


def test_the_same_file_in_a_fresh_process_gives_the_same_bits(finished: Layout, store: Path, tmp_path: Path) -> None:
    done = subprocess.run(command(store, tmp_path / "second"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same_numbers(finished.root, tmp_path / "second")


def test_a_killed_training_goes_on_and_ends_with_the_same_bits(finished: Layout, store: Path, tmp_path: Path) -> None:
    root = tmp_path / "killed"
    process = subprocess.Popen(command(store, root), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    records = root / ".training.partial" / "records.json"
    deadline = time.monotonic() + 300
    while not records.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (root / "training").exists()
    assert not (root / "result.json").exists()
    _, diary = go(store, root)
    assert diary.reused == ["ingest"]
    assert diary.ran[0] == "train"
    assert_same_numbers(finished.root, root)
    history = files.read_json(root / "training" / "history.json")["epochs"]
    assert [record["epoch"] for record in history] == [1, 2, 3, 4]


def test_one_step_at_a_time_gives_what_a_run_gives(finished: Layout, store: Path, tmp_path: Path) -> None:
    for step in chain.STEPS:
        _, diary = go(store, tmp_path / "steps", only=step.name)
        assert diary.ran == [step.name]
    assert_same_numbers(finished.root, tmp_path / "steps")
    assert (tmp_path / "steps" / "result.json").is_file()


def test_a_step_whose_input_is_missing_names_the_step_before(store: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the step ingest comes first; give: parak8s step ingest"):
        go(store, tmp_path / "new", only="train")
    assert not (tmp_path / "new").exists()


def test_a_changed_gate_repeats_the_gate_and_not_the_training(finished: Layout, store: Path) -> None:
    before = champion_of(store)
    layout, diary = go(store, finished.root, "gate={f1: '>= 0.9999'}")
    assert diary.ran == ["gate", "register"]
    result = files.read_json(layout.result)
    assert result["gate"]["passed"] is False
    assert "below the required 0.9999" in result["gate"]["reasons"][0]
    assert result["mlflow"]["model_version"] is None
    assert champion_of(store) == before
    go(store, finished.root)


def test_what_was_registered_stays_as_it_was_when_the_same_directory_is_judged_again(
    store: Path, tmp_path: Path
) -> None:
    first = files.read_json(go(store, tmp_path / "judged")[0].result)["mlflow"]
    second = files.read_json(go(store, tmp_path / "judged", "gate={f1: '>= 0.9999'}")[0].result)["mlflow"]
    assert second["run_id"] != first["run_id"]
    assert tag_of(store, first["run_id"], "parak8s.gate") == "passed"
    assert tag_of(store, second["run_id"], "parak8s.gate") == "refused"
    third = files.read_json(go(store, tmp_path / "judged")[0].result)["mlflow"]
    assert int(third["model_version"]) > int(first["model_version"])
    assert champion_of(store) == third["model_version"]


def tag_of(store: Path, run_id: str, tag: str) -> str:
    from mlflow import MlflowClient

    return str(MlflowClient(f"sqlite:///{store / 'mlflow.db'}").get_run(run_id).data.tags[tag])


def test_settings_of_speed_alone_repeat_nothing_but_the_record(finished: Layout, store: Path) -> None:
    _, diary = go(store, finished.root, "training.steps_per_call=3")
    assert diary.ran == []


def champion_of(store: Path) -> str:
    from parak8s.tracking import Tracker

    champion = Tracker(experiment(store)).champion()
    assert champion
    return champion.version


def test_a_refused_model_exits_with_3_and_the_reasons(finished: Layout, store: Path) -> None:
    done = subprocess.run(
        command(store, finished.root, "gate={auc: '> 1'}"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "oneDNN" not in done.stderr  # TensorFlow starts quietly, also where nothing is trained
    assert "auc > 1" in done.stdout
    assert "NO" in done.stdout
    go(store, finished.root)


@pytest.mark.usefixtures("finished")
def test_a_significantly_worse_challenger_leaves_the_alias_where_it_is(store: Path, tmp_path: Path) -> None:
    before = champion_of(store)
    feeble = ("training.optimizer.learning_rate=1e-7", "training.schedule={name: constant}", "training.epochs=1")
    overrides = (*feeble, "gate={champion: not_worse}")
    layout, _ = go(store, tmp_path / "worse", *overrides)
    verdict = files.read_json(layout.gate / "verdict.json")
    assert verdict["passed"] is False
    assert any("significantly worse" in check["reason"] for check in verdict["checks"])
    assert champion_of(store) == before


@pytest.mark.usefixtures("finished")
def test_a_verdict_on_a_champion_of_the_past_is_taken_back(store: Path, tmp_path: Path) -> None:
    gate = "gate={champion: not_worse, categorical_accuracy: '>= 0.5'}"
    for step in chain.STEPS[:-1]:
        go(store, tmp_path / "slow", gate, only=step.name)
    before = champion_of(store)
    go(store, tmp_path / "fast", gate)
    between = champion_of(store)
    assert int(between) > int(before)
    with pytest.raises(EnvironmentFault, match=f"version {between} became champion after the gate had judged"):
        go(store, tmp_path / "slow", gate)
    assert champion_of(store) == between
    layout, diary = go(store, tmp_path / "slow", gate)
    assert diary.ran == ["gate", "register"]
    assert files.read_json(layout.gate / "verdict.json")["champion"]["version"] == between


def test_mlflow_out_of_reach_loses_nothing(finished: Layout, store: Path, tmp_path: Path) -> None:
    root = tmp_path / "offline"
    with pytest.raises(EnvironmentFault, match=r"127\.0\.0\.1"):
        go(store, root, "tracking.uri=http://127.0.0.1:9")
    assert (root / "report.html").is_file()
    assert not (root / "result.json").exists()
    layout, diary = go(store, root)
    assert diary.reused == ["ingest", "train", "calibrate", "evaluate"]
    run_id = files.read_json(layout.result)["mlflow"]["run_id"]
    assert epochs_in_mlflow(store, run_id) == [1, 2, 3, 4]
    assert_same_numbers(finished.root, root)


def epochs_in_mlflow(store: Path, run_id: str) -> list[int]:
    from mlflow import MlflowClient

    history = MlflowClient(f"sqlite:///{store / 'mlflow.db'}").get_metric_history(run_id, "val_loss")
    return sorted(metric.step for metric in history)


def test_a_directory_of_another_point_is_refused_and_the_difference_is_named(finished: Layout, store: Path) -> None:
    with pytest.raises(InputError, match=r"training\.epochs 4 -> 5"):
        go(store, finished.root, "training.epochs=5")
    assert files.read_json(finished.training / "history.json")["kept_epoch"] <= 4


def test_a_folder_with_anything_but_a_run_is_refused_and_left_as_it_is(store: Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / "dataset").mkdir(parents=True)
    (tmp_path / "mine" / "dataset" / "only_copy.csv").write_text("precious")
    (tmp_path / "mine" / "experiment.yaml").write_text("name: mine")
    with pytest.raises(InputError, match="holds 'dataset' and no run"):
        go(store, tmp_path / "mine")
    with pytest.raises(InputError, match="is a file; -o wants a folder"):
        go(store, tmp_path / "mine" / "experiment.yaml")
    assert (tmp_path / "mine" / "dataset" / "only_copy.csv").read_text() == "precious"
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["dataset", "experiment.yaml"]


def test_an_error_in_a_users_own_loader_names_its_line(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_loader.py").write_text("def read(source):\n    raise ValueError('column 7 is odd')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"broken_loader:read failed: ValueError: column 7 is odd .*, line 2\)"):
        go(store, tmp_path / "own", "data.loader='broken_loader:read'", "data.options={}")


def test_a_misspelled_class_is_found_before_anything_is_trained(store: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gate\.f1/W: no class 'W'"):
        go(store, tmp_path / "typo", "gate={f1/W: '>= 0.5'}")


def test_two_runs_in_one_directory_are_refused(finished: Layout, store: Path) -> None:
    import fcntl

    with (finished.root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EnvironmentFault, match="another run is working here"):
            go(store, finished.root)


def test_a_digest_that_does_not_fit_is_refused_before_anything_is_written(store: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sha256:0000"):
        go(store, tmp_path / "pinned", f"data.digest=sha256:{'0' * 64}")
    assert not (tmp_path / "pinned").exists()


def test_broken_data_leaves_nothing_behind_and_exits_with_2(store: Path, tmp_path: Path) -> None:
    rows = ["0.5," * 187 + "0"] * 20
    rows[6] = "0.5," * 186 + "abc,0"
    source = tmp_path / "beats.csv"
    source.write_text("\n".join(rows) + "\n")
    done = subprocess.run(
        command(store, tmp_path / "out", f"data.source={source}"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") <= 3
    for part in ("beats.csv", "row 7", "column 187", "abc"):
        assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_made_is_the_environments_fault(store: Path) -> None:
    done = subprocess.run(command(store, Path("/proc/parak8s")), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "/proc/parak8s" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1.5 MiB: too small for the dataset."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_said_plainly_and_leaves_nothing_half_written(store: Path, tiny_disk: Path) -> None:
    done = subprocess.run(
        command(store, tiny_disk / "out", "data.source=synthetic://ecg?beats=4000"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path for path in tiny_disk.rglob("*") if path.is_file()] == []


def test_the_environment_says_which_code_and_versions_made_the_run(finished: Layout) -> None:
    environment = json.loads(finished.environment.read_text())
    assert environment["packages"]["tensorflow"] is not None
    assert environment["code"].startswith("sha256:")
    assert os.cpu_count() == environment["cpus"]
