"""What the laptop engine of Katib costs, against the plain alternatives, in one run: python benchmarks/tune.py.

The same points of experiments/ecg-hundred.yaml, two at a time, three ways:

- engine: ``parak8s tune``: suggestions, journal, status, metrics, a nested MLflow run with its model for each trial;
- bare: a pool of two processes that call ``steps.train.train``, and do nothing else;
- cold: a process of its own for each trial (``parak8s step trial``), as without warm workers.

Each way is timed after its warm-up: engine and bare from the end of each process's first trial on.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "experiments" / "ecg-hundred.yaml"
TOGETHER = 2


def main() -> None:
    """Run the three ways and print how they compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=24, help="of engine and bare")
    parser.add_argument("--cold", type=int, default=6, help="trials of the way without warm workers")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        compare(arguments.trials, arguments.cold)


def compare(trials: int, cold_trials: int) -> None:
    """Print seconds for each trial of each way, and the ratios."""
    from parak8s.katib import local
    from parak8s.tuning.wanted import Wanted

    wanted = Wanted.read(FILE, ["search.algorithm=random"], trials=trials)
    local.run(wanted.object, Path("search"), parallel=TOGETHER)
    events = [json.loads(line) for line in Path("search/.state/trials.jsonl").read_text().splitlines()]
    points = [overrides(event["assignments"]) for event in events if event["event"] == "suggested"]
    ended = [event for event in events if event["event"] == "ended"]
    assert all(event["state"] == "Succeeded" for event in ended), ended
    engine = spread([moment(event["ended"]) for event in ended])
    (dataset,) = (path for path in Path("search/datasets").iterdir() if path.is_dir())
    plain = spread(side_by_side(points, dataset))
    slow = cold(points[:cold_trials])
    print(f"{TOGETHER} at a time: {trials} trials, {cold_trials} of the way cold")
    print(f"{'way':<8}{'s per trial':>12}{'trials per hour':>17}")
    for name, seconds in (("bare", plain), ("engine", engine), ("cold", slow)):
        print(f"{name:<8}{seconds:>12.2f}{3600 / seconds:>17.0f}")
    print(
        f"engine overhead for each trial: {(engine - plain) * TOGETHER:.2f} s of a training of {plain * TOGETHER:.2f} s"
    )
    print(f"engine against one process per trial: {slow / engine:.1f} times the trials per hour")


def overrides(assignments: dict[str, str]) -> list[str]:
    """Return a point as overrides."""
    return [f"{path}={value}" for path, value in assignments.items()]


def moment(text: str) -> float:
    """Return RFC 3339 text in seconds."""
    return datetime.fromisoformat(text).timestamp()


def spread(ends: Sequence[float]) -> float:
    """Return the mean seconds between two ends, without the first trial of each process."""
    ordered = sorted(ends)[TOGETHER - 1 :]
    return (ordered[-1] - ordered[0]) / (len(ordered) - 1)


def side_by_side(points: list[list[str]], dataset: Path) -> list[float]:
    """Return when each training ended, in bare processes that share the points."""
    with multiprocessing.get_context("spawn").Pool(TOGETHER) as pool:
        return pool.starmap(bare, [(point, dataset.absolute()) for point in points], chunksize=1)


def bare(point: list[str], dataset: Path) -> float:
    """Train a point; return when it ended."""
    from parak8s import loading
    from parak8s.steps.train import train

    with tempfile.TemporaryDirectory() as folder:
        train(loading.load(FILE, point), dataset, Path(folder))
    ended = time.time()
    import keras

    keras.backend.clear_session()
    return ended


def cold(points: list[list[str]]) -> float:
    """Return the mean seconds between two trials, each in a process of its own."""
    environment = {**os.environ, "PARAK8S_TRIALS": str(Path("cold/trials").absolute())}
    waiting = [trial_command(number, point) for number, point in enumerate(points)]
    running: list[subprocess.Popen[Any]] = []
    started = time.time()
    while waiting or running:
        while waiting and len(running) < TOGETHER:
            running.append(subprocess.Popen(waiting.pop(0), env=environment, stdout=subprocess.DEVNULL))
        running = [process for process in running if process.poll() is None]
        time.sleep(0.01)
    return (time.time() - started) / len(points)


def trial_command(number: int, point: list[str]) -> list[str]:
    """Return the command of a trial."""
    settings = [word for override in point for word in ("-s", override)]
    name = ["--name", f"cold-{number}", "--search", "cold"]
    return [sys.executable, "-m", "parak8s.cli", "step", "trial", str(FILE), *name, *settings]


if __name__ == "__main__":
    main()
