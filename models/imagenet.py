"""The weights of ImageNet that Keras publishes: fetched once into Keras's own cache, and verified at every use."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from parak8s import files
from parak8s.errors import EnvironmentFault, InputError
from parak8s.models.weights import check_pinned, digest_of

TIMEOUTS_S = (10, 60)
"""For the connection, and for each piece of the file."""
PIECE = 1 << 20


def folder() -> Path:
    """Return Keras's own folder of weights: ``KERAS_HOME/models``, else ``~/.keras/models``."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


@contextlib.contextmanager
def read_by_keras(digest: str | None) -> Iterator[list[str]]:
    """Let Keras build a network with ``weights="imagenet"`` from a verified file; yield the file's digest.

    Its SHA-256 is kept beside the file, as ``FILE.sha256``, once Keras could read it.

    Args:
        digest: ``sha256:...`` that the file must have; None takes what was kept, if it was used before.

    Raises:
        InputError: The file is not the pinned one, not the one used before, or not the one that Keras publishes.
        EnvironmentFault: It is not in the cache and cannot be fetched.
    """
    from keras.src.utils import file_utils

    used: list[str] = []
    read: list[Path] = []

    def get_file(name: str, origin: str, *, file_hash: str | None = None, **_: object) -> str:
        file = folder() / name
        if not file.is_file():
            _download(origin, file, file_hash)
        used.append(_verified(file, digest, file_hash))
        read.append(file)
        return str(file)

    # Keras tells nobody which file it reads; and left alone it reads one that broke off, and deletes the user's own.
    original, file_utils.get_file = file_utils.get_file, get_file
    try:
        yield used
    except (OSError, KeyError, ValueError) as error:  # what h5py and Keras say
        if isinstance(error, InputError) or not read:
            raise
        raise InputError(f"{read[0]}: cannot be read ({error}); delete it, and it is fetched again") from error
    finally:
        file_utils.get_file = original
    for file, found in zip(read, used, strict=True):
        _remember(file, found)


def _download(origin: str, file: Path, published: str | None) -> None:
    import requests

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=file.parent, prefix=".") as aside:
            whole = Path(aside) / file.name
            with requests.get(origin, stream=True, timeout=TIMEOUTS_S) as answer, whole.open("wb") as copy:
                answer.raise_for_status()
                for piece in answer.iter_content(PIECE):
                    copy.write(piece)
            _refuse_another(whole, published)
            whole.replace(file)
    except requests.RequestException as error:
        raise EnvironmentFault(
            f"the weights of ImageNet are not here and cannot be fetched ({type(error).__name__}): put the file "
            f"{file.name} from {origin} into {file.parent} (KERAS_HOME names another place for models/)"
        ) from error


def _verified(file: Path, digest: str | None, published: str | None) -> str:
    """Return the digest of ``file`` if it is the pinned one, the one used before, and the one that Keras publishes."""
    found = digest_of(file)
    check_pinned(found, digest, file)
    note = _note(file)
    known = f"sha256:{note.read_text(encoding='utf-8').split()[0]}" if note.is_file() else found
    if known != found:
        raise InputError(
            f"{file} has the digest {found}, but had {known} when it was first used ({note.name}); bring the old file "
            "back, or delete both and it is fetched again"
        )
    _refuse_another(file, published)
    return found


def _refuse_another(file: Path, published: str | None) -> None:
    """Compare ``file`` with the MD5 or SHA-256 that Keras publishes for some of its files."""
    if published is None:
        return
    kind = "sha256" if len(published) == 64 else "md5"
    with file.open("rb") as content:
        found = hashlib.file_digest(content, kind).hexdigest()
    if found != published:
        raise InputError(f"{file}: {kind} {found}, but Keras publishes {published}; delete it, and it is fetched again")


def _remember(file: Path, digest: str) -> None:
    """Keep the digest as ``sha256sum --check`` reads it; a cache that cannot be written to keeps none."""
    note = _note(file)
    if not note.is_file() and os.access(file.parent, os.W_OK):
        files.write_text(note, f"{digest.removeprefix('sha256:')}  {file.name}\n")


def _note(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")
