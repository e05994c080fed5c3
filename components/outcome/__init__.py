"""The component ``outcome``: says how a pipeline ended, whatever happened."""

from kfp import dsl
from kfp.dsl import Markdown, Output, PipelineTaskFinalStatus

from parak8s.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def outcome(experiment: str, overrides: str, status: PipelineTaskFinalStatus, outcome: Output[Markdown]):
    """Write how the run ended. It is the exit handler: it runs after success, refusal and failure.

    Args:
        experiment: Text of the experiment file, as the run was given it.
        overrides: As the run was given them.
        status: State of the run and the error of the task that failed, from KFP.

    Returns:
        outcome: State, error and what to do, on half a page; its metadata holds state and error.
    """
    from pathlib import Path

    from parak8s import files
    from parak8s.components import pictures

    outcome.metadata.update(state=status.state, error=status.error_message or "")
    page = pictures.outcome_page(experiment, overrides, status.state, status.error_message)
    files.write_text(Path(outcome.path), page)
