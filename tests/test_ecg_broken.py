"""Broken heartbeat files: each gives one message with the file, the row and the column, and exit code 2."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broken_ecg import (
    Maker,
    arrays,
    cell,
    edited,
    file,
    folder_of,
    good_record,
    lines,
    npz,
    packed,
    rows,
    text,
    write_record,
)
from parak8s.data.ecg import ECGLoader
from parak8s.data.sources import fetch
from parak8s.errors import InputError, ParaK8sError

GOOD = text(rows())
CUT_LINE = GOOD[: len(GOOD) - 1800]
ARRAYS = arrays()

CSV: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "too few columns": (file("a.csv", GOOD + "1,2,3\n"), ("a.csv: row 6", "expected 188 columns, got 3")),
    "too many columns": (
        file("a.csv", lines()[0] + "\n" + lines()[1] + ",0\n"),
        ("a.csv: row 2", "expected 188 columns, got 189"),
    ),
    "blank lines count as rows of the file": (file("a.csv", "\n\n" + GOOD + "1\n"), ("row 8", "expected 188 columns")),
    "text in a number": (
        file("a.csv", cell(3, 7, "0.1x")),
        ("a.csv: row 3, column 7", "expected a number, got '0.1x'"),
    ),
    "nothing in a number": (file("a.csv", cell(3, 7, "")), ("row 3, column 7", "got nothing")),
    "a header": (
        file("a.csv", ",".join(f"x{i}" for i in range(188)) + "\n" + GOOD),
        ("row 1, column 1", "expected a number, got 'x0'"),
    ),
    "decimal commas": (
        file("a.csv", GOOD.replace(",", ";").replace(".", ",")),
        ("row 1", "expected 188 columns, got 189"),
    ),
    "NaN": (file("a.csv", cell(2, 187, "nan")), ("row 2, column 187", "expected a finite number, got nan")),
    "infinity": (file("a.csv", cell(5, 1, "-inf")), ("row 5, column 1", "expected a finite number, got -inf")),
    "too large": (file("a.csv", cell(1, 2, "1e39")), ("row 1, column 2", "1e39 is too large for float32")),
    "missing value": (file("a.csv", cell(1, 2, "NA")), ("row 1, column 2", "expected a number, got 'NA'")),
    "label 5": (file("a.csv", cell(4, 188, "5.0")), ("row 4, column 188", "label 5.0 is not a class", "4 (Q)")),
    "label 2.5": (file("a.csv", cell(4, 188, "2.5")), ("row 4, column 188", "label 2.5 is not a class")),
    "label just beside 2": (file("a.csv", cell(4, 188, "2.000000001")), ("row 4, column 188", "is not a class")),
    "label -1": (file("a.csv", cell(4, 188, "-1")), ("row 4, column 188", "label -1 is not a class")),
    "empty": (file("a.csv", ""), ("a.csv: empty",)),
    "only line ends": (file("a.csv", "\n\r\n"), ("a.csv: no rows",)),
    "cut in a row": (file("a.csv", CUT_LINE), ("a.csv: row 5: expected 188 columns", "ends in the middle of this row")),
    "cut in a label": (file("a.csv", GOOD[:-4]), ("a.csv: row 5, column 188", "ends in the middle of this row")),
    "cut after the last comma": (
        file("a.csv", GOOD[:-25]),
        ("row 5, column 188", "got nothing", "ends in the middle of this row"),
    ),
    "UTF-16": (file("a.csv", GOOD.encode("utf-16")), ("a.csv: UTF-16 text", "save it as UTF-8")),
    "UTF-16 without a mark": (file("a.csv", GOOD.encode("utf-16-le")), ("a.csv: binary data",)),
    "binary": (file("a.csv", bytes(range(256)) * 9), ("a.csv: binary data (byte 0 is 0)",)),
    "binary without zeros": (file("a.csv", bytes(range(128, 256)) * 9000), ("a.csv: row 1", "longer than")),
    "binary in the middle": (
        file("a.csv", cell(4, 3, "\0\x01")),
        ("a.csv: row 4, column 3", r"expected a number, got '\x00\x01'"),
    ),
    "gzip cut": (file("a.csv.gz", packed(GOOD)[:-9]), ("a.csv.gz: damaged gzip file", "end-of-stream")),
    "gzip with a wrong checksum": (
        file("a.csv.gz", packed(GOOD)[:-8] + b"checksum"),
        ("a.csv.gz: damaged gzip file", "CRC"),
    ),
    "gzip with more behind it": (file("a.csv.gz", packed(GOOD) + b"more"), ("a.csv.gz: damaged gzip file",)),
    "gzip of nothing": (file("a.csv.gz", packed("")), ("a.csv.gz: empty",)),
    "mistake inside gzip": (file("a.csv.gz", packed(cell(3, 7, "x"))), ("a.csv.gz: row 3, column 7",)),
    "a folder without the files": (
        folder_of({"heart.csv": GOOD}),
        ("holds no form of heartbeats", "mitbih_train.csv and mitbih_test.csv"),
    ),
    "a folder without the test file": (folder_of({"mitbih_train.csv": GOOD}), ("no mitbih_test.csv",)),
    "a folder in the place of a file": (
        folder_of({"mitbih_train.csv": None, "mitbih_test.csv": GOOD}),
        ("mitbih_train.csv: a folder; expected a file",),
    ),
    "both plain and packed": (
        folder_of({"mitbih_train.csv": GOOD, "mitbih_train.csv.gz": packed(GOOD), "mitbih_test.csv": GOOD}),
        ("both mitbih_train.csv and mitbih_train.csv.gz; remove one",),
    ),
    "a mistake in the test file": (
        folder_of({"mitbih_train.csv": GOOD, "mitbih_test.csv": cell(2, 1, "x")}),
        ("mitbih_test.csv: row 2, column 1",),
    ),
    "two forms": (
        folder_of({"mitbih_train.csv": GOOD, "mitbih_train.npz": npz()}),
        ("heartbeat_csv and npz", "data.options.form chooses"),
    ),
    "another kind of file": (file("a.txt", GOOD), ("a.txt: expected a .csv, .csv.gz or .npz file",)),
}

NPZ: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "not an archive": (file("a.npz", GOOD), ("a.npz: not an npz archive",)),
    "empty": (file("a.npz", ""), ("a.npz: not an npz archive",)),
    "cut": (file("a.npz", npz()[:-200]), ("a.npz: not an npz archive, or one that is cut",)),
    "damaged": (file("a.npz", npz()[:300] + b"damaged!" + npz()[308:]), ("a.npz: damaged archive",)),
    "a missing array": (file("a.npz", npz(X_den=None, X_dem=1)), ("no array 'X_den'", "did you mean 'X_dem'?")),
    "objects": (file("a.npz", npz(y=np.array([{}] * 5))), ("a.npz: damaged archive", "allow_pickle")),
    "short beats": (
        file("a.npz", npz(X_num=ARRAYS["X_num"][:, 1:])),
        ("X_num: expected shape (5, 187), got (5, 186)",),
    ),
    "one record too few": (file("a.npz", npz(record=np.ones(4, int))), ("record: expected shape (5,), got (4,)",)),
    "no beats": (file("a.npz", npz(n=0, X_den=np.zeros(0, int))), ("y: expected shape (n,) with n above 0, got (0,)",)),
    "fractions": (file("a.npz", npz(X_num=ARRAYS["X_num"] / 2)), ("X_num: expected integers, got float64",)),
    "range 0": (file("a.npz", npz(X_den=edited(ARRAYS["X_den"], 3, 0))), ("row 3 (from 0): X_den is 0",)),
    "above the range": (
        file("a.npz", npz(X_num=edited(ARRAYS["X_num"], (2, 9), 999))),
        ("row 2 (from 0): X_num is 999",),
    ),
    "below 0": (
        file("a.npz", npz(X_num=edited(ARRAYS["X_num"].astype(int), (2, 9), -1))),
        ("row 2 (from 0): X_num is -1",),
    ),
    "label 5": (file("a.npz", npz(y=edited(ARRAYS["y"], 4, 5))), ("row 4 (from 0): y is 5, not a class", "4 (Q)")),
    "a folder without the test file": (folder_of({"mitbih_train.npz": npz()}), ("no mitbih_test.npz",)),
}


@pytest.mark.parametrize("name", CSV)
def test_a_broken_csv_gives_one_clear_message(name: str, tmp_path: Path) -> None:
    make, fragments = CSV[name]
    refused(make(tmp_path), tmp_path, fragments)


@pytest.mark.parametrize("name", NPZ)
def test_a_broken_npz_gives_one_clear_message(name: str, tmp_path: Path) -> None:
    make, fragments = NPZ[name]
    refused(make(tmp_path), tmp_path, fragments)


def refused(path: Path, folder: Path, fragments: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        ECGLoader().read(fetch(str(path)))
    message = str(caught.value)
    assert [fragment for fragment in fragments if fragment not in message] == [], message
    assert message.startswith(str(folder))
    assert "\n" not in message
    assert len(message) < 500 + len(str(folder))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("suffix", [".hea", ".dat"])
def test_a_record_without_one_of_its_files_is_refused(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("wfdb", reason="the extra wfdb")
    good_record(tmp_path, "100")
    good_record(tmp_path, "101")
    (tmp_path / f"101{suffix}").unlink()
    refused(tmp_path, tmp_path, (f"101{suffix}: no such file", "record 101 needs .hea, .dat and .atr"))


def test_a_record_without_annotations_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("wfdb", reason="the extra wfdb")
    good_record(tmp_path, "100")
    (tmp_path / "100.atr").unlink()
    refused(tmp_path, tmp_path, ("100.atr: no such file", "record 100 needs .hea, .dat and .atr"))


def test_a_record_that_is_listed_but_absent_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("wfdb", reason="the extra wfdb")
    good_record(tmp_path, "100")
    (tmp_path / "RECORDS").write_text("100\n234\n")
    refused(tmp_path, tmp_path, ("234.hea: no such file",))


def test_a_list_of_records_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    pytest.importorskip("wfdb", reason="the extra wfdb")
    (tmp_path / "data").mkdir()
    good_record(tmp_path, "101")
    good_record(tmp_path / "data", "100")
    (tmp_path / "data" / "RECORDS").write_text("100\n../101\n")
    refused(tmp_path / "data", tmp_path, ("../101.hea: no such file",))


def test_a_cut_signal_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("wfdb", reason="the extra wfdb")
    good_record(tmp_path)
    (tmp_path / "100.dat").write_bytes((tmp_path / "100.dat").read_bytes()[:-300])
    refused(tmp_path, tmp_path, ("100", "damaged"))


def test_a_signal_that_does_not_fit_its_checksum_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("wfdb", reason="the extra wfdb")
    good_record(tmp_path)
    signal = bytearray((tmp_path / "100.dat").read_bytes())
    signal[30] ^= 1
    (tmp_path / "100.dat").write_bytes(signal)
    refused(tmp_path, tmp_path, ("100.dat: damaged: channel 0 has checksum",))


def test_a_record_of_another_rate_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("wfdb", reason="the extra wfdb")
    write_record(tmp_path, "100", signal=np.arange(900), times=[10, 300, 600], symbols=["N", "N", "N"], hz=250)
    refused(tmp_path, tmp_path, ("100.hea: 250 Hz", "cut from 360 Hz"))


def test_annotations_behind_the_end_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("wfdb", reason="the extra wfdb")
    write_record(tmp_path, "100", signal=np.arange(900), times=[10, 300, 9000], symbols=["N", "N", "N"])
    refused(tmp_path, tmp_path, ("100.atr: annotations must rise from 0 to 899",))


def test_records_without_beats_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("wfdb", reason="the extra wfdb")
    write_record(tmp_path, "100", signal=np.arange(900), times=[10, 300], symbols=["+", "~"])
    refused(tmp_path, tmp_path, ("no beats",))


def test_one_file_of_a_record_is_refused(tmp_path: Path) -> None:
    refused(file("100.dat", b"123")(tmp_path), tmp_path, ("100.dat: a file; name the folder",))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["a.csv", "a.csv.gz", "a.npz"]), place=st.floats(0, 1), noise=st.binary(max_size=40))
def test_any_damage_is_either_readable_or_refused(kind: str, place: float, noise: bytes, tmp_path: Path) -> None:
    whole = {"a.csv": GOOD.encode(), "a.csv.gz": packed(GOOD), "a.npz": npz()}[kind]
    at = int(place * len(whole))
    (tmp_path / kind).write_bytes(whole[:at] + noise + whole[at + len(noise) :] if noise else whole[:at])
    readable_or_refused(tmp_path / kind)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(suffix=st.sampled_from([".hea", ".dat", ".atr"]), place=st.floats(0, 1), noise=st.binary(max_size=40))
def test_any_damage_of_a_record_is_either_readable_or_refused(
    suffix: str, place: float, noise: bytes, tmp_path: Path
) -> None:
    pytest.importorskip("wfdb", reason="the extra wfdb")
    good_record(tmp_path)
    path = tmp_path / f"100{suffix}"
    whole = path.read_bytes()
    at = int(place * len(whole))
    path.write_bytes(whole[:at] + noise + whole[at + len(noise) :] if noise else whole[:at])
    readable_or_refused(tmp_path)


def readable_or_refused(path: Path) -> None:
    message = ""
    try:
        examples = ECGLoader().read(fetch(str(path)))
    except ParaK8sError as error:
        message = str(error)
    if message:
        assert str(path.parent if path.is_file() else path) in message
    else:
        assert np.isfinite(examples.inputs).all()
        assert set(examples.labels) <= {0, 1, 2, 3, 4}
