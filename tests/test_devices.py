"""Several devices that share every batch: the same training as on one. Virtual devices of the CPU stand for GPUs."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from parak8s import loading
from parak8s.errors import ExperimentError

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "clipped": {"clip_norm": 0.05},
    "bfloat16": {"precision": "mixed_bfloat16"},
    "float16": {"precision": "mixed_float16"},
    "adamw": {"optimizer": {"name": "adamw", "learning_rate": 0.01}},
    "groups across devices": {"virtual_batch_size": 16},
    "groups of each device": {"virtual_batch_size": 11},
    "several groups in a device": {"virtual_batch_size": 6},
    "groups in bfloat16": {"virtual_batch_size": 6, "precision": "mixed_bfloat16"},
    "no groups with renorm": {"virtual_batch_size": 11, "network": "renorm"},
    "masked": {"network": "masked"},
}
PROGRAM = """
import json, sys
from pathlib import Path
import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 3)

from parak8s.data import prepared
from parak8s.data.batches import ArrayDataset
from parak8s.data.examples import Examples
from parak8s.experiment import Compute, Training
from parak8s.training.devices import strategy_for
from parak8s.training.fitting import fit
from test_training import KilledError, Killer

folder = Path(sys.argv[1])
random, labels = np.random.default_rng(0), np.arange(130, dtype=np.int32) % 3
images = (random.random((130, 12, 12, 1)) + labels[:, None, None, None]).astype(np.float32)
rows = {"train": np.arange(100), "validation": np.arange(100, 130)}
about = {"digest": "", "source": "", "loader": "", "split": {}}
prepared.write(folder, Examples(images, labels, ("a", "b", "c")), rows, **about)

class FirstAboveThreshold(keras.layers.Layer):
    def compute_mask(self, inputs, previous_mask=None):
        return inputs[..., 0] > 4 / 3

    def call(self, inputs):
        return inputs

def network(policy, kind):
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy(policy)
    inputs = keras.Input((12, 12, 1))
    normalize = keras.layers.BatchNormalization(renorm=kind == "renorm")
    if kind == "masked":
        x = normalize(FirstAboveThreshold()(keras.layers.Reshape((12, 12))(inputs)))
        x = keras.layers.Flatten()(keras.layers.Activation("tanh")(x))
    else:
        x = keras.layers.Conv2D(4, 3, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.01))(inputs)
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(normalize(x)))
    x = keras.layers.Dense(3)(x)
    keras.config.set_dtype_policy("float32")
    return keras.Model(inputs, keras.layers.Activation("linear", dtype="float32")(x))

def gone_on(devices, name, kills):
    for kill in kills:
        try:
            trained(devices, name, {}, [Killer(*kill)])
        except KilledError:
            continue
        raise AssertionError(f"nothing to kill at {kill}")
    return trained(devices, name, {})

def trained(devices, name, settings, observers=()):
    training = folder / name
    training.mkdir(exist_ok=True)
    with strategy_for(Compute(gpus=devices), "CPU").scope():
        common = {"epochs": 3, "optimizer": {"name": "sgd", "learning_rate": 0.01}, "steps_per_call": 3}
        spec = Training.model_validate(common | {key: settings[key] for key in settings if key != "network"})
        model = network(spec.precision, settings.get("network"))
        batches = ArrayDataset(folder, "train", batch_size=31, shuffle=True, class_weights=[1.0, 2.0, 0.5])
        outcome = fit(model, spec, batches, ArrayDataset(folder, "validation", batch_size=30), training, observers)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return {
        "replicas": replicas,
        "epochs": [[record.loss, record.accuracy, record.val_loss] for record in outcome.records],
        "weights": np.concatenate([value.ravel() for value in model.get_weights()]).tolist(),
    }

settings = json.loads(sys.argv[2]).items()
told = {name: [trained(devices, f"{name}-{devices}", each) for devices in (1, 3)] for name, each in settings}
told["killed"] = [gone_on(devices, f"killed-{devices}", [(1, 3), (2, 4), (2, 0)]) for devices in (1, 3)]
print("told", json.dumps(told))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Return for each of the settings what a training on one device came to, and one on three."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path_factory.mktemp("dataset")), json.dumps(SETTINGS)]
    around = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, env=around, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("told ")]
    told: dict[str, list[dict[str, Any]]] = json.loads(line.removeprefix("told "))
    return told


@pytest.mark.parametrize("name", SETTINGS)
def test_devices_that_share_batches_train_as_one_does(trained: dict[str, list[dict[str, Any]]], name: str) -> None:
    """With 31 and 7 examples in a batch the shares differ in size; batch normalization sees the whole batch.

    Or groups of it: 2 of 31 examples, of which three devices have shares, 3, and 6; of 7 one or two.
    """
    one, three = trained[name]
    assert (one["replicas"], three["replicas"]) == (1, 3)
    rounding, learned = (1e-5, 1e-4) if "precision" not in SETTINGS[name] else (0.03, 0.01)
    for ours, theirs in zip(three["epochs"], one["epochs"], strict=True):
        assert ours == pytest.approx(theirs, rel=rounding, abs=rounding)
    assert three["weights"] == pytest.approx(one["weights"], rel=learned, abs=learned)
    assert one["epochs"][-1][0] < one["epochs"][0][0]


@pytest.mark.parametrize("devices", [1, 3])
def test_a_training_that_is_killed_three_times_ends_with_the_bits_of_one_that_is_not(
    trained: dict[str, list[dict[str, Any]]], devices: int
) -> None:
    (killed,) = (each for each in trained["killed"] if each["replicas"] == devices)
    (unbroken,) = (each for each in trained["plain"] if each["replicas"] == devices)
    assert killed == unbroken


@pytest.mark.parametrize("name", ["clipped", "groups across devices", "groups of each device"])
def test_settings_change_what_is_learned(trained: dict[str, list[dict[str, Any]]], name: str) -> None:
    assert trained[name][1]["weights"] != pytest.approx(trained["plain"][1]["weights"], rel=1e-3)


def test_xla_on_several_devices_is_refused() -> None:
    text = "name: x\ndata: {loader: ecg, source: 'synthetic://ecg'}\nmodel: {builder: deep_cnn}\n"
    with pytest.raises(ExperimentError, match=r"training.jit: XLA compiles for one device; write false, or compute"):
        loading.parse(text, "x", ["training.jit=true", "compute.gpus=2"])
    with pytest.raises(ExperimentError, match=r"write false, or compute.workers: 1 instead of 4"):
        loading.parse(text, "x", ["training.jit=true", "compute.workers=4"])
