"""What it brings that a training keeps the memory it frees: steps with ``parak8s.training.heap`` against steps without.

Each measurement is a process of its own, since the setting belongs to a process; they take turns. Printed are the
median of a step, the pages that it takes from the kernel, the most memory that the process has had, which is what
keeping may cost, and the ratio: above 1, keeping is faster.

    python benchmarks/heap.py [--rounds 3] [--steps 10]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

SIZES = {"ECG, 187 samples": (187,), "X-rays of 64 pixels": (64, 64, 1), "X-rays of 224 pixels": (224, 224, 1)}
WAYS = ("keep", "leave")


def step(size: str, way: str, steps: int) -> dict[str, float]:
    """Return the median seconds of a step in this process, the pages that each takes, the most memory in MiB."""
    from parak8s.training import heap

    if way == "keep":
        heap.keep()
    import numpy as np

    from parak8s.experiment import Training
    from parak8s.models.deep_cnn import deep_cnn
    from parak8s.models.xray_cnn import xray_cnn
    from parak8s.training.loop import Loop

    shape = SIZES[size]
    network = deep_cnn(shape, 5, filters=16) if len(shape) == 1 else xray_cnn(shape, 2, filters=12)
    rows = 256 if len(shape) == 1 else 32  # as the shipped experiments have it
    inputs = np.random.default_rng(0).random((1, rows, *shape), np.float32)
    labels, weights = np.arange(rows, dtype=np.int32)[None] % 2, np.ones((1, rows), np.float32)
    loop, seconds = Loop(network, Training(), 1000), []
    for _ in range(3):
        loop.steps(inputs, labels, weights).numpy()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        began = time.perf_counter()
        loop.steps(inputs, labels, weights).numpy()
        seconds.append(time.perf_counter() - began)
    pages = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / steps
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": statistics.median(seconds), "pages": pages, "most": most}


def measured(size: str, way: str, steps: int) -> dict[str, float]:
    """Return what a process of its own measures."""
    command = [sys.executable, __file__, "--steps", str(steps), "--one", size, way]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--one", nargs=2, metavar=("SIZE", "WAY"), help=argparse.SUPPRESS)
    for name, default in (("rounds", 3), ("steps", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    if arguments.one:
        size, way = arguments.one
        print(json.dumps(step(size, way, arguments.steps)))
        return
    for size in SIZES:
        rounds = [{way: measured(size, way, arguments.steps) for way in WAYS} for _ in range(arguments.rounds)]
        for way in WAYS:
            seconds, pages, most = (
                statistics.median(each[way][what] for each in rounds) for what in ("seconds", "pages", "most")
            )
            print(f"{size}: {way:5} {1000 * seconds:7.1f} ms a step, {pages:9,.0f} pages; {most:6,.0f} MiB")
        ratios = [each["leave"]["seconds"] / each["keep"]["seconds"] for each in rounds]
        told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{size}: ratio {statistics.median(ratios):.2f} (rounds: {told})", flush=True)


if __name__ == "__main__":
    main()
