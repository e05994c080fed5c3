"""Keeps a folder in an object store: whoever reads it there finds it as it was at one moment.

A store renames nothing, and a process may be killed between two files. So one object, the index, says which objects are
the folder's files, and what it names is never overwritten: a file that has changed is stored beside its old version,
then the index is replaced, and then the old version is deleted.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import posixpath
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from parak8s import files
from parak8s.data.remote import explained, file_system, public
from parak8s.errors import EnvironmentFault, InputError

log = logging.getLogger(__name__)
T = TypeVar("T")

INDEX = "index.json"
PAUSES_S = (1, 2, 4, 8, 15, 30)
"""Before a store that does not answer is asked again. Its library has tried several times by then."""
LASTING = (FileNotFoundError, PermissionError, ImportError)
"""What another attempt would meet again."""


class StoreAway(EnvironmentFault):
    """The object store does not answer: a replica that ends so is started again."""

    exit_code = 200


@dataclass(frozen=True)
class Kept:
    """A file of the folder in the store.

    Args:
        object: Its name below the folder's address: the file's path, or that, a tilde and a number.
        sha256: Of its content; empty where the file was written to while it was stored.
    """

    object: str
    sha256: str


@dataclass(frozen=True)
class Index:
    """What the store holds of the folder.

    Args:
        writer: Names the process that may write.
        number: Of the snapshot, counted from 0.
        files: Path in the folder -> where its content is.
    """

    writer: str
    number: int
    files: Mapping[str, Kept]


class Snapshots:
    """One folder in an object store, seen from one process.

    Args:
        url: Address of the folder, of any file system that fsspec can write to.
    """

    def __init__(self, url: str) -> None:
        self.url, self._protocol, self._me = url.rstrip("/"), url.partition("://")[0], uuid.uuid4().hex
        with explained(self.url, self._protocol):
            self._fs, self._path = file_system(self.url, self._protocol)
        self._same: dict[str, tuple[int, ...]] = {}

    def claim(self) -> None:
        """Be the one who writes from now on; whoever did so before is refused when it writes again.

        Raises:
            InputError: No such bucket, or something else than a folder's snapshot lies there.
            EnvironmentFault: No permission.
            StoreAway: The store does not answer.
        """
        before = self._read()
        if before is None and (found := self._listed()):
            raise InputError(f"{public(self.url)}: holds {found[0]!r} and no run; choose another address")
        self._write(Index(self._me, before.number if before else 0, before.files if before else {}))

    def holds(self, name: str) -> bool:
        """Return whether the folder has a file or a folder of this name."""
        index = self._read()
        return index is not None and any(path == name or path.startswith(f"{name}/") for path in index.files)

    def fetch(self, folder: Path, name: str = "") -> None:
        """Copy the files into ``folder``, or those alone that are or lie below ``name``.

        Raises:
            EnvironmentFault: No permission, no space on the disk, or a file is not what was stored.
            StoreAway: The store does not answer.
        """
        index = self._read()
        wanted = {
            path: kept
            for path, kept in (index.files if index else {}).items()
            if not name or path == name or path.startswith(f"{name}/")
        }
        targets = {path: folder / path for path in wanted}
        remote, local = [self._place(kept.object) for kept in wanted.values()], [*map(str, targets.values())]
        with self._explained():
            try:
                self._persistently(lambda: self._fs.get(remote, local) if remote else None)
            except FileNotFoundError as error:
                raise StoreAway(f"{public(self.url)}: changed while it was read") from error
        for path, kept in wanted.items():
            if kept.sha256 and files.sha256_of(targets[path]) != kept.sha256:
                raise StoreAway(f"{public(self.url)}/{kept.object}: another content came than was stored")
            self._same[path] = _mark(targets[path])

    def send(self, folder: Path, *, tidy: bool = False) -> None:
        """Let the store hold ``folder`` as it is now, but for locks and files that are being written.

        Args:
            folder: It or a copy of it was fetched or sent before; what has not changed since is not sent.
            tidy: Store files that have a number in the store under their own names.

        Raises:
            EnvironmentFault: No permission, or another process writes now.
            StoreAway: The store does not answer.
        """
        before = self._mine()
        paths = {path.relative_to(folder).as_posix(): path for path in _files_in(folder)}
        marks = {name: _mark(path) for name, path in paths.items()}
        now = {name: self._kept(name, path, marks[name], before, tidy=tidy) for name, path in paths.items()}
        new = {name: kept for name, kept in now.items() if kept != before.files.get(name)}
        gone = {kept.object for kept in before.files.values()} - {kept.object for kept in now.values()}
        if not new and not gone:
            return
        local, remote = [str(paths[name]) for name in new], [self._place(kept.object) for kept in new.values()]
        with self._explained("written"):
            self._persistently(lambda: self._fs.put(local, remote) if local else None)
        for name in new:
            if _mark(paths[name]) != marks[name]:  # written to meanwhile: it is sent once more the next time
                now[name] = Kept(now[name].object, "")
        self._write(Index(self._me, before.number + 1, now))
        self._same = marks
        self._delete(gone)

    def delete(self) -> None:
        """Delete the folder."""
        index = self._read()
        if index is not None:
            self._delete({INDEX})  # first: without it the others are nothing
            self._delete({kept.object for kept in index.files.values()})

    def _kept(self, name: str, path: Path, mark: tuple[int, ...], before: Index, *, tidy: bool) -> Kept:
        """Return where the content of a file is, or is to be."""
        old = before.files.get(name)
        if old is not None and not (tidy and old.object != name):
            if old.sha256 and self._same.get(name) == mark:
                return old
            digest = files.sha256_of(path)
            if old.sha256 == digest:
                return old
        else:
            digest = files.sha256_of(path)
        taken = {kept.object for kept in before.files.values()} | {INDEX}
        return Kept(f"{name}~{before.number + 1}" if name in taken else name, digest)

    def _mine(self) -> Index:
        """Return the index, which this process may replace."""
        index = self._read()
        if index is None or index.writer != self._me:
            raise EnvironmentFault(
                f"{public(self.url)}: another process has begun to write here; let one job at a time work there"
            )
        return index

    def _read(self) -> Index | None:
        with self._explained():
            text = self._persistently(self._text)
        if text is None:
            return None
        try:
            raw = json.loads(text)
            kept = {_within(path): Kept(**each) for path, each in raw["files"].items()}
            return Index(raw["writer"], raw["number"], kept)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{public(self.url)}/{INDEX}: not an index of ours; choose another address") from error

    def _text(self) -> bytes | None:
        try:
            text: bytes = self._fs.cat_file(self._place(INDEX))
        except FileNotFoundError:
            return None
        return text

    def _write(self, index: Index) -> None:
        text = json.dumps(asdict(index), indent=1, ensure_ascii=False).encode()
        with self._explained("written"):
            self._persistently(lambda: self._fs.pipe_file(self._place(INDEX), text))

    def _delete(self, objects: Collection[str]) -> None:
        """Delete objects that nothing names any more. One that stays does no harm."""
        for name in objects:
            try:
                self._fs.rm_file(self._place(name))
            except Exception as error:
                log.debug("%s/%s stays: %s", public(self.url), name, error)

    def _listed(self) -> list[str]:
        """Return the names of what lies at the address."""

        def listed() -> list[Any]:
            self._fs.invalidate_cache()
            with contextlib.suppress(FileNotFoundError):
                return list(self._fs.ls(self._path, detail=False))
            return []

        with self._explained():
            return sorted(posixpath.basename(str(each).rstrip("/")) for each in self._persistently(listed))

    def _place(self, name: str) -> str:
        return f"{self._path}/{name}"

    @contextlib.contextmanager
    def _explained(self, act: str = "read") -> Iterator[None]:
        try:
            with explained(self.url, self._protocol, act):
                yield
        except OSError as error:  # of this machine's disk
            raise EnvironmentFault(f"{public(self.url)}: no room here for a copy: {error.strerror or error}") from error
        except InputError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            raise InputError(f"{public(self.url)}: no such bucket; create it, or name another address") from error
        except EnvironmentFault as fault:
            if isinstance(fault.__cause__, LASTING):
                raise
            raise StoreAway(str(fault)) from fault

    def _persistently(self, act: Callable[[], T]) -> T:
        """Return what ``act`` returns, and try again for about a minute where that may help."""
        for pause in PAUSES_S:
            try:
                return act()
            except LASTING:
                raise
            except Exception as error:
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise  # of this machine's disk
                log.warning("%s does not answer (%s); once more in %d s", public(self.url), type(error).__name__, pause)
            time.sleep(pause)
        return act()


def _files_in(folder: Path) -> Iterator[Path]:
    for home, _, names in os.walk(folder, followlinks=True):
        for name in sorted(names):
            if name != ".lock" and not files.is_aside(name):
                yield Path(home, name)


def _within(path: str) -> str:
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise ValueError(f"{path!r} leads out of the folder")
    return path


def _mark(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is written to, or replaced."""
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size, facts.st_ino
