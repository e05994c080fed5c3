"""Whose run a directory holds: one run at a time, one point for ever, and nothing of anybody else's is overwritten."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from parak8s import files, provenance
from parak8s.errors import EnvironmentFault, InputError, disk_is_full, from_os_error
from parak8s.experiment import Experiment, documents, flatten
from parak8s.layout import Layout
from parak8s.secrets import without_passwords

OF_THE_JOB = (".lock", ".starts.json", "tfjob.json", "logs")
"""What may lie in the directory of a run before it begins."""


PINNED = ("model.params.weights", "model.params.weights_digest")
"""What a run writes down when it begins: the version of its pretrained weights."""
FIX = "Choose another folder with -o, or delete this one"
HELD_S = 120.0
"""How long a file server may keep the lock of a machine that is gone: NFSv4's lease is 90 s by default."""


@dataclass(frozen=True)
class Claim:
    """One point's claim on a directory.

    Args:
        layout: The directory.
        experiment: The point.
        fingerprint: Its name.
        digest: Of its data.
        engine: What runs it; another engine's directory is refused.
    """

    layout: Layout
    experiment: Experiment
    fingerprint: str
    digest: str
    engine: str = "local"

    @contextlib.contextmanager
    def held(self, *, unless: Collection[str], wait_s: float = 0) -> Iterator[None]:
        """Hold the directory during a block. A refused input leaves nothing behind.

        Args:
            unless: Names in the directory that mean that something came of the block: then the claim stays.
            wait_s: How long to wait for another run that works there.

        Raises:
            InputError: The directory is a file, somebody else's folder, or the run of another point.
            EnvironmentFault: Another run is working there, or the disk, a mode or the machine stands in the way.
        """
        refuse_foreign(self.layout)
        with faults_explained(self.layout.root), _alone_in(self.layout.root, wait_s):
            self._write()
            try:
                yield
            finally:
                if not any((self.layout.root / name).exists() for name in unless):
                    self._take_back()

    def _write(self) -> None:
        layout, mine = self.layout, {"fingerprint": self.fingerprint, "data_digest": self.digest, "engine": self.engine}
        if layout.identity.is_file():
            theirs = files.read_json(layout.identity)
            self._refuse_another(theirs)
            mine |= theirs
        files.write_json(layout.identity, mine)
        files.write_text(layout.experiment, documents.dump(without_passwords(self.experiment.canonical())))
        if not layout.environment.is_file():  # the step train writes it again when it trains
            files.write_json(layout.environment, provenance.environment(self.experiment))

    def _refuse_another(self, theirs: dict[str, str]) -> None:
        if theirs["fingerprint"] != self.fingerprint:
            raise InputError(f"{self.layout.where} holds the run of another point: {self._difference(theirs)}. {FIX}")
        engine = theirs.get("engine", "local")
        if engine != self.engine:
            raise InputError(f"{self.layout.where} holds a run of --engine {engine}, this is {self.engine}. {FIX}")

    def _difference(self, theirs: dict[str, str]) -> str:
        if theirs["data_digest"] != self.digest:
            return f"its data is {theirs['data_digest']}, yours {self.digest}"
        return _changes(self.layout, self.experiment) or "the code has changed since"

    def _take_back(self) -> None:
        layout = self.layout
        for path in (layout.identity, layout.experiment, layout.environment, layout.root / ".lock"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody else's files are in it
            layout.root.rmdir()


def refuse_edited(layout: Layout, experiment: Experiment) -> None:
    """Refuse the directory of a run whose file said something else.

    Data and pretrained weights, which must be read for it, are compared later, in :class:`Claim`.

    Raises:
        InputError: It did.
    """
    if layout.experiment.is_file() and (changes := _changes(layout, experiment, but=PINNED)):
        raise InputError(f"{layout.where} holds the run of another point: {changes}. {FIX}")


def refuse_foreign(layout: Layout) -> None:
    """Refuse a directory that is a file, or that holds what is no run.

    Raises:
        InputError: It does.
    """
    root = layout.root
    if root.exists() and not root.is_dir():
        raise InputError(f"{layout.where}: is a file; -o wants a folder")
    if root.is_dir() and not layout.identity.is_file():
        found = sorted(path.name for path in root.iterdir() if not _is_of_the_job(path.name))
        if found:
            raise InputError(f"{layout.where}: holds {found[0]!r} and no run; choose a new or an empty folder with -o")


def refuse_busy(layout: Layout) -> None:
    """Refuse a directory in which another run is working.

    Raises:
        EnvironmentFault: One is.
    """
    if layout.root.is_dir():
        with _alone_in(layout.root, 0):
            pass


def _changes(layout: Layout, experiment: Experiment, *, but: Collection[str] = ()) -> str:
    """Return what the experiment says otherwise than the file of the run in the directory."""
    old, new = flatten(documents.read(layout.experiment).data), provenance.identity(experiment)
    changed = [path for path, value in new.items() if old.get(path) != value and path not in but]
    return ", ".join(f"{path} {old.get(path)!r} -> {new[path]!r}" for path in changed)


def _is_of_the_job(name: str) -> bool:
    """Return whether a file may lie there before a run begins, or is one that was killed while it was written."""
    return name in OF_THE_JOB or files.is_aside(name)


@contextlib.contextmanager
def _alone_in(root: Path, wait_s: float) -> Iterator[None]:
    """Hold the directory's lock, so that two runs never write into one directory."""
    root.mkdir(parents=True, exist_ok=True)
    given_up = time.monotonic() + wait_s
    with (root / ".lock").open("a", encoding="utf-8") as lock:
        while not _locked(lock):
            if time.monotonic() >= given_up:
                who = (root / ".lock").read_text(encoding="utf-8").strip()
                raise EnvironmentFault(
                    f"{root}: another run is working here ({who}); wait for it, or choose another -o"
                )
            time.sleep(0.5)
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {platform.node()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        lock.flush()
        yield


def _locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def faults_explained(root: Path) -> Iterator[None]:
    """Turn what the operating system refuses into one readable line, also where a library hides it."""
    try:
        yield
    except (InputError, EnvironmentFault):
        raise
    except OSError as error:
        raise from_os_error(error, root) from error
    except Exception as error:
        if disk_is_full(root):  # NumPy, TensorFlow and SQLite each have an exception of their own for it
            raise from_os_error(OSError(errno.ENOSPC, "no space left"), root) from error
        raise
