"""What all forms have in common: the shape of a beat, the classes of AAMI EC57, and who is who in MIT-BIH."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LENGTH = 187
"""Samples of a beat, from its R peak on; zeros after its end."""
RATE_HZ = 120
"""Every third sample of 360 Hz. (The set is often called 125 Hz, which it is not.)"""
CLASSES = ("N", "S", "V", "F", "Q")
"""Normal, supraventricular ectopic, ventricular ectopic, fusion of both, paced or unknown (ANSI/AAMI EC57)."""
NAMED_CLASSES = ", ".join(f"{label} ({name})" for label, name in enumerate(CLASSES))
"""The labels for messages: ``0 (N), 1 (S), ...``."""


@dataclass(frozen=True)
class Beats:
    """What one form reads.

    Args:
        inputs: float32 (n, 187), fraction of the beat's own range.
        labels: int32 (n,), index into ``CLASSES``.
        patients: (n,), integer or text: the record (or simulated patient) of each beat; None where unknown.
        test: bool (n,), True for the rows of the source's own test set; None where it has none.
        left_out: Beats without a shape (flat), which were left out.
    """

    inputs: NDArray[np.float32]
    labels: NDArray[np.int32]
    patients: NDArray[np.generic] | None = None
    test: NDArray[np.bool_] | None = None
    left_out: int = 0


def train_and_test(train: Beats, test: Beats) -> Beats:
    """Return the beats of both; those of ``test`` are marked as the source's own test set."""
    patients = None
    if train.patients is not None and test.patients is not None:
        patients = np.concatenate([train.patients, test.patients])
    return Beats(
        inputs=np.concatenate([train.inputs, test.inputs]),
        labels=np.concatenate([train.labels, test.labels]),
        patients=patients,
        test=np.repeat([False, True], [len(train.labels), len(test.labels)]),
        left_out=train.left_out + test.left_out,
    )
