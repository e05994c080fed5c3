"""The stages of a training: first what the builder left open learns, then the top of what it froze as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras

from parak8s.errors import InputError
from parak8s.training.progress import Record, should_stop

if TYPE_CHECKING:
    from parak8s.experiment import Training


@dataclass(frozen=True)
class Stage:
    """A stretch of epochs with trainable weights, an optimizer and a schedule of its own.

    Args:
        number: From 1.
        spec: How to train in it, as if it were the whole training.
        learning: Layers, and whether each learns from the beginning of the stage on; the outer ones come first.
    """

    number: int
    spec: Training
    learning: tuple[tuple[keras.layers.Layer, bool], ...] = ()

    def begin(self) -> None:
        """Open and close the layers."""
        for layer, learns in self.learning:
            layer.trainable = learns  # of all layers in it too

    def goes_on(self, records: Sequence[Record]) -> bool:
        """Return whether another epoch follows those in ``records``, which may be of other stages too."""
        own = [record for record in records if record.stage == self.number]
        return len(own) < self.spec.epochs and not should_stop(own, self.spec.early_stopping)

    @property
    def rate(self) -> str:
        """Path of the learning rate in the experiment file."""
        return "training.optimizer.learning_rate" if self.number == 1 else "training.fine_tune.learning_rate"


def stages(model: keras.Model, spec: Training) -> tuple[Stage, ...]:
    """Return the stages of a training of ``model``, as its builder left it.

    Raises:
        InputError: Nothing in the model is frozen, or its frozen part has not so many layers, or none that can learn.
    """
    first, *others = _specs(spec)
    if spec.fine_tune is None:
        return (Stage(1, first),)
    return Stage(1, first), Stage(2, others[0], tuple(_opened(_frozen(model), spec.fine_tune.layers)))


def are_over(records: Sequence[Record], spec: Training) -> bool:
    """Return whether no epoch follows ``records`` in any stage."""
    specs = _specs(spec)
    return bool(records) and records[-1].stage == len(specs) and not Stage(len(specs), specs[-1]).goes_on(records)


def _specs(spec: Training) -> tuple[Training, ...]:
    """Return how each stage trains, as if it were the whole training."""
    tune = spec.fine_tune
    if tune is None:
        return (spec,)
    optimizer = spec.optimizer.model_copy(update={"learning_rate": tune.learning_rate})
    return spec, spec.model_copy(update={"epochs": tune.epochs, "optimizer": optimizer})


def _frozen(model: keras.Model) -> keras.Model:
    inner = [part for part in layers_in(model) if isinstance(part, keras.Model) and not part.trainable]
    if not inner:
        raise InputError(
            "training.fine_tune: the builder froze nothing that could be opened; take it away, or use the builder "
            "transfer"
        )
    return inner[0]


def _opened(backbone: keras.Model, count: int) -> Iterator[tuple[keras.layers.Layer, bool]]:
    """Yield what the top ``count`` layers of ``backbone`` need to learn. Batch normalization stays as it is."""
    if count > len(backbone.layers):
        raise InputError(
            f"training.fine_tune.layers: {backbone.name} has {len(backbone.layers)} layers, got {count}; write fewer"
        )
    top = backbone.layers[-count:]
    within = [part for layer in top for part in (layer, *layers_in(layer))]
    normalizing = [part for part in within if isinstance(part, keras.layers.BatchNormalization)]
    if not sum(len(part.weights) for part in top) > sum(len(part.weights) for part in normalizing):
        raise InputError(
            f"training.fine_tune.layers: the top {count} layers of {backbone.name} have no weights that could learn "
            "(batch normalization stays frozen); write more"
        )
    yield backbone, True
    yield from ((layer, False) for layer in backbone.layers[:-count])
    yield from ((layer, False) for layer in normalizing)


def layers_in(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yield the layers in ``layer``, and those in them."""
    for part in getattr(layer, "layers", ()):
        yield part
        yield from layers_in(part)
