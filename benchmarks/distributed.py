"""What a second worker brings: throughput of two workers with one core each against one worker with one core.

Each replica is a process of the laptop's TFJob engine, bound to a core of its own. The network is that of the ECG
experiment, with 512 examples in a batch for every worker; the first epoch, which compiles, is left out. Above 1.7 the
second worker is worth its core.

    python benchmarks/distributed.py [--rounds 3] [--epochs 4] [--examples 16384]
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from parak8s.data import prepared
from parak8s.data.examples import Examples
from parak8s.experiment import Data, Experiment, ModelSpec, Training
from parak8s.rendezvous import Meeting, attend
from parak8s.team import Team
from parak8s.tfjobs import local

EACH = 512
"""Examples in a batch for every worker."""
WAIT_S = 300.0


def beats(count: int) -> Examples:
    """Return noise of the shape of heartbeats: what a step costs does not depend on what is learned."""
    random = np.random.default_rng(0)
    return Examples(random.random((count, 187), np.float32), np.arange(count, dtype=np.int32) % 5, tuple("NSVFQ"))


def replica(dataset: Path, directory: Path, epochs: int) -> None:
    """Train as the replica that TF_CONFIG names, on a core of its own; the leader writes how long the epochs took."""
    team = Team.from_environment()
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[team.index if team else 0]})
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "2", "TF_CPP_MIN_LOG_LEVEL": "2"}
    from parak8s.data.batches import ArrayDataset
    from parak8s.models.deep_cnn import deep_cnn
    from parak8s.training import determinism
    from parak8s.training.distribution import Together, strategy
    from parak8s.training.fitting import fit

    spec = Training(epochs=epochs)
    data, model = Data(loader="ecg", source="synthetic://ecg"), ModelSpec(builder="deep_cnn")
    experiment = Experiment(name="benchmark", reproducibility="close", data=data, model=model, training=spec)
    determinism.prepare(experiment)
    together = None
    if team is not None and team.leads:
        together = Together(team, WAIT_S, WAIT_S, Meeting(team).__enter__())
    elif team is not None:
        together = Together(team, WAIT_S, WAIT_S, told=attend(team, WAIT_S))
    batches = ArrayDataset(dataset, "train", batch_size=EACH * (team.in_step if team else 1), shuffle=True)
    with strategy(experiment, dataset, directory, together) as (found, watching), found.scope():
        network = deep_cnn((187,), 5, filters=16, blocks=5)  # as experiments/ecg.yaml has it
        outcome = fit(network, spec, batches, ArrayDataset(dataset, "validation", batch_size=EACH), directory, watching)
    if team is None or team.leads:
        seconds = statistics.median(record.seconds for record in outcome.records[1:])
        (directory / "told.json").write_text(json.dumps(batches.examples / seconds))
    os._exit(0)


def throughput(workers: int, dataset: Path, arguments: argparse.Namespace) -> float:
    """Return the examples per second of a job."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--replica", str(dataset), folder, "--epochs", str(arguments.epochs)]
        container = {"name": "tensorflow", "command": command}
        worker: dict[str, Any] = {"replicas": workers, "restartPolicy": "Never"}
        worker["template"] = {"spec": {"containers": [container]}}
        job = {
            "apiVersion": "kubeflow.org/v1",
            "kind": "TFJob",
            "metadata": {"name": "benchmark"},
            "spec": {"tfReplicaSpecs": {"Worker": worker}},
        }
        logs = Path(folder, "logs")
        local.run(job, logs=logs)
        told = Path(folder, "told.json")
        if not told.is_file():
            sys.exit("\n".join(log.read_text() for log in logs.iterdir()))
        return float(json.loads(told.read_text()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--replica", nargs=2, type=Path, metavar=("DATASET", "DIR"), help=argparse.SUPPRESS)
    for name, default in (("rounds", 3), ("epochs", 4), ("examples", 16_384)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    if arguments.replica:
        dataset, directory = arguments.replica
        replica(dataset, directory, arguments.epochs)
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder)
        rows = {"train": np.arange(arguments.examples), "validation": np.arange(16)}
        prepared.write(dataset, beats(arguments.examples), rows, digest="", source="", loader="", split={})
        ratios = []
        for _ in range(arguments.rounds):
            one, two = (throughput(workers, dataset, arguments) for workers in (1, 2))
            ratios.append(two / one)
            print(f"1 worker {one:8,.0f} beats/s   2 workers {two:8,.0f} beats/s   {ratios[-1]:.2f}", flush=True)
    print(f"2 workers with a core each against 1, median of the rounds: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
