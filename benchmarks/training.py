"""Training throughput of ``parak8s.training.loop.Loop`` against bare Keras ``model.fit``, in one process.

Both train the same network with the same optimizer on the same beats. Keras gets its best settings, 16 steps in one
execution, and is tried with a tf.data pipeline and with NumPy arrays. Every round trains an epoch each way, in turns,
so that all meet the same noise, and compares ours with the faster one of Keras in that round: above 1, ours is faster.
Beside the wall clock stands the processor time, which other programs on the machine disturb less.

    python benchmarks/training.py --rounds 8
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from parak8s.data import prepared
from parak8s.data.batches import ArrayDataset
from parak8s.data.examples import Examples
from parak8s.experiment import Optimizer, Training
from parak8s.models.deep_cnn import deep_cnn
from parak8s.training.loop import Loop

REAL = Path(__file__).parents[1].parent / "shared" / "data" / "ecg" / "mitbih_train.npz"
LEARNING_RATE = 1e-3
Epoch = Callable[[], object]
Times = tuple[float, float]


def beats(count: int) -> Examples:
    """Return beats of MIT-BIH where they lie beside the repository, else noise of the same shape."""
    if REAL.is_file():
        with np.load(REAL) as archive:
            numerators, ranges = archive["X_num"][:count], archive["X_den"][:count, None]
            labels = archive["y"][:count].astype(np.int32)
        return Examples((numerators / ranges).astype(np.float32), labels, tuple("NSVFQ"))
    random = np.random.default_rng(0)
    return Examples(random.random((count, 187), np.float32), np.arange(count, dtype=np.int32) % 5, tuple("NSVFQ"))


def network(arguments: argparse.Namespace) -> keras.Model:
    """Return the network, with the same weights on every call."""
    keras.utils.set_random_seed(1)
    return deep_cnn((187,), 5, filters=arguments.filters, blocks=arguments.blocks)


def ours(arguments: argparse.Namespace, directory: Path) -> Epoch:
    """Return what trains one epoch with the loop, from a prepared dataset on the disk."""
    batches = ArrayDataset(directory, "train", batch_size=arguments.batch_size, shuffle=True)
    spec = Training(optimizer=Optimizer(learning_rate=LEARNING_RATE), jit=bool(tf.config.list_physical_devices("GPU")))
    loop = Loop(network(arguments), spec, len(batches))

    def epoch() -> None:
        loop.epoch(batches, lambda *_: None)
        batches.on_epoch_end()

    return epoch


def bare_keras(arguments: argparse.Namespace, examples: Examples) -> dict[str, Epoch]:
    """Return what trains one epoch with ``model.fit``, by the way in which it is given the data."""
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread looks up every 5 s, and an epoch of Keras waits for it to end
    pipeline = tf.data.Dataset.from_tensor_slices((examples.inputs, examples.labels)).with_options(options)
    pipeline = pipeline.shuffle(len(examples)).batch(arguments.batch_size).prefetch(2)
    given: dict[str, dict[str, Any]] = {
        "tf.data": {"x": pipeline},
        "NumPy arrays": {"x": examples.inputs, "y": examples.labels, "batch_size": arguments.batch_size},
    }

    def fit(model: keras.Model, data: dict[str, Any]) -> Epoch:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.AdamW(LEARNING_RATE), loss, steps_per_execution=16)
        return lambda: model.fit(**data, epochs=1, verbose=0)

    return {name: fit(network(arguments), data) for name, data in given.items()}


def timed(epoch: Epoch) -> Times:
    """Return the seconds of an epoch: on the wall, and of the processors."""
    wall, processor = time.perf_counter(), time.process_time()
    epoch()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    for name, default in (("rounds", 8), ("examples", 24_576), ("batch-size", 256), ("filters", 32), ("blocks", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()

    examples = beats(arguments.examples)
    with tempfile.TemporaryDirectory() as folder:
        rows = {"train": np.arange(len(examples))}
        prepared.write(Path(folder), examples, rows, digest="", source="", loader="", split={})
        ways = {"ours": ours(arguments, Path(folder))} | bare_keras(arguments, examples)
        for epoch in ways.values():
            epoch()  # compile
        rounds = [one_round(ways, turn) for turn in range(arguments.rounds)]
    seconds = np.array([[times[name] for name in ways] for times in rounds])  # (rounds, ways, wall and processor)
    for name, wall in zip(ways, np.median(seconds[..., 0], axis=0), strict=True):
        print(f"median {name}: {len(examples) / wall:,.0f} beats/s")
    wall, processor = np.median(seconds[:, 1:].min(axis=1) / seconds[:, 0], axis=0)
    print(f"ratio to the faster one of Keras, median of the rounds: {wall:.3f}, of processor time {processor:.3f}")


def one_round(ways: dict[str, Epoch], turn: int) -> dict[str, Times]:
    """Train an epoch each way, beginning with another one in every turn; print and return the times."""
    names = [*ways][turn % len(ways) :] + [*ways][: turn % len(ways)]
    times = {name: timed(ways[name]) for name in names}
    print("   ".join(f"{name} {times[name][0]:6.2f} s" for name in ways), flush=True)
    return times


if __name__ == "__main__":
    main()
