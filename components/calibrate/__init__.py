"""The component ``calibrate``: puts a calibrator behind the network and exports the servable."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from parak8s.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def calibrate(
    settings: str,
    dataset: Input[Dataset],
    training: Input[Model],
    model: Output[Model],
    code: Input[Artifact] = None,
):
    """Fit the calibrator on the split ``calibration`` and export the model that will be served.

    It comes before evaluate, so that what is measured is what will be served.

    Args:
        settings: The part of the experiment from configure, or a whole experiment file.
        dataset: From ingest.
        training: From train.
        code: Folder with modules of your own.

    Returns:
        model: Folder with model.keras and saved_model/1/ (raw batch or files -> probabilities), and calibration.json.
    """
    from pathlib import Path

    from parak8s import files
    from parak8s.components import runtime
    from parak8s.steps import calibrate as step

    with runtime.experiment(settings, code) as point, files.folder(Path(model.path)) as folder:
        fitted = step.calibrate(point, Path(dataset.path), Path(training.path), folder)
    model.metadata.update(framework="keras", servable="saved_model/1", calibration=fitted.method)
