"""Reads the heartbeat CSV of Kachuee, Fazeli and Sarrafzadeh (2018), arXiv:1805.00794."""

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from parak8s.data.ecg import csv_mistakes
from parak8s.data.ecg.beats import CLASSES, LENGTH, Beats
from parak8s.data.sources import reading
from parak8s.errors import InputError

if TYPE_CHECKING:
    from pyarrow import RecordBatch

BLOCK_BYTES = 8 << 20
TAIL_BYTES = 16 << 10


def read(path: Path) -> Beats:
    """Read one file of 188 columns without a header: 187 samples, as a rule in [0, 1], and the label 0 to 4.

    Numbers are parsed as float64 and stored as float32. A file that begins like gzip is decompressed, whatever its
    name. Memory beyond the result is bounded. Empty lines do not count.

    Raises:
        InputError: With the row (line, from 1) and the column (from 1) of the first mistake.
        EnvironmentFault: The file may not be read.
    """
    import pyarrow

    _refuse_other_formats(path)
    try:
        with _opened(path) as file:
            tail = _Tail(file)
            inputs, labels = _columns(tail)
    except pyarrow.ArrowInvalid as error:
        raise InputError(_explained(path, str(error))) from error
    if not (len(labels) and np.isfinite(inputs).all() and np.isin(labels, range(len(CLASSES))).all()):
        raise InputError(_explained(path, "a number is not finite, or a label is not a class"))
    if csv_mistakes.is_cut(tail.last):
        raise InputError(_explained(path, "the last row is cut"))
    return Beats(inputs, labels.astype(np.int32))


class _Tail(io.RawIOBase):
    """Passes bytes on and remembers the last of them, which show whether the file was cut."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.last = file, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self.file.read(size)
        self.last = chunk[-TAIL_BYTES:] if len(chunk) >= TAIL_BYTES else (self.last + chunk)[-TAIL_BYTES:]
        return chunk


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Yield the bytes of the text in ``path``, decompressed where they are compressed."""
    try:
        with reading(path), path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with _unpacking(path):
                yield cast(IO[bytes], gzip.GzipFile(fileobj=raw) if packed else raw)
    except MemoryError:
        raise InputError(f"{path}: does not fit into memory") from None


@contextlib.contextmanager
def _unpacking(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({error}); copy or download it again") from error


def _refuse_other_formats(path: Path) -> None:
    with _opened(path) as file:
        head = file.read(4096)
    if not head:
        raise InputError(f"{path}: empty; expected rows of {LENGTH + 1} numbers")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: UTF-16 text (it begins with a byte order mark); save it as UTF-8 or ASCII")
    if b"\0" in head:
        raise InputError(f"{path}: binary data (byte {head.index(0)} is 0); expected CSV text")


def _columns(file: io.RawIOBase) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return samples (n, 187) and labels (n,)."""
    from pyarrow import csv, float64

    names = [str(column) for column in range(LENGTH + 1)]
    batches = csv.open_csv(
        file,
        read_options=csv.ReadOptions(column_names=names, block_size=BLOCK_BYTES),
        parse_options=csv.ParseOptions(quote_char=False, double_quote=False),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, float64()), null_values=[], strings_can_be_null=False
        ),
    )
    parts = [_part(batch) for batch in batches] or [(np.empty((0, LENGTH), np.float32), np.empty(0))]
    return np.concatenate([samples for samples, _ in parts]), np.concatenate([labels for _, labels in parts])


def _part(batch: "RecordBatch") -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    samples = np.empty((batch.num_rows, LENGTH), np.float32)
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        for column in range(LENGTH):
            samples[:, column] = batch.column(column).to_numpy()
    return samples, batch.column(LENGTH).to_numpy()


def _explained(path: Path, otherwise: str) -> str:
    """Return the message for the first mistake, found by a slow second reading."""
    with _opened(path) as file:
        mistake = csv_mistakes.first_mistake(io.TextIOWrapper(file, encoding="latin-1"), LENGTH + 1)
    return f"{path}: {mistake or otherwise}"
