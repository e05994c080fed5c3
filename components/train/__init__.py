"""The component ``train``: from a prepared dataset to a network."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from parak8s.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    dataset: Input[Dataset],
    training: Output[Model],
    metrics: Output[Metrics],
    settings: str = "",
    base: Input[Artifact] = None,
    overrides: str = "",
    code: Input[Artifact] = None,
):
    """Train the network of an experiment on the split ``train``, watching the split ``validation``.

    Args:
        dataset: From ingest.
        settings: The part of the experiment from configure, or a whole experiment file.
        base: File with the same, instead of settings; a sweep gives it to all of its points.
        overrides: path=value, separated by spaces; a sweep gives each of its points here.
        code: Folder with modules of your own.

    Returns:
        training: Folder with model.keras (raw batch -> logits), history.json and environment.json.
        metrics: Values of the epoch whose weights were kept.
    """
    from pathlib import Path

    from parak8s import files, provenance
    from parak8s.components import pictures, runtime
    from parak8s.steps import train as step

    settings = Path(base.path).read_text(encoding="utf-8") if base else settings
    with runtime.experiment(settings, code, overrides) as point, files.folder(Path(training.path)) as folder:
        told = runtime.observers(point, is_point_of_sweep=base is not None)
        outcome = step.train(point, Path(dataset.path), folder, told)
        files.write_json(folder / "environment.json", provenance.environment(point))
    training.metadata["overrides"] = overrides
    pictures.log_epoch(metrics, outcome.records[outcome.kept_epoch - 1])
