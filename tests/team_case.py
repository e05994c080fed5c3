"""One replica of a small training, as a program: ``team_case.py DATASET DIR SETTINGS``. TF_CONFIG says which one.

The network has all that could tell N workers from one: augmentation, batch normalization, dropout, a regularizer.
"""

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

LENGTH, CLASSES = 24, 3
START_S, HANG_S = 120.0, 120.0


def prepare(directory: Path, train: int = 100, validation: int = 41) -> Path:
    import numpy as np

    from parak8s.data import prepared
    from parak8s.data.examples import Examples

    random, labels = np.random.default_rng(0), np.arange(train + validation, dtype=np.int32) % CLASSES
    ramp = np.linspace(0, 1, LENGTH)
    inputs = (20 * random.random((train + validation, LENGTH)) + 60 * labels[:, None] * ramp).astype(np.float32)
    rows = {"train": np.arange(train), "validation": np.arange(train, train + validation)}
    directory.mkdir()
    about = {"digest": "sha256:0", "source": "test", "loader": "test", "split": {}}
    prepared.write(directory, Examples(inputs, labels, ("a", "b", "c")), rows, **about)  # type: ignore[arg-type]
    return directory


def network(policy: str, frozen: bool) -> Any:
    """Return the network; its first layers may be a backbone that is frozen."""
    import keras

    from parak8s.models.signals import SignalAugmentation

    inputs = keras.Input((LENGTH,))
    keras.config.set_dtype_policy(policy)
    x = keras.layers.Reshape((LENGTH, 1))(SignalAugmentation(stretch=0.1, noise=2.0, seed=5)(inputs))
    if frozen:
        backbone = keras.Sequential([keras.layers.Conv1D(4, 3), keras.layers.BatchNormalization()], name="backbone")
        backbone.trainable = False
        x = backbone(x, training=False)
    x = keras.layers.Conv1D(4, 5, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.01))(x)
    x = keras.layers.SpatialDropout1D(0.1, seed=7)(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dropout(0.2, seed=6)(keras.layers.Flatten()(keras.layers.ReLU()(x)))
    x = keras.layers.Dense(CLASSES)(x)
    keras.config.set_dtype_policy("float32")
    return keras.Model(inputs, keras.layers.Activation("linear", dtype="float32")(x))


def train(dataset: Path, directory: Path, settings: dict[str, Any]) -> None:
    """Train, and write what came of it to ``DIRECTORY/told-NAME.json``."""
    from parak8s.errors import ParaK8sError
    from parak8s.experiment import Compute, Data, Experiment, ModelSpec, Training
    from parak8s.rendezvous import Meeting, attend
    from parak8s.team import Team
    from parak8s.training import determinism

    common = {
        "epochs": 5,
        "optimizer": {"learning_rate": 0.01},
        "steps_per_call": 2,
        "clip_norm": 2.0,
        "keep_best": "val_loss",
        "early_stopping": {"monitor": "val_loss", "patience": 2},
    }
    shots, devices = settings.pop("shots", []), settings.pop("devices", 1)
    experiment = Experiment(
        name="test",
        seed=3,
        data=Data(loader="ecg", source="synthetic://ecg", batch_size=31),
        model=ModelSpec(builder="deep_cnn"),
        training=Training.model_validate(common | settings),
        compute=Compute(gpus=devices),
    )
    team = Team.from_environment()
    determinism.prepare(experiment, together=team is not None)
    split_processor(devices)
    from parak8s.training.distribution import Together, strategy

    try:
        if team is None:
            together = None
        elif team.coordinated and not team.leads:
            from parak8s.training.devices import serve

            serve(team)
            return
        elif team.leads:
            meeting = None if team.coordinated else Meeting(team).__enter__()
            together = Together(team, START_S, HANG_S, meeting)
        else:
            together = Together(team, START_S, HANG_S, told=attend(team, START_S))
        name = team.name if team else "alone"
        with strategy(experiment, dataset, directory, together, kind="CPU") as (found, watching):
            report = fitted(experiment, dataset, directory, found, [*watching, *guns(shots, name, directory)])
    except ParaK8sError as error:
        print(error, flush=True)
        os._exit(error.exit_code)
    (directory / f"told-{name}.json").write_text(json.dumps(report))
    sys.stdout.flush()
    os._exit(0)


def split_processor(devices: int) -> None:
    """Let parts of the processor stand for the GPUs of one machine."""
    if devices > 1:
        import tensorflow as tf

        parts = [tf.config.LogicalDeviceConfiguration()] * devices
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)


def fitted(experiment: Any, dataset: Path, directory: Path, found: Any, observers: list[Any]) -> dict[str, Any]:
    import numpy as np

    from parak8s.data.batches import ArrayDataset
    from parak8s.training.fitting import fit

    batches = ArrayDataset(dataset, "train", batch_size=31, shuffle=True, seed=9, class_weights=[1.0, 2.0, 0.5])
    validation = ArrayDataset(dataset, "validation", batch_size=10)
    with found.scope():
        model = network(experiment.training.precision, frozen=experiment.training.fine_tune is not None)
        outcome = fit(model, experiment.training, batches, validation, directory, observers)
    clock = ("seconds", "timestamp_ms")
    return {
        "replicas": found.num_replicas_in_sync,
        "epochs": [{k: v for k, v in each.to_json().items() if k not in clock} for each in outcome.records],
        "kept": outcome.kept_epoch,
        "stopped_early": outcome.stopped_early,
        "weights": np.concatenate([value.ravel() for value in model.get_weights()]).astype(float).tolist(),
    }


class Gun:
    """Sends a signal to a replica's process after a step of another one, once: epoch, steps, signal, replica."""

    def __init__(self, shot: list[Any], mark: Path) -> None:
        *self.at, self.signal, self.victim = shot[1:]
        self.mark = mark

    def on_steps(self, epoch: int, done: int, total: int) -> None:
        if [epoch, done] >= self.at and not self.mark.exists():
            self.mark.touch()
            os.kill(self._process(), getattr(signal, self.signal))

    def _process(self) -> int:
        """Return the number of the victim's process, from what the engine wrote into its log when it began."""
        log = (self.mark.parent / "logs" / f"{self.victim}.log").read_text(errors="replace")
        return int(re.findall(r"=== \S+, start \d+, process (\d+)", log)[-1])

    def on_epoch(self, record: Any) -> None:
        """Nothing."""


def guns(shots: list[list[Any]], name: str, directory: Path) -> list[Gun]:
    """Return what shoots this replica: of ``[replica, epoch, steps, signal, victim]``."""
    return [Gun(shot, directory / f"shot-{number}") for number, shot in enumerate(shots) if shot[0] == name]


if __name__ == "__main__":
    train(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
