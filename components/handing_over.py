"""Hands a task's dataset and code to the replicas of its job, and takes over what they have trained."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from parak8s import files
from parak8s.errors import ParaK8sError
from parak8s.experiment import Experiment
from parak8s.experiment.compute import lies_in
from parak8s.image import IMAGE
from parak8s.layout import Layout
from parak8s.snapshots import Snapshots

log = logging.getLogger(__name__)


class SharedFolder:
    """A folder that this task and all replicas see. It is gone after a success, else kept to go on from.

    Args:
        root: New, or of an earlier attempt of the task.
        mounts: What the replicas see of this file system.
    """

    def __init__(self, root: Path, mounts: Sequence[str]) -> None:
        self.layout, self.mounts, self.where = Layout(root), mounts, str(root)

    def give(self, dataset: Path, code: Path | None) -> None:
        """Put the dataset there, or a link to it where the replicas see it, and modules of the user's own."""
        self.layout.root.mkdir(parents=True, exist_ok=True)
        self.layout.root.chmod(0o777)  # the replicas run as another user than this pod
        self.layout.starts.unlink(missing_ok=True)
        if not self.layout.dataset.exists():
            if any(lies_in(str(dataset.resolve()), mount) for mount in self.mounts):
                self.layout.dataset.symlink_to(dataset.resolve())
            else:
                _copy(dataset, self.layout.dataset)
        if code is not None and not self.layout.code.exists():
            _copy(code, self.layout.code)

    def with_code(self, point: Experiment) -> Experiment:
        """Return the experiment whose replicas find the modules."""
        before = point.compute.env.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
        path = os.pathsep.join(filter(None, [str(self.layout.code), before]))
        return _in_our_image(point, {"env": {**point.compute.env, "PYTHONPATH": path}})

    def take(self, training: Path) -> None:
        """Copy what was trained into ``training``, and remove the folder."""
        shutil.copytree(self.layout.training, training, dirs_exist_ok=True)
        shutil.rmtree(self.layout.root, ignore_errors=True)


class InStore:
    """An object store, where each replica works in a folder of its own. What lies there lives as a shared folder does.

    Args:
        where: Its address.
    """

    def __init__(self, where: str) -> None:
        self.where, self.snapshots = where, Snapshots(where)

    def give(self, dataset: Path, code: Path | None) -> None:
        """Send the dataset, and modules of the user's own, unless an earlier attempt of the task did."""
        self.snapshots.claim()
        self.snapshots.forget(Layout(Path()).starts.name)
        if self.snapshots.holds(Layout(Path()).dataset.name):
            return
        with tempfile.TemporaryDirectory() as folder:
            layout = Layout(Path(folder))
            layout.dataset.symlink_to(dataset.resolve())
            if code is not None:
                layout.code.symlink_to(code.resolve())
            self.snapshots.send(layout.root)

    def with_code(self, point: Experiment) -> Experiment:
        """Return the experiment; each replica fetches the modules before it reads it."""
        return _in_our_image(point, {})

    def take(self, training: Path) -> None:
        """Fetch what was trained into ``training``, and delete all that lies there."""
        with tempfile.TemporaryDirectory() as folder:
            layout = Layout(Path(folder))
            self.snapshots.fetch(layout.root, layout.training.name)
            shutil.copytree(layout.training, training, dirs_exist_ok=True)
        try:
            self.snapshots.delete()
        except ParaK8sError as fault:  # what was trained is here all the same
            log.warning("%s; delete what lies there", fault)


def _copy(source: Path, target: Path) -> None:
    with files.folder(target) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)


def _in_our_image(point: Experiment, changes: dict[str, object]) -> Experiment:
    """Return the experiment with changes in ``compute``, in the image of this task where none is named."""
    compute = point.compute.model_copy(update={**changes, "image": point.compute.image or IMAGE})
    return point.model_copy(update={"compute": compute})
