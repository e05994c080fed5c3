"""After a training of many workers: trains one worker on the same batches, and says how far the two are apart.

That one worker computes each batch in as many shares as there were devices, and adds them up. So the two have the same
arithmetic, and with two shares the same bits, but for a last one now and then: whatever else differs was done by the
distribution. A worker that computes a batch in one piece adds up in another order; the first epoch then agrees to 1e-7,
but a training is chaotic, and after some epochs of hundreds of steps the last bit shows in the third digit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from parak8s import files, loading
from parak8s.errors import EnvironmentFault, ParaK8sError
from parak8s.experiment import Experiment, documents

if TYPE_CHECKING:
    from parak8s.team import Team


def certify(experiment: Experiment, dataset: Path, training: Path, team: Team) -> None:
    """Train alone, in a process of its own, and write ``certificate.json`` beside what the team has trained.

    A certification that was killed goes on.

    Raises:
        EnvironmentFault: The process failed; what it said is in the message.
    """
    from parak8s.models import saved
    from parak8s.training import heap
    from parak8s.training.certificate import compared

    heap.give_back()  # the other process needs as much as this one did
    alone = training / "alone"
    alone.mkdir(exist_ok=True)
    one = experiment.compute.model_copy(update={"workers": 1, "parameter_servers": 0, "gpus": team.in_step})
    _run(documents.dump(experiment.model_copy(update={"compute": one}).canonical()), dataset, alone)
    together, it = (
        (files.read_json(each / "history.json"), saved.load(each / "model.keras")) for each in (training, alone)
    )
    files.write_json(training / "certificate.json", compared(together, it, team))
    shutil.rmtree(alone)


def _run(text: str, dataset: Path, folder: Path) -> None:
    command = [sys.executable, "-m", __name__, str(dataset), str(folder)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        command,
        input=text,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise EnvironmentFault(f"the certificate's training failed:\n{done.stdout[-2000:]}")


def _train_in_shares(text: str, dataset: Path, folder: Path) -> None:
    """Train one worker whose devices, parts of this machine's processor, are as many as the team's."""
    import tensorflow as tf

    from parak8s.steps.train import train

    experiment = loading.parse(text, "the experiment")
    (processor, *_) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(experiment.compute.gpus)]
    tf.config.set_logical_device_configuration(processor, parts)
    train(experiment, dataset, folder, kind="CPU")


if __name__ == "__main__":
    try:
        _train_in_shares(sys.stdin.read(), Path(sys.argv[1]), Path(sys.argv[2]))
    except ParaK8sError as error:
        sys.exit(str(error))
