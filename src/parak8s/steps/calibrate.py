"""Step 3: puts a calibrator behind the logits, fitted on the calibration split, and exports the servable.

It comes before the evaluation, so that what is measured is what will be served.
"""

from pathlib import Path

import numpy as np

from parak8s import calibration, files
from parak8s.calibration import Calibration
from parak8s.data import prepared
from parak8s.experiment import Experiment
from parak8s.training import determinism


def calibrate(experiment: Experiment, dataset: Path, training: Path, model: Path) -> Calibration:
    """Write ``model.keras``, ``saved_model/1/`` and ``calibration.json`` into the empty folder ``model``."""
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
    classifier.export(calibrated, model / "saved_model" / "1")
    files.write_json(model / "calibration.json", fitted.to_json())
    return fitted
