"""Keeps a folder in an object store: whoever reads it there finds it as it was at one moment.

A store renames nothing, and a process may be killed between two files. So one object, the index, says which objects are
the folder's files, and what it names is never overwritten: a file that has changed is stored under a name that nobody
else takes, then the index is replaced, and then the old version is deleted.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

from parak8s import files
from parak8s.data.remote import explained, file_system, is_lasting, public
from parak8s.errors import EnvironmentFault, InputError

log = logging.getLogger(__name__)
T = TypeVar("T")

INDEX = "index.json"
PORTION_BYTES = 200 << 20
"""Sent or fetched at once: libraries of stores hold small files in memory."""
PAUSES_S, PATIENCE_S = (1, 2, 4, 8, 15, 30, 30, 30), 120.0
"""Before a store that does not answer is asked again; when to give up, counted from the first question."""
OPTIONS = {"s3": {"config_kwargs": {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 1}}}}
"""By protocol: a store that takes a connection and says nothing holds us up for half a minute, not for seven."""
COPYING = ("s3", "s3a", "gs", "gcs")
"""Protocols whose libraries wait until a copy within the store is there; adlfs does not."""
_NUMBERED = re.compile(r"~[0-9a-f]{32}-[0-9]+$")


class StoreAway(EnvironmentFault):
    """The object store does not answer: a replica that ends so is started again."""

    exit_code = 200


class Missing(InputError):  # noqa: N818 - as FileNotFoundError is called, but for a store
    """There is no such bucket, or no such object."""


@dataclass(frozen=True)
class Kept:
    """A file of the folder in the store.

    Args:
        object: Its name below the folder's address: a path, with the writer and a number behind it while a run goes on.
        size: In bytes.
        sha256: Of its content; empty where the file was written to while it was stored.
    """

    object: str
    size: int
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


NOTHING = Index("", 0, {})


class Snapshots:
    """One folder in an object store, seen from one process.

    Args:
        url: Address of the folder.

    Attributes:
        claimed: Whether this process may write.
    """

    def __init__(self, url: str) -> None:
        self.url, self._protocol, self._me = url.rstrip("/"), url.partition("://")[0], uuid.uuid4().hex
        self.claimed = False
        self._fetched: Index | None = None
        self._same: dict[str, tuple[int, ...]] = {}
        with explained(self.url, self._protocol):
            self._fs, self._path = file_system(self.url, self._protocol, **OPTIONS.get(self._protocol, {}))

    def claim(self) -> None:
        """Be the one who writes from now on; whoever did so before is refused when it writes again.

        Raises:
            InputError: No such bucket, or something else than a folder's snapshot lies there.
            EnvironmentFault: No permission.
            StoreAway: The store does not answer, or what was fetched is no longer what it holds.
        """
        before = self._read()
        if before is None and (found := self._listed()):
            raise InputError(f"{public(self.url)}: holds {found[0]!r} and no run; choose another address")
        if self._fetched not in (None, before or NOTHING):
            raise StoreAway(f"{public(self.url)}: another process has written here since it was read")
        self._write(replace(before or NOTHING, writer=self._me))
        self.claimed = True

    def holds(self, name: str) -> bool:
        """Return whether the folder has a file or a folder of this name."""
        return any(_lies_in(path, name) for path in (self._read() or NOTHING).files)

    def fetch(self, folder: Path, name: str = "") -> None:
        """Copy the files into ``folder``, or those alone that are or lie below ``name``.

        Raises:
            EnvironmentFault: No permission, no space on the disk, or what was stored is no longer there.
            StoreAway: The store does not answer, or another process writes.
        """
        self._fetched = index = self._read() or NOTHING
        wanted = {path: kept for path, kept in index.files.items() if _lies_in(path, name)}
        try:
            for portion in _portions({path: kept.size for path, kept in wanted.items()}):
                remote = [self._place(wanted[path].object) for path in portion]
                self._do(partial(self._fs.get, remote, [str(folder / path) for path in portion]))
        except Missing as error:
            raise self._damaged(index, "an object that its index names is gone") from error
        for path, kept in wanted.items():
            if kept.sha256 and files.sha256_of(folder / path) != kept.sha256:
                raise self._damaged(index, f"{kept.object} is not what was stored")
            self._same[path] = _mark(folder / path)

    def send(self, folder: Path) -> None:
        """Let the store hold ``folder`` as it is now, but for locks and files that are being written.

        Args:
            folder: It or a copy of it was fetched or sent before; what has not changed since is not sent.

        Raises:
            EnvironmentFault: No permission, or another process writes now.
            StoreAway: The store does not answer.
        """
        before = self._mine()
        paths = {path.relative_to(folder).as_posix(): path for path in _files_in(folder)}
        marks = {name: _mark(path) for name, path in paths.items()}
        now = {name: self._kept(name, path, marks[name], before) for name, path in paths.items()}
        there = {kept.object for kept in before.files.values()}
        new = {name: kept for name, kept in now.items() if kept.object not in there}
        if now == before.files:
            return
        try:
            for portion in _portions({name: kept.size for name, kept in new.items()}):
                remote = [self._place(new[name].object) for name in portion]
                self._do(partial(self._fs.put, [str(paths[name]) for name in portion], remote), "written")
        except Missing as error:  # not the bucket: this process has claimed it
            raise StoreAway(f"{public(self.url)}: it has lost a part of what was sent") from error
        for name, kept in new.items():
            if _mark(paths[name]) != marks[name]:  # written to meanwhile: it is sent once more the next time
                now[name] = replace(kept, sha256="")
        self._replace(before, now)
        self._same = marks

    def tidy(self) -> None:
        """Give each object the name of its file, and delete those of writers that were killed.

        Raises:
            EnvironmentFault: No permission, or another process writes now.
            StoreAway: The store does not answer.
        """
        before = self._mine()
        numbered = {name for name in self._listed(deep=True) if _NUMBERED.search(name)}
        moved = {path: kept for path, kept in before.files.items() if kept.object != path}
        if moved and self._protocol in COPYING:
            old, new = [self._place(kept.object) for kept in moved.values()], [self._place(path) for path in moved]
            self._do(partial(self._fs.copy, old, new), "written")
            self._replace(before, {path: replace(kept, object=path) for path, kept in before.files.items()})
        self._delete(numbered - {kept.object for kept in self._mine().files.values()})

    def delete(self) -> None:
        """Delete the folder."""
        before = self._read()
        if before is not None:
            self._write(Index(self._me, before.number + 1, {}))  # first: an index never names what is gone
            self._delete({kept.object for kept in before.files.values()})
            self._delete([INDEX])

    def _kept(self, name: str, path: Path, mark: tuple[int, ...], before: Index) -> Kept:
        """Return where the content of a file is, or is to be."""
        old = before.files.get(name)
        if old is not None and old.sha256 and self._same.get(name) == mark:
            return old
        size, digest = mark[0], files.sha256_of(path)
        same = (kept for kept in before.files.values() if kept.sha256 == digest)  # also of a file that was renamed
        return next(same, Kept(f"{name}~{self._me}-{before.number + 1}", size, digest))

    def _mine(self) -> Index:
        """Return the index, which this process may replace."""
        index = self._read()
        if index is None or index.writer != self._me:
            raise EnvironmentFault(
                f"{public(self.url)}: another process has begun to write here; let one job at a time work there"
            )
        return index

    def _replace(self, before: Index, now: Mapping[str, Kept]) -> None:
        """Replace the index, and delete what only the one before names."""
        self._mine()  # asked again, as it may have taken long
        self._write(Index(self._me, before.number + 1, now))
        self._delete({kept.object for kept in before.files.values()} - {kept.object for kept in now.values()})

    def _damaged(self, index: Index, what: str) -> EnvironmentFault:
        """Return what to say of a store that does not hold what its index says, unless that has changed meanwhile."""
        if (self._read() or NOTHING) != index:
            return StoreAway(f"{public(self.url)}: another process wrote here while it was read")
        fix = f"bring it back from a backup, or delete {INDEX} there to begin anew"
        return EnvironmentFault(f"{public(self.url)}: {what}; {fix}")

    def _read(self) -> Index | None:
        try:
            text = self._do(partial(self._fs.cat_file, self._place(INDEX)))
        except Missing:
            return None
        try:
            raw = json.loads(text)
            kept = {_within(path): Kept(**each) for path, each in raw["files"].items()}
            return Index(raw["writer"], raw["number"], kept)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{public(self.url)}/{INDEX}: not an index of ours; choose another address") from error

    def _write(self, index: Index) -> None:
        text = json.dumps(asdict(index), indent=1, ensure_ascii=False).encode()
        self._do(partial(self._fs.pipe_file, self._place(INDEX), text), "written")

    def _delete(self, objects: Iterable[str]) -> None:
        """Delete objects that nothing names any more. One that stays does no harm."""
        for name in objects:
            try:
                self._fs.rm_file(self._place(name))
            except Exception as error:
                log.debug("%s/%s stays: %s", public(self.url), name, error)

    def _listed(self, *, deep: bool = False) -> list[str]:
        """Return the names of what lies at the address, in folders too if ``deep``."""
        self._fs.invalidate_cache()
        try:
            found = self._do(partial(self._fs.find, self._path, maxdepth=None if deep else 1, withdirs=not deep))
        except Missing:
            return []
        names = (str(each).rstrip("/").removeprefix(self._path).lstrip("/") for each in found)
        return sorted(filter(None, names))

    def _place(self, name: str) -> str:
        return f"{self._path}/{name}"

    def _do(self, call: Callable[[], T], act: str = "read") -> T:
        """Return what ``call`` returns; where that may help, call it again.

        Raises:
            Missing: No such bucket or object.
            EnvironmentFault: No permission, or this machine's disk is full.
            StoreAway: No answer.
        """
        try:
            with explained(self.url, self._protocol, act):
                return self._persistently(call)
        except OSError as error:  # of this machine's disk
            raise EnvironmentFault(f"{public(self.url)}: no room here for a copy: {error.strerror or error}") from error
        except InputError as error:
            raise Missing(f"{public(self.url)}: no such bucket; create it, or name another address") from error
        except EnvironmentFault as fault:
            if is_lasting(fault):
                raise
            raise StoreAway(str(fault)) from fault

    def _persistently(self, call: Callable[[], T]) -> T:
        started = time.monotonic()
        for pause in PAUSES_S:
            try:
                return call()
            except Exception as error:
                full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
                if full or is_lasting(error) or time.monotonic() + pause - started > PATIENCE_S:
                    raise
                log.warning("%s does not answer (%s); once more in %d s", public(self.url), type(error).__name__, pause)
            time.sleep(pause)
        return call()


def _lies_in(path: str, name: str) -> bool:
    return not name or path == name or path.startswith(f"{name}/")


def _portions(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield names of files that are not too much together."""
    portion, size = list[str](), 0
    for name, more in sizes.items():
        if portion and size + more > PORTION_BYTES:
            yield portion
            portion, size = [], 0
        portion, size = [*portion, name], size + more
    if portion:
        yield portion


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
    """Return the size of a file, and what else changes when it is written to, or replaced."""
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns, facts.st_ino
