"""From which probability on the second of two classes is called: chosen on the validation split. NumPy only."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parak8s.errors import InputError
from parak8s.evaluation.metrics import checked
from parak8s.experiment import OperatingPoint

POSITIVE = 1
"""Index of the class that is looked for: of NORMAL and PNEUMONIA, PNEUMONIA."""


@dataclass(frozen=True)
class Decision:
    """A threshold, and what it was chosen by.

    Args:
        wanted: The setting, such as ``{"specificity": 0.95}``.
        positive: Name of the class that is called where its probability is ``threshold`` or more.
        threshold: A float32 number, so that comparing with it gives the same answers everywhere.
        sensitivity: Share of the positive validation examples that are called.
        specificity: Share of the other validation examples that are not called.
        examples: How many validation examples there were.
    """

    wanted: Mapping[str, float]
    positive: str
    threshold: float
    sensitivity: float
    specificity: float
    examples: int

    def to_json(self) -> dict[str, Any]:
        """Return operating_point.json as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Decision":
        """Return the decision that ``to_json`` gave."""
        return cls(**values)


def require_two(classes: Sequence[str]) -> None:
    """Refuse an operating point where there is no such thing.

    Raises:
        InputError: There are more than two classes.
    """
    if len(classes) != 2:
        raise InputError(
            f"evaluation.operating_point: is for two classes, the data has {len(classes)} ({', '.join(classes)}); "
            "take it away"
        )


def choose(probabilities: ArrayLike, labels: ArrayLike, classes: Sequence[str], wanted: OperatingPoint) -> Decision:
    """Return the best threshold that keeps what is ``wanted``.

    For a specificity: the largest sensitivity among all thresholds with that specificity or more, and of those the one
    with the largest specificity; for a sensitivity the other way round. The threshold lies halfway between the two
    neighbouring probabilities that it divides, so that no example of the split is on the edge.

    Args:
        probabilities: float32 (n, 2) of the validation split, calibrated.
        labels: (n,), 0 or 1.
        classes: The two names; the second one is the positive one.
        wanted: The least specificity or sensitivity.

    Raises:
        InputError: There are not two classes, or one of them has no example in the split.
    """
    require_two(classes)
    values, truth = checked(probabilities, labels, 2)
    for index, name in enumerate(classes):
        if not (truth == index).any():
            raise InputError(
                f"evaluation.operating_point: the validation split has no example of {name}; "
                "give data.split.validation a larger share"
            )
    scores = values[:, POSITIVE].astype(np.float32)
    levels = np.unique(scores)
    missed, spared = _below(levels, scores[truth == POSITIVE]), _below(levels, scores[truth != POSITIVE])
    sensitivity, specificity = (missed[-1] - missed) / missed[-1], spared / spared[-1]
    ((name, least),) = wanted.model_dump(exclude_none=True).items()
    kept, best = (specificity, sensitivity) if name == "specificity" else (sensitivity, specificity)
    allowed = np.flatnonzero(kept >= least)
    chosen = int(max(allowed, key=lambda place: (best[place], kept[place])))
    return Decision(
        wanted={name: least},
        positive=classes[POSITIVE],
        threshold=_between(levels, chosen),
        sensitivity=float(sensitivity[chosen]),
        specificity=float(specificity[chosen]),
        examples=len(truth),
    )


def _below(levels: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return how many of ``scores`` are below each of the m ``levels``, and how many there are: (m + 1,)."""
    return np.append(np.searchsorted(np.sort(scores), levels), len(scores)).astype(np.int64)


def _between(levels: NDArray[np.float32], place: int) -> float:
    """Return a float32 number above the level before ``place`` and not above the one at it."""
    before = levels[place - 1] if place else np.float32(0)
    after = levels[place] if place < len(levels) else max(np.float32(1), np.nextafter(before, np.float32(2)))
    middle = np.float32((float(before) + float(after)) / 2)
    return float(middle if before < middle else after)
