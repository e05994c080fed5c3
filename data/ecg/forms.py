"""The forms of a source: told by the names of its files, and read by a module each."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from parak8s.data.ecg import heartbeat_csv, npz, records, synthetic
from parak8s.data.ecg.beats import Beats, train_and_test
from parak8s.data.sources import Source, reading
from parak8s.errors import InputError

Form = Literal["heartbeat_csv", "npz", "wfdb", "synthetic"]

NAMES: dict[Form, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "heartbeat_csv": (("mitbih_train.csv", "mitbih_train.csv.gz"), ("mitbih_test.csv", "mitbih_test.csv.gz")),
    "npz": (("mitbih_train.npz",), ("mitbih_test.npz",)),
}
"""The files of a folder in each form: what the train file may be called, and the test file."""


def guess(source: Source) -> Form:
    """Return the form that the names of the files show.

    Raises:
        InputError: They show none, or more than one.
    """
    root = source.root
    if root is None:
        return "synthetic"
    if root.is_file():
        return _form_of_file(root)
    with reading(root):
        names = {path.name for path in root.iterdir()}
    found: list[Form] = [form for form, (train, test) in NAMES.items() if names & {*train, *test}]
    if any(name.endswith(records.SUFFIXES) for name in names):
        found.append("wfdb")
    if len(found) == 1:
        return found[0]
    raise InputError(
        f"{root}: holds {' and '.join(found) or 'no form of heartbeats'}; expected mitbih_train.csv and "
        "mitbih_test.csv (or .csv.gz), mitbih_train.npz and mitbih_test.npz, or .hea, .dat and .atr files; "
        "data.options.form chooses between them"
    )


def _form_of_file(path: Path) -> Form:
    if path.name.endswith((".csv", ".csv.gz")):
        return "heartbeat_csv"
    if path.suffix == ".npz":
        return "npz"
    if path.suffix in records.SUFFIXES:
        return "wfdb"
    raise InputError(
        f"{path}: expected a .csv, .csv.gz or .npz file, or a folder; data.options.form says what else it is"
    )


def read(form: Form, source: Source) -> Beats:
    """Return the beats of ``source``, read as ``form``.

    Raises:
        InputError: The source does not hold this form.
        EnvironmentFault: A file may not be read, or a library is missing.
    """
    if source.root is None:
        if form != "synthetic":
            raise InputError(f"{source.url}: form {form} reads files, and this source has none; leave form out")
        return synthetic.read(source.url)
    if form == "wfdb":
        if source.root.is_file():
            raise InputError(
                f"{source.root}: a file; name the folder with the .hea, .dat and .atr files of all records"
            )
        return records.read(source)
    reader: Callable[[Path], Beats] = heartbeat_csv.read if form == "heartbeat_csv" else npz.read
    if source.root.is_file():
        return reader(source.root)
    train, test = (_one_of(source.root, names) for names in NAMES[form])
    return train_and_test(reader(train), reader(test))


def _one_of(folder: Path, names: tuple[str, ...]) -> Path:
    """Return the only one of the files ``names`` that ``folder`` holds."""
    found = [name for name in names if (folder / name).exists()]
    if len(found) != 1:
        got = f"both {' and '.join(found)}; remove one" if found else f"no {names[0]}"
        raise InputError(f"{folder}: {got} (a folder in this form holds a train file and a test file)")
    if not (folder / found[0]).is_file():
        raise InputError(f"{folder / found[0]}: a folder; expected a file")
    return folder / found[0]
