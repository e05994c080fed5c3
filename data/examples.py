"""What every loader returns: labelled examples as plain arrays, checked once."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from parak8s.errors import InputError


@dataclass(frozen=True)
class Examples:
    """Labelled examples of one source.

    Args:
        inputs: (n, ...), one row an example, float32 (finite) or uint8.
        labels: int32 (n,), index into ``classes``.
        classes: Name of each class.
        patients: (n,), integer or text: who each example comes from; None where nobody knows.
        test: bool (n,), True for the rows that the source itself sets aside as its test set; None where it does not.
        alike: int64 (n,): rows with the same number show nearly the same and may not stand in two splits; None where
            nothing was compared. A loader that compares has the setting ``near_duplicates``.
        names: What messages call each row, such as its file; None for its number. They are not kept.
        axis: What the last axis of an input means, with its unit, for plots: ``("time", "ms", 8.333)`` is name,
            unit and step; None where there is nothing to say.
        about: Facts for the data card, in the order in which they are shown.

    Raises:
        InputError: An array has another length, an input is not finite, or a label has no class.
    """

    inputs: NDArray[np.float32] | NDArray[np.uint8]
    labels: NDArray[np.int32]
    classes: tuple[str, ...]
    patients: NDArray[np.generic] | None = None
    test: NDArray[np.bool_] | None = None
    alike: NDArray[np.int64] | None = None
    names: Sequence[str] | None = None
    axis: tuple[str, str, float] | None = None
    about: Mapping[str, str | int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.inputs)
        if not n:
            raise InputError("the source holds no examples")
        for name in ("labels", "patients", "test", "alike"):
            value = getattr(self, name)
            if value is not None and value.shape != (n,):
                raise InputError(f"{name}: expected shape ({n},), one for each example, got {value.shape}")
        if self.names is not None and len(self.names) != n:
            raise InputError(f"names: expected {n}, one for each example, got {len(self.names)}")
        if self.inputs.dtype not in (np.float32, np.uint8) or self.labels.dtype != np.int32:
            got = f"{self.inputs.dtype} and {self.labels.dtype}"
            raise InputError(f"expected float32 or uint8 inputs and int32 labels, got {got}")
        if self.labels.min() < 0 or self.labels.max() >= len(self.classes):
            row = int(np.flatnonzero((self.labels < 0) | (self.labels >= len(self.classes)))[0])
            raise InputError(
                f"row {row}: label {self.labels[row]} is not a class; allowed: 0 to {len(self.classes) - 1}"
            )
        if self.inputs.dtype == np.float32 and not np.isfinite(self.inputs).all():
            row, *rest = np.argwhere(~np.isfinite(self.inputs))[0]
            raise InputError(f"row {row}, column {'.'.join(map(str, rest))}: not a finite number")

    def __len__(self) -> int:
        return len(self.inputs)

    def digest(self) -> str:
        """Return ``sha256:...`` of the arrays and the class names, for a source that has no files."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for array in (self.inputs, self.labels, self.patients, self.test):
            if array is not None:
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return f"sha256:{digest.hexdigest()}"
