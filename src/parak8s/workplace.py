"""Where a replica works: in a folder that all replicas see, or in one of its own that an object store keeps."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from parak8s.errors import ParaK8sError
from parak8s.experiment.compute import is_store
from parak8s.layout import Layout
from parak8s.snapshots import Snapshots
from parak8s.stores import StoreAway
from parak8s.training.interruption import Interrupted

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
        """Have in the run's directory, as the leader, all that earlier starts left there."""
        yield

    def claim(self) -> None:
        """Be the leader who writes from now on."""

    def keep(self) -> None:
        """See to it that what is there now outlives this replica."""

    def keep_soon(self) -> None:
        """Do so while the training goes on."""

    def expect(self) -> None:
        """Begin to get ready for what :meth:`bring` will be asked for."""

    def bring(self, path: str) -> Path:
        """Return where this replica sees what the leader sees at ``path``, directly in the run's directory."""
        return Path(path)

    def is_trained(self) -> bool:
        """Return whether the training is complete."""
        return self.layout.training.is_dir()


class Mirrored(Workplace):
    """A folder of this replica alone. The leader sends what is in it to an object store, the others fetch it there.

    Args:
        root: Empty; a folder beside it is ours, too.
        snapshots: Where the run is kept.
    """

    def __init__(self, root: Path, snapshots: Snapshots) -> None:
        super().__init__(root)
        self.layout = Layout(root, snapshots.store.url)
        self.snapshots = snapshots
        self._thread, self._under_way = ThreadPoolExecutor(1, thread_name_prefix="snapshots"), Future[None]()
        self._under_way.set_result(None)

    @contextlib.contextmanager
    def led(self) -> Iterator[None]:
        """Begin with what the store holds, and leave there what is here at the end.

        Who is refused in the block before the claim has changed nothing in the store.

        Raises:
            ParaK8sError: The store cannot be used, or another process has begun to write there.
        """
        self.snapshots.fetch(self.layout.root)
        try:
            yield
        except BaseException as error:
            if self.snapshots.claimed:
                self._keep_at_last(error)
            raise
        self.keep()
        self.snapshots.tidy()

    def claim(self) -> None:
        """Let the store refuse whoever wrote there before."""
        self.snapshots.claim()

    def keep(self) -> None:
        """Send what has changed."""
        self._under_way.result()
        self.snapshots.send(self.layout.root)

    def keep_soon(self) -> None:
        """Send what has changed up to now, unless that of an earlier call is still being sent."""
        if self._under_way.done():
            self._under_way.result()
            now = self.layout.root.with_name(f".{self.layout.root.name}.now")
            shutil.rmtree(now, ignore_errors=True)
            shutil.copytree(self.layout.root, now, copy_function=os.link)  # files are replaced, not written to
            self._under_way = self._thread.submit(self._send, now)

    def _send(self, folder: Path) -> None:
        try:
            self.snapshots.send(folder)
        except StoreAway as fault:
            log.warning("%s; what is not stored now is stored later", fault)

    def _keep_at_last(self, error: BaseException) -> None:
        """Send what was done before ``error``.

        Raises:
            StoreAway: That failed; whoever asked the training to stop believes that all is saved.
        """
        try:
            self.keep()
        except Exception as fault:
            if isinstance(error, Interrupted):
                lost = StoreAway(f"asked to stop, and what came after the last stored epoch is lost: {fault}")
                lost.exit_code = error.exit_code
                raise lost from error
            log.error("%s", fault)

    def expect(self) -> None:
        """Fetch a dataset that is there already: when the replicas have met, time is short."""
        self._under_way = self._thread.submit(self._fetch_ahead)

    def _fetch_ahead(self) -> None:
        try:
            self.snapshots.fetch(self.layout.root, self.layout.dataset.name)
        except ParaK8sError as fault:  # it is fetched once more when it is needed
            log.debug("%s", fault)

    def bring(self, path: str) -> Path:
        """Fetch the folder."""
        self._under_way.result()
        self.snapshots.fetch(self.layout.root, Path(path).name)
        return self.layout.root / Path(path).name

    def bring_code(self) -> None:
        """Fetch modules of the user's own, and let this process and those that it starts find them."""
        self.snapshots.fetch(self.layout.root, self.layout.code.name)
        if self.layout.code.is_dir():
            code, before = str(self.layout.code), os.environ.get("PYTHONPATH")
            sys.path.insert(0, code)
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [code, before]))

    def is_trained(self) -> bool:
        """Ask the store."""
        return self.snapshots.holds(self.layout.training.name)


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

    def on_epoch(self, record: Record) -> None:  # noqa: ARG002 - of an observer
        """Keep the checkpoint."""
        self.workplace.keep_soon()
