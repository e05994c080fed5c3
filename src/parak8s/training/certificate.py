"""Says how far a training of many workers is from that of one worker: the losses of each epoch, and the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    from parak8s.team import Team

TOLERANCE = 1e-5
"""How far the losses of an epoch may be apart, relative to the larger: in float32 the order of a sum shows at 1e-7."""

Trained = tuple[dict[str, Any], keras.Model]
"""What history.json says, and the model."""


def compared(together: Trained, alone: Trained, team: Team) -> dict[str, Any]:
    """Return the certificate: the losses of every epoch side by side, and the distance of the weights.

    Args:
        together: What the team trained.
        alone: What one worker trained.
        team: Who trained together.
    """
    epochs = [
        {
            "epoch": ours["epoch"],
            **{
                name: {"together": ours[name], "alone": its[name], "relative": _apart(ours[name], its[name])}
                for name in ("loss", "val_loss")
            },
        }
        for ours, its in zip(together[0]["epochs"], alone[0]["epochs"], strict=False)
    ]
    largest = max((epoch[name]["relative"] for epoch in epochs for name in ("loss", "val_loss")), default=0.0)
    same_length = len(together[0]["epochs"]) == len(alone[0]["epochs"])
    return {
        "replicas": {role: len(addresses) for role, addresses in team.cluster.items()},
        "epochs": epochs,
        "largest_loss_difference": largest,
        "tolerance": TOLERANCE,
        "passed": bool(same_length and largest <= TOLERANCE),
        "weights": _distance(together[1], alone[1]),
    }


def _apart(one: float | None, other: float | None) -> float:
    if one is None or other is None:
        return 0.0 if one is other else 1.0
    return abs(one - other) / max(abs(one), abs(other), 1e-30)


def _distance(one: keras.Model, other: keras.Model) -> dict[str, float]:
    """Return the Euclidean distance of all weights, also relative to their length, and the largest difference."""
    mine, its = (
        np.concatenate([value.ravel() for value in model.get_weights()]).astype(float) for model in (one, other)
    )
    distance = float(np.linalg.norm(mine - its))
    return {
        "distance": distance,
        "relative": distance / max(float(np.linalg.norm(its)), 1e-30),
        "largest": float(np.abs(mine - its).max(initial=0.0)),
    }
