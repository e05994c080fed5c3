"""Starts TensorFlow: quietly, seeded, deterministic where the experiment asks for it."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from parak8s.experiment import Experiment
from parak8s.training import heap


def prepare(experiment: Experiment, *, together: bool = False) -> None:
    """Import TensorFlow; seed Python, NumPy and TensorFlow; ``strict`` also makes every operation deterministic.

    GPU memory grows as it is needed instead of being taken whole; the processor's stays with this process
    (:mod:`parak8s.training.heap`). Call before anything else imports TensorFlow.

    Args:
        experiment: Says the seed, and whether it is strict.
        together: Other replicas take part. What follows a sum over replicas runs in whichever thread is free, and
            oneDNN's kernels add up otherwise in some than in others: a strict training does without them.
    """
    if together and experiment.reproducibility == "strict":
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    heap.keep()
    _within_limits()
    with _native_chatter_hidden():
        import keras
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        if not tf.config.experimental.get_memory_growth(gpu):
            tf.config.experimental.set_memory_growth(gpu, True)
    keras.utils.set_random_seed(experiment.seed)
    if experiment.reproducibility == "strict":
        tf.config.experimental.enable_op_determinism()


def _within_limits() -> None:
    """Let TensorFlow take as many threads as a container may use cores: it counts those on which it may run."""
    from joblib import cpu_count  # knows of cgroups, as Python does not

    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if (cores := cpu_count()) < there:
        for kind in ("INTRA", "INTER"):
            os.environ.setdefault(f"TF_NUM_{kind}OP_THREADS", str(cores))


@contextlib.contextmanager
def _native_chatter_hidden() -> Iterator[None]:
    """Hold back what TensorFlow's C++ prints while it looks for devices (no setting stops it); show it after an error.

    Does nothing once TensorFlow is there, or when TF_CPP_MIN_LOG_LEVEL asks for everything with 0.
    """
    if "tensorflow" in sys.modules or os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") == "0":
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except BaseException:
            chatter.seek(0)
            os.write(kept, chatter.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
