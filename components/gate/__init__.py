"""The component ``gate``: may this model be released?"""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Markdown, Output

from parak8s.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate(
    experiment: str,
    dataset: Input[Dataset],
    evaluation: Input[Artifact],
    verdict: Output[Artifact],
    summary: Output[Markdown],
    code: Input[Artifact] = None,
) -> bool:
    """Hold the model against the thresholds, and against the model that has the alias in the registry.

    Args:
        experiment: The whole experiment, from configure.
        dataset: From ingest.
        evaluation: From evaluate.
        code: Folder with modules of your own.

    Returns:
        verdict: Folder with verdict.json.
        summary: The verdict with its reasons.
        Output: Whether every check passed.
    """
    from pathlib import Path

    from parak8s import files
    from parak8s.components import pictures, runtime
    from parak8s.steps import gate as step
    from parak8s.tracking import Tracker

    with runtime.sections(experiment, code) as point, files.folder(Path(verdict.path)) as folder:
        judged = step.gate(point, Path(dataset.path), Path(evaluation.path), folder, Tracker(point))
    verdict.metadata["passed"] = judged.passed
    files.write_text(Path(summary.path), pictures.verdict_page(judged))
    return judged.passed
