"""Step 4: measures the model on the test split, which nothing before has seen."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parak8s import files
from parak8s.calibration import softmax
from parak8s.data import prepared
from parak8s.evaluation import Decision, measure
from parak8s.experiment import Experiment
from parak8s.training import determinism

EXAMPLES = 9
"""Right and wrong examples kept for the report, of each."""


def evaluate(experiment: Experiment, dataset: Path, model: Path, evaluation: Path) -> dict[str, Any]:
    """Write ``metrics.json``, ``predictions.npz`` and ``examples.npz`` into the empty folder ``evaluation``."""
    determinism.prepare(experiment)
    from parak8s.models import classifier, saved

    manifest = prepared.verify(dataset)
    inputs, labels, patients = prepared.read_split(dataset, "test")
    network = saved.load(model / "model.keras")
    logits, probabilities = classifier.predict(classifier.with_logits(network), inputs)
    uncalibrated = softmax(logits.astype(np.float64))
    chosen_point = experiment.evaluation.operating_point is not None
    decision = Decision.from_json(files.read_json(model / "operating_point.json")) if chosen_point else None
    measured = measure(
        probabilities,
        np.asarray(labels),
        manifest.classes,
        bootstrap=experiment.evaluation.bootstrap,
        seed=experiment.seed,
        uncalibrated=uncalibrated,
        patients=patients if experiment.data.split.by == "patient" else None,
        decision=decision,
    )
    np.savez(
        evaluation / "predictions.npz",
        labels=labels,
        probabilities=probabilities,
        uncalibrated=uncalibrated.astype(np.float32),
    )
    chosen = telling_examples(probabilities, np.asarray(labels), EXAMPLES)
    np.savez(
        evaluation / "examples.npz",
        index=chosen,
        inputs=inputs[chosen],
        labels=labels[chosen],
        probabilities=probabilities[chosen],
        attention=attention(network, inputs[chosen], probabilities[chosen]),
    )
    files.write_json(evaluation / "metrics.json", measured)
    return measured


def telling_examples(probabilities: NDArray[np.float32], labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Return rows worth looking at: the ``count`` most confident mistakes, then right ones of as many classes."""
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    wrong = order[predicted[order] != labels[order]][:count]
    right = order[predicted[order] == labels[order]]
    turns = np.zeros(len(right), int)
    for label in np.unique(labels[right]):
        mine = labels[right] == label
        turns[mine] = np.arange(mine.sum())
    return np.concatenate([wrong, right[np.argsort(turns, kind="stable")][:count]]).astype(np.int64)


def attention(model: Any, inputs: NDArray[Any], probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what speaks for the predicted class, and where, in inputs that are signals or images.

    Args:
        model: Raw batch -> probabilities.
        inputs: (n, length), or (n, height, width, channels).
        probabilities: (n, classes), what the model gives to them.

    Returns:
        Signals: (n, length), see :func:`occlusion`. Images: (n, map height, map width), see
        :func:`parak8s.models.grad_cam.grad_cam`. Nothing to see: (n, 0) or (n, 0, 0).
    """
    if inputs.ndim != 4:
        return occlusion(model, inputs, probabilities)
    import keras

    from parak8s.models.grad_cam import grad_cam

    return grad_cam(keras.Model(model.input, model.layers[-1].input), inputs, probabilities.argmax(axis=1))


def occlusion(model: Any, inputs: NDArray[Any], probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how much the predicted class's probability falls when a part of the signal is hidden: (n, length).

    A window of a twelfth of the signal is replaced by the straight line between its neighbours, and moved along. Each
    sample gets the mean fall over the windows that cover it. Empty (n, 0) for inputs that are not signals.

    Source: Zeiler and Fergus (2014), arXiv:1311.2901, section 4.2.
    """
    if inputs.ndim != 2 or not len(inputs):
        return np.empty((len(inputs), 0), np.float32)
    from parak8s.models import classifier

    length = inputs.shape[1]
    width = max(length // 12, 2)
    starts = range(0, length - width + 1, max(width // 4, 1))
    fall, cover = np.zeros(inputs.shape), np.zeros(length)
    rows, predicted = np.arange(len(inputs)), probabilities.argmax(axis=1)
    hidden = np.stack([_without(inputs, start, width) for start in starts])
    (after,) = classifier.predict(model, hidden.reshape(-1, length))
    after = after.reshape(len(starts), *probabilities.shape)
    for start, values in zip(starts, after, strict=True):
        fall[:, start : start + width] += (probabilities[rows, predicted] - values[rows, predicted])[:, None]
        cover[start : start + width] += 1
    return (fall / np.maximum(cover, 1)).astype(np.float32)


def _without(signals: NDArray[Any], start: int, width: int) -> NDArray[Any]:
    """Return the signals with a window replaced by the line between its neighbours; level at an end of the signal."""
    changed, last = np.array(signals), signals.shape[1] - 1
    left, right = start - 1, start + width
    before, after = signals[:, left if left >= 0 else right], signals[:, right if right <= last else left]
    changed[:, start:right] = np.linspace(before, after, width + 2, axis=1)[:, 1:-1]
    return changed
