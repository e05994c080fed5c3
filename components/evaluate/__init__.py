"""The component ``evaluate``: measures the model on the test split."""

from kfp import dsl
from kfp.dsl import Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from parak8s.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    settings: str,
    dataset: Input[Dataset],
    model: Input[Model],
    evaluation: Output[Artifact],
    metrics: Output[Metrics],
    confusion_matrix: Output[ClassificationMetrics],
    roc_curve: Output[ClassificationMetrics],
    code: Input[Artifact] = None,
):
    """Measure the calibrated model on the split ``test``, which nothing before has seen.

    Args:
        settings: The part of the experiment from configure, or a whole experiment file.
        dataset: From ingest.
        model: From calibrate.
        code: Folder with modules of your own.

    Returns:
        evaluation: Folder with metrics.json (values with confidence intervals), predictions.npz and examples.npz.
        metrics: Each metric, for the run page.
        confusion_matrix: Rows true classes, columns predicted ones.
        roc_curve: Of the second class where there are two, else of all decisions class against rest together (micro).
    """
    from pathlib import Path

    from parak8s import files
    from parak8s.components import pictures, runtime
    from parak8s.steps import evaluate as step

    with runtime.experiment(settings, code) as point, files.folder(Path(evaluation.path)) as folder:
        measured = step.evaluate(point, Path(dataset.path), Path(model.path), folder)
    pictures.log_metrics(metrics, measured)
    confusion_matrix.log_confusion_matrix(measured["classes"], measured["confusion_matrix"])
    roc_curve.log_roc_curve(*pictures.roc_curve(Path(evaluation.path) / "predictions.npz"))
    for picture in (confusion_matrix, roc_curve):
        pictures.keep(picture)
