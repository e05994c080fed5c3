"""Opens fsspec file systems, and says in plain words what goes wrong with them."""

import contextlib
import errno
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from parak8s.errors import EnvironmentFault, InputError, ParaK8sError, nearest

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


LASTING = (FileNotFoundError, PermissionError, ImportError)
LASTING_NAMES = ("NoCredentialsError", "PartialCredentialsError", "ParamValidationError", "ClientAuthenticationError")
"""Errors of plug-ins that another attempt meets again."""


def public(url: str) -> str:
    """Return ``url`` without user name, password and query, which may hold secrets.

    With ``abfs://`` the name before the host is the container's.
    """
    if "://" not in url:
        return url
    user = "//[^/@:]*:[^/@]*@" if url.startswith(("abfs:", "abfss:", "az:")) else "//[^/@]*@"
    return re.sub(user, "//", url).partition("?")[0]


def file_system(url: str, protocol: str, **options: Any) -> "tuple[AbstractFileSystem, str]":
    """Return the fsspec file system of ``url``, with options of its own, and its path there."""
    import fsspec

    if protocol not in fsspec.available_protocols():
        known = ["file", "memory", "synthetic", *EXTRAS]
        raise InputError(
            f"{public(url)}: no protocol {protocol!r}; {nearest(protocol, known)}, and what else fsspec knows"
        )
    more = _http_options() if protocol in ("http", "https") else options
    fs, path = fsspec.url_to_fs(url, **more)
    fs.invalidate_cache()
    return fs, path


def _http_options() -> dict[str, Any]:
    """Return settings for whole files as they are stored: no compression on the way, no limit on the total time."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=120)
    return {"headers": {"Accept-Encoding": "identity"}, "client_kwargs": {"timeout": timeout, "trust_env": True}}


@contextlib.contextmanager
def explained(url: str, protocol: str, act: str = "read") -> Iterator[None]:
    """Turn what a file system raises into one sentence; that this machine's disk is full is raised as it is.

    Args:
        url: What is read or written.
        protocol: Of the URL.
        act: ``read`` or ``written``.
    """
    try:
        yield
    except ParaK8sError:
        raise
    except Exception as error:  # each plug-in has errors of its own, without a common base
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _fault(error, url, protocol, act) from error


def is_lasting(error: BaseException) -> bool:
    """Return whether another attempt would meet the same: something is missing, is not allowed, or is no address."""
    found: BaseException | None = error
    while found is not None:
        status = {str(getattr(found, name, "")) for name in ("status", "status_code", "code")}
        if isinstance(found, LASTING) or type(found).__name__ in LASTING_NAMES or status & {"401", "403", "404"}:
            return True
        if str(found).startswith("Forbidden"):  # how gcsfs says 403
            return True
        found = found.__cause__
    return False


def _fault(error: Exception, url: str, protocol: str, act: str) -> ParaK8sError:
    name = public(url)
    if isinstance(error, ImportError):
        fix = f"pip install 'parak8s[{EXTRAS[protocol]}]'" if protocol in EXTRAS else str(error)
        return EnvironmentFault(f"{name}: {protocol}:// needs a plug-in that is not installed: {fix}")
    status = getattr(error.__cause__, "status", 404)  # fsspec calls every failed HTTP request "not found"
    connected = not isinstance(error.__cause__, OSError)
    if isinstance(error, FileNotFoundError) and status == 404 and connected:
        return InputError(f"{name}: no such file or folder")
    cause = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ else error
    reason = str(cause).replace(url, name) or type(cause).__name__
    return EnvironmentFault(f"{name}: cannot be {act}: {type(cause).__name__}: {reason}")
