"""Where raw data comes from: any fsspec URL, brought to this machine and identified by its SHA-256."""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from parak8s.data.downloads import download
from parak8s.data.remote import public
from parak8s.errors import EnvironmentFault, InputError, ParaK8sError, from_os_error
from parak8s.files import sha256_of


@dataclass(frozen=True)
class Source:
    """Raw data on this machine.

    Args:
        url: As the experiment file names it.
        root: The file, or the folder; None for ``synthetic://``, which has no files.
        files: All files of the source, sorted by name. Hidden ones (``.name``, or in such a folder) do not count. A
            file that lists others comes with them: see :meth:`with_listed`.
    """

    url: str
    root: Path | None
    files: tuple[Path, ...]

    def digest(self) -> str | None:
        r"""Return ``sha256:`` and 64 hexadecimal digits that name this version; None without files.

        One file: what ``sha256sum FILE`` prints. A folder: the SHA-256 of the lines that sha256sum prints for its
        files, sorted by name. The same with GNU tools, in the folder::

            find -L . -type f ! -path '*/.*' -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum

        Raises:
            EnvironmentFault: A file may not be read.
        """
        if self.root is None:
            return None
        with reading(self.root):
            if self.files == (self.root,):
                return f"sha256:{sha256_of(self.root)}"
            lines = "".join(_line(sha256_of(file), self.name(file)) for file in self.files)
        return f"sha256:{hashlib.sha256(os.fsencode(lines)).hexdigest()}"

    def name(self, file: Path) -> str:
        """Return the path of ``file`` below the source, with slashes: the same wherever the source lies."""
        assert self.root is not None
        folder = self.root if self.root.is_dir() else self.root.parent
        return Path(os.path.relpath(file, folder)).as_posix()

    def with_listed(self, listed: Iterable[Path]) -> "Source":
        """Return the source with the files that one of its own files lists: they are part of its version."""
        files = {*self.files, *listed}
        return replace(self, files=tuple(sorted(files, key=lambda file: os.fsencode(self.name(file)))))


def _line(digest: str, name: str) -> str:
    """Return the line of sha256sum, which begins with a backslash where the name holds escapes."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{digest}  {name}\n" if escaped == name else f"\\{digest}  {escaped}\n"


def check_pinned(digest: str, pinned: str | None, url: str) -> None:
    """Refuse any version of the source but the pinned one; None pins nothing.

    Raises:
        InputError: ``digest`` is not ``pinned``.
    """
    if pinned is not None and digest != pinned:
        raise InputError(
            f"{public(url)}: not the version that data.digest pins: expected {pinned}, got {digest}; "
            "bring that version back, or write the new digest into the experiment file"
        )


def fetch(url: str) -> Source:
    """Bring the data at ``url`` to this machine.

    A path (also ``file://``) is used in place; ``synthetic://`` has no files; what other fsspec file systems hold is
    downloaded into a cache (``PARAK8S_CACHE``, else the platform's user cache), once for each version.

    Raises:
        InputError: No such protocol, file or folder; an empty folder; a loop of symbolic links.
        EnvironmentFault: No permission, no plug-in for the protocol, no network, no space in the cache.
    """
    if not url.strip() or "\0" in url:
        raise InputError(f"data.source: expected a path or a URL, got {url!r}")
    protocol = url.partition("://")[0].rpartition("::")[2] if "://" in url else "file"
    if protocol == "synthetic":
        return Source(url, None, ())
    root = _local_path(url) if protocol in ("file", "local") else download(url, protocol)
    return Source(url, root, _files(root))


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say in plain words why the operating system does not let us read ``path``."""
    try:
        yield
    except OSError as error:
        raise _read_fault(error, path) from error


def _read_fault(error: OSError, path: Path) -> ParaK8sError:
    place = error.filename or path
    if isinstance(error, PermissionError):
        return EnvironmentFault(f"{place}: no permission to read; change its owner or mode (chmod u+r)")
    reasons = {
        errno.ENOENT: "no such file or folder",
        errno.ENOTDIR: "no such file: a part of this path is a file, not a folder",
        errno.EISDIR: "a folder; expected a file",
        errno.ELOOP: "a loop of symbolic links",
        errno.ENAMETOOLONG: "no such file: the name is too long",
    }
    reason = reasons.get(error.errno or 0)
    if error.errno == errno.ENOENT and Path(place).is_symlink():
        reason = f"a link to {Path(place).readlink()}, which does not exist"
    return InputError(f"{place}: {reason}") if reason else from_os_error(error, path)


def _local_path(url: str) -> Path:
    if "://" not in url:
        try:
            return Path(url).expanduser()
        except RuntimeError:
            raise InputError(f"{url}: no such user; write the whole path") from None
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise InputError(f"{url}: {parts.netloc!r} would be a host; write file:// and a path that begins with /")
    return Path(url2pathname(parts.path))


def _files(root: Path) -> tuple[Path, ...]:
    """Return ``root``, or the files below it in the order of their names' bytes."""
    files = sorted(_walk(root, frozenset()), key=lambda file: os.fsencode(file.relative_to(root).as_posix()))
    if not files:
        raise InputError(f"{root}: a folder without files")
    return tuple(files)


def _walk(path: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    with reading(path):
        status = path.stat()
        children = sorted(path.iterdir()) if stat.S_ISDIR(status.st_mode) else None
    if children is None:
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: neither a file nor a folder")
        yield path
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise InputError(f"{path}: a loop of symbolic links: it leads back to a folder above it")
    for child in children:
        if not child.name.startswith("."):
            yield from _walk(child, above | {here})
