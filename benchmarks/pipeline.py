"""What the pipeline costs: compiling each shipped one, and running one on this machine against running it without KFP.

Every command is a process of its own, as users give it. Both ways of running train the same experiment from nothing, in
turns; each task of a pipeline is a process, so those that need TensorFlow start it again, which is measured apart and
taken off. Above 1 the pipeline is slower.

    python benchmarks/pipeline.py [--rounds 2] [--experiment experiments/ecg.yaml] [-s training.epochs=5]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXPERIMENTS = ROOT / "experiments"
COMPILED = {
    "ecg": [str(EXPERIMENTS / "ecg.yaml")],
    "xray": [str(EXPERIMENTS / "xray.yaml")],
    "sweep": [str(EXPERIMENTS / "ecg.yaml"), "--points", str(EXPERIMENTS / "points" / "ecg.yaml")],
}
START = "import tensorflow, keras; tensorflow.zeros(1).numpy()"
STARTS = {"local": 1, "kfp": 4}
"""Processes that need TensorFlow: one does everything, or one each of train, calibrate, evaluate and register."""
PASSED, REFUSED = 0, 3


def seconds(*command: str, folder: Path) -> float:
    """Return how long a command takes; the gate may say no.

    Raises:
        SystemExit: The command failed.
    """
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (PASSED, REFUSED):
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return time.perf_counter() - started


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--experiment", type=Path, default=EXPERIMENTS / "ecg.yaml")
    parser.add_argument("-s", "--set", action="append", default=[], metavar="PATH=VALUE")
    arguments = parser.parse_args()
    parak8s = [sys.executable, "-m", "parak8s.cli"]
    overrides = [part for override in arguments.set for part in ("-s", override)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for pipeline, given in COMPILED.items():
            times = [seconds(*parak8s, "compile", *given, "-o", f"{pipeline}.yaml", folder=folder) for _ in range(3)]
            size = (folder / f"{pipeline}.yaml").stat().st_size
            print(f"compile {pipeline:<6} {statistics.median(times):5.2f} s, {size:,} bytes")
        ratios = []
        for number in range(arguments.rounds):
            start = seconds(sys.executable, "-c", START, folder=folder)
            took = {}
            for engine in ("local", "kfp"):
                target = f"{engine}-{number}"
                command = ["run", str(arguments.experiment), "--engine", engine, "-o", target, *overrides]
                took[engine] = seconds(*parak8s, *command, folder=folder)
            ratios.append((took["kfp"] - start * (STARTS["kfp"] - STARTS["local"])) / took["local"])
            print(
                f"local {took['local']:.1f} s, kfp {took['kfp']:.1f} s, one start of TensorFlow {start:.1f} s; "
                f"without the further starts {ratios[-1]:.3f} times local"
            )
        print(f"engine kfp against local, further starts of TensorFlow taken off: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
