"""The workers of one training, seen from one of them."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


class Crew:
    """Workers that take every step together; somebody alone is a crew of one.

    What concerns all is decided by one of them and obeyed by the others, because machines of different kinds may
    differ in the last bit of a number.

    Attributes:
        index: This worker, from 0; a chief comes before the workers.
        count: How many workers there are.
    """

    def __init__(self) -> None:
        self.strategy = tf.distribute.get_strategy()
        self.index, self.count = 0, 1
        if isinstance(self.strategy, tf.distribute.MultiWorkerMirroredStrategy):
            resolver = self.strategy.cluster_resolver
            cluster = resolver.cluster_spec().as_dict()
            chiefs = len(cluster.get("chief", ()))
            self.count = chiefs + len(cluster["worker"])
            self.index = resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
        self._devices = self.strategy.num_replicas_in_sync // self.count
        self._sum = tf.function(self._summed, reduce_retracing=True)

    @property
    def leads(self) -> bool:
        """Whether this worker decides and writes."""
        return self.index == 0

    def total(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum over all workers of float64 ``values``, which have the same shape everywhere."""
        if self.count == 1:
            return values
        total: NDArray[np.float64] = self._sum(tf.constant(values, tf.float64)).numpy()
        return total

    def agree(self, value: float) -> float:
        """Return the leader's ``value``, when all have come this far."""
        return float(self.total(np.array([value if self.leads else 0.0]))[0])

    def any(self, flag: bool) -> bool:
        """Return whether ``flag`` is up anywhere."""
        return bool(self.total(np.array([float(flag)]))[0])

    def share(self, variables: Sequence[keras.Variable]) -> None:
        """Give ``variables``, in the same order everywhere, the leader's values, when all have come this far."""
        if self.count == 1:
            return
        for variable in variables:
            value = np.asarray(variable, np.float64)  # exact for all that networks hold
            variable.assign(self.total(value if self.leads else np.zeros_like(value)))

    def _summed(self, values: tf.Tensor) -> tf.Tensor:
        def once() -> tf.Tensor:
            device = tf.distribute.get_replica_context().replica_id_in_sync_group % self._devices
            return values * tf.cast(device == 0, values.dtype)  # the worker's first device speaks for it

        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, self.strategy.run(once), axis=None)
