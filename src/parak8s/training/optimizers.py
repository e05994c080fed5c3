"""Keras optimizers with their learning-rate schedule, as the experiment file names them."""

from typing import Any

import keras
import numpy as np

from parak8s.errors import EnvironmentFault
from parak8s.experiment import Training


def make_optimizer(spec: Training, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Return the optimizer; under float16 it scales the loss so that small gradients survive.

    On several devices it takes the gradients of the whole batch, already added up. Keras would add up those of each.
    """
    settings = spec.optimizer
    arguments: dict[str, Any] = {"learning_rate": schedule(spec, steps_per_epoch), "global_clipnorm": spec.clip_norm}
    for name in ("weight_decay", "momentum"):
        if getattr(settings, name) is not None:
            arguments[name] = getattr(settings, name)
    kinds = {"adam": "Adam", "adamw": "AdamW", "nadam": "Nadam", "rmsprop": "RMSprop", "sgd": "SGD", "lion": "Lion"}
    optimizer = getattr(keras.optimizers, kinds[settings.name])(**arguments)
    if not hasattr(optimizer, "_all_reduce_sum_gradients"):  # else every gradient would count once for each device
        raise EnvironmentFault(f"Keras {keras.__version__} adds gradients up otherwise than 3.15; install keras 3.15")
    optimizer._all_reduce_sum_gradients = list
    if spec.precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def schedule(spec: Training, steps_per_epoch: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate, as a function of the step unless it is constant."""
    rate, plan = spec.scaling.rate(spec.optimizer.learning_rate), spec.schedule
    if plan.name == "constant" and not plan.warmup_epochs:
        return rate
    warmup = round(plan.warmup_epochs * steps_per_epoch)
    return WarmupThenDecay(plan.name, rate, plan.final, warmup, spec.epochs * steps_per_epoch)


class WarmupThenDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Linear increase from zero, then constant, cosine or exponential decay to ``final`` times the peak.

    Args:
        kind: ``constant``, ``cosine`` (Loshchilov and Hutter 2017, arXiv:1608.03983) or ``exponential``.
        peak: Learning rate after the warm-up.
        final: Last learning rate as a fraction of the peak.
        warmup: Steps of the increase.
        total: Steps of the whole training.
    """

    def __init__(self, kind: str, peak: float, final: float, warmup: int, total: int) -> None:
        self.kind, self.peak, self.final, self.warmup, self.total = kind, peak, final, warmup, total

    def __call__(self, step: Any) -> Any:
        """Return the learning rate, float32, at ``step`` (from 0)."""
        ops = keras.ops
        step = ops.cast(step, "float32")
        share = ops.clip((step - self.warmup) / max(self.total - self.warmup, 1), 0.0, 1.0)
        decay: Any = 1.0
        if self.kind == "cosine":
            decay = self.final + (1 - self.final) * 0.5 * (1 + ops.cos(np.pi * share))
        elif self.kind == "exponential":
            decay = self.final**share
        return self.peak * decay * ops.minimum(1.0, (step + 1) / max(self.warmup, 1))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {name: getattr(self, name) for name in ("kind", "peak", "final", "warmup", "total")}


def learning_rate_at(optimizer: keras.optimizers.Optimizer) -> float:
    """Return the current learning rate."""
    return float(keras.ops.convert_to_numpy(getattr(optimizer, "inner_optimizer", optimizer).learning_rate))
