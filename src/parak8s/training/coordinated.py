"""The training loop with parameter servers: a chief hands out batches, workers take steps when they can."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from parak8s.training.loop import Loop
from parak8s.training.memory import Headway

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parak8s.data.batches import ArrayDataset
    from parak8s.experiment import Training

AHEAD = 2
"""Chunks of batches for each worker that are handed out before the first of them is waited for."""


class CoordinatedLoop(Loop):
    """The same steps, each on one worker, which reads the weights from the servers and adds its update to them.

    Each batch is learned from once, whoever takes it. What a worker that died had begun, up to ``steps_per_call``
    batches, is given to another one, which begins it anew. The workers do not wait for each other, so that no two
    trainings are the same.
    """

    def __init__(self, model: keras.Model, spec: Training, steps_per_epoch: int) -> None:
        super().__init__(model, spec, steps_per_epoch)
        self.coordinator = tf.distribute.coordinator.ClusterCoordinator(self.strategy)
        tasks = {device.name.partition("/device:")[0] for device in tf.config.list_logical_devices()}
        self._ahead = AHEAD * sum("/job:worker/" in task for task in tasks)
        self._waiting: deque[tuple[int, Any]] = deque()

    def steps(
        self, inputs: NDArray[Any], labels: NDArray[np.int32], weights: NDArray[np.float32], size: int | None = None
    ) -> tf.Tensor:
        """Hand the steps out; return the sums of those that were handed out long ago."""
        function = self.compiled(size or labels.shape[1])
        self._waiting.append((len(labels), self.coordinator.schedule(function, args=(inputs, labels, weights))))
        return self._arrived(self._ahead)

    def _arrived(self, leave: int) -> tf.Tensor:
        sums = tf.zeros(3)
        while len(self._waiting) > leave:
            sums += self._waiting[0][1].fetch()
            self._waiting.popleft()
        return sums

    def epoch(
        self,
        batches: ArrayDataset,
        observe: Callable[[int, int], None],
        begun: Headway = Headway(),  # noqa: B008 - frozen
        stop: Callable[[], bool] = lambda: False,
    ) -> Headway:
        """Train on every batch once, see :meth:`Loop.epoch`; ``observe`` is told of steps that a worker has taken."""
        started = time.perf_counter()

        def handed_out(done: int, total: int) -> None:
            if (taken := done - sum(steps for steps, _ in self._waiting)) > begun.steps:
                observe(taken, total)

        headway = super().epoch(batches, handed_out, begun, stop)
        while self._waiting:
            headway = headway.plus(*self._arrived(len(self._waiting) - 1).numpy().tolist())
            handed_out(headway.steps, len(batches))
        return replace(headway, seconds=begun.seconds + time.perf_counter() - started)

    def logits(self, batches: ArrayDataset, alive: Callable[[], None] = lambda: None) -> NDArray[np.float32]:
        """Return the logits of all examples, see :meth:`Loop.logits`; the workers share them."""
        waiting, parts = deque[Any](), []
        for index in range(len(batches)):
            waiting.append(self.coordinator.schedule(self.forward, args=(batches[index][0],)))
            if len(waiting) > self._ahead:
                parts.append(np.asarray(waiting.popleft().fetch()))
                alive()
        return np.concatenate([*parts, *(np.asarray(part.fetch()) for part in waiting)])
