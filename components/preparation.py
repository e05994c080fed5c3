"""Prepares a dataset from single values instead of an experiment file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parak8s import files
from parak8s.components import pictures, runtime
from parak8s.experiment import documents
from parak8s.steps.ingest import ingest


def prepare(
    loader: str, source: str, digest: str, options: Mapping[str, Any], split: Mapping[str, Any], dataset: Any
) -> None:
    """Write the prepared dataset into the artifact ``dataset``.

    Args:
        loader: Registered name.
        source: As ``data.source``.
        digest: As ``data.digest``; empty pins nothing.
        options: Settings of the loader.
        split: As ``data.split``.
        dataset: Artifact of the task.
    """
    data = {"loader": loader, "source": source, "digest": digest or None, "options": options, "split": split}
    values = {"name": loader, "data": data, "model": {"builder": "deep_cnn"}, "evaluation": {"calibration": "none"}}
    reading = runtime.experiment(documents.dump(values), name=f"load_{loader}")
    with reading as point, files.folder(Path(dataset.path)) as folder:
        manifest = ingest(point, folder)
    dataset.metadata.update(pictures.facts_of(manifest))
