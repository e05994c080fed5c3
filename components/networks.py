"""Builds a network for a prepared dataset from single values instead of an experiment file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from parak8s import data, files
from parak8s.components import runtime
from parak8s.data import prepared
from parak8s.experiment import documents
from parak8s.steps import pretrained
from parak8s.training import determinism

if TYPE_CHECKING:
    import keras


def build(
    dataset: Path, model: Path, builder: str, params: str, options: str, seed: int, code: Any = None
) -> keras.Model:
    """Write ``model.keras``, untrained, into the folder ``model`` and return it; see the component ``build_model``."""
    with runtime.sentences():
        manifest = prepared.verify(dataset)
        values = {
            "name": "build-model",
            "seed": seed,
            "data": {
                "loader": manifest.loader,
                "source": manifest.digest,
                "options": documents.scalar(options, "options"),
            },
            "model": {"builder": builder, "params": documents.scalar(params, "params")},
            "evaluation": {"calibration": "none"},
        }
    with runtime.experiment(documents.dump(values), code, name="build_model") as point:
        determinism.prepare(point)
        from parak8s.models import classifier

        loader = data.loader(point.data.loader, point.data.options)
        with pretrained.at_hand(point) as spec:
            network = classifier.build(spec, loader, manifest, seed=point.seed)
        with files.folder(model) as folder:
            network.save(folder / "model.keras")
    return network
