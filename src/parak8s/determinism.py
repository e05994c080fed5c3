"""Seeds and devices of a process that runs TensorFlow."""

from parak8s.experiment import Experiment


def prepare(experiment: Experiment) -> None:
    """Seed Python, NumPy and TensorFlow; ``strict`` also makes every operation deterministic.

    GPU memory grows as it is needed instead of being taken whole. Call before the first operation.
    """
    import keras
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    keras.utils.set_random_seed(experiment.seed)
    if experiment.reproducibility == "strict":
        tf.config.experimental.enable_op_determinism()
