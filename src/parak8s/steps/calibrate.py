"""Step 3: puts a calibrator behind the logits, fitted on the calibration split, and exports the servable.

Where the experiment wants an operating point, its threshold is chosen here too, on the validation split. All of this
comes before the evaluation, so that what is measured is what will be served.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parak8s import calibration, data, files
from parak8s.calibration import Calibration
from parak8s.data import prepared
from parak8s.evaluation import Decision, choose
from parak8s.experiment import Experiment
from parak8s.training import determinism


def calibrate(experiment: Experiment, dataset: Path, training: Path, model: Path) -> Calibration:
    """Write ``model.keras``, ``saved_model/1/`` and ``calibration.json`` into the empty folder ``model``.

    With ``evaluation.operating_point`` also ``operating_point.json``.

    Raises:
        InputError: There is nothing to fit or to choose by.
    """
    determinism.prepare(experiment)
    from parak8s.models import classifier, saved

    classes = prepared.verify(dataset).classes
    network = saved.load(training / "model.keras")
    method = experiment.evaluation.calibration
    logits, labels = np.empty((0, len(classes)), np.float32), np.empty(0, np.int32)
    if method != "none":
        inputs, labels, _ = prepared.read_split(dataset, "calibration")
        (logits,) = classifier.predict(network, inputs)
    fitted = calibration.fit(method, logits, np.asarray(labels), classes=classes)
    calibrated = classifier.calibrated(network, fitted)
    calibrated.save(model / "model.keras")
    decision = _decide(experiment, dataset, calibrated, classes)
    if decision:
        files.write_json(model / "operating_point.json", decision.to_json())
    encoded = data.loader(experiment.data.loader, experiment.data.options).encoded_form()
    threshold = decision.threshold if decision else None
    classifier.export(calibrated, model / "saved_model" / "1", encoded=encoded, threshold=threshold)
    files.write_json(model / "calibration.json", fitted.to_json())
    return fitted


def _decide(experiment: Experiment, dataset: Path, calibrated: Any, classes: Sequence[str]) -> Decision | None:
    """Return the threshold that the experiment wants, or None."""
    from parak8s.models import classifier

    if experiment.evaluation.operating_point is None:
        return None
    inputs, labels, _ = prepared.read_split(dataset, "validation")
    (probabilities,) = classifier.predict(calibrated, inputs)
    return choose(probabilities, labels, classes, experiment.evaluation.operating_point)
