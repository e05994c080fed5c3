"""Training throughput of ``parak8s.training.Loop`` against ``model.fit`` of bare Keras, in one process.

Both train the same network with the same optimizer on the same beats. Keras gets its best settings: 16 steps in one
execution, and the faster of NumPy arrays and a tf.data pipeline, found out first. Rounds alternate, so that both meet
the same noise; the ratio is taken pair by pair. Above 1, ours is faster. Beside the wall clock stands the processor
time, which other programs on the machine disturb less.

    python benchmarks/training.py --rounds 10
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
from parak8s.training import Loop

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
    pipeline = tf.data.Dataset.from_tensor_slices((examples.inputs, examples.labels))
    pipeline = pipeline.shuffle(len(examples)).batch(arguments.batch_size).prefetch(tf.data.AUTOTUNE)
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
    for name, default in (("rounds", 10), ("examples", 24_576), ("batch-size", 256), ("filters", 32), ("blocks", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()

    examples = beats(arguments.examples)
    with tempfile.TemporaryDirectory() as folder:
        rows = {"train": np.arange(len(examples))}
        prepared.write(Path(folder), examples, rows, digest="", source="", loader="", split={})
        loop, rivals = ours(arguments, Path(folder)), bare_keras(arguments, examples)
        for epoch in (loop, *rivals.values()):
            epoch()  # compile
        first = {name: min(timed(epoch)[0] for _ in range(2)) for name, epoch in rivals.items()}
        best = min(first, key=lambda name: first[name])
        found = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in first.items())
        print(f"an epoch of {len(examples):,} beats; Keras given {found}")
        pairs = []
        for turn in range(arguments.rounds):
            pair = (loop, rivals[best]) if turn % 2 else (rivals[best], loop)
            times = [timed(epoch) for epoch in pair]
            pairs.append(times if turn % 2 else times[::-1])
            (mine, _), (its, _) = pairs[-1]
            wall, processor = (pairs[-1][1][clock] / pairs[-1][0][clock] for clock in (0, 1))
            print(f"ours {mine:6.2f} s   Keras {its:6.2f} s   ratio {wall:.3f}, of processor time {processor:.3f}")
    table = np.array(pairs)
    speed = len(examples) / np.median(table[..., 0], axis=0)
    ratios = np.median(table[:, 1] / table[:, 0], axis=0)
    print(f"median: ours {speed[0]:,.0f} beats/s, Keras {speed[1]:,.0f} beats/s")
    print(f"ratio, median of the pairs: {ratios[0]:.3f}, of processor time {ratios[1]:.3f}")


if __name__ == "__main__":
    main()
