"""What a second worker brings: throughput of two workers with one core each against one worker with one core.

Both are processes of the laptop's TFJob engine, each bound to a core of its own. In every round they train an epoch
together; then the first of them trains on batches of its own size alone, while the second one waits; then both do that
at the same time, apart, and have nothing to do with each other, which is the most that this machine's second core can
bring. So all ways meet the same noise. The network is that of the ECG experiment, with 512 examples in a batch for each
worker. Above 1.7 the second worker is worth its core, where apart they come to nearly 2.

    python benchmarks/distributed.py [--rounds 12] [--steps 16]
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
Epoch = Callable[[], float]


def beats(count: int) -> Examples:
    """Return noise of the shape of heartbeats: what a step costs does not depend on what is learned."""
    random = np.random.default_rng(0)
    return Examples(random.random((count, 187), np.float32), np.arange(count, dtype=np.int32) % 5, tuple("NSVFQ"))


def epoch_of(dataset: Path, rows: int) -> Epoch:
    """Return what trains an epoch in batches of ``rows``, under the strategy in whose scope this is, for examples/s."""
    from parak8s.data.batches import ArrayDataset
    from parak8s.models.deep_cnn import deep_cnn
    from parak8s.training.loop import Loop
    from parak8s.training.normalization import normalized_together

    network = deep_cnn((187,), 5, filters=16, blocks=5)  # as experiments/ecg.yaml has it
    batches = ArrayDataset(dataset, "train", batch_size=rows, shuffle=True)
    loop = Loop(network, Training(), len(batches))

    def epoch() -> float:
        with normalized_together():
            return batches.examples / loop.epoch(batches, lambda *_: None).seconds

    epoch()  # compiles
    return epoch


def replica(folder: Path, rounds: int) -> None:
    """Train as the worker that TF_CONFIG names, on a core of its own; the first writes the throughput of each round."""
    team = Team.from_environment()
    assert team is not None
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[team.index]})  # TensorFlow takes as many threads as cores
    from parak8s.training.crew import Crew
    from parak8s.training.devices import strategy_for

    strategy = strategy_for(Compute(workers=2), team=team)
    with strategy.scope():
        crew, together = Crew(), epoch_of(folder / "two", EACH * 2)
    alone = epoch_of(folder / "one", EACH)
    measured = []
    for _ in range(rounds):
        with strategy.scope():
            crew.agree(True)  # both are here
            two = together()
        one = alone() if crew.leads else 0.0
        crew.agree(True)
        apart = crew.total(np.array([alone()]))[0]
        measured.append((one, two, apart))
    if crew.leads:
        (folder / "measured.json").write_text(json.dumps(measured))
    crew.agree(True)


def measured(folder: Path, rounds: int) -> list[tuple[float, float, float]]:
    """Return the examples per second of one worker, of two together and of two apart, in every round."""
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
    return [(one, two, apart) for one, two, apart in json.loads(told.read_text())]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--replica", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    for name, default in (("rounds", 12), ("steps", 16)):
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
    for one, two, apart in throughputs:
        told = f"2 together {two:8,.0f}   2 apart {apart:8,.0f}   {two / one:.2f} of {apart / one:.2f}"
        print(f"beats/s: 1 worker {one:8,.0f}   {told}")
    ratio, most = (statistics.median(each[way] / each[0] for each in throughputs) for way in (1, 2))
    print(f"2 workers with a core each against 1, median of the rounds: {ratio:.2f}; apart: {most:.2f}")


if __name__ == "__main__":
    main()
