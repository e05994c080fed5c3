"""Step 5: may this model be released? Absolute thresholds, and a comparison with the model that holds the alias."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from parak8s import files
from parak8s.data import prepared
from parak8s.errors import InputError
from parak8s.evaluation import Decision, choose
from parak8s.experiment import Experiment
from parak8s.gate import Comparison, Verdict, compare, judge
from parak8s.training import determinism

if TYPE_CHECKING:
    from parak8s.tracking import Champion, Tracker


def gate(experiment: Experiment, dataset: Path, evaluation: Path, verdict: Path, tracker: Tracker) -> Verdict:
    """Write ``verdict.json`` into the empty folder ``verdict``.

    Args:
        experiment: With its gate.
        dataset: The prepared dataset, whose test split both models are measured on.
        evaluation: What the step evaluate wrote.
        verdict: Where to write.
        tracker: Asked for the model that holds the alias, if the gate compares with it.

    Raises:
        EnvironmentFault: The champion cannot be fetched.
    """
    measured = files.read_json(evaluation / "metrics.json")
    champion = tracker.champion() if experiment.gate.champion else None
    comparison = against(champion, experiment, dataset, evaluation, tracker) if champion else None
    judged = judge(experiment.gate, measured["metrics"], comparison, confidence=measured["confidence"])
    against_whom = {"name": champion.name, "version": champion.version, "run_id": champion.run_id} if champion else None
    files.write_json(verdict / "verdict.json", {**judged.to_json(), "champion": against_whom})
    return judged


def against(
    champion: Champion, experiment: Experiment, dataset: Path, evaluation: Path, tracker: Tracker
) -> Comparison:
    """Return the paired comparison of the new model with the champion on the test split.

    Where there is an operating point, the champion gets the threshold that the same rule chooses for it on the same
    validation split: two models at different points of their curves could only be told to differ.

    Raises:
        InputError: The champion takes other inputs, or knows other classes; the dataset has changed since ingest.
    """
    manifest = prepared.verify(dataset)
    inputs, _, patients = prepared.read_split(dataset, "test")
    with np.load(evaluation / "predictions.npz") as predictions:
        ours, labels = predictions["probabilities"], predictions["labels"]
    with tempfile.TemporaryDirectory() as folder:
        determinism.prepare(experiment)
        model = tracker.download(champion, Path(folder))
        theirs = predictions_of(model, inputs, ours.shape[-1])
        thresholds = _thresholds(model, experiment, dataset, evaluation, manifest.classes)
    return compare(
        ours,
        theirs,
        labels,
        manifest.classes,
        experiment.evaluation.metrics,
        name=champion.name,
        version=champion.version,
        bootstrap=experiment.evaluation.bootstrap,
        seed=experiment.seed,
        patients=patients if experiment.data.split.by == "patient" else None,
        thresholds=thresholds,
    )


def _thresholds(
    champion: Path, experiment: Experiment, dataset: Path, evaluation: Path, classes: Sequence[str]
) -> tuple[float, float] | None:
    """Return the threshold of the new model and the champion's, where there is an operating point."""
    wanted = experiment.evaluation.operating_point
    if wanted is None:
        return None
    ours = Decision.from_json(files.read_json(evaluation / "metrics.json")["operating_point"])
    inputs, labels, _ = prepared.read_split(dataset, "validation")
    probabilities = predictions_of(champion, inputs, len(classes))
    return ours.threshold, choose(probabilities, labels, classes, wanted).threshold


def predictions_of(model: Path, inputs: NDArray[Any], classes: int) -> NDArray[np.float32]:
    """Return the probabilities (n, classes) that a saved model gives to ``inputs`` (n, ...).

    Raises:
        InputError: The model takes inputs of another shape, or knows another number of classes.
    """
    from parak8s.models import classifier, saved

    network = saved.load(model)
    expected, got = (inputs.shape[1:], classes), (network.input_shape[1:], network.output_shape[-1])
    if expected != got:
        raise InputError(
            f"the champion maps inputs {got[0]} to {got[1]} classes, this experiment {expected[0]} to {expected[1]}; "
            "they cannot be compared: register under another registry.name"
        )
    (probabilities,) = classifier.predict(network, inputs)
    return probabilities
