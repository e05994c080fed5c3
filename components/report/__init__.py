"""The component ``report``: one page with pictures, and a summary."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Markdown, Model, Output

from parak8s.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def report(
    experiment: str,
    fingerprint: str,
    digest: str,
    dataset: Input[Dataset],
    training: Input[Model],
    model: Input[Model],
    evaluation: Input[Artifact],
    verdict: Input[Artifact],
    page: Output[HTML],
    summary: Output[Markdown],
    code: Input[Artifact] = None,
):
    """Write the report of a run, whether the gate said yes or no.

    Args:
        experiment: The whole experiment, from configure.
        fingerprint: From configure.
        digest: From configure.
        dataset: From ingest.
        training: From train.
        model: From calibrate.
        evaluation: From evaluate.
        verdict: From gate.
        code: Folder with modules of your own.

    Returns:
        page: One self-contained HTML page.
        summary: Verdict and metrics on half a page.
    """
    import tempfile
    from pathlib import Path

    from parak8s import files
    from parak8s.components import pictures, runtime
    from parak8s.report import write_report

    with runtime.sections(experiment, code) as point, tempfile.TemporaryDirectory() as folder:
        layout = runtime.run_directory(
            Path(folder), point, fingerprint=fingerprint, digest=digest,
            dataset=dataset, training=training, model=model, evaluation=evaluation, gate=verdict,
        )  # fmt: skip
        page.metadata["made_of"] = runtime.addresses(
            dataset=dataset, training=training, model=model, evaluation=evaluation, gate=verdict
        )
        files.write_text(Path(page.path), write_report(layout.root).read_text(encoding="utf-8"))
        files.write_text(Path(summary.path), pictures.summary_page(point, layout))
