"""What a second worker brings: throughput of two workers with one core each against one worker with one core.

Both are processes of the laptop's TFJob engine, each bound to a core of its own. In every round they train an epoch
together, with batch normalization over groups of 512 examples (training.virtual_batch_size), and over the whole batch.
Then the first of them trains on batches of its own size alone, while the second one waits; then both do that at the
same time, apart, and have nothing to do with each other, which is the most that this machine's second core can bring.
So all ways meet the same noise. The network is that of the ECG experiment, each worker has 512 examples of a batch.

    python benchmarks/distributed.py [--rounds 24] [--steps 16]
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from parak8s.data import prepared
from parak8s.data.examples import Examples
from parak8s.experiment import Compute, Training
from parak8s.team import Team
from parak8s.tfjobs import local

EACH = 512
"""Examples in a batch for every worker."""
WAYS = (f"groups of {EACH}", "whole batch", "apart")
Epoch = Callable[[], float]


def beats(count: int) -> Examples:
    """Return noise of the shape of heartbeats: what a step costs does not depend on what is learned."""
    random = np.random.default_rng(0)
    return Examples(random.random((count, 187), np.float32), np.arange(count, dtype=np.int32) % 5, tuple("NSVFQ"))


def epoch_of(dataset: Path, rows: int, group: int | None = None) -> Epoch:
    """Return what trains an epoch in batches of ``rows``, under the strategy in whose scope this is, for examples/s.

    Batch normalization takes its statistics over ``group`` of the rows, or over all of them.
    """
    from parak8s.data.batches import ArrayDataset
    from parak8s.models.deep_cnn import deep_cnn
    from parak8s.training.loop import Loop

    network = deep_cnn((187,), 5, filters=16, blocks=5)  # as experiments/ecg.yaml has it
    batches = ArrayDataset(dataset, "train", batch_size=rows, shuffle=True)
    loop = Loop(network, Training(virtual_batch_size=group), len(batches))

    def epoch() -> float:
        return batches.examples / loop.epoch(batches, lambda *_: None).seconds

    epoch()  # compiles
    return epoch


def replica(folder: Path, rounds: int) -> None:
    """Train as the worker that TF_CONFIG names, on a core of its own; the first writes the throughput of each round."""
    team = Team.from_environment()
    assert team is not None
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[team.index]})  # TensorFlow takes as many threads as cores
    from parak8s.training import heap

    heap.keep()  # as replicas do
    from parak8s.training.crew import Crew
    from parak8s.training.devices import strategy_for

    strategy = strategy_for(Compute(workers=2), team=team)
    with strategy.scope():
        crew = Crew()
        ways = [epoch_of(folder / "two", EACH * 2, group) for group in (EACH, None)]
    alone = epoch_of(folder / "one", EACH)
    measured = []
    for _ in range(rounds):
        together = []
        for way in ways:
            with strategy.scope():
                crew.agree(True)  # both are here
                together.append(way())
        one = alone() if crew.leads else 0.0
        crew.agree(True)
        apart = crew.total(np.array([alone()]))[0]
        measured.append((one, *together, apart))
    if crew.leads:
        (folder / "measured.json").write_text(json.dumps(measured))
    crew.agree(True)


def measured(folder: Path, rounds: int) -> list[list[float]]:
    """Return examples per second in every round: one worker, two with groups, two with the whole batch, two apart."""
    command = [sys.executable, __file__, "--replica", str(folder), "--rounds", str(rounds)]
    template = {"spec": {"containers": [{"name": "tensorflow", "command": command}]}}
    worker: dict[str, Any] = {"replicas": 2, "restartPolicy": "Never", "template": template}
    job = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": {"name": "benchmark"},
        "spec": {"tfReplicaSpecs": {"Worker": worker}},
    }
    local.run(job, logs=folder / "logs")
    told = folder / "measured.json"
    if not told.is_file():
        sys.exit("\n".join(log.read_text() for log in (folder / "logs").iterdir()))
    rounds_measured: list[list[float]] = json.loads(told.read_text())
    return rounds_measured


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--replica", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    for name, default in (("rounds", 24), ("steps", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    if arguments.replica:
        replica(arguments.replica, arguments.rounds)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for workers, dataset in ((1, "one"), (2, "two")):
            count = arguments.steps * EACH * workers
            (folder / dataset).mkdir()
            rows = {"train": np.arange(count)}
            prepared.write(folder / dataset, beats(count), rows, digest="", source="", loader="", split={})
        throughputs = measured(folder, arguments.rounds)
    for one, *others in throughputs:
        told = "   ".join(f"{way} {each:6,.0f} ({each / one:.2f})" for way, each in zip(WAYS, others, strict=True))
        print(f"beats/s: 1 worker {one:6,.0f}   2: {told}")
    print("2 workers with a core each against 1, median of the rounds:")
    for index, way in enumerate(WAYS, start=1):
        print(f"  {way}: {statistics.median(each[index] / each[0] for each in throughputs):.2f}")


if __name__ == "__main__":
    main()
