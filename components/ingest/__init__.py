"""The component ``ingest``: from the source to a prepared dataset."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from parak8s.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ingest(settings: str, dataset: Output[Dataset], code: Input[Artifact] = None):
    """Read and check the source, split it for ever in the same way, and write arrays ready to be memory-mapped.

    Args:
        settings: The part of the experiment from configure, or a whole experiment file: its data section counts.
        code: Folder with modules of your own.

    Returns:
        dataset: Folder with the arrays of each split and manifest.json (classes, shapes, sha256 of every file).
    """
    from pathlib import Path

    from parak8s import files
    from parak8s.components import pictures, runtime
    from parak8s.steps import ingest as step

    with runtime.experiment(settings, code) as point, files.folder(Path(dataset.path)) as folder:
        manifest = step.ingest(point, folder)
    dataset.metadata.update(pictures.facts_of(manifest))
