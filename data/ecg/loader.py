"""The loader ``ecg``: finds out which form a source has, and who is who in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from parak8s.data.ecg import de_chazal, heartbeat_csv, npz, records, synthetic
from parak8s.data.ecg.beats import CLASSES, RATE_HZ, Beats, train_and_test
from parak8s.data.examples import Examples
from parak8s.data.loader import Loader
from parak8s.data.sources import Source
from parak8s.errors import InputError

if TYPE_CHECKING:
    import keras

Form = Literal["heartbeat_csv", "npz", "wfdb"]
Amount = Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)]

NAMES: dict[Form, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "heartbeat_csv": (("mitbih_train.csv", "mitbih_train.csv.gz"), ("mitbih_test.csv", "mitbih_test.csv.gz")),
    "npz": (("mitbih_train.npz",), ("mitbih_test.npz",)),
}
"""The files of a folder in each form: what the train file may be called, and the test file."""

ABOUT = {
    "heartbeat_csv": "heartbeat CSV: Kachuee, Fazeli and Sarrafzadeh (2018), arXiv:1805.00794",
    "npz": "MIT-BIH Arrhythmia Database (Moody and Mark 2001, ODC-By 1.0), beats as whole numbers",
    "wfdb": "WFDB records with annotations, such as the MIT-BIH Arrhythmia Database (Moody and Mark 2001, ODC-By 1.0)",
    "synthetic": "simulated beats: sum of Gaussians per wave, after McSharry et al. (2003), IEEE TBME 50(3):289",
}


class Augment(BaseModel):
    """How training beats are varied. 0, the default, leaves them as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    stretch: Amount = 0.0
    """Largest relative change of the heart rate: 0.1 stretches time by a factor from 0.9 to 1.1."""
    scale: Amount = 0.0
    """Largest relative change of the amplitude."""
    noise: Amount = 0.0
    """Standard deviation of added white noise, as a fraction of full scale."""


class ECGLoader(Loader):
    """Heartbeats of 187 samples at 120 Hz from the R peak on, in the five classes N, S, V, F and Q of AAMI EC57."""

    form: Literal["auto", "heartbeat_csv", "npz", "wfdb"] = "auto"
    """How the source is written; ``auto`` looks at its files' names. ``synthetic://`` needs none."""
    protocol: Literal["none", "de_chazal"] = "none"
    """``de_chazal``: the split by patient of de Chazal et al. (2004): records DS1 to learn from, DS2 the test set, the
    four paced records left out. For ``wfdb`` and ``npz``, which know the records. Known flaw, kept for comparison with
    the literature: 201 (DS1) and 202 (DS2) are the same man. Otherwise these two count as one patient."""
    normalize: Literal["zscore", "minmax", "none"] = "zscore"
    """What the model does to each beat first."""
    augment: Augment = Augment()
    """How training beats are varied."""

    def read(self, source: Source) -> Examples:
        """Return beats, float32 (n, 187), fraction of each beat's range, zeros after its end.

        Patients are record numbers where the form holds them. The test mask marks mitbih_test.* of a folder, or DS2.

        Raises:
            InputError: With the file, the row and the column where there is one.
            EnvironmentFault: A file may not be read, or a library is missing.
        """
        form = self._form(source)
        beats = _read(form, source)
        records_known = beats.patients if form != "synthetic" else None
        if self.protocol == "de_chazal":
            keep, test = de_chazal.assign(records_known, source.url)
            beats = _only(replace(beats, test=test), keep)
        elif records_known is not None:
            beats = replace(beats, patients=de_chazal.same_patient(records_known))
        return Examples(
            inputs=beats.inputs,
            labels=beats.labels,
            classes=CLASSES,
            patients=beats.patients,
            test=beats.test,
            axis=("time", "ms", 1000 / RATE_HZ),
            about=self._about(form, beats),
        )

    def preprocessing(self) -> list[keras.Layer]:
        """Return the layers that normalize each beat."""
        from parak8s.models import signals

        return signals.normalization(self.normalize)

    def augmentation(self, seed: int) -> list[keras.Layer]:
        """Return the layers that vary beats while training."""
        from parak8s.models import signals

        return signals.augmentation(self.augment, seed)

    def _form(self, source: Source) -> str:
        if source.root is None:
            if self.form != "auto":
                raise InputError(
                    f"{source.url}: form {self.form} reads files, and this source has none; leave form out"
                )
            return "synthetic"
        return _guess(source.root, source) if self.form == "auto" else self.form

    def _about(self, form: str, beats: Beats) -> dict[str, str | int | float]:
        about: dict[str, str | int | float] = {
            "origin": ABOUT[form],
            "signal": f"one lead, {RATE_HZ} Hz, from the R peak to a fifth of the next interval, scaled to 0..1",
            "beats": len(beats.labels),
        }
        if beats.patients is not None:
            about["patients"] = len(np.unique(beats.patients))
        if beats.left_out:
            about["flat beats left out"] = beats.left_out
        if self.protocol == "de_chazal":
            about["protocol"] = "de Chazal et al. (2004): DS1 to learn, DS2 to test, paced records left out"
            about["known flaw"] = "records 201 (DS1) and 202 (DS2) are from the same man"
        return about


def _guess(root: Path, source: Source) -> str:
    """Return the form that the names of the files show."""
    if root.is_file():
        if root.name.endswith((".csv", ".csv.gz")):
            return "heartbeat_csv"
        if root.suffix == ".npz":
            return "npz"
        raise InputError(f"{root}: expected a .csv, .csv.gz or .npz file or a folder; else write data.options.form")
    names = {file.name for file in source.files if file.parent == root} | {path.name for path in root.iterdir()}
    forms = [form for form, (train, test) in NAMES.items() if names & {*train, *test}]
    forms += ["wfdb"] if any(name.endswith(records.SUFFIXES) for name in names) else []
    if len(forms) != 1:
        found = f"holds the forms {' and '.join(forms)}" if forms else "holds none of the forms"
        raise InputError(
            f"{root}: {found}; expected mitbih_train.csv and mitbih_test.csv (or .csv.gz), mitbih_train.npz and "
            "mitbih_test.npz, or records of .hea, .dat and .atr files; data.options.form chooses"
        )
    return forms[0]


def _read(form: str, source: Source) -> Beats:
    if source.root is None:
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


def _only(beats: Beats, keep: np.ndarray) -> Beats:
    assert beats.patients is not None
    assert beats.test is not None
    return replace(
        beats,
        inputs=beats.inputs[keep],
        labels=beats.labels[keep],
        patients=beats.patients[keep],
        test=beats.test[keep],
    )
