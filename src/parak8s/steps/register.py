"""Step 6: tells MLflow everything, and registers the model if the gate said yes."""

from pathlib import Path
from typing import Any

from parak8s import files
from parak8s.errors import EnvironmentFault
from parak8s.experiment import Experiment
from parak8s.layout import Layout
from parak8s.secrets import redacted
from parak8s.tracking import Tracker
from parak8s.training import determinism


def register(
    experiment: Experiment, layout: Layout, registration: Path, tracker: Tracker, *, run_id: str, fingerprint: str
) -> dict[str, Any]:
    """Write ``mlflow.json`` into the empty folder ``registration`` and return what it holds.

    The run gets parameters, metrics, the dataset, files and the model. Where the gate passed, the model becomes a
    version and the alias moves to it; where it refused, neither happens.

    Raises:
        EnvironmentFault: MLflow cannot be reached: what was sent stays, and the next call sends the rest. Or another
            model became champion since the gate judged: the next call judges again.
    """
    verdict = files.read_json(layout.gate / "verdict.json")
    passed = verdict["passed"]
    if passed and experiment.gate.champion:
        _refuse_stale(verdict, layout, tracker, run_id)
    determinism.prepare(experiment)  # MLflow's Keras flavour starts TensorFlow; so it starts quietly
    tracker.publish(run_id, layout.root, fingerprint=fingerprint)
    facts = {
        "tracking_uri": redacted(tracker.uri),
        "run_id": run_id,
        "experiment": experiment.mlflow_experiment,
        "model_name": experiment.registered_name if passed else None,
        "model_version": tracker.register(run_id) if passed else None,
        "alias": experiment.registry.alias if passed else None,
    }
    files.write_json(registration / "mlflow.json", facts)
    return facts


def _refuse_stale(verdict: dict[str, Any], layout: Layout, tracker: Tracker, run_id: str) -> None:
    """Take the verdict back if another run moved the alias after it: it compared with a champion of the past."""
    judged, now = verdict["champion"], tracker.champion()
    if now and now.run_id != run_id and now.version != (judged or {}).get("version"):
        (layout.gate / "step.json").unlink(missing_ok=True)
        raise EnvironmentFault(
            f"{now.name} version {now.version} became {now.alias} after the gate had judged; give the same command "
            "again, and the gate compares with it"
        )
