"""The training loop: its arithmetic against Keras and SciPy, and that a killed training ends as an unbroken one."""

import math
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from scipy.special import log_softmax

from parak8s import files
from parak8s.data import prepared
from parak8s.data.batches import ArrayDataset
from parak8s.data.examples import Examples
from parak8s.errors import InputError
from parak8s.experiment import Data, EarlyStopping, Experiment, ModelSpec, Optimizer, Schedule, Training
from parak8s.models.deep_cnn import deep_cnn
from parak8s.models.signals import SignalAugmentation, ZScore
from parak8s.training import determinism
from parak8s.training.distribution import is_loss
from parak8s.training.fitting import Outcome, fit
from parak8s.training.interruption import Interrupted
from parak8s.training.loop import Loop
from parak8s.training.progress import Record
from parak8s.training.tensorboard import TensorBoard

LENGTH, CLASSES, TRAIN = 24, 3, 100
STRICT = Experiment(
    name="test", seed=3, data=Data(loader="ecg", source="synthetic://ecg"), model=ModelSpec(builder="deep_cnn")
)


def drawn(n: int, shape: tuple[int, ...] = (LENGTH,), dtype: Any = np.float32, seed: int = 0) -> Examples:
    """Return noise around a level that tells the classes apart, between 0 and 200."""
    random = np.random.default_rng(seed)
    labels = np.arange(n, dtype=np.int32) % CLASSES
    ramp = np.linspace(0, 1, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    inputs = 20 * random.random((n, *shape)) + 60 * labels.reshape(-1, *[1] * len(shape)) * ramp
    return Examples(inputs.astype(dtype), labels, ("a", "b", "c"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset of 100 examples to learn from and 40 to measure on."""
    return prepare(tmp_path_factory.mktemp("data") / "dataset", drawn(TRAIN + 40))


def prepare(directory: Path, examples: Examples, train: int = TRAIN) -> Path:
    directory.mkdir()
    rows = {"train": np.arange(train), "validation": np.arange(train, len(examples))}
    prepared.write(directory, examples, rows, digest="sha256:0", source="test", loader="test", split={})
    return directory


def linear(shape: tuple[int, ...] = (LENGTH,), seed: int = 1) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(shape)
    scaled = keras.layers.Rescaling(0.02)(inputs)
    return keras.Model(inputs, keras.layers.Dense(CLASSES, bias_initializer="normal")(keras.layers.Flatten()(scaled)))


def convolutional(*, dropout: float = 0.2, policy: str = "float32") -> keras.Model:
    """Return a network with all that has a state: augmentation, dropout, batch normalization."""
    determinism.prepare(STRICT)
    inputs = keras.Input((LENGTH,))
    keras.config.set_dtype_policy(policy)
    try:
        x = keras.layers.Reshape((LENGTH, 1))(SignalAugmentation(stretch=0.1, noise=2.0, seed=5)(inputs))
        x = keras.layers.BatchNormalization()(keras.layers.Conv1D(4, 5)(x))
        x = keras.layers.Dropout(dropout)(keras.layers.Flatten()(keras.layers.ReLU()(x)))
        x = keras.layers.Dense(CLASSES)(x)
    finally:
        keras.config.set_dtype_policy("float32")
    return keras.Model(inputs, keras.layers.Activation("linear", dtype="float32")(x))


def train_batches(dataset: Path, batch_size: int = 16, **settings: Any) -> ArrayDataset:
    return ArrayDataset(dataset, "train", batch_size=batch_size, shuffle=True, seed=9, **settings)


def trained(
    model: keras.Model, dataset: Path, folder: Path, spec: Training, observers: Any = (), **settings: Any
) -> Outcome:
    folder.mkdir(exist_ok=True)
    validation = ArrayDataset(dataset, "validation", batch_size=1024)
    return fit(model, spec, train_batches(dataset, **settings), validation, folder, observers)


def weights(model: keras.Model) -> list[NDArray[Any]]:
    return [variable.numpy() for variable in model.variables]


def assert_same_bits(one: keras.Model, other: keras.Model) -> None:
    for mine, its in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(mine, its)


def numbers(outcome: Outcome) -> list[dict[str, Any]]:
    """Return the records without what the clock says."""
    clock = ("seconds", "timestamp_ms")
    return [{name: v for name, v in each.to_json().items() if name not in clock} for each in outcome.records]


# ----------------------------------------------------------------------------------------------------- one step


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("class_weights", [None, [0.5, 2.0, 3.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_step_is_the_one_that_keras_takes(
    dataset: Path, name: Any, class_weights: list[float] | None, smoothing: float
) -> None:
    spec = Training(optimizer=Optimizer(name=name, learning_rate=0.05), label_smoothing=smoothing)
    ours, theirs = linear(), linear()
    batches = train_batches(dataset, class_weights=class_weights)
    inputs, labels, _ = batches[0]
    by_class = np.array(class_weights or [1.0] * CLASSES)
    theirs.compile(
        {"sgd": keras.optimizers.SGD, "adamw": keras.optimizers.AdamW}[name](0.05),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing),
    )
    loss = theirs.train_on_batch(inputs, np.eye(CLASSES)[labels], sample_weight=by_class[labels])
    loss_sum, _, count = Loop(ours, spec, 7).steps(*stacked(*batches[0])).numpy()
    assert loss_sum / count == pytest.approx(loss, rel=1e-5)
    for mine, its in zip(weights(ours), weights(theirs), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-6)


def test_an_epoch_of_a_deep_network_takes_the_steps_that_keras_takes(dataset: Path) -> None:
    ours, theirs = (deep() for _ in range(2))
    theirs.compile(keras.optimizers.SGD(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = train_batches(dataset)
    for index in range(len(batches)):
        theirs.train_on_batch(*batches[index])
    Loop(ours, Training(optimizer=Optimizer(name="sgd", learning_rate=0.05)), 7).epoch(batches, ignore)
    for mine, its in zip(weights(ours), weights(theirs), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-3, atol=1e-4)


def deep() -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((LENGTH,))
    return keras.Model(inputs, deep_cnn((LENGTH,), CLASSES, filters=4, blocks=1, units=8)(ZScore()(inputs)))


def stacked(*columns: NDArray[Any]) -> Any:
    """Return one batch as a stack of one."""
    return [column[None] for column in columns]


def ignore(done: int, total: int) -> None:
    """Observe nothing."""


def test_the_loss_and_accuracy_of_an_epoch_are_means_over_the_examples(dataset: Path) -> None:
    model, by_class = linear(), [0.5, 2.0, 3.0]
    kernel, bias = weights(model)
    spec = Training(optimizer=Optimizer(name="sgd", learning_rate=1e-12), steps_per_call=3)
    got = Loop(model, spec, 7).epoch(train_batches(dataset, class_weights=by_class), ignore)
    inputs, labels, _ = prepared.read_split(dataset, "train")
    logits = 0.02 * inputs.astype(np.float64) @ kernel + bias
    losses = -log_softmax(logits, axis=1)[np.arange(TRAIN), labels] * np.array(by_class)[labels]
    assert got.loss / got.examples == pytest.approx(losses.mean(), rel=1e-5)
    assert got.right / got.examples == pytest.approx((logits.argmax(axis=1) == labels).mean(), rel=1e-5)


def test_the_losses_of_layers_are_learnt_from_too(dataset: Path) -> None:
    inputs = keras.Input((LENGTH,))
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, kernel_regularizer=keras.regularizers.L2(0.5))(inputs))
    before = weights(model)[0]
    batch = stacked(np.zeros((4, LENGTH), np.float32), np.zeros(4, np.int32), np.ones(4, np.float32))
    sums = Loop(model, Training(optimizer=Optimizer(name="sgd", learning_rate=0.1)), 1).steps(*batch).numpy()
    np.testing.assert_allclose(weights(model)[0], 0.9 * before, rtol=1e-6)  # the gradient of 0.5 w^2 is w
    assert sums[0] / 4 == pytest.approx(math.log(3) + 0.5 * (before**2).sum(), rel=1e-5)


def test_the_global_norm_of_the_gradient_is_clipped(dataset: Path) -> None:
    model = linear()
    before = weights(model)
    spec = Training(optimizer=Optimizer(name="sgd", learning_rate=1.0), clip_norm=0.01)
    Loop(model, spec, 1).steps(*stacked(*train_batches(dataset)[0]))
    change = [new - old for new, old in zip(weights(model), before, strict=True)]
    assert math.sqrt(sum((each**2).sum() for each in change)) == pytest.approx(0.01, rel=1e-3)


def test_the_number_of_steps_in_a_call_changes_no_bit(dataset: Path, tmp_path: Path) -> None:
    one, many = convolutional(), convolutional()
    trained(one, dataset, tmp_path / "one", Training(epochs=2, steps_per_call=1))
    trained(many, dataset, tmp_path / "many", Training(epochs=2, steps_per_call=4))
    assert_same_bits(one, many)


@pytest.mark.parametrize("batch_size", [1, 11, 33, 99, 100, 256])
def test_epochs_of_any_number_of_batches_train_and_are_observed_to_their_end(
    dataset: Path, tmp_path: Path, batch_size: int
) -> None:
    observer = Recorder()
    model = convolutional() if batch_size in (33, 256) else linear()  # 33: the last batch is a single example
    spec = Training(epochs=2, steps_per_call=4)
    outcome = trained(model, dataset, tmp_path / "t", spec, [observer], batch_size=batch_size)
    steps = -(-TRAIN // batch_size)
    for epoch in (1, 2):
        seen = [(done, total) for at, done, total in observer.steps if at == epoch]
        assert seen == sorted(seen)
        assert seen[-1] == (steps, steps)
    assert observer.epochs == list(outcome.records)
    assert all(np.isfinite(each).all() for each in weights(model))


class Recorder:
    def __init__(self) -> None:
        self.steps: list[tuple[int, int, int]] = []
        self.epochs: list[Record] = []

    def on_steps(self, epoch: int, done: int, total: int) -> None:
        self.steps.append((epoch, done, total))

    def on_epoch(self, record: Record) -> None:
        self.epochs.append(record)


@pytest.mark.parametrize(("shape", "dtype"), [((LENGTH, 2), np.float32), ((LENGTH,), np.uint8), ((8, 8, 3), np.uint8)])
def test_inputs_may_have_several_leads_or_be_bytes(tmp_path: Path, shape: tuple[int, ...], dtype: Any) -> None:
    data = prepare(tmp_path / "d", drawn(60, shape, dtype), train=40)
    inputs = keras.Input(shape, dtype=np.dtype(dtype).name)
    x = ZScore()(SignalAugmentation(scale=0.1)(inputs)) if len(shape) < 3 else keras.layers.Rescaling(1 / 255)(inputs)
    keras.utils.set_random_seed(1)
    model = keras.Model(inputs, keras.layers.Dense(CLASSES)(keras.layers.Flatten()(x)))
    outcome = trained(model, data, tmp_path / "t", Training(epochs=6, optimizer=Optimizer(learning_rate=0.05)))
    assert outcome.records[-1].loss < outcome.records[0].loss


@pytest.mark.parametrize("empty", ["train", "validation"])
def test_an_empty_split_is_named(tmp_path: Path, empty: str) -> None:
    data = prepare(tmp_path / "d", drawn(6), train=0 if empty == "train" else 6)
    with pytest.raises(InputError, match=rf"the {empty} split is empty; raise data\.split\.{empty}"):
        trained(linear(), data, tmp_path / "t", Training(epochs=1))


# ------------------------------------------------------------------------------------------------ a whole training


def test_a_training_learns_and_its_records_say_so(dataset: Path, tmp_path: Path) -> None:
    spec = Training(
        epochs=40, optimizer=Optimizer(learning_rate=0.05), schedule=Schedule(name="cosine", warmup_epochs=1)
    )
    outcome = trained(linear(), dataset, tmp_path / "t", spec)
    assert [record.epoch for record in outcome.records] == list(range(1, 41))
    assert outcome.records[-1].val_accuracy > 0.9 > outcome.records[0].val_accuracy
    assert outcome.records[-1].loss < outcome.records[0].loss / 2
    assert [record.learning_rate for record in outcome.records[::39]] == pytest.approx([0.05, 0.0], abs=1e-6)
    assert (outcome.kept_epoch, outcome.stopped_early) == (40, False)


def test_training_stops_early_and_keeps_the_best_weights(dataset: Path, tmp_path: Path) -> None:
    spec = Training(
        epochs=30,
        optimizer=Optimizer(name="sgd", learning_rate=100.0),  # jumps about
        early_stopping=EarlyStopping(monitor="val_loss", patience=3),
        keep_best="val_loss",
    )
    after_epoch: list[list[NDArray[Any]]] = []
    model = linear()

    class Watcher(Recorder):
        def on_epoch(self, record: Record) -> None:
            after_epoch.append(weights(model))

    outcome = trained(model, dataset, tmp_path / "t", spec, [Watcher()])
    losses = [record.val_loss for record in outcome.records]
    best = int(np.argmin(losses)) + 1
    assert (outcome.kept_epoch, outcome.stopped_early) == (best, True)
    assert len(losses) == best + 3 < 30
    for mine, its in zip(weights(model), after_epoch[best - 1], strict=True):
        np.testing.assert_array_equal(mine, its)
    assert [path.name for path in (tmp_path / "t").glob("*.h5")] == [f"best-{best}.weights.h5"]


def test_a_validation_split_of_one_class_can_be_trained_on_and_stopped_by(tmp_path: Path) -> None:
    examples = drawn(48)
    order = np.argsort(examples.labels, kind="stable")
    data = prepare(tmp_path / "d", Examples(examples.inputs[order], examples.labels[order], examples.classes), train=40)
    spec = Training(epochs=5, keep_best="val_auc", early_stopping=EarlyStopping(monitor="val_auc", patience=2))
    outcome = trained(linear(), data, tmp_path / "t", spec)
    assert (len(outcome.records), outcome.kept_epoch, outcome.stopped_early) == (2, 1, True)
    assert [each["val_auc"] for each in files.read_json(tmp_path / "t" / "records.json")] == [None, None]


def test_a_loss_that_is_no_number_ends_the_training_with_the_fix(dataset: Path, tmp_path: Path) -> None:
    spec = Training(epochs=3, optimizer=Optimizer(name="sgd", learning_rate=1e38))
    with pytest.raises(
        InputError, match=r"in epoch [12]; lower training\.optimizer\.learning_rate, or set training\.clip"
    ):
        trained(linear(), dataset, tmp_path / "t", spec)


def test_xla_trains_to_nearly_the_same_loss(dataset: Path, tmp_path: Path) -> None:
    spec = Training(epochs=3, optimizer=Optimizer(learning_rate=0.05))
    plain = trained(linear(), dataset, tmp_path / "plain", spec, batch_size=25)
    compiled = trained(linear(), dataset, tmp_path / "xla", spec.model_copy(update={"jit": True}), batch_size=25)
    for name in ("loss", "accuracy", "val_loss", "val_auc"):
        mine, its = ([getattr(record, name) for record in outcome.records] for outcome in (compiled, plain))
        assert mine == pytest.approx(its, rel=1e-4)


def test_an_operation_without_a_deterministic_form_is_refused_with_the_fix(dataset: Path, tmp_path: Path) -> None:
    determinism.prepare(STRICT)  # from here on for the whole process
    with pytest.raises(InputError, match=r"MaxPool.*Write reproducibility: close, or training\.jit: false"):
        trained(deep(), dataset, tmp_path / "t", Training(epochs=1, jit=True), batch_size=50)


def test_float16_trains_with_a_scaled_loss(dataset: Path, tmp_path: Path) -> None:
    spec = Training(epochs=6, optimizer=Optimizer(learning_rate=0.01), precision="mixed_float16")
    outcome = trained(convolutional(dropout=0.0, policy="mixed_float16"), dataset, tmp_path / "t", spec)
    assert outcome.records[-1].loss < 0.8 * outcome.records[0].loss
    assert outcome.records[0].loss < 2  # not 2^15 times as large


def test_a_float16_step_that_overflows_is_left_out_and_the_scale_halved() -> None:
    model = linear()
    loop = Loop(model, Training(precision="mixed_float16"), 1)
    before, scale = weights(model), float(loop.optimizer.dynamic_scale)
    loop.steps(*stacked(np.full((3, LENGTH), 1e38, np.float32), np.arange(3, dtype=np.int32), np.ones(3, np.float32)))
    assert float(loop.optimizer.dynamic_scale) == scale / 2
    for mine, its in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(mine, its)


# ------------------------------------------------------------------------------------------------- killed, resumed


class KilledError(Exception):
    """Stands for the end of the process."""


class Killer(Recorder):
    """Raises at a step of an epoch, or after an epoch (step 0)."""

    def __init__(self, epoch: int, step: int = 0) -> None:
        super().__init__()
        self.at = (epoch, step)

    def on_steps(self, epoch: int, done: int, total: int) -> None:
        if self.at[1] and (epoch, done) >= self.at:
            raise KilledError

    def on_epoch(self, record: Record) -> None:
        super().on_epoch(record)
        if not self.at[1] and record.epoch == self.at[0]:
            raise KilledError


FULL = Training(
    epochs=5,
    optimizer=Optimizer(learning_rate=0.02),
    schedule=Schedule(name="cosine", warmup_epochs=1),
    keep_best="val_accuracy",
    early_stopping=EarlyStopping(monitor="val_loss", patience=5),
    steps_per_call=3,
)
BY_CLASS = [1.0, 0.5, 2.0]


@pytest.fixture(scope="module")
def unbroken(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Outcome]:
    model = convolutional()
    return model, trained(model, dataset, tmp_path_factory.mktemp("unbroken"), FULL, class_weights=BY_CLASS)


def test_the_same_training_twice_gives_the_same_bits(
    dataset: Path, tmp_path: Path, unbroken: tuple[keras.Model, Outcome]
) -> None:
    model = convolutional()
    outcome = trained(model, dataset, tmp_path / "t", FULL, class_weights=BY_CLASS)
    assert_same_bits(model, unbroken[0])
    assert numbers(outcome) == numbers(unbroken[1])


@pytest.mark.parametrize("kills", [[(1, 1), (2, 6), (4, 0)], [(5, 0)]])
def test_a_killed_training_ends_with_the_bits_of_an_unbroken_one(
    dataset: Path, tmp_path: Path, unbroken: tuple[keras.Model, Outcome], kills: list[tuple[int, int]]
) -> None:
    for kill in kills:
        with pytest.raises(KilledError):
            trained(convolutional(), dataset, tmp_path / "t", FULL, [Killer(*kill)], class_weights=BY_CLASS)
    model, observer = convolutional(), Recorder()
    outcome = trained(model, dataset, tmp_path / "t", FULL, [observer], class_weights=BY_CLASS)
    assert_same_bits(model, unbroken[0])
    assert numbers(outcome) == numbers(unbroken[1])
    assert (outcome.kept_epoch, outcome.stopped_early) == (unbroken[1].kept_epoch, False)
    last_kill = kills[-1]
    whole = last_kill[0] - (last_kill[1] > 0)
    assert [record.epoch for record in observer.epochs] == list(range(whole + 1, 6))  # nothing is done again


class Terminator(Recorder):
    """Sends SIGTERM to this process at a step of an epoch."""

    def __init__(self, epoch: int, step: int) -> None:
        super().__init__()
        self.at, self.sent = (epoch, step), False

    def on_steps(self, epoch: int, done: int, total: int) -> None:
        super().on_steps(epoch, done, total)
        if (epoch, done) >= self.at and not self.sent:
            self.sent = True
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("at", "stopped", "first"), [((2, 3), "3 of 7 steps of epoch 2", 6), ((3, 7), "0 of 7 steps of epoch 4", 3)]
)
def test_a_training_that_is_told_to_end_saves_its_step_and_goes_on_from_there(
    dataset: Path, tmp_path: Path, unbroken: tuple[keras.Model, Outcome], at: tuple[int, int], stopped: str, first: int
) -> None:
    with pytest.raises(Interrupted, match=f"asked to stop after {stopped}") as caught:
        trained(convolutional(), dataset, tmp_path / "t", FULL, [Terminator(*at)], class_weights=BY_CLASS)
    assert caught.value.exit_code == 143
    model, observer = convolutional(), Recorder()
    outcome = trained(model, dataset, tmp_path / "t", FULL, [observer], class_weights=BY_CLASS)
    assert observer.steps[0][1] == first  # nothing is done again
    assert_same_bits(model, unbroken[0])
    assert numbers(outcome) == numbers(unbroken[1])
    assert not (tmp_path / "t" / "pause.json").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_an_epoch_counts_only_once_its_checkpoint_is_written(
    dataset: Path, tmp_path: Path, unbroken: tuple[keras.Model, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, checkpoint_number: int, **settings: Any) -> None:
        if checkpoint_number == 3:
            raise KilledError
        save(self, checkpoint_number=checkpoint_number, **settings)

    save: Callable[..., Any] = tf.train.CheckpointManager.save
    monkeypatch.setattr(tf.train.CheckpointManager, "save", fail)
    with pytest.raises(KilledError):
        trained(convolutional(), dataset, tmp_path / "t", FULL, class_weights=BY_CLASS)
    monkeypatch.undo()
    assert len(files.read_json(tmp_path / "t" / "records.json")) == 3
    model, observer = convolutional(), Recorder()
    outcome = trained(model, dataset, tmp_path / "t", FULL, [observer], class_weights=BY_CLASS)
    assert [record.epoch for record in observer.epochs] == [3, 4, 5]
    assert_same_bits(model, unbroken[0])
    assert numbers(outcome) == numbers(unbroken[1])


def test_a_killed_float16_training_goes_on_with_its_loss_scale(dataset: Path, tmp_path: Path) -> None:
    spec = Training(epochs=2, precision="mixed_float16")
    whole, broken = convolutional(policy="mixed_float16"), convolutional(policy="mixed_float16")
    trained(whole, dataset, tmp_path / "whole", spec)
    with pytest.raises(KilledError):
        trained(convolutional(policy="mixed_float16"), dataset, tmp_path / "broken", spec, [Killer(1)])
    trained(broken, dataset, tmp_path / "broken", spec)
    assert_same_bits(whole, broken)


def test_a_finished_training_is_not_repeated(dataset: Path, tmp_path: Path) -> None:
    spec = Training(epochs=3, optimizer=Optimizer(name="sgd", learning_rate=50.0), keep_best="val_loss")
    first, again, observer = linear(), linear(seed=2), Recorder()
    outcome = trained(first, dataset, tmp_path / "t", spec)
    assert trained(again, dataset, tmp_path / "t", spec, [observer]) == outcome
    assert (observer.steps, observer.epochs) == ([], [])
    assert_same_bits(first, again)


def test_a_training_that_was_shot_goes_on_in_another_process(
    dataset: Path, tmp_path: Path, unbroken: tuple[keras.Model, Outcome]
) -> None:
    script = f"""
        import os, signal, sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import test_training as t

        class Gun(t.Recorder):
            def on_steps(self, epoch, done, total):
                if (epoch, done) >= (3, 3):
                    os.kill(os.getpid(), signal.SIGKILL)

        t.trained(t.convolutional(), Path({str(dataset)!r}), Path({str(tmp_path / "t")!r}), t.FULL, [Gun()],
                  class_weights=t.BY_CLASS)
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TF_CPP_MIN_LOG_LEVEL": "3"}
    shot = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=environment, capture_output=True)
    assert shot.returncode == -signal.SIGKILL, shot.stderr.decode()
    model, observer = convolutional(), Recorder()
    outcome = trained(model, dataset, tmp_path / "t", FULL, [observer], class_weights=BY_CLASS)
    assert [record.epoch for record in observer.epochs] == [3, 4, 5]
    assert_same_bits(model, unbroken[0])
    assert numbers(outcome) == numbers(unbroken[1])


# ----------------------------------------------------------------------------------------------------- TensorBoard


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return name -> (step, value) of all scalars in a TensorBoard folder, in the order in which they were written."""
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for data in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(data)
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                found.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    return found


def test_tensorboard_shows_every_epoch_once_also_of_a_killed_training(dataset: Path, tmp_path: Path) -> None:
    folder, spec = tmp_path / "t", Training(epochs=4)
    with pytest.raises(KilledError):
        trained(linear(), dataset, folder, spec, [TensorBoard(folder), Killer(1)])
    assert [step for step, _ in curves(folder / "tensorboard")["epoch/loss"]] == [1]
    with pytest.raises(KilledError):
        trained(linear(), dataset, folder, spec, [Killer(2), TensorBoard(folder)])  # shot before it was told
    outcome = trained(linear(), dataset, folder, spec, [TensorBoard(folder)])
    shown = curves(folder / "tensorboard")
    names = ("loss", "accuracy", "val_loss", "val_accuracy", "val_auc", "val_f1", "learning_rate", "seconds")
    assert set(shown) == {f"epoch/{name}" for name in names}
    for name in names:
        assert [step for step, _ in shown[f"epoch/{name}"]] == [1, 2, 3, 4]
        expected = [getattr(record, name) for record in outcome.records]
        assert [value for _, value in shown[f"epoch/{name}"]] == pytest.approx(expected, rel=1e-6)


def test_tensorboard_leaves_out_what_is_no_number(tmp_path: Path) -> None:
    record = Record(1, 0.5, 0.5, 0.5, 0.5, math.nan, 0.5, 0.1, 1.0, 5)
    files.write_json(tmp_path / "records.json", [record.to_json()])
    TensorBoard(tmp_path).on_epoch(record)
    assert "epoch/val_auc" not in curves(tmp_path / "tensorboard")


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (tf.errors.UnavailableError(None, None, "failed to connect to all addresses"), True),
        (tf.errors.InternalError(None, None, "Collective ops is aborted by: recvmsg:Connection reset by peer"), True),
        (tf.errors.InternalError(None, None, "NCCL: remote process exited or there was a network error"), True),
        (tf.errors.UnknownError(None, None, "CUDNN_STATUS_EXECUTION_FAILED in cudnn_dnn.cc"), False),
        (tf.errors.InternalError(None, None, "Failed to allocate scratch memory"), False),
        (
            tf.errors.InvalidArgumentError(None, None, "Unable to find the relevant tensor remote_handle: Op ID: 3"),
            True,
        ),
        (tf.errors.InvalidArgumentError(None, None, "Incompatible shapes: [31,3] vs. [30,3]"), False),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"), False),
    ],
)
def test_only_the_loss_of_a_peer_makes_a_job_start_again(error: tf.errors.OpError, lost: bool) -> None:
    assert is_loss(error) is lost
