"""Copies files and folders of any fsspec file system into the cache, once for each version of them."""

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from parak8s.data.remote import explained, file_system, public
from parak8s.errors import EnvironmentFault, InputError
from parak8s.files import sha256_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MARKS = (
    *("ETag", "etag", "Content-MD5", "content_md5", "md5Hash", "Digest", "sha", "hex", "generation"),
    *("Last-Modified", "LastModified", "last_modified", "modified", "modify", "mtime", "created"),
)
"""Properties by which file systems tell that a file has changed."""


@dataclass(frozen=True)
class _Remote:
    """What stands at a URL.

    Args:
        name: Last part of its path.
        folder: Whether it is a folder.
        files: For each file its path below the URL (empty for a file itself), its path on the file system, and what
            the file system says of it.
    """

    name: str
    folder: bool
    files: tuple[tuple[str, str, Mapping[str, Any]], ...]

    def version(self) -> str | None:
        """Return text that changes with the content; None where the file system gives no mark of change."""
        marks = [
            (name, info.get("size"), [str(info[key]) for key in MARKS if info.get(key)]) for name, _, info in self.files
        ]
        return repr(marks) if all(values for _, _, values in marks) else None


def cache_folder() -> Path:
    """Return the folder that keeps downloads: ``PARAK8S_CACHE``, else ``parak8s`` in the platform's user cache."""
    if chosen := os.environ.get("PARAK8S_CACHE"):
        return Path(chosen).expanduser()
    places = {"darwin": ("", "~/Library/Caches"), "win32": ("LOCALAPPDATA", "~/AppData/Local")}
    variable, default = places.get(sys.platform, ("XDG_CACHE_HOME", "~/.cache"))
    return Path(os.environ.get(variable) or default).expanduser() / "parak8s"


def download(url: str, protocol: str) -> Path:
    """Return the copy in the cache of the file or folder at ``url``, of the version that stands there now.

    Where a file system gives no mark of change (a web server without ETag and time), each call downloads again.
    An ``http(s)://`` URL is a folder when it ends in a slash. Old versions stay until somebody deletes them.

    Raises:
        InputError: No such protocol, file or folder; a name that leads out of the folder.
        EnvironmentFault: No plug-in for the protocol, no permission, no network, no space in the cache.
    """
    with explained(url, protocol):
        fs, path = file_system(url, protocol)
        remote = _look(fs, path, listed=protocol not in ("http", "https"))
    version = remote.version()
    home = cache_folder() / "sources"
    if version is not None and (home / _key(url, version) / remote.name).exists():
        return home / _key(url, version) / remote.name
    with _aside(home) as aside:
        copies = [
            str(aside / remote.name / name if remote.folder else aside / remote.name) for name, _, _ in remote.files
        ]
        try:
            with explained(url, protocol):
                fs.get([place for _, place, _ in remote.files], copies)
        except OSError as error:
            raise _cache_fault(error) from error
        _refuse_short(url, copies, remote)
        final = home / _key(url, version or repr([sha256_of(Path(copy)) for copy in copies]))
        _publish(aside, final)
    return final / remote.name


def _key(url: str, version: str) -> str:
    return hashlib.sha256(f"{url}\n{version}".encode()).hexdigest()[:32]


def _look(fs: "AbstractFileSystem", path: str, *, listed: bool) -> _Remote:
    """Return what stands at ``path``. ``listed``: a listing says enough; otherwise each file is asked for its marks."""
    name = PurePosixPath(unquote(urlsplit(path).path)).name or "data"
    folder = fs.isdir(path) if listed else path.endswith("/")
    if not folder:
        return _Remote(name, False, (("", path, fs.info(path)),))
    top = path.rstrip("/") + "/"
    found = {place: info for place, info in fs.find(path, detail=True).items() if not place.endswith("/")}
    if not listed:
        found = {place: fs.info(place) for place in found if "?" not in place}
    if not found:
        raise InputError(f"{public(path)}: no such folder, or one without files")
    return _Remote(name, True, tuple((_below(place, top), place, found[place]) for place in sorted(found)))


def _below(place: str, top: str) -> str:
    name = unquote(place.removeprefix(top)) if "://" in place else place.removeprefix(top)
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        raise InputError(f"{public(top)}: lists {name!r}, a name that leads out of the folder")
    return name


def _refuse_short(url: str, copies: list[str], remote: _Remote) -> None:
    for copy, (name, _, info) in zip(copies, remote.files, strict=True):
        expected, got = info.get("size"), Path(copy).stat().st_size
        if expected is not None and expected != got:
            raise EnvironmentFault(
                f"{public(url)}{name}: {got:,} bytes came, expected {expected:,}: the connection broke off, or the "
                "file changed meanwhile; give the same command again"
            )


@contextlib.contextmanager
def _aside(home: Path) -> Iterator[Path]:
    """Yield a new folder in ``home``, and remove it unless it has been renamed."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".partial-", dir=home))
    except OSError as error:
        raise _cache_fault(error) from error
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _publish(aside: Path, final: Path) -> None:
    try:
        aside.rename(final)
    except OSError as error:
        if not final.is_dir():  # else another process was quicker with the same version
            raise _cache_fault(error) from error


def _cache_fault(error: OSError) -> EnvironmentFault:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return EnvironmentFault(
        f"{error.filename or cache_folder()}: cannot write the cache of downloads: {reason}; "
        "set PARAK8S_CACHE to a folder with space where you may write"
    )
