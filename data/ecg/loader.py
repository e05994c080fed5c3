"""The loader ``ecg``: finds out which form a source has, and who is who in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from parak8s.data.ecg import de_chazal, forms
from parak8s.data.ecg.beats import CLASSES, RATE_HZ, Beats
from parak8s.data.examples import Examples
from parak8s.data.loader import Loader
from parak8s.data.remote import public
from parak8s.data.sources import Source

if TYPE_CHECKING:
    import keras

    from parak8s.data.batches import ECGDataset

Amount = Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)]

ABOUT: dict[forms.Form, str] = {
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
        form = forms.guess(source) if self.form == "auto" else self.form
        beats = forms.read(form, source)
        records_known = beats.patients if form != "synthetic" else None
        if self.protocol == "de_chazal":
            keep, test = de_chazal.assign(records_known, public(source.url))
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

    def batches(self, directory: Path, split: str, **settings: Any) -> ECGDataset:
        """Return the batches of one split of a prepared dataset; see :class:`parak8s.data.batches.ECGDataset`."""
        from parak8s.data.batches import ECGDataset

        return ECGDataset(directory, split, **settings)

    def _about(self, form: forms.Form, beats: Beats) -> dict[str, str | int | float]:
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


def _only(beats: Beats, keep: NDArray[np.bool_]) -> Beats:
    assert beats.patients is not None
    assert beats.test is not None
    return replace(
        beats,
        inputs=beats.inputs[keep],
        labels=beats.labels[keep],
        patients=beats.patients[keep],
        test=beats.test[keep],
    )
