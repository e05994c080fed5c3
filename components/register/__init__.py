"""The component ``register``: tells MLflow everything, and registers the model that the gate let through."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Model, Output

from parak8s.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(
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
    registered: Output[Model],
    code: Input[Artifact] = None,
):
    """Send the run to MLflow, make its model a version of the registered model, and move the alias to it.

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
        registered: mlflow.json: run, registered model, version; its metadata links to MLflow's pages.
    """
    import tempfile
    from pathlib import Path

    from parak8s.components import publication, runtime

    with runtime.experiment(experiment, code) as point, tempfile.TemporaryDirectory() as folder:
        layout = runtime.run_directory(
            Path(folder), point, fingerprint=fingerprint, digest=digest,
            dataset=dataset, training=training, model=model, evaluation=evaluation, gate=verdict,
        )  # fmt: skip
        layout.report.symlink_to(page.path)
        registered.metadata.update(publication.publish(point, layout, Path(registered.path), job=job))
