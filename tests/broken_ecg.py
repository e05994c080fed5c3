"""Makers of heartbeat files, whole and broken, for the tests."""

import gzip
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "ecg"
"""Real data beside the checkout; tests that need it are skipped without it."""

Maker = Callable[[Path], Path]


def rows(labels: Sequence[int] = (0, 1, 2, 3, 4), seed: int = 0) -> NDArray[np.float64]:
    """Return beats, (n, 188), as the heartbeat CSV holds them: 187 random samples in [0, 1] and the label."""
    samples = np.random.default_rng(seed).integers(0, 400, (len(labels), 187)) / 399
    return np.column_stack([samples, np.array(labels, np.float64)])


def text(table: NDArray[np.float64]) -> str:
    """Return the text of a heartbeat CSV file."""
    out = io.StringIO()
    np.savetxt(out, table, fmt="%.18e", delimiter=",")
    return out.getvalue()


def lines() -> list[str]:
    """Return the five lines of a good file, without line ends."""
    return text(rows()).splitlines()


def cell(row: int, column: int, value: str) -> str:
    """Return a good file with another text at ``row``, ``column`` (both from 1)."""
    table = [line.split(",") for line in lines()]
    table[row - 1][column - 1] = value
    return "".join(",".join(line) + "\n" for line in table)


def file(name: str, content: str | bytes) -> Maker:
    """Return a maker of one file."""

    def make(folder: Path) -> Path:
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)
        return folder / name

    return make


def folder_of(files: Mapping[str, str | bytes | None]) -> Maker:
    """Return a maker of a folder; None makes a folder of that name, with a file in it."""

    def make(folder: Path) -> Path:
        for name, content in files.items():
            if content is None:
                (folder / name).mkdir()
                (folder / name / "file").write_text("")
            else:
                file(name, content)(folder)
        return folder

    return make


def arrays(n: int = 5, **changed: object) -> dict[str, Any]:
    """Return the arrays of a good npz archive, with some changed; None leaves one out."""
    rng = np.random.default_rng(0)
    num = rng.integers(0, 300, (n, 187)).astype(np.uint16)
    good: dict[str, Any] = {
        "X_num": num,
        "X_den": num.max(axis=1),
        "y": (np.arange(n) % 5).astype(np.uint8),
        "record": np.full(n, 100, np.uint16),
    }
    return {key: value for key, value in (good | changed).items() if value is not None}


def npz(**changed: object) -> bytes:
    """Return the bytes of an npz archive."""
    out = io.BytesIO()
    np.savez_compressed(out, **arrays(**changed))  # type: ignore[arg-type]
    return out.getvalue()


def edited(array: NDArray[Any], index: Any, value: int) -> NDArray[Any]:
    """Return a copy of ``array`` with another value at ``index``."""
    copy = array.copy()
    copy[index] = value
    return copy


def packed(content: str) -> bytes:
    """Return gzip data."""
    return gzip.compress(content.encode())


def write_record(
    folder: Path, name: str, *, signal: NDArray[np.int64], times: Sequence[int], symbols: Sequence[str], hz: int = 360
) -> None:
    """Write a WFDB record of two channels in format 212, the first of them ``signal`` in ADC units."""
    import wfdb

    wfdb.wrsamp(
        name,
        fs=hz,
        units=["mV", "mV"],
        sig_name=["MLII", "V5"],
        d_signal=np.c_[signal, np.full(len(signal), 7)],
        fmt=["212", "212"],
        adc_gain=[200.0, 200.0],
        baseline=[1024, 1024],
        write_dir=str(folder),
    )
    wfdb.wrann(name, "atr", np.array(times), symbol=list(symbols), write_dir=str(folder))


def good_record(folder: Path, name: str = "100", seed: int = 0, beats: int = 12) -> None:
    """Write a record of random beats and other annotations."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.integers(200, 900, beats))
    signal = rng.integers(0, 2000, times[-1] + 400)
    write_record(
        folder, name, signal=signal, times=times.tolist(), symbols=list(rng.choice([*"NLRejAaJSVEF/fQ+~|"], beats))
    )
