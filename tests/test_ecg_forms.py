"""The forms of heartbeats: the same beats come out of each, bit for bit."""

import gzip
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from broken_ecg import SHARED, good_record, npz, packed, rows, text, write_record
from parak8s.data.ecg import ECGLoader
from parak8s.data.examples import Examples
from parak8s.data.sources import fetch
from parak8s.errors import InputError

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared MIT-BIH data beside the checkout")


def read(path: Path, **options: object) -> Examples:
    return ECGLoader.model_validate(options).read(fetch(str(path)))


@pytest.fixture(scope="module")
def sample() -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the beats and labels of the shared sample, as numpy.loadtxt reads them."""
    table = np.loadtxt(SHARED / "mitbih_sample.csv", delimiter=",")
    return table[:, :187].astype(np.float32), table[:, 187].astype(np.int32)


@needs_shared
def test_the_csv_is_bitwise_what_numpy_reads(sample: tuple[NDArray[np.float32], NDArray[np.int32]]) -> None:
    beats = read(SHARED / "mitbih_sample.csv")
    assert beats.inputs.dtype == np.float32
    assert beats.inputs.tobytes() == sample[0].tobytes()
    assert beats.labels.tolist() == sample[1].tolist()
    assert np.bincount(beats.labels).tolist() == [1655, 51, 132, 15, 147]
    assert beats.patients is None
    assert beats.test is None


@needs_shared
def test_the_rows_of_the_csv_are_rows_of_the_npz(sample: tuple[NDArray[np.float32], NDArray[np.int32]]) -> None:
    beats = read(SHARED / "mitbih_test_dev.npz")
    train = read(SHARED / "mitbih_train.npz")
    known = {row.tobytes() for row in train.inputs}
    assert all(row.tobytes() in known for row in sample[0])
    assert np.bincount(beats.labels).tolist() == [9059, 278, 724, 81, 804]
    assert np.bincount(train.labels).tolist() == [72471, 2223, 5788, 641, 6431]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    samples=hnp.arrays(np.float64, (3, 187), elements=st.floats(-3e38, 3e38)),
    labels=st.lists(st.integers(0, 4), min_size=3, max_size=3),
    form=st.sampled_from(["%.18e", "%.17g", "%r"]),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_any_numbers_are_bitwise_those_of_float64_rounded_to_float32(
    samples: NDArray[np.float64], labels: list[int], form: str, ending: str, tmp_path: Path
) -> None:
    lines = [
        ",".join([*(form % float(value) for value in row), form % float(label)]) + ending
        for row, label in zip(samples, labels, strict=True)
    ]
    (tmp_path / "a.csv").write_bytes("".join(lines).encode())
    beats = read(tmp_path / "a.csv")
    assert beats.inputs.tobytes() == samples.astype(np.float32).tobytes()
    assert beats.labels.tolist() == labels


def test_a_file_of_many_blocks_comes_out_whole_and_in_order(tmp_path: Path) -> None:
    table = rows([index % 5 for index in range(2500)])
    with gzip.open(tmp_path / "a.csv.gz", "wt", compresslevel=1) as file:
        file.write(text(table))  # 11.7 MB: two blocks
    beats = read(tmp_path / "a.csv.gz")
    assert beats.inputs.tobytes() == table[:, :187].astype(np.float32).tobytes()
    assert beats.labels.tolist() == table[:, 187].tolist()


@pytest.mark.parametrize("change", ["no last line end", "CR LF", "byte order mark", "blank lines", "short labels"])
def test_harmless_variants_of_the_text_are_read(change: str, tmp_path: Path) -> None:
    good = text(rows())
    variants = {
        "no last line end": good.removesuffix("\n"),
        "CR LF": good.replace("\n", "\r\n"),
        "byte order mark": "\ufeff" + good,
        "blank lines": "\n" + good.replace("\n", "\n\n"),
        "short labels": "".join(f"{line[:-23]}\n" for line in good.splitlines()).removesuffix("\n"),
    }
    (tmp_path / "a.csv").write_bytes(variants[change].encode())
    beats = read(tmp_path / "a.csv")
    assert beats.inputs.tobytes() == rows()[:, :187].astype(np.float32).tobytes()
    assert beats.labels.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("train", "test"),
    [("mitbih_train.csv", "mitbih_test.csv"), ("mitbih_train.csv.gz", "mitbih_test.csv")],
)
def test_the_test_file_of_a_folder_is_its_test_set(train: str, test: str, tmp_path: Path) -> None:
    for name, labels, seed in ((train, (0, 1, 2), 0), (test, (3, 4), 1)):
        content = text(rows(labels, seed))
        (tmp_path / name).write_bytes(packed(content) if name.endswith(".gz") else content.encode())
    beats = read(tmp_path)
    assert beats.labels.tolist() == [0, 1, 2, 3, 4]
    assert beats.test is not None
    assert beats.test.tolist() == [False, False, False, True, True]


def test_the_npz_holds_whole_numbers_and_records(tmp_path: Path) -> None:
    num = np.zeros((3, 187), np.uint16)
    num[:, 0] = (1, 2, 3)
    archive = npz(n=3, X_num=num, X_den=np.array([3, 3, 7]), y=np.array([0, 4, 1]), record=np.array([100, 201, 202]))
    (tmp_path / "a.npz").write_bytes(archive)
    beats = read(tmp_path / "a.npz")
    assert beats.inputs[:, 0].tolist() == [np.float32(1 / 3), np.float32(2 / 3), np.float32(3 / 7)]
    assert beats.labels.tolist() == [0, 4, 1]
    assert beats.patients is not None
    assert beats.patients.tolist() == [100, 201, 201]  # records 201 and 202 are of one man
    assert beats.classes == ("N", "S", "V", "F", "Q")
    assert beats.axis == ("time", "ms", 1000 / 120)


def test_an_npz_without_records_has_no_patients(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(npz(record=None))
    assert read(tmp_path / "a.npz").patients is None
    with pytest.raises(InputError, match="needs record numbers"):
        read(tmp_path / "a.npz", protocol="de_chazal")


def test_de_chazal_shares_out_records(tmp_path: Path) -> None:
    records = np.array([101, 100, 201, 202, 102, 104, 107, 217])
    archive = npz(n=8, y=np.zeros(8, int), record=records)
    (tmp_path / "mitbih_train.npz").write_bytes(archive)
    (tmp_path / "mitbih_test.npz").write_bytes(archive)
    beats = read(tmp_path, protocol="de_chazal")
    assert beats.patients is not None
    assert beats.test is not None
    assert beats.patients.tolist() == [101, 100, 201, 202] * 2
    assert beats.test.tolist() == [False, True, False, True] * 2


def test_de_chazal_refuses_records_of_other_databases(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(npz(record=np.full(5, 800)))
    with pytest.raises(InputError, match="48 records of MIT-BIH; 800 is not one"):
        read(tmp_path / "a.npz", protocol="de_chazal")


@needs_shared
def test_de_chazal_has_the_published_numbers_of_beats() -> None:
    beats = read(SHARED / "mitbih_train.npz", protocol="de_chazal")
    assert beats.patients is not None
    assert beats.test is not None
    assert len(np.unique(beats.patients[beats.test])) == 22
    assert len(np.unique(beats.patients[~beats.test])) == 22


CLASS_OF = dict(zip("NLRejAaJSVEF/fQ", [0] * 5 + [1] * 4 + [2] * 2 + [3] + [4] * 3, strict=True))


def slowly(signal: list[int], times: list[int], symbols: list[str]) -> list[tuple[list[np.float32], int]]:
    """Cut beats by the rule of the shared data's README, with whole numbers and fractions only."""
    beats = []
    for k in range(len(times) - 1):
        if symbols[k] not in CLASS_OF:
            continue
        after = times[k + 2] if k + 2 < len(times) else len(signal)
        end = int(times[k + 1] + 0.2 * (after - times[k + 1]))
        segment = [signal[t] for t in range(times[k], min(end, len(signal)), 3)]
        low, high = min(segment, default=0), max(segment, default=0)
        if low == high:
            continue
        values = [np.float32(float(Fraction(value - low, high - low))) for value in segment][:187]
        beats.append((values + [np.float32(0)] * (187 - len(values)), CLASS_OF[symbols[k]]))
    return beats


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(3, 30))
def test_records_are_cut_by_the_rule_of_the_original(seed: int, count: int, tmp_path: Path) -> None:
    pytest.importorskip("wfdb", reason="the extra wfdb")
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.integers(3, 1000, count)).tolist()
    signal = rng.integers(0, 2048, times[-1] + int(rng.integers(1, 900)))
    signal[times[1] : times[2] + 900] = 1000  # a flat stretch, of which some beats are made
    symbols = [*rng.choice([*CLASS_OF, "+", "~", "|"], count - 1), "N"]
    symbols[0] = "V"
    write_record(tmp_path, "100", signal=signal, times=times, symbols=symbols)
    expected = slowly(signal.tolist(), times, symbols)
    beats = read(tmp_path)
    assert beats.inputs.tobytes() == np.array([values for values, _ in expected], np.float32).tobytes()
    assert beats.labels.tolist() == [label for _, label in expected]
    flat = sum(symbol in CLASS_OF for symbol in symbols[:-1]) - len(expected)
    assert beats.about.get("flat beats left out", 0) == flat


def test_the_records_of_a_folder_are_its_patients(tmp_path: Path) -> None:
    pytest.importorskip("wfdb", reason="the extra wfdb")
    for name in ("100", "201", "202"):
        write_record(tmp_path, name, signal=np.arange(900), times=[3, 400, 800], symbols=["N", "V", "N"])
    (tmp_path / "102-0.atr").write_bytes(b"annotations without a record, as MIT-BIH has")
    beats = read(tmp_path)
    assert beats.patients is not None
    assert beats.patients.tolist() == [100, 100, 201, 201, 201, 201]
    assert beats.labels.tolist() == [0, 2, 0, 2, 0, 2]
    split = read(tmp_path, protocol="de_chazal")
    assert split.patients is not None
    assert split.test is not None
    assert split.patients.tolist() == [100, 100, 201, 201, 202, 202]
    assert split.test.tolist() == [True, True, False, False, True, True]


def test_a_file_records_chooses_among_the_records(tmp_path: Path) -> None:
    pytest.importorskip("wfdb", reason="the extra wfdb")
    for name in ("a01", "b02"):
        good_record(tmp_path, name)
    (tmp_path / "RECORDS").write_text("b02\n")
    beats = read(tmp_path, form="wfdb")
    assert beats.patients is not None
    assert set(beats.patients.tolist()) == {"b02"}


def test_missing_wfdb_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for suffix in (".hea", ".dat", ".atr"):
        (tmp_path / f"100{suffix}").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "wfdb", None)
    with pytest.raises(RuntimeError, match=r"pip install 'parak8s\[wfdb\]'"):
        read(tmp_path)
