"""Keeps a folder in an object store: whoever reads it there finds it as it was at one moment.

A store renames nothing, and a process may be killed between two files. So one object, the index, says which objects are
the folder's files, and what it names is never overwritten: a file that has changed is stored under a name that nobody
else takes, then the index is replaced, and then the old version is deleted.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

from parak8s import files
from parak8s.errors import EnvironmentFault, InputError
from parak8s.stores import Missing, ObjectStore, StoreAway

INDEX = "index.json"
PORTION_BYTES = 200 << 20
"""Sent or fetched at once: libraries of stores hold small files in memory."""
_NUMBERED = re.compile(r"~[0-9a-f]{32}-[0-9]+$")


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
        store: The folder there.
        claimed: Whether this process may write.
    """

    def __init__(self, url: str) -> None:
        self.store, self.claimed, self._me = ObjectStore(url), False, uuid.uuid4().hex
        self._fetched: Index | None = None
        self._same: dict[str, tuple[int, ...]] = {}
        self._brought: dict[str, Kept] = {}

    def claim(self) -> None:
        """Be the one who writes from now on; whoever did so before is refused when it writes again.

        Raises:
            InputError: No such bucket, or something else than a folder's snapshot lies there.
            EnvironmentFault: No permission.
            StoreAway: The store does not answer, or what was fetched is no longer what it holds.
        """
        before = self._read()
        if before is None and (found := self.store.names()):
            raise InputError(f"{self.store.shown}: holds {found[0]!r} and no run; choose another address")
        if self._fetched not in (None, before or NOTHING):
            raise StoreAway(f"{self.store.shown}: another process has written here since it was read")
        self._write(replace(before or NOTHING, writer=self._me))
        self.claimed = True

    def holds(self, name: str) -> bool:
        """Return whether the folder has a file or a folder of this name."""
        return any(_lies_in(path, name) for path in (self._read() or NOTHING).files)

    def fetch(self, folder: Path, name: str = "") -> None:
        """Copy the files into ``folder``, or those alone that are or lie below ``name``; none of them twice.

        Raises:
            EnvironmentFault: No permission, no space on the disk, or what was stored is no longer there.
            StoreAway: The store does not answer, or another process writes.
        """
        self._fetched = index = self._read() or NOTHING
        part = {path: kept for path, kept in index.files.items() if _lies_in(path, name)}
        wanted = {path: kept for path, kept in part.items() if not self._is_here(folder / path, path, kept)}
        try:
            for portion in _portions({path: kept.size for path, kept in wanted.items()}):
                self.store.get([wanted[path].object for path in portion], [folder / path for path in portion])
        except Missing as error:
            raise self._damaged(index, "an object that its index names is gone") from error
        for path, kept in wanted.items():
            if kept.sha256 and files.sha256_of(folder / path) != kept.sha256:
                raise self._damaged(index, f"{kept.object} is not what was stored")
            self._same[path], self._brought[path] = _mark(folder / path), kept

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
                self.store.put([paths[name] for name in portion], [new[name].object for name in portion])
        except Missing as error:  # not the bucket: this process has claimed it
            raise StoreAway(f"{self.store.shown}: it has lost a part of what was sent") from error
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
        numbered = {name for name in _ours(self.store.names(deep=True)) if _NUMBERED.search(name)}
        named = {kept.object for kept in before.files.values()}
        moved = {path: kept for path, kept in before.files.items() if path not in named}
        if moved and self.store.copies:
            self.store.copy([kept.object for kept in moved.values()], moved)
            self._replace(
                before, {**before.files, **{path: replace(kept, object=path) for path, kept in moved.items()}}
            )
        self.store.delete(numbered - {kept.object for kept in self._mine().files.values()})

    def forget(self, name: str) -> None:
        """Let the folder have no file of this name.

        Raises:
            EnvironmentFault: No permission, or another process writes now.
            StoreAway: The store does not answer.
        """
        before = self._mine()
        if name in before.files:
            self._replace(before, {path: kept for path, kept in before.files.items() if path != name})

    def delete(self) -> None:
        """Delete the folder."""
        before = self._read()
        if before is not None:
            self._write(Index(self._me, before.number + 1, {}))  # first: an index never names what is gone
            self.store.delete({kept.object for kept in before.files.values()})
            self.store.delete([INDEX])

    def _is_here(self, file: Path, path: str, kept: Kept) -> bool:
        """Return whether a file was fetched before, and has not changed since, here or there."""
        fetched = kept.sha256 != "" and self._brought.get(path) == kept
        return fetched and file.is_file() and self._same.get(path) == _mark(file)

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
                f"{self.store.shown}: another process has begun to write here; let one job at a time work there"
            )
        return index

    def _replace(self, before: Index, now: Mapping[str, Kept]) -> None:
        """Replace the index, and delete what only the one before names."""
        self._mine()  # asked again, as it may have taken long
        self._write(Index(self._me, before.number + 1, now))
        self.store.delete({kept.object for kept in before.files.values()} - {kept.object for kept in now.values()})

    def _damaged(self, index: Index, what: str) -> EnvironmentFault:
        """Return what to say of a store that does not hold what its index says, unless that has changed meanwhile."""
        if (self._read() or NOTHING) != index:
            return StoreAway(f"{self.store.shown}: another process wrote here while it was read")
        fix = "bring it back from a backup, or delete all that lies there to begin anew"
        return EnvironmentFault(f"{self.store.shown}: {what}; {fix}")

    def _read(self) -> Index | None:
        try:
            text = self.store.read(INDEX)
        except Missing:
            return None
        try:
            raw = json.loads(text)
            kept = {_within(path): Kept(**each) for path, each in raw["files"].items()}
            return Index(raw["writer"], raw["number"], kept)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{self.store.shown}/{INDEX}: not an index of ours; choose another address") from error

    def _write(self, index: Index) -> None:
        text = json.dumps(asdict(index), indent=1, ensure_ascii=False).encode()
        self.store.write(INDEX, text)


def _lies_in(path: str, name: str) -> bool:
    return not name or path == name or path.startswith(f"{name}/")


def _ours(names: Iterable[str]) -> list[str]:
    """Return the names that do not lie in a folder below, which has an index of its own."""
    others = tuple(name.removesuffix(INDEX) for name in names if name.endswith(f"/{INDEX}"))
    return [name for name in names if not name.startswith(others)]


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
