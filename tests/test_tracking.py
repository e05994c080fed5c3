"""MLflow tracking and registry, on SQLite, on a real Postgres and on a real server."""

import hashlib
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parak8s.errors import EnvironmentFault, InputError
from parak8s.experiment import Experiment, Tracking
from parak8s.secrets import redacted, without_passwords
from parak8s.tracking import Tracker, versions
from parak8s.tracking.connection import connect, tracking_uri
from parak8s.tracking.lineage import lineage
from servers import PASSWORD, MlflowServer, free_port, mlflow_server, postgres_uri, texts_of_database  # noqa: F401

FINGERPRINT = "0123456789abcdef"
DIGEST = "sha256:" + "ab" * 32
SOURCE = f"https://reader:{PASSWORD}@data.example/ecg.csv?token={PASSWORD}"
COMMIT = "c0ffee" * 6 + "c0ff"


@dataclass(frozen=True)
class Store:
    """Where a test tracks to: the address, and everything on disk that belongs to it."""

    uri: str
    database: str
    folder: Path


@pytest.fixture(scope="module", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith("MLFLOW_")}
    yield
    os.environ.update(kept)


@pytest.fixture(scope="module", params=["sqlite", "postgres", "server"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("sqlite")
        uri = f"sqlite:///{folder}/new/mlflow.db"
        return Store(uri, uri, folder)
    if request.param == "postgres":
        uri = request.getfixturevalue("postgres_uri")
        return Store(uri, uri, tmp_path_factory.mktemp("artifacts"))
    server: MlflowServer = request.getfixturevalue("mlflow_server")
    return Store(server.uri, f"sqlite:///{server.folder}/server.db", server.folder)


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Keras model with a layer of its own in a module that only this process can import."""
    folder = tmp_path_factory.mktemp("layers")
    (folder / "own_layers.py").write_text(
        "import keras\n\n\n@keras.saving.register_keras_serializable(package='own')\n"
        "class Half(keras.layers.Layer):\n    def call(self, x):\n        return x / 2\n"
    )
    sys.path.insert(0, str(folder))
    import keras
    import own_layers  # type: ignore[import-not-found]

    keras.utils.set_random_seed(1)
    inputs = keras.Input((187,))
    hidden = keras.layers.Dropout(0.5)(keras.layers.Dense(8, activation="relu")(own_layers.Half()(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(5, activation="softmax")(hidden))
    model.save(folder / "model.keras")
    return folder / "model.keras"


def experiment(store: Store, name: str = "ecg-test") -> Experiment:
    tracking: dict[str, Any] = {"uri": store.uri}
    if store.uri.startswith("postgresql"):
        tracking["artifacts"] = str(store.folder)
    values = {
        "name": name,
        "data": {"loader": "ecg", "source": SOURCE, "options": {"password": PASSWORD, "note": "n" * 7000}},
        "model": {"builder": "deep_cnn", "params": {"filters": 32}},
        "training": {"class_weight": {"N": 1.0, "S (ectopic)": 2.0}},
        "tracking": tracking,
    }
    return Experiment.model_validate_json(json.dumps(values))


def epoch(number: int) -> dict[str, Any]:
    return {
        "epoch": number,
        "loss": 1 / number,
        "val_auc": None if number == 1 else 0.9 + number / 100,
        "timestamp_ms": 1_700_000_000_000 + number,
    }


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


@pytest.fixture
def run_directory(tmp_path: Path, model_file: Path) -> Path:
    return make_directory(tmp_path / "run", model_file)


def make_directory(folder: Path, model_file: Path) -> Path:
    """Write a finished run as the steps leave it."""
    write(folder / "experiment.yaml", "name: ecg-test\ntraining: {epochs: 3, optimizer: {name: adamw}}\n")
    write(
        folder / "environment.json",
        {
            "python": "3.11.7",
            "packages": {"keras": "3.15.1", "tensorflow": "2.21.0"},
            "git": {"commit": COMMIT, "dirty": True},
            "code": "sha256:c0de",
        },
    )
    write(
        folder / "dataset/manifest.json",
        {
            "digest": DIGEST,
            "source": SOURCE,
            "loader": "ecg",
            "classes": ["N", "S", "V", "F", "Q"],
            "input_shape": [187],
            "input_dtype": "float32",
            "splits": {"train": {"examples": 70, "per_class": [50, 5, 5, 5, 5], "patients": None}},
            "about": {"origin": "here", "bad beats left out": 3},
        },
    )
    write(folder / "training/history.json", {"epochs": [epoch(1), epoch(2), epoch(3)], "kept_epoch": 3})
    metrics = {"auc": {"value": 0.97, "low": 0.95, "high": 0.99}, "f1/N": {"value": 0.9, "low": 0.8, "high": 1.0}}
    point = {"threshold": 0.375}
    measured = {"metrics": metrics, "uncalibrated": {"ece": 0.25}, "operating_point": point}
    write(folder / "evaluation/metrics.json", measured)
    checks = [{"check": "auc >= 0.95", "value": "0.9700", "passed": True, "reason": "auc is high enough"}]
    write(folder / "gate/verdict.json", {"passed": True, "checks": checks})
    write(folder / "report.html", "<p>report</p>")
    write(folder / "model/saved_model/1/saved_model.pb", "graph")
    (folder / "model/model.keras").write_bytes(model_file.read_bytes())
    return folder


@dataclass(frozen=True)
class Published:
    """A run that was published and registered."""

    run_id: str
    version: str
    directory: Path


@pytest.fixture(scope="module")
def published(store: Store, model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Published:
    directory = make_directory(tmp_path_factory.mktemp("published"), model_file)
    tracker = Tracker(experiment(store))
    run_id = tracker.begin("a-run", {"team": "cardiology"})
    tracker.log_epoch(run_id, epoch(1))
    tracker.publish(run_id, directory, fingerprint=FINGERPRINT)
    return Published(run_id, tracker.register(run_id), directory)


def state(store: Store, run_id: str) -> dict[str, Any]:
    """Return everything that the store says of a run."""
    client = connect(store.uri)
    run = client.get_run(run_id)
    models = client.search_logged_models([run.info.experiment_id], filter_string=f"source_run_id='{run_id}'")
    histories = {
        name: sorted((m.step, m.value, m.timestamp) for m in client.get_metric_history(run_id, name))
        for name in run.data.metrics
    }
    return {
        "run": run.to_dictionary(),
        "histories": histories,
        "models": [model.to_dictionary() for model in models],
        "artifacts": sorted(artifacts(client, run_id)),
    }


def artifacts(client: Any, run_id: str, folder: str | None = None) -> Iterator[str]:
    for item in client.list_artifacts(run_id, folder):
        if item.is_dir:
            yield from artifacts(client, run_id, item.path)
        else:
            yield item.path


def test_a_published_run_says_how_it_came_about(store: Store, published: Published) -> None:
    run = connect(store.uri).get_run(published.run_id)
    assert (run.info.run_name, run.info.status) == ("a-run", "FINISHED")
    assert run.data.params["training.optimizer.name"] == "adamw"
    assert run.data.params["model.params.filters"] == "32"
    assert run.data.params["training.class_weight.S _ectopic_"] == "2.0"
    assert run.data.params["data.source"] == "https://reader:***@data.example/ecg.csv?token=***"
    assert len(run.data.params["data.options.note"]) == 6000
    tags = run.data.tags
    assert tags["team"] == "cardiology"
    assert tags["parak8s.fingerprint"] == FINGERPRINT
    assert tags["parak8s.data_digest"] == DIGEST
    assert (tags["parak8s.git_commit"], tags["parak8s.git_dirty"]) == (COMMIT, "true")
    assert (tags["parak8s.gate"], tags["parak8s.version.keras"]) == ("passed", "3.15.1")
    assert run.inputs
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.profile
    assert (dataset.dataset.name, dataset.dataset.digest) == ("ecg", "ab" * 18)
    assert json.loads(dataset.dataset.profile)["digest"] == DIGEST
    assert json.loads(dataset.dataset.profile)["about"]["bad beats left out"] == 3
    assert [(tag.key, tag.value) for tag in dataset.tags] == [("mlflow.data.context", "training")]


def test_every_epoch_and_every_interval_is_there_once(store: Store, published: Published) -> None:
    client = connect(store.uri)
    losses = client.get_metric_history(published.run_id, "loss")
    assert sorted((m.step, m.value, m.timestamp) for m in losses) == [
        (1, 1.0, 1_700_000_000_001),
        (2, 0.5, 1_700_000_000_002),
        (3, 1 / 3, 1_700_000_000_003),
    ]
    assert sorted(m.step for m in client.get_metric_history(published.run_id, "val_auc")) == [2, 3]
    metrics = client.get_run(published.run_id).data.metrics
    final = {name: value for name, value in metrics.items() if name not in ("loss", "val_auc")}
    assert final == {
        "auc": 0.97, "auc_low": 0.95, "auc_high": 0.99,
        "f1/N": 0.9, "f1/N_low": 0.8, "f1/N_high": 1.0,
        "uncalibrated_ece": 0.25, "threshold": 0.375,
    }  # fmt: skip


def test_the_documents_and_the_servable_are_artifacts(store: Store, published: Published) -> None:
    assert sorted(artifacts(connect(store.uri), published.run_id)) == [
        "dataset/manifest.json",
        "environment.json",
        "evaluation/metrics.json",
        "experiment.yaml",
        "gate/verdict.json",
        "model/saved_model/1/saved_model.pb",
        "report.html",
        "training/history.json",
    ]


def test_publishing_and_registering_again_changes_nothing(store: Store, published: Published) -> None:
    before = state(store, published.run_id)
    tracker = Tracker(experiment(store))
    assert tracker.begin("a-run", {}, run_id=published.run_id) == published.run_id
    tracker.log_epoch(published.run_id, epoch(2))
    tracker.publish(published.run_id, published.directory, fingerprint=FINGERPRINT)
    assert tracker.register(published.run_id) == published.version
    assert state(store, published.run_id) == before
    assert len(connect(store.uri).search_model_versions(f"run_id='{published.run_id}'")) == 1


def test_what_changed_in_the_directory_is_sent(store: Store, run_directory: Path) -> None:
    tracker = Tracker(experiment(store, "changing"))
    run_id = tracker.begin("r", {})
    (run_directory / "report.html").unlink()
    tracker.publish(run_id, run_directory, fingerprint=FINGERPRINT)
    write(run_directory / "report.html", "<p>later</p>")
    write(run_directory / "gate/verdict.json", {"passed": False, "checks": []})
    tracker.publish(run_id, run_directory, fingerprint=FINGERPRINT)
    client = connect(store.uri)
    assert "report.html" in set(artifacts(client, run_id))
    assert client.get_run(run_id).data.tags["parak8s.gate"] == "refused"


def test_the_alias_moves_to_a_new_version_and_an_old_run_does_not_take_it_back(
    store: Store, run_directory: Path
) -> None:
    tracker = Tracker(experiment(store, "moving"))
    assert tracker.champion() is None
    runs = [tracker.begin(name, {}) for name in ("first", "second")]
    for run_id in runs:
        tracker.publish(run_id, run_directory, fingerprint=FINGERPRINT)
    assert tracker.register(runs[0]) == "1"
    assert tracker.register(runs[1], alias=False) == "2"
    first = tracker.champion()
    assert first is not None
    assert (first.name, first.alias, first.version, first.run_id) == ("moving", "champion", "1", runs[0])
    assert first.tags["parak8s.fingerprint"] == FINGERPRINT
    assert tracker.register(runs[1]) == "2"
    assert tracker.register(runs[0]) == "1"
    champion = tracker.champion()
    assert champion is not None
    assert (champion.version, champion.run_id) == ("2", runs[1])


def test_the_champion_is_fetched_bit_by_bit(store: Store, published: Published, tmp_path: Path) -> None:
    tracker = Tracker(experiment(store))
    champion = tracker.champion()
    assert champion is not None
    file = tracker.download(champion, tmp_path / "champion")
    assert file == tmp_path / "champion/model.keras"
    assert sorted(path.name for path in file.parent.iterdir()) == ["model.keras"]
    original = (published.directory / "model/model.keras").read_bytes()
    assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(original).digest()


def test_a_version_is_found_by_its_address_with_the_digest_of_its_model(
    store: Store, published: Published, tmp_path: Path
) -> None:
    tracking, name = experiment(store).tracking, experiment(store).registered_name
    reference, digest = versions.locate(f"models:/{name}@champion", tracking)
    assert re.fullmatch(f"models:/{name}/[0-9]+", reference)
    original = (published.directory / "model/model.keras").read_bytes()
    assert digest == f"sha256:{hashlib.sha256(original).hexdigest()}"
    assert versions.download(reference, tracking, tmp_path).read_bytes() == original
    with pytest.raises(InputError, match="no such version"):
        versions.locate(f"models:/{name}/999", tracking)


def test_a_champion_that_parak8s_did_not_register_is_named(store: Store, tmp_path: Path) -> None:
    client = connect(store.uri)
    tracker = Tracker(experiment(store, "foreign"))
    run = client.get_run(tracker.begin("r", {}))
    write(tmp_path / "m/MLmodel", "flavors: {}")
    logged = client.create_logged_model(run.info.experiment_id, "other", run.info.run_id)
    client.log_model_artifacts(logged.model_id, str(tmp_path / "m"))
    client.finalize_logged_model(logged.model_id, "READY")
    client.create_registered_model("foreign")
    client.create_model_version("foreign", logged.artifact_location, run.info.run_id, model_id=logged.model_id)
    client.set_registered_model_alias("foreign", "champion", "1")
    champion = tracker.champion()
    assert champion is not None
    with pytest.raises(InputError, match=r"models:/foreign/1 \(champion\) holds no model.keras"):
        tracker.download(champion, tmp_path)


def test_a_version_and_its_run_show_the_same_lineage(store: Store, published: Published) -> None:
    tracking = experiment(store).tracking
    found = lineage("models:/ecg-test@champion", tracking)
    assert found.model == {"name": "ecg-test", "version": "1", "aliases": ["champion"]}
    assert found.run == {"id": published.run_id, "name": "a-run", "status": "FINISHED", "experiment": "ecg-test"}
    assert found.fingerprint == FINGERPRINT
    assert found.data == {
        "digest": DIGEST,
        "source": "https://reader:***@data.example/ecg.csv?token=***",
        "loader": "ecg",
    }
    assert found.code == {"commit": COMMIT, "dirty": True, "digest": "sha256:c0de"}
    assert found.packages == {"python": "3.11.7", "keras": "3.15.1", "tensorflow": "2.21.0"}
    assert found.parameters == {"name": "ecg-test", "training.epochs": 3, "training.optimizer.name": "adamw"}
    assert found.metrics["auc"] == {"value": 0.97, "low": 0.95, "high": 0.99}
    assert found.gate is not None
    assert found.gate["checks"][0]["reason"] == "auc is high enough"
    assert {"experiment.yaml", "report.html", "model (MLflow)"} <= set(found.artifacts)
    assert found.missing == (
        "code: the changes that were not committed; the commit alone does not give this code back",
    )
    assert json.loads(json.dumps(found.to_json()))["data"]["digest"] == DIGEST
    for reference in ("models:/ecg-test/1", published.run_id):
        other = lineage(reference, tracking)
        assert (other.run, other.model, other.metrics) == (found.run, found.model, found.metrics)


def test_a_run_directory_shows_the_same_lineage(store: Store, published: Published) -> None:
    known = {
        "tracking_uri": redacted(store.uri),
        "run_id": published.run_id,
        "model_name": "ecg-test",
        "model_version": published.version,
    }
    write(published.directory / "result.json", {"fingerprint": FINGERPRINT, "mlflow": known})
    tracking = experiment(store).tracking
    ours, theirs = lineage(str(published.directory), tracking), lineage(published.run_id, tracking)
    for name in ("model", "run", "fingerprint", "data", "code", "packages", "parameters", "metrics", "gate", "missing"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.artifacts["report.html"] == str(published.directory / "report.html")


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("models:/ecg-tset@champion", "did you mean 'ecg-test'"),
        ("models:/ecg-test@champoin", "did you mean 'ecg-test@champion'"),
        ("models:/ecg-test/9", "ecg-test/1"),
        ("models:/ecg-test", "ecg-test/1"),
        ("a-run", "did you mean '"),
        ("no/such/directory", "no such directory; give a run id"),
    ],
)
def test_a_wrong_reference_is_answered_with_what_there_is(store: Store, reference: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        lineage(reference, experiment(store).tracking)
    assert says in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_no_password_is_in_any_table_file_or_log(store: Store, published: Published) -> None:
    assert PASSWORD in store.uri + SOURCE
    held = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    assert [path for path, content in held.items() if PASSWORD.encode() in content] == []
    assert any(path.name == "manifest.json" and DIGEST.encode() in content for path, content in held.items())
    texts = texts_of_database(store.database)
    assert published.run_id in texts
    assert PASSWORD not in texts
    assert PASSWORD not in repr(lineage(published.run_id, experiment(store).tracking))


def test_tracking_says_nothing_of_its_own(
    store: Store, run_directory: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Tracker(experiment(store, "quiet"))
    run_id = tracker.begin("r", {})
    tracker.publish(run_id, run_directory, fingerprint=FINGERPRINT)
    tracker.register(run_id)
    assert [record.message for record in caplog.records if record.name.startswith(("mlflow", "alembic"))] == []
    assert capfd.readouterr().out == ""


def test_an_interrupted_run_goes_on_and_a_failed_one_says_why(store: Store) -> None:
    tracker = Tracker(experiment(store, "failing"))
    run_id = tracker.begin("r", {})
    tracker.fail(run_id, f"no data at {SOURCE}")
    client = connect(store.uri)
    run = client.get_run(run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["parak8s.failure"] == "no data at https://reader:***@data.example/ecg.csv?token=***"
    assert tracker.begin("r", {"again": "yes"}, run_id=run_id) == run_id
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["again"]) == ("RUNNING", "yes")
    client.delete_run(run_id)
    assert tracker.begin("r", {}, run_id=run_id) != run_id


def test_the_run_of_the_platform_is_joined(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = Tracker(experiment(store, "joined"))
    theirs = tracker.begin("pipeline", {})
    monkeypatch.setenv("MLFLOW_RUN_ID", theirs)
    assert tracker.begin("ours", {}) == theirs
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(InputError, match=r"MLFLOW_RUN_ID 0{32}: no such run"):
        tracker.begin("ours", {})


@pytest.mark.parametrize("store", ["postgres"], indirect=True)
def test_two_processes_may_begin_the_same_experiment_at_once(store: Store) -> None:
    script = (
        "import sys; from parak8s.experiment import Experiment; from parak8s.tracking import Tracker\n"
        "tracker = Tracker(Experiment.model_validate_json(sys.stdin.read())); print(tracker.begin('r', {}))"
    )
    text = experiment(store, "contested").model_dump_json()
    processes = [python(script) for _ in range(2)]
    ids = [process.communicate(text)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    client = connect(store.uri)
    assert len({client.get_run(run_id).info.experiment_id for run_id in ids}) == 1


def python(script: str) -> subprocess.Popen[str]:
    """Start a fresh Python that has ParaK8s, but not the test's own modules."""
    path = str(Path(__file__).parents[1] / "src")
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.parametrize("store", ["server"], indirect=True)
def test_the_registered_model_predicts_in_a_process_without_its_layers(
    store: Store, published: Published, tmp_path: Path
) -> None:
    import keras

    inputs = np.random.default_rng(3).normal(size=(4, 187)).astype(np.float32)
    expected = keras.saving.load_model(published.directory / "model/model.keras").predict(inputs, verbose=0)
    np.save(tmp_path / "inputs.npy", inputs)
    script = (
        "import sys, numpy as np, mlflow.pyfunc; mlflow.set_tracking_uri(sys.stdin.readline().strip())\n"
        "model = mlflow.pyfunc.load_model('models:/ecg-test@champion')\n"
        f"np.save('{tmp_path}/outputs.npy', model.predict(np.load('{tmp_path}/inputs.npy')))\n"
        "shapes = model.metadata.signature.outputs.inputs[0].shape, model.input_example.shape\n"
        "print(*shapes, 'own_layers' in sys.modules)"
    )
    process = python(script)
    said, _ = process.communicate(f"{store.uri}\n")
    assert said.strip().splitlines()[-1] == "(-1, 5) (2, 187) False"
    outputs = np.load(tmp_path / "outputs.npy")
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, expected, atol=1e-6)


@pytest.mark.parametrize("store", ["server"], indirect=True)
def test_what_a_killed_server_missed_arrives_with_the_same_command(
    store: Store, run_directory: Path, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    server: MlflowServer = request.getfixturevalue("mlflow_server")
    tracker = Tracker(experiment(store, "spooled"))
    run_id = tracker.begin("r", {})
    tracker.log_epoch(run_id, epoch(1))
    server.stop()
    try:
        with caplog.at_level(logging.WARNING, logger="parak8s"):
            tracker.log_epoch(run_id, epoch(2))
            tracker.log_epoch(run_id, epoch(3))
        (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("parak8s")]
        assert re.search("connection (refused|broke)", warning)
        assert "nothing is lost" in warning
        with pytest.raises(EnvironmentFault, match=r"http://tracker:\*\*\*@127.0.0.1:\d+: connection refused"):
            tracker.publish(run_id, run_directory, fingerprint=FINGERPRINT)
    finally:
        server.start()
    tracker.publish(run_id, run_directory, fingerprint=FINGERPRINT)
    assert sorted(m.step for m in connect(server.uri).get_metric_history(run_id, "loss")) == [1, 2, 3]
    assert tracker.register(run_id) == "1"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://u:{password}@127.0.0.1:{port}", "connection refused"),
        ("postgresql+psycopg2://u:{password}@127.0.0.1:{port}/db", "Connection refused"),
        ("sqlite:////dev/null/mlflow.db", "/dev/null"),
    ],
)
def test_a_store_out_of_reach_gives_one_sentence(address: str, says: str) -> None:
    uri = address.format(password=PASSWORD, port=free_port())
    with pytest.raises(EnvironmentFault) as caught:
        Tracker(experiment(Store(uri, "", Path()))).begin("r", {})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert PASSWORD not in f"{caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize("store", ["postgres"], indirect=True)
def test_a_wrong_password_is_said_without_showing_any(store: Store) -> None:
    wrong = store.uri.replace(PASSWORD, "Open-s3same")
    with pytest.raises(EnvironmentFault, match="password authentication failed") as caught:
        Tracker(experiment(Store(wrong, "", Path()))).champion()
    assert "Open-s3same" not in f"{caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize(
    ("status", "says"), [(401, "it answered 401: set MLFLOW_TRACKING_USERNAME"), (503, "it answered 503")]
)
def test_a_server_that_refuses_is_quoted(status: int, says: str, answering: Callable[[int], str]) -> None:
    with pytest.raises(EnvironmentFault) as caught:
        Tracker(experiment(Store(answering(status), "", Path()))).begin("r", {})
    assert says in str(caught.value)


@pytest.fixture
def answering() -> Iterator[Callable[[int], str]]:
    """Start HTTP servers that answer everything with one status."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    running: list[ThreadingHTTPServer] = []

    def start(status: int) -> str:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"no")

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        running.append(ThreadingHTTPServer(("127.0.0.1", 0), Answer))
        threading.Thread(target=running[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{running[-1].server_port}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_an_unfinished_directory_is_not_published(run_directory: Path, tmp_path: Path) -> None:
    (run_directory / "evaluation/metrics.json").unlink()
    tracker = Tracker(experiment(Store(f"sqlite:///{tmp_path}/m.db", "", tmp_path)))
    with pytest.raises(InputError, match=r"is not a finished run: no evaluation/metrics.json"):
        tracker.publish("0" * 32, run_directory, fingerprint=FINGERPRINT)


def test_show_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no MLflow database"):
        lineage("0" * 32, Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db"))
    assert list(tmp_path.iterdir()) == []


def test_a_run_directory_can_be_shown_while_mlflow_is_away(run_directory: Path) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    known = {"tracking_uri": uri, "run_id": "r1", "model_name": "ecg", "model_version": "4"}
    write(run_directory / "result.json", {"fingerprint": FINGERPRINT, "mlflow": known})
    found = lineage(str(run_directory), Tracking())
    assert (found.model, found.run) == ({"name": "ecg", "version": "4"}, {"id": "r1"})
    assert found.data["digest"] == DIGEST
    assert "connection refused" in found.missing[-1]


def test_the_address_is_that_of_the_file_then_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking_uri(Tracking()) == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert tracking_uri(Tracking()) == "http://mlflow:5000"
    assert tracking_uri(Tracking(uri="sqlite:///other.db")) == "sqlite:///other.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://u:geheim@db/x")
    with pytest.raises(InputError, match=r"write postgresql\+psycopg2://u:\*\*\*@db/x"):
        tracking_uri(Tracking())


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql+psycopg2://u:p@db/x", "postgresql+psycopg2://u:***@db/x"),
        ("postgresql+psycopg2://u:p@ss/w:rd@db:5432/x", "postgresql+psycopg2://u:***@db:5432/x"),
        ("postgresql+psycopg2://:p@/x?host=/tmp", "postgresql+psycopg2://:***@/x?host=/tmp"),
        ("postgresql+psycopg2://db/x?user=u&password=p&sslmode=require", "postgresql+psycopg2://db/x?user=u&password=***&sslmode=require"),
        ("https://ghp_abc@host/x", "https://***@host/x"),
        ("https://host/x?sv=1&sig=abc%3D", "https://host/x?sv=1&sig=***"),
        ("https://h/x?X-Amz-Signature=a&X-Amz-Date=b", "https://h/x?X-Amz-Signature=***&X-Amz-Date=b"),
        ("http://host:5000/x", "http://host:5000/x"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        ("synthetic://ecg?beats=12000&seed=7", "synthetic://ecg?beats=12000&seed=7"),
    ],
)  # fmt: skip
def test_passwords_in_addresses_are_blanked_and_the_rest_stays(address: str, shown: str) -> None:
    assert redacted(address) == shown


def test_passwords_in_settings_are_blanked_and_numbers_stay() -> None:
    settings = {"password": "x", "tokens": 12, "urls": ["http://u:p@h", "plain"], "api_key": "y", "sigma": 0.5}
    assert without_passwords(settings) == {
        "password": "***", "tokens": 12, "urls": ["http://u:***@h", "plain"], "api_key": "***", "sigma": 0.5,
    }  # fmt: skip


def test_a_password_in_the_artifact_address_is_refused(tmp_path: Path) -> None:
    point = experiment(Store(f"sqlite:///{tmp_path}/m.db", "", tmp_path))
    tracking = Tracking(artifacts="ftp://u:geheim@host/x")
    with pytest.raises(InputError, match=r"tracking\.artifacts holds a password"):
        Tracker(point.model_copy(update={"tracking": tracking}))
