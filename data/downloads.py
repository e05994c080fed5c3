"""Copies files and folders of any fsspec file system into the cache, once for each version of them."""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from parak8s.errors import EnvironmentFault, InputError, ParaK8sError, nearest
from parak8s.files import sha256_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

EXTRAS = {
    "http": "http",
    "https": "http",
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "gcs": "gs",
    "abfs": "abfs",
    "az": "abfs",
}
"""Protocols that need a plug-in, and the extra of ParaK8s that installs it."""

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


def public(url: str) -> str:
    """Return ``url`` without user name, password and query, which may hold secrets."""
    return re.sub(r"//[^/@]*@", "//", url).partition("?")[0] if "://" in url else url


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
    with _remote(url, protocol):
        fs, path = _file_system(url, protocol)
        remote = _look(fs, path, listed=protocol not in ("http", "https"))
    version = remote.version()
    home = cache_folder() / "sources"
    if version is not None and (home / _key(url, version) / remote.name).exists():
        return home / _key(url, version) / remote.name
    with _aside(home) as aside:
        copies = [
            str(aside / remote.name / name if remote.folder else aside / remote.name) for name, _, _ in remote.files
        ]
        with _remote(url, protocol):
            fs.get([place for _, place, _ in remote.files], copies)
        _refuse_short(url, copies, remote)
        final = home / _key(url, version or repr([sha256_of(Path(copy)) for copy in copies]))
        _publish(aside, final)
    return final / remote.name


def _key(url: str, version: str) -> str:
    return hashlib.sha256(f"{url}\n{version}".encode()).hexdigest()[:32]


def _file_system(url: str, protocol: str) -> "tuple[AbstractFileSystem, str]":
    """Return the fsspec file system of ``url`` and its path there."""
    import fsspec

    if protocol not in fsspec.available_protocols():
        known = ["file", "memory", "synthetic", *EXTRAS]
        raise InputError(
            f"{public(url)}: no protocol {protocol!r}; {nearest(protocol, known)}, and what else fsspec knows"
        )
    fs, path = fsspec.url_to_fs(url, **(_http_options() if protocol in ("http", "https") else {}))
    fs.invalidate_cache()
    return fs, path


def _http_options() -> dict[str, Any]:
    """Return settings for whole files as they are stored: no compression on the way, no limit on the total time."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=120)
    return {"headers": {"Accept-Encoding": "identity"}, "client_kwargs": {"timeout": timeout, "trust_env": True}}


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


@contextlib.contextmanager
def _remote(url: str, protocol: str) -> Iterator[None]:
    """Turn what a file system raises into one sentence."""
    try:
        yield
    except ParaK8sError:
        raise
    except Exception as error:  # each plug-in has errors of its own, without a common base
        raise _fault(error, url, protocol) from error


def _fault(error: Exception, url: str, protocol: str) -> ParaK8sError:
    name = public(url)
    if isinstance(error, ImportError):
        fix = f"pip install 'parak8s[{EXTRAS[protocol]}]'" if protocol in EXTRAS else str(error)
        return EnvironmentFault(f"{name}: reading {protocol}:// needs a plug-in that is not installed: {fix}")
    status = getattr(error.__cause__, "status", 404)  # fsspec calls every failed HTTP request "not found"
    connected = not isinstance(error.__cause__, OSError)
    if isinstance(error, FileNotFoundError) and status == 404 and connected:
        return InputError(f"{name}: no such file or folder")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _cache_fault(error)
    cause = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ else error
    reason = str(cause).replace(url, name) or type(cause).__name__
    return EnvironmentFault(f"{name}: cannot be read: {type(cause).__name__}: {reason}")


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
