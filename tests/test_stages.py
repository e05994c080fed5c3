"""Two stages: what learns in each, what the second begins with, and that a kill in either changes no bit."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from parak8s.data import prepared
from parak8s.data.batches import ArrayDataset
from parak8s.data.examples import Examples
from parak8s.errors import InputError
from parak8s.experiment import Data, EarlyStopping, Experiment, FineTune, ModelSpec, Optimizer, Schedule, Training
from parak8s.models.signals import SignalAugmentation
from parak8s.training import determinism
from parak8s.training.fitting import Outcome, fit
from parak8s.training.progress import Record
from parak8s.training.stages import stages

LENGTH, CLASSES, TRAIN = 24, 3, 60
STRICT = Experiment(
    name="test", seed=3, data=Data(loader="ecg", source="synthetic://ecg"), model=ModelSpec(builder="deep_cnn")
)
SPEC = Training(
    epochs=3,
    optimizer=Optimizer(learning_rate=0.02),
    schedule=Schedule(name="cosine", warmup_epochs=1, final=0.1),
    keep_best="val_loss",
    fine_tune=FineTune(layers=3, epochs=3, learning_rate=0.005),
    steps_per_call=2,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset of 60 examples to learn from and 30 to measure on."""
    directory = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    labels = np.arange(TRAIN + 30, dtype=np.int32) % CLASSES
    inputs = (random.random((len(labels), LENGTH)) + labels[:, None] * np.linspace(0, 1, LENGTH)).astype(np.float32)
    rows = {"train": np.arange(TRAIN), "validation": np.arange(TRAIN, len(labels))}
    examples = Examples(inputs, labels, ("a", "b", "c"))
    prepared.write(directory, examples, rows, digest="sha256:0", source="test", loader="test", split={})
    return directory


def network(*, frozen: bool = True) -> keras.Model:
    """Return a head on a backbone of six layers, the upper three of which are a convolution, its BN and a ReLU."""
    determinism.prepare(STRICT)
    layers = keras.layers
    low = keras.Input((LENGTH, 1))
    x = layers.BatchNormalization(name="low_bn")(layers.Conv1D(4, 5, name="low")(low))
    x = layers.BatchNormalization(name="high_bn")(layers.Conv1D(4, 5, name="high")(x))
    backbone = keras.Model(low, layers.ReLU()(x), name="backbone")
    backbone.trainable = not frozen
    inputs = keras.Input((LENGTH,))
    x = layers.Reshape((LENGTH, 1))(SignalAugmentation(noise=0.05, seed=5)(inputs))
    x = layers.Dropout(0.2)(layers.Flatten()(backbone(x)))
    return keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x))


class Watcher:
    """Keeps the weights after every epoch; may raise at a step of an epoch, or after it (step 0)."""

    def __init__(self, model: keras.Model, *kill: int) -> None:
        self.model, self.kill = model, kill
        self.epochs: list[int] = []
        self.weights: list[dict[str, NDArray[Any]]] = []

    def on_steps(self, epoch: int, done: int, total: int) -> None:
        if self.kill and self.kill[1] and (epoch, done) >= self.kill:
            raise KilledError

    def on_epoch(self, record: Record) -> None:
        self.epochs.append(record.epoch)
        self.weights.append(by_name(self.model))
        if self.kill == (record.epoch, 0):
            raise KilledError


class KilledError(Exception):
    """Stands for the end of the process."""


def by_name(model: keras.Model) -> dict[str, NDArray[Any]]:
    """Return every variable; the states of random draws have numbers in their names, which count on and on."""
    paths = [f"draws {index}" if "seed" in each.path else each.path for index, each in enumerate(model.variables)]
    return {path: variable.numpy() for path, variable in zip(paths, model.variables, strict=True)}


def trained(model: keras.Model, dataset: Path, folder: Path, spec: Training, observer: Any) -> Outcome:
    folder.mkdir(exist_ok=True)
    train = ArrayDataset(dataset, "train", batch_size=16, shuffle=True, seed=9)
    return fit(model, spec, train, ArrayDataset(dataset, "validation", batch_size=64), folder, [observer])


def numbers(outcome: Outcome) -> list[dict[str, Any]]:
    """Return the records without what the clock says."""
    clock = ("seconds", "timestamp_ms")
    return [{name: v for name, v in each.to_json().items() if name not in clock} for each in outcome.records]


def changed(before: dict[str, NDArray[Any]], after: dict[str, NDArray[Any]], *, draws: bool = False) -> set[str]:
    """Return the names of the weights, and of the states of random ``draws``, of which a bit differs."""
    differ = {name for name in before if before[name].tobytes() != after[name].tobytes()}
    return {name for name in differ if draws or not name.startswith("draws")}


@pytest.fixture(scope="module")
def unbroken(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Watcher, Any, Outcome]:
    """What an observer saw, the weights at the beginning, and the outcome."""
    model = network()
    watcher, start = Watcher(model), by_name(model)
    return watcher, start, trained(model, dataset, tmp_path_factory.mktemp("unbroken"), SPEC, watcher)


def test_the_first_stage_changes_the_head_alone_and_the_second_the_top_layers_too(unbroken: Any) -> None:
    watcher, start, _ = unbroken
    assert changed(start, watcher.weights[2]) == {"logits/kernel", "logits/bias"}
    top = {"high/kernel", "high/bias"}  # not low, and no batch normalization, not even its statistics
    assert changed(watcher.weights[2], watcher.weights[5]) == {"logits/kernel", "logits/bias", *top}


def test_every_record_says_its_stage_and_each_stage_has_a_whole_schedule(unbroken: Any) -> None:
    records = unbroken[2].records
    assert [(record.epoch, record.stage) for record in records] == [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)]
    halfway = 0.1 + 0.9 * 0.5  # of a cosine over two epochs after a warm-up of one
    expected = [0.02, 0.02 * halfway, 0.002, 0.005, 0.005 * halfway, 0.0005]
    assert [record.learning_rate for record in records] == pytest.approx(expected)


@pytest.mark.parametrize("kills", [[(2, 3), (3, 0)], [(4, 2)], [(4, 0), (6, 1)]])
def test_a_training_killed_in_either_stage_ends_with_the_bits_of_an_unbroken_one(
    dataset: Path, tmp_path: Path, unbroken: Any, kills: list[tuple[int, int]]
) -> None:
    for kill in kills:
        model = network()
        with pytest.raises(KilledError):
            trained(model, dataset, tmp_path / "t", SPEC, Watcher(model, *kill))
    model = network()
    watcher = Watcher(model)
    outcome = trained(model, dataset, tmp_path / "t", SPEC, watcher)
    assert numbers(outcome) == numbers(unbroken[2])
    assert (outcome.kept_epoch, outcome.stopped_early) == (unbroken[2].kept_epoch, False)
    assert changed(by_name(model), by_name(unbroken[0].model), draws=True) == set()
    whole = kills[-1][0] - (kills[-1][1] > 0)
    assert watcher.epochs == list(range(whole + 1, 7))  # nothing is done again


def test_a_training_shot_in_its_second_stage_goes_on_in_another_process(
    dataset: Path, tmp_path: Path, unbroken: Any
) -> None:
    script = f"""
        import os, signal, sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import test_stages as t

        class Gun(t.Watcher):
            def on_steps(self, epoch, done, total):
                if (epoch, done) >= (5, 2):
                    os.kill(os.getpid(), signal.SIGKILL)

        model = t.network()
        t.trained(model, Path({str(dataset)!r}), Path({str(tmp_path / "t")!r}), t.SPEC, Gun(model))
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TF_CPP_MIN_LOG_LEVEL": "3"}
    shot = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=environment, capture_output=True)
    assert shot.returncode == -signal.SIGKILL, shot.stderr.decode()
    model = network()
    watcher = Watcher(model)
    outcome = trained(model, dataset, tmp_path / "t", SPEC, watcher)
    assert watcher.epochs == [5, 6]
    assert numbers(outcome) == numbers(unbroken[2])
    assert changed(by_name(model), by_name(unbroken[0].model), draws=True) == set()


def test_a_finished_training_is_not_repeated(dataset: Path, tmp_path: Path) -> None:
    first, again = network(), network()
    outcome = trained(first, dataset, tmp_path / "t", SPEC, Watcher(first))
    watcher = Watcher(again)
    assert trained(again, dataset, tmp_path / "t", SPEC, watcher) == outcome
    assert watcher.epochs == []
    assert changed(by_name(first), by_name(again)) == set()


STILL = Optimizer(name="sgd", learning_rate=1e-30)


def test_fine_tuning_begins_with_the_weights_that_are_kept(dataset: Path, tmp_path: Path) -> None:
    model = network()
    watcher = Watcher(model)
    jumping = Optimizer(name="sgd", learning_rate=20.0)
    tune = FineTune(layers=3, epochs=1, learning_rate=1e-30)
    spec = Training(epochs=5, optimizer=jumping, keep_best="val_loss", fine_tune=tune)
    records = trained(model, dataset, tmp_path / "t", spec, watcher).records
    best = min(range(5), key=lambda epoch: records[epoch].val_loss)
    assert best < 4
    assert distance(watcher.weights[best], watcher.weights[5]) < 1e-20 < distance(*watcher.weights[4:])


def distance(one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> float:
    """Return the largest difference of a weight."""
    return max(float(np.abs(one[name] - other[name]).max()) for name in one if not name.startswith("draws"))


def test_early_stopping_ends_its_stage_and_the_next_one_begins(dataset: Path, tmp_path: Path) -> None:
    model = network()
    rule = EarlyStopping(monitor="val_loss", patience=2)
    tune = FineTune(layers=3, epochs=9, learning_rate=1e-30)
    spec = Training(epochs=8, optimizer=STILL, early_stopping=rule, fine_tune=tune)
    outcome = trained(model, dataset, tmp_path / "t", spec, Watcher(model))
    assert [record.stage for record in outcome.records] == [1, 1, 1, 2, 2, 2]
    assert outcome.stopped_early


@pytest.mark.parametrize(
    ("frozen", "layers", "says"),
    [
        (False, 3, "the builder froze nothing that could be opened; take it away, or use the builder transfer"),
        (True, 7, "backbone has 6 layers, got 7; write fewer"),
        (True, 2, "the top 2 layers of backbone have no weights that could learn"),
    ],
)
def test_what_cannot_be_fine_tuned_is_refused_before_anything_is_trained(frozen: bool, layers: int, says: str) -> None:
    with pytest.raises(InputError, match=rf"^training\.fine_tune.*: {says}"):
        stages(network(frozen=frozen), Training(fine_tune=FineTune(layers=layers)))


def test_the_warm_up_fits_into_both_stages() -> None:
    with pytest.raises(ValidationError, match=r"must be below training\.fine_tune\.epochs \(2\), got 3"):
        Training(schedule=Schedule(warmup_epochs=3), fine_tune=FineTune(layers=1, epochs=2))
