"""Where a replica works: in a folder that all replicas see, or in one of its own that an object store keeps."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from parak8s.experiment.compute import is_store
from parak8s.layout import Layout
from parak8s.snapshots import Snapshots, StoreAway

if TYPE_CHECKING:
    from parak8s.run import Narrator
    from parak8s.training.progress import Record

log = logging.getLogger(__name__)


class Workplace:
    """A folder that all replicas see: what one of them writes is there for the others.

    Args:
        root: The run's directory.
    """

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)

    @contextlib.contextmanager
    def led(self) -> Iterator[None]:
        """Hold the run's directory as the leader, with all that earlier starts left in it."""
        yield

    def keep(self) -> None:
        """See to it that what is there now outlives this replica."""

    def bring(self, path: str) -> Path:
        """Return where this replica sees what the leader sees at ``path``, directly in the run's directory."""
        return Path(path)

    def is_trained(self) -> bool:
        """Return whether the training is complete."""
        return self.layout.training.is_dir()


class Mirrored(Workplace):
    """A folder of this replica alone. The leader sends what is in it to an object store, the others fetch it there.

    Args:
        root: Empty.
        store: Where the run is kept.
    """

    def __init__(self, root: Path, store: Snapshots) -> None:
        super().__init__(root)
        self.store = store

    @contextlib.contextmanager
    def led(self) -> Iterator[None]:
        """Begin with what the store holds, and leave there what is here at the end.

        Raises:
            ParaK8sError: The store cannot be used, or another process has begun to write there.
        """
        self.store.claim()
        self.store.fetch(self.layout.root)
        try:
            yield
        except BaseException:
            try:
                self.keep()
            except Exception as fault:
                log.error("%s", fault)
            raise
        self.store.send(self.layout.root, tidy=True)

    def keep(self) -> None:
        """Send what has changed."""
        self.store.send(self.layout.root)

    def bring(self, path: str) -> Path:
        """Fetch the folder."""
        self.store.fetch(self.layout.root, Path(path).name)
        return self.layout.root / Path(path).name

    def bring_code(self) -> None:
        """Fetch modules of the user's own, and let this process and those that it starts find them."""
        self.store.fetch(self.layout.root, self.layout.code.name)
        if self.layout.code.is_dir():
            code, before = str(self.layout.code), os.environ.get("PYTHONPATH")
            sys.path.insert(0, code)
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [code, before]))

    def is_trained(self) -> bool:
        """Ask the store."""
        return self.store.holds(self.layout.training.name)


@contextlib.contextmanager
def opened(place: str) -> Iterator[Workplace]:
    """Yield the workplace at ``place``: the path of a folder, or an address in an object store.

    Raises:
        ParaK8sError: The store cannot be used.
    """
    if not is_store(place):
        yield Workplace(Path(place))
        return
    with tempfile.TemporaryDirectory(prefix="parak8s-", ignore_cleanup_errors=True) as folder:
        mirrored = Mirrored(Path(folder) / place.rstrip("/").rpartition("/")[2], Snapshots(place))
        mirrored.bring_code()
        yield mirrored


class Keeper:
    """Sees to it that what is finished is kept: each step, and each epoch of the training.

    Args:
        workplace: Of the leader.
        narrator: Told of every step, too.
    """

    def __init__(self, workplace: Workplace, narrator: Narrator) -> None:
        self.workplace, self.narrator = workplace, narrator

    def started(self, step: str) -> None:
        """A step begins."""
        self.narrator.started(step)

    def finished(self, step: str, summary: str, seconds: float | None) -> None:
        """Keep what the step has made."""
        self.workplace.keep()
        self.narrator.finished(step, summary, seconds)

    def on_steps(self, epoch: int, done: int, total: int) -> None:
        """Nothing: the epoch counts when it is over."""

    def on_epoch(self, record: Record) -> None:
        """Keep the checkpoint. One that cannot be stored now is stored with the next."""
        try:
            self.workplace.keep()
        except StoreAway as fault:
            log.warning("epoch %d is kept here alone: %s", record.epoch, fault)
