"""The component ``record``: tells MLflow everything of a run that the gate refused."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Model, Output

from parak8s.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def record(
    experiment: str,
    fingerprint: str,
    digest: str,
    job: str,
    dataset: Input[Dataset],
    training: Input[Model],
    model: Input[Model],
    evaluation: Input[Artifact],
    verdict: Input[Artifact],
    page: Input[HTML],
    recorded: Output[Artifact],
    code: Input[Artifact] = None,
):
    """Send the run to MLflow for the audit. The model is not registered and no alias moves.

    A run that the platform began (MLFLOW_RUN_ID, MLFLOW_TRACKING_URI) is joined. A second attempt goes on with the run
    of the first.

    Args:
        experiment: The whole experiment, from configure.
        fingerprint: From configure.
        digest: From configure.
        job: Identity of the pipeline run.
        dataset: From ingest.
        training: From train.
        model: From calibrate.
        evaluation: From evaluate.
        verdict: From gate.
        page: From report.
        code: Folder with modules of your own.

    Returns:
        recorded: mlflow.json: the run; its metadata links to MLflow's page.
    """
    import tempfile
    from pathlib import Path

    from parak8s.components import publication, runtime

    with runtime.sections(experiment, code) as point, tempfile.TemporaryDirectory() as folder:
        layout = runtime.run_directory(
            Path(folder), point, fingerprint=fingerprint, digest=digest,
            dataset=dataset, training=training, model=model, evaluation=evaluation, gate=verdict,
        )  # fmt: skip
        layout.report.symlink_to(page.path)
        recorded.metadata.update(publication.publish(point, layout, Path(recorded.path), job=job))
