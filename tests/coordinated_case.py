"""An epoch with parameter servers whose worker is held in its first step: ``coordinated_case.py DATASET``.

Chief, worker and server are one process. Prints which steps were observed while the worker was held, and at the end.
"""

import json
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import team_case
from parak8s.data.batches import ArrayDataset
from parak8s.experiment import Training
from parak8s.training.coordinated import CoordinatedLoop

begun, released = threading.Event(), threading.Event()


def held() -> Any:
    begun.set()
    return np.float32(released.wait(team_case.HANG_S))


class Held(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Passes its inputs on as soon as the test lets it."""

    def call(self, inputs: Any) -> Any:
        with tf.control_dependencies([tf.numpy_function(held, [], tf.float32)]):
            return tf.identity(inputs)


def strategy() -> Any:
    """Return the strategy of a cluster of one worker and one server."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = {"worker": one.getsockname()[1], "ps": other.getsockname()[1]}
    cluster = tf.train.ClusterSpec({job: [f"127.0.0.1:{port}"] for job, port in ports.items()})
    for job in ports:
        tf.distribute.Server(cluster, job_name=job, task_index=0, protocol="grpc")
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(cluster, rpc_layer="grpc")
    return tf.distribute.ParameterServerStrategy(resolver)


def main() -> None:
    batches = ArrayDataset(Path(sys.argv[1]), "train", batch_size=25)
    seen: list[tuple[int, int]] = []
    with strategy().scope():
        inputs = keras.Input((team_case.LENGTH,))
        model = keras.Model(inputs, keras.layers.Dense(team_case.CLASSES)(Held()(inputs)))
        loop = CoordinatedLoop(model, Training(steps_per_call=1), len(batches))
    epoch = threading.Thread(target=loop.epoch, args=(batches, lambda done, total: seen.append((done, total))))
    epoch.start()
    assert begun.wait(team_case.HANG_S)
    time.sleep(2)  # the chief hands out what it may
    early = list(seen)
    released.set()
    epoch.join()
    print(json.dumps([early, seen]))


if __name__ == "__main__":
    main()
