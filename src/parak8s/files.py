"""Writes files and folders whole or not at all: aside first, renamed when complete."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, which holds either the old content or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def is_aside(name: str) -> bool:
    """Return whether a file of this name was on its way when its process was killed."""
    return bool(re.fullmatch(r"\..+\.[0-9a-f]{32}", name))


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as JSON, whole or not at all. NaN and infinity, which JSON lacks, are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the value in a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def partial_of(path: Path) -> Path:
    """Return where the folder ``path`` grows until it is complete."""
    return path.with_name(f".{path.name}.partial")


@contextlib.contextmanager
def folder(path: Path, *, resume: str | None = None) -> Iterator[Path]:
    """Yield a folder beside ``path`` to write into; it becomes ``path`` when the block ends without an error.

    Args:
        path: Where the complete folder will stand; one that stands there now is replaced.
        resume: Begin with what an interrupted block of the same name left, and leave it for the next one after an
            error; None begins and ends with nothing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = partial_of(path), path.with_name(f".{path.name}.old")
    mark = partial / ".resume"
    if resume is None or not mark.is_file() or mark.read_text() != resume:
        shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(exist_ok=True)
    try:
        if resume is not None:
            mark.write_text(resume)
        yield partial
    except BaseException:
        if resume is None:
            shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    partial.rename(path)
    (path / mark.name).unlink(missing_ok=True)  # last, so that it is lost with nothing else
    shutil.rmtree(old, ignore_errors=True)
