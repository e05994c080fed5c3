"""Each step reads directories and writes what the next one and the report need, whole, and the same every time."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from parak8s import files
from parak8s.data import prepared
from parak8s.errors import InputError
from parak8s.experiment import Data, Evaluation, Experiment, Gate, ModelSpec, Optimizer, Scaling, Training
from parak8s.layout import Layout
from parak8s.models import classifier
from parak8s.steps.calibrate import calibrate
from parak8s.steps.evaluate import evaluate, occlusion, telling_examples
from parak8s.steps.gate import gate, predictions_of
from parak8s.steps.ingest import identify, ingest
from parak8s.steps.register import register
from parak8s.steps.train import class_weights, train
from parak8s.tracking.registry import Champion
from parak8s.training.progress import Record

EXPERIMENT = Experiment(
    name="steps",
    seed=5,
    data=Data(
        loader="ecg",
        source="synthetic://ecg?beats=900",
        batch_size=64,
        options={"augment": {"stretch": 0.05, "noise": 0.02}},
    ),
    model=ModelSpec(builder="deep_cnn", params={"filters": 4, "blocks": 1, "units": 8, "dropout": 0.2}),
    training=Training(
        epochs=3, optimizer=Optimizer(learning_rate=0.01), class_weight="balanced", keep_best="val_f1", tensorboard=True
    ),
)


def changed(section: str, **values: Any) -> Experiment:
    """Return the experiment with other values in one section."""
    return EXPERIMENT.model_copy(update={section: getattr(EXPERIMENT, section).model_copy(update=values)})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A directory in which ingest, train, calibrate and evaluate have worked."""
    layout = Layout(tmp_path_factory.mktemp("run"))
    for folder in (layout.dataset, layout.training, layout.model, layout.evaluation):
        folder.mkdir()
    ingest(EXPERIMENT, layout.dataset)
    train(EXPERIMENT, layout.dataset, layout.training)
    calibrate(EXPERIMENT, layout.dataset, layout.training, layout.model)
    evaluate(EXPERIMENT, layout.dataset, layout.model, layout.evaluation)
    return layout


def fresh(tmp_path: Path, name: str = "out") -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name


def tampered(run: Layout, tmp_path: Path, name: str) -> Path:
    """Return a copy of the dataset of which one bit has changed."""
    shutil.copytree(run.dataset, tmp_path / "dataset")
    path = tmp_path / "dataset" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return tmp_path / "dataset"


# ---------------------------------------------------------------------------------------------------------- ingest


def test_ingest_writes_arrays_and_a_manifest_that_names_them_all(run: Layout) -> None:
    manifest = files.read_json(run.dataset / "manifest.json")
    assert (manifest["classes"], manifest["input_shape"], manifest["input_dtype"]) == (list("NSVFQ"), [187], "float32")
    assert (manifest["source"], manifest["loader"]) == ("synthetic://ecg?beats=900", "ecg")
    arrays = {path.relative_to(run.dataset).as_posix() for path in run.dataset.rglob("*.npy")}
    assert arrays >= {
        f"{s}/{a}.npy" for s in ("train", "validation", "calibration", "test") for a in ("inputs", "labels")
    }
    assert {name: f"sha256:{files.sha256_of(run.dataset / name)}" for name in arrays} == manifest["files"]
    assert sum(split["examples"] for split in manifest["splits"].values()) == 900
    for name, split in manifest["splits"].items():
        inputs, labels, _ = prepared.read_split(run.dataset, name)
        assert (inputs.shape, inputs.dtype.name) == ((split["examples"], 187), "float32")
        assert np.bincount(labels, minlength=5).tolist() == split["per_class"]


def test_ingest_gives_the_same_files_again_and_the_digest_that_names_them(run: Layout, tmp_path: Path) -> None:
    again = ingest(EXPERIMENT, fresh(tmp_path))
    assert again == prepared.read_manifest(run.dataset)
    source, digest = identify(EXPERIMENT)
    assert (source.root, digest) == (None, again.digest)


def test_ingest_refuses_another_version_than_the_pinned_one(tmp_path: Path) -> None:
    wrong = changed("data", digest="sha256:" + "0" * 64)
    with pytest.raises(InputError, match=r"not the version that data\.digest pins"):
        ingest(wrong, fresh(tmp_path))


# ----------------------------------------------------------------------------------------------------------- train


def test_train_writes_a_model_of_raw_beats_and_its_history(run: Layout) -> None:
    model = keras.saving.load_model(run.training / "model.keras", compile=False)
    assert (model.input_shape, model.output_shape) == ((None, 187), (None, 5))
    history = files.read_json(run.training / "history.json")
    assert [epoch["epoch"] for epoch in history["epochs"]] == [1, 2, 3]
    assert set(history["epochs"][0]) == {
        "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "val_auc", "val_f1", "learning_rate", "seconds",
        "timestamp_ms", "stage",
    }  # fmt: skip
    assert history["kept_epoch"] == int(np.argmax([epoch["val_f1"] for epoch in history["epochs"]])) + 1
    assert history["stopped_early"] is False
    assert history["parameters"] == model.count_params()
    assert len(list((run.training / "tensorboard").iterdir())) == 1


def test_the_written_model_is_the_kept_epoch(run: Layout) -> None:
    inputs, labels, _ = prepared.read_split(run.dataset, "validation")
    model = keras.saving.load_model(run.training / "model.keras", compile=False)
    history = files.read_json(run.training / "history.json")
    kept = history["epochs"][history["kept_epoch"] - 1]
    predicted = model(inputs).numpy().argmax(axis=1)
    assert kept["val_accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert kept["val_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))


def bits(training: Path) -> list[bytes]:
    model = keras.saving.load_model(training / "model.keras", compile=False)
    return [weight.numpy().tobytes() for weight in model.weights]


def epochs(training: Path) -> list[dict[str, Any]]:
    clock = ("seconds", "timestamp_ms")
    history = files.read_json(training / "history.json")["epochs"]
    return [{name: value for name, value in epoch.items() if name not in clock} for epoch in history]


class KilledError(Exception):
    """Stands for the end of the process."""


class Killer:
    def on_steps(self, epoch: int, done: int, total: int) -> None:
        if epoch == 3:
            raise KilledError

    def on_epoch(self, record: Record) -> None:
        """Let it live."""


def test_a_killed_train_goes_on_to_the_bits_and_the_history_of_an_unbroken_one(run: Layout, tmp_path: Path) -> None:
    training = fresh(tmp_path)
    with pytest.raises(KilledError):
        train(EXPERIMENT, run.dataset, training, [Killer()])
    assert not (training / "model.keras").exists()
    outcome = train(EXPERIMENT, run.dataset, training)
    assert len(outcome.records) == 3
    assert bits(training) == bits(run.training)
    assert epochs(training) == epochs(run.training)


def test_steps_of_scaled_batches_are_those_of_larger_ones(run: Layout, tmp_path: Path) -> None:
    training = fresh(tmp_path)
    scaling = Scaling(factor=2, learning_rate="none")
    half = EXPERIMENT.data.model_copy(update={"batch_size": EXPERIMENT.data.batch_size // 2})
    scaled = EXPERIMENT.training.model_copy(update={"scaling": scaling})
    train(EXPERIMENT.model_copy(update={"data": half, "training": scaled}), run.dataset, training)
    assert bits(training) == bits(run.training)


def test_train_refuses_a_dataset_of_which_a_bit_has_changed(run: Layout, tmp_path: Path) -> None:
    dataset = tampered(run, tmp_path, "validation/labels.npy")
    with pytest.raises(InputError, match=r"validation/labels\.npy: missing or changed since ingest"):
        train(EXPERIMENT, dataset, fresh(tmp_path))


def test_train_refuses_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a prepared dataset"):
        train(EXPERIMENT, tmp_path, fresh(tmp_path))


def test_balanced_weights_give_every_class_the_same_say(run: Layout) -> None:
    manifest = prepared.read_manifest(run.dataset)
    weights = class_weights(EXPERIMENT, manifest)
    counts = np.array(manifest.splits["train"]["per_class"])
    assert weights is not None
    np.testing.assert_allclose(weights * counts, counts.sum() / 5)


def test_weights_go_by_the_name_of_a_class_and_the_others_weigh_one(run: Layout) -> None:
    manifest = prepared.read_manifest(run.dataset)
    assert class_weights(changed("training", class_weight={"S": 3.0, "F": 0.5}), manifest) == [1.0, 3.0, 1.0, 0.5, 1.0]
    assert class_weights(changed("training", class_weight=None), manifest) is None
    with pytest.raises(InputError, match=r"training\.class_weight: no class 'X'; .*F, N, Q, S, V"):
        class_weights(changed("training", class_weight={"X": 3.0}), manifest)


def test_a_float16_training_makes_a_servable_of_float32(run: Layout, tmp_path: Path) -> None:
    mixed = changed("training", precision="mixed_float16", epochs=1)
    training, model = fresh(tmp_path, "training"), fresh(tmp_path, "model")
    train(mixed, run.dataset, training)
    assert keras.config.dtype_policy().name == "float32"
    calibrate(mixed, run.dataset, training, model)
    inputs, _, _ = prepared.read_split(run.dataset, "test")
    served = tf.saved_model.load(str(model / "saved_model" / "1")).signatures["serving_default"]
    (expected,) = classifier.predict(keras.saving.load_model(model / "model.keras", compile=False), inputs)
    probabilities = served(inputs=tf.constant(inputs))["probabilities"]
    assert probabilities.dtype == tf.float32
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-6)


# ------------------------------------------------------------------------------------------------------- calibrate


def test_calibrate_writes_a_model_of_probabilities_its_export_and_the_fit(run: Layout) -> None:
    fitted = files.read_json(run.model / "calibration.json")
    splits = prepared.read_manifest(run.dataset).splits
    assert (fitted["method"], fitted["examples"]) == ("temperature", splits["calibration"]["examples"])
    inputs, _, _ = prepared.read_split(run.dataset, "test")
    before = keras.saving.load_model(run.training / "model.keras", compile=False)(inputs).numpy()
    after = keras.saving.load_model(run.model / "model.keras", compile=False)(inputs)
    np.testing.assert_allclose(after, softmax(before.astype(float) / fitted["temperature"], axis=1), atol=1e-5)
    served = tf.saved_model.load(str(run.model / "saved_model" / "1")).signatures["serving_default"]
    np.testing.assert_allclose(served(inputs=tf.constant(inputs))["probabilities"], after, rtol=0, atol=1e-6)


def test_calibrate_fits_on_the_calibration_split_alone(run: Layout) -> None:
    from parak8s.calibration import fit

    inputs, labels, _ = prepared.read_split(run.dataset, "calibration")
    logits = keras.saving.load_model(run.training / "model.keras", compile=False)(inputs).numpy()
    expected = fit("temperature", logits, labels).temperature
    assert files.read_json(run.model / "calibration.json")["temperature"] == pytest.approx(expected, rel=1e-4)


def test_without_calibration_the_probabilities_are_the_softmax_and_no_split_is_needed(
    run: Layout, tmp_path: Path
) -> None:
    model = fresh(tmp_path)
    fitted = calibrate(changed("evaluation", calibration="none"), run.dataset, run.training, model)
    assert (fitted.method, fitted.examples) == ("none", 0)
    inputs, _, _ = prepared.read_split(run.dataset, "test")
    before = keras.saving.load_model(run.training / "model.keras", compile=False)(inputs).numpy()
    after = keras.saving.load_model(model / "model.keras", compile=False)(inputs)
    np.testing.assert_allclose(after, softmax(before, axis=1), atol=1e-5)


@pytest.mark.parametrize("step", ["calibrate", "evaluate"])
def test_calibrate_and_evaluate_refuse_a_dataset_of_which_a_bit_has_changed(
    run: Layout, tmp_path: Path, step: str
) -> None:
    dataset = tampered(run, tmp_path, "test/inputs.npy")
    act: Callable[[], object] = {
        "calibrate": lambda: calibrate(EXPERIMENT, dataset, run.training, fresh(tmp_path)),
        "evaluate": lambda: evaluate(EXPERIMENT, dataset, run.model, fresh(tmp_path)),
    }[step]
    with pytest.raises(InputError, match=r"test/inputs\.npy: missing or changed since ingest"):
        act()


# -------------------------------------------------------------------------------------------------------- evaluate


def test_evaluate_writes_predictions_of_the_test_split_and_what_they_amount_to(run: Layout) -> None:
    inputs, labels, _ = prepared.read_split(run.dataset, "test")
    with np.load(run.evaluation / "predictions.npz") as predictions:
        arrays = dict(predictions)
    n = len(labels)
    assert {name: (a.shape, a.dtype.name) for name, a in arrays.items()} == {
        "labels": ((n,), "int32"),
        "probabilities": ((n, 5), "float32"),
        "uncalibrated": ((n, 5), "float32"),
    }
    np.testing.assert_array_equal(arrays["labels"], labels)
    model = keras.saving.load_model(run.model / "model.keras", compile=False)
    np.testing.assert_allclose(arrays["probabilities"], model(inputs), atol=1e-5)
    before = keras.saving.load_model(run.training / "model.keras", compile=False)(inputs)
    np.testing.assert_allclose(arrays["uncalibrated"], softmax(before, axis=1), atol=1e-5)

    measured = files.read_json(run.evaluation / "metrics.json")
    predicted = arrays["probabilities"].argmax(axis=1)
    assert (measured["examples"], measured["classes"]) == (n, list("NSVFQ"))
    accuracy = measured["metrics"]["categorical_accuracy"]
    assert accuracy["value"] == pytest.approx(accuracy_score(labels, predicted))
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert measured["confusion_matrix"] == confusion_matrix(labels, predicted, labels=range(5)).tolist()
    assert set(measured["uncalibrated"]) == {"ece", "brier"}
    assert (measured["confidence"], measured["bootstrap_samples"]) == (0.95, 1000)


def test_evaluate_keeps_examples_with_the_attention_of_the_model(run: Layout) -> None:
    inputs, labels, _ = prepared.read_split(run.dataset, "test")
    with (
        np.load(run.evaluation / "examples.npz") as examples,
        np.load(run.evaluation / "predictions.npz") as predictions,
    ):
        index = examples["index"]
        assert index.dtype == np.int64
        assert len(set(index.tolist())) == len(index) > 0
        np.testing.assert_array_equal(examples["inputs"], inputs[index])
        np.testing.assert_array_equal(examples["labels"], labels[index])
        np.testing.assert_array_equal(examples["probabilities"], predictions["probabilities"][index])
        assert (examples["attention"].shape, examples["attention"].dtype) == ((len(index), 187), np.float32)
        assert np.isfinite(examples["attention"]).all()


def test_evaluate_gives_the_same_bits_again(run: Layout, tmp_path: Path) -> None:
    again = fresh(tmp_path)
    evaluate(EXPERIMENT, run.dataset, run.model, again)
    assert (again / "metrics.json").read_bytes() == (run.evaluation / "metrics.json").read_bytes()
    for name in ("predictions.npz", "examples.npz"):
        with np.load(again / name) as mine, np.load(run.evaluation / name) as its:
            assert {key: mine[key].tobytes() for key in mine} == {key: its[key].tobytes() for key in its}


def test_telling_examples_are_the_surest_mistakes_and_then_right_ones_of_every_class() -> None:
    first = [0.9, 0.8, 0.3, 0.6, 0.05, 0.99, 0.4]
    probabilities = np.array([[p, 1 - p] for p in first], np.float32)
    labels = np.array([1, 0, 0, 0, 1, 0, 1], np.int32)
    assert telling_examples(probabilities, labels, 10).tolist() == [0, 2, 5, 4, 1, 6, 3]
    assert telling_examples(probabilities, labels, 1).tolist() == [0, 5]
    assert telling_examples(probabilities, 1 - probabilities.argmax(axis=1).astype(np.int32), 2).tolist() == [5, 4]


def test_attention_lies_where_the_answer_comes_from() -> None:
    length, spot = 96, 60
    inputs = keras.Input((length,))
    answer = keras.layers.Lambda(lambda x: tf.stack([x[:, spot], -x[:, spot]], axis=1), output_shape=(2,))(inputs)
    model = keras.Model(inputs, keras.layers.Softmax()(answer))
    signals = np.zeros((3, length), np.float32)
    signals[:, spot] = [2, 3, -2]
    signals[:, 10] = 5  # a peak that means nothing
    attention = occlusion(model, signals, model(signals).numpy())
    assert attention.shape == (3, length)
    assert (np.abs(attention.argmax(axis=1) - spot) < 96 // 12).all()
    assert np.abs(attention[:, : spot - 96 // 12]).max() < 1e-6
    assert np.abs(attention[:, spot + 96 // 12 :]).max() < 1e-6
    without = 1 / (1 + np.exp(-4)) - 0.5  # both answers are as likely without the spot
    assert attention[0, spot] == pytest.approx(without, rel=1e-3)


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (0, 20)])
def test_attention_over_what_is_no_signal_is_empty(shape: tuple[int, ...]) -> None:
    assert occlusion(None, np.zeros(shape), np.zeros((shape[0], 2), np.float32)).shape == (shape[0], 0)


# -------------------------------------------------------------------------------------------------- gate, register


class FakeTracker:
    """Knows a champion, or none, and keeps what it is told."""

    uri = "postgresql+psycopg2://me:secret@somewhere/mlflow"

    def __init__(self, model: Path | None = None) -> None:
        self.model = model
        self.calls: list[tuple[str, ...]] = []

    def champion(self) -> Champion | None:
        self.calls.append(("champion",))
        return Champion("steps", "champion", "4", "run", {}) if self.model else None

    def download(self, champion: Champion, folder: Path) -> Path:
        assert self.model is not None
        return self.model

    def publish(self, run_id: str, directory: Path, *, fingerprint: str) -> None:
        self.calls.append(("publish", run_id, fingerprint))

    def register(self, run_id: str, *, alias: bool = True) -> str:
        self.calls.append(("register", run_id))
        return "7"


def verdict(experiment: Experiment, run: Layout, folder: Path, tracker: FakeTracker) -> dict[str, Any]:
    gate(experiment, run.dataset, run.evaluation, folder, tracker)  # type: ignore[arg-type]
    return dict(files.read_json(folder / "verdict.json"))


def test_gate_judges_by_the_thresholds_and_writes_the_reasons(run: Layout, tmp_path: Path) -> None:
    tracker = FakeTracker(run.model / "model.keras")
    rules = Gate.model_validate({"categorical_accuracy": ">= 0.1", "brier": "<= 0.0001"})
    said = verdict(EXPERIMENT.model_copy(update={"gate": rules}), run, fresh(tmp_path), tracker)
    assert said["passed"] is False
    assert [(check["check"], check["passed"]) for check in said["checks"]] == [
        ("categorical_accuracy >= 0.1", True),
        ("brier <= 0.0001", False),
    ]
    assert tracker.calls == []  # nobody asked for a comparison


def test_gate_compares_with_the_champion_and_a_model_is_not_worse_than_itself(run: Layout, tmp_path: Path) -> None:
    rules = EXPERIMENT.model_copy(update={"gate": Gate(champion="not_worse")})
    said = verdict(rules, run, fresh(tmp_path, "first"), FakeTracker())
    assert said["passed"] is True
    said = verdict(rules, run, fresh(tmp_path, "second"), FakeTracker(run.model / "model.keras"))
    assert said["passed"] is True
    assert len(said["checks"]) == len(EXPERIMENT.evaluation.metrics)
    assert "version 4" in json.dumps(said) or "steps" in json.dumps(said)


def test_gate_refuses_to_compare_on_a_dataset_of_which_a_bit_has_changed(run: Layout, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    tampered(run, tmp_path, "test/inputs.npy")
    shutil.copytree(run.evaluation, layout.evaluation)
    with pytest.raises(InputError, match=r"test/inputs\.npy: missing or changed since ingest"):
        verdict(
            EXPERIMENT.model_copy(update={"gate": Gate(champion="not_worse")}),
            layout,
            fresh(tmp_path),
            FakeTracker(run.model / "model.keras"),
        )


def test_a_champion_of_other_inputs_cannot_be_compared(run: Layout) -> None:
    other: NDArray[np.float32] = np.zeros((2, 50), np.float32)
    with pytest.raises(InputError, match=r"maps inputs \(187,\) to 5 classes, this experiment \(50,\) to 5"):
        predictions_of(run.model / "model.keras", other, 5)


@pytest.mark.parametrize("passed", [True, False])
def test_register_publishes_always_and_registers_only_what_passed(run: Layout, tmp_path: Path, passed: bool) -> None:
    layout, tracker, folder = Layout(tmp_path), FakeTracker(), fresh(tmp_path)
    files.write_json(layout.gate / "verdict.json", {"passed": passed, "checks": []})
    register(EXPERIMENT, layout, folder, tracker, run_id="r1", fingerprint="f1")  # type: ignore[arg-type]
    facts = files.read_json(folder / "mlflow.json")
    registered = {"model_name": "steps", "model_version": "7", "alias": "champion"}
    assert facts.items() >= (registered if passed else dict.fromkeys(registered)).items()
    assert facts["run_id"] == "r1"
    assert "secret" not in facts["tracking_uri"]
    assert tracker.calls == [("publish", "r1", "f1"), *([("register", "r1")] if passed else [])]


# ------------------------------------------------------------------------------------------- loaders of one's own


def test_the_steps_work_with_a_loader_and_a_builder_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_pictures.py").write_text(
        """
import numpy as np
from parak8s.data.examples import Examples

def read(source, *, n: int = 60):
    random = np.random.default_rng(0)
    labels = (np.arange(n) % 2).astype(np.int32)
    pictures = random.integers(0, 100, (n, 6, 6, 3)) + 100 * labels[:, None, None, None]
    return Examples(pictures.astype(np.uint8), labels, ("dark", "light"))

def flat(input_shape, classes, *, units: int = 4):
    import keras
    inputs = keras.Input(input_shape)
    x = keras.layers.Dense(units, activation="relu")(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs)))
    return keras.Model(inputs, keras.layers.Dense(classes)(x))
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    experiment = Experiment(
        name="pictures",
        data=Data(loader="my_pictures:read", source=str(tmp_path / "my_pictures.py"), options={"n": 80}),
        model=ModelSpec(builder="my_pictures:flat"),
        training=Training(epochs=2),
        evaluation=Evaluation(metrics=("categorical_accuracy",)),
    )
    dataset, training, model, evaluation = (fresh(tmp_path, name) for name in ("d", "t", "m", "e"))
    assert ingest(experiment, dataset).input_dtype == "uint8"
    train(experiment, dataset, training)
    calibrate(experiment, dataset, training, model)
    assert evaluate(experiment, dataset, model, evaluation)["examples"] > 0
    with np.load(evaluation / "examples.npz") as examples:
        assert examples["attention"].shape == (len(examples["index"]), 0, 0)
    served = tf.saved_model.load(str(model / "saved_model" / "1")).signatures["serving_default"]
    assert served(inputs=tf.zeros((1, 6, 6, 3), tf.uint8))["probabilities"].shape == (1, 2)
    sys.modules.pop("my_pictures")
