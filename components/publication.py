"""What a pipeline's run becomes in MLflow, and where to look at it."""

from pathlib import Path

from parak8s import files
from parak8s.errors import EnvironmentFault
from parak8s.experiment import Experiment
from parak8s.layout import Layout
from parak8s.steps.register import register
from parak8s.tracking import Tracker

JOB_TAG = "parak8s.pipeline_run"


def publish(experiment: Experiment, layout: Layout, target: Path, *, job: str) -> dict[str, str]:
    """Send the run directory to MLflow, register the model if the gate passed, write ``target`` and return links.

    Args:
        experiment: The whole experiment.
        layout: The run directory.
        target: Where mlflow.json shall lie.
        job: Identity of the pipeline run: all attempts of one share one MLflow run.

    Raises:
        EnvironmentFault: MLflow cannot be reached; another attempt sends the rest.
    """
    tracker = Tracker(experiment)
    fingerprint = files.read_json(layout.identity)["fingerprint"]
    tags = {"parak8s.fingerprint": fingerprint, JOB_TAG: job}
    run_id = tracker.begin(f"{experiment.name}-{fingerprint}", tags, tracker.find(JOB_TAG, job))
    layout.registration.mkdir()
    try:
        facts = register(experiment, layout, layout.registration, tracker, run_id=run_id, fingerprint=fingerprint)
    except EnvironmentFault:
        raise
    except Exception as error:
        tracker.fail(run_id, str(error))
        raise
    files.write_json(target, facts)
    return {name: str(value) for name, value in facts.items() if value is not None} | tracker.links(
        run_id, facts["model_version"]
    )
