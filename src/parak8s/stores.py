"""A folder in an object store, read and written object by object, with patience."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from parak8s.data.remote import explained, file_system, is_lasting, public
from parak8s.errors import EnvironmentFault, InputError

log = logging.getLogger(__name__)
T = TypeVar("T")

PAUSES_S, PATIENCE_S = (1, 2, 4, 8, 15, 30, 30, 30), 120.0
"""Before a store that does not answer is asked again; when to give up, counted from the first question."""
_S3 = {"config_kwargs": {"connect_timeout": 10, "read_timeout": 30, "retries": {"total_max_attempts": 1}}}
OPTIONS, ATTEMPTS = {"s3": _S3, "s3a": _S3}, 3
"""By protocol, and how often s3fs asks for one object: a store that takes a connection and says nothing holds us up for
a minute and a half, not for six minutes."""
COPYING = ("s3", "s3a", "gs", "gcs")
"""Protocols whose libraries wait until a copy within the store is there; adlfs does not."""


class StoreAway(EnvironmentFault):
    """The object store does not answer: a replica that ends so is started again."""

    exit_code = 200


class Missing(InputError):  # noqa: N818 - as FileNotFoundError is called, but for a store
    """There is no such bucket, or no such object."""


class ObjectStore:
    """A folder in an object store. Names of objects are paths below it.

    All methods raise EnvironmentFault where a permission is missing, and StoreAway where there is no answer.

    Args:
        url: Its address.

    Attributes:
        shown: The address without a password.
        copies: Whether objects can be copied within the store.
    """

    def __init__(self, url: str) -> None:
        self.url, self._protocol = url.rstrip("/"), url.partition("://")[0]
        self.shown, self.copies = public(self.url), self._protocol in COPYING
        with explained(self.url, self._protocol):
            self._fs, self._path = file_system(self.url, self._protocol, **OPTIONS.get(self._protocol, {}))
        self._fs.retries = ATTEMPTS  # of s3fs, which takes it in no other way; the others do not look at it

    def read(self, name: str) -> bytes:
        """Return the content of an object.

        Raises:
            Missing: There is none.
        """
        content: bytes = self._do(partial(self._fs.cat_file, self._place(name)))
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write an object: whoever reads it sees the old content or the new.

        Raises:
            Missing: There is no bucket.
        """
        self._do(partial(self._fs.pipe_file, self._place(name), content), "written")

    def get(self, names: Iterable[str], files: Iterable[Path]) -> None:
        """Copy objects to files.

        Raises:
            Missing: One is not there.
        """
        self._do(partial(self._fs.get, [*map(self._place, names)], [*map(str, files)]))

    def put(self, files: Iterable[Path], names: Iterable[str]) -> None:
        """Copy files to objects."""
        self._do(partial(self._fs.put, [*map(str, files)], [*map(self._place, names)]), "written")

    def copy(self, old: Iterable[str], new: Iterable[str]) -> None:
        """Copy objects within the store; only where :attr:`copies` says so."""
        self._do(partial(self._fs.copy, [*map(self._place, old)], [*map(self._place, new)]), "written")

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects that nobody needs any more. Those that cannot be deleted stay, and do no harm."""
        try:
            for name in names:
                self._fs.rm_file(self._place(name))
        except Exception as error:  # each plug-in has errors of its own
            log.debug("%s: %s and others may stay: %s", self.shown, name, error)

    def names(self, *, deep: bool = False) -> Sequence[str]:
        """Return the names of what lies in the folder, in folders too if ``deep``."""
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
        """Return what ``call`` returns; where that may help, call it again."""
        try:
            with explained(self.url, self._protocol, act):
                return self._persistently(call)
        except OSError as error:  # of this machine's disk
            raise EnvironmentFault(f"{self.shown}: no room here for a copy: {error.strerror or error}") from error
        except InputError as error:
            raise Missing(f"{self.shown}: no such bucket; create it, or name another address") from error
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
                log.warning("%s does not answer (%s); once more in %d s", self.shown, type(error).__name__, pause)
            time.sleep(pause)
        return call()
