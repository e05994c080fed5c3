"""Single test examples of the report: beats with the model's attention, or images; right ones and mistakes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parak8s.report import images, traces
from parak8s.report.drawing import Picture
from parak8s.report.words import percent

MOST_WRONG, MOST_RIGHT = 9, 9

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Sample:
    """One test example on the page.

    Args:
        row: Row in the test split.
        truth: Its class.
        predicted: Class with the highest probability.
        shares: The most probable classes and their probabilities, as text, highest first.
        picture: Drawing of a beat, or None.
        image: ``data:`` URL of an image, or empty.
        overlay: The same with the model's attention over it, or empty.
        note: What the attention says in words, or empty.
    """

    row: int
    truth: str
    predicted: str
    shares: str
    picture: Picture | None = None
    image: str = ""
    overlay: str = ""
    note: str = ""


@dataclass(frozen=True)
class Samples:
    """The examples of the page.

    Args:
        wrong: The mistakes, the one made with the highest confidence first.
        right: Correct ones, every class in turn.
        attention: Largest absolute change of probability, the full scale of the colours; 0 without attention.
        overlays: Whether there are images with the model's attention over them.
    """

    wrong: tuple[Sample, ...]
    right: tuple[Sample, ...]
    attention: float
    overlays: bool


def samples(
    examples: Mapping[str, NDArray[Any]], classes: tuple[str, ...], axis: tuple[str, str, float] | None
) -> Samples | None:
    """Return the examples to show, or None where the inputs are neither signals nor images.

    Args:
        examples: Arrays of evaluation/examples.npz.
        classes: Names of the classes.
        axis: Name, unit and step of a signal's axis, or None.
    """
    shape = examples["inputs"].shape[1:]
    signals = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if not len(examples["labels"]) or not (signals or is_image(shape)):
        return None
    wrong, right = choose(examples["labels"], examples["probabilities"])
    scale = float(np.abs(examples["attention"]).max(initial=0)) if signals else 0.0
    known = axis or ("sample", "", 1.0)
    shown = {
        i: _signal(examples, i, classes, known, scale) if signals else _image(examples, i, classes)
        for i in (*wrong, *right)
    }
    overlays = any(sample.overlay for sample in shown.values())
    return Samples(tuple(shown[i] for i in wrong), tuple(shown[i] for i in right), scale, overlays)


def is_image(shape: tuple[int, ...]) -> bool:
    """Return whether one example of ``shape`` can be shown as a picture: (h, w), (h, w, 1) or (h, w, 3)."""
    return len(shape) in (2, 3) and min(shape[:2]) >= 8 and (len(shape) == 2 or shape[2] in (1, 3))


def choose(labels: NDArray[np.int32], probabilities: Floats) -> tuple[list[int], list[int]]:
    """Return rows of mistakes, most confident first, and rows of correct examples, every class in turn."""
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    order = [int(i) for i in np.argsort(-confidence, kind="stable")]
    wrong = [i for i in order if predicted[i] != labels[i]]
    queues = [[i for i in order if predicted[i] == labels[i] == label] for label in np.unique(labels)]
    turns = [queue[turn] for turn in range(MOST_RIGHT) for queue in queues if turn < len(queue)]
    return wrong[:MOST_WRONG], turns[:MOST_RIGHT]


def _named(examples: Mapping[str, NDArray[Any]], i: int, classes: tuple[str, ...]) -> dict[str, Any]:
    probabilities = examples["probabilities"][i]
    first = [int(k) for k in np.argsort(-probabilities, kind="stable")[:2]]
    shares = " · ".join(f"{classes[k]} {percent(float(probabilities[k]))}" for k in first)
    names = {"truth": classes[int(examples["labels"][i])], "predicted": classes[first[0]]}
    return {"row": int(examples["index"][i]), "shares": shares, **names}


def _signal(
    examples: Mapping[str, NDArray[Any]], i: int, classes: tuple[str, ...], axis: tuple[str, str, float], scale: float
) -> Sample:
    names = _named(examples, i, classes)
    trace, attention = examples["inputs"][i].ravel(), examples["attention"][i].ravel()
    note = traces.in_words(attention, traces.edges(trace, attention, axis[2]), axis[1])
    label = f"Test example {names['row']}, true class {names['truth']}, predicted {names['predicted']}. {note}".strip()
    return Sample(**names, picture=traces.draw(trace, attention, scale, axis, f"trace{i}", label), note=note)


def _image(examples: Mapping[str, NDArray[Any]], i: int, classes: tuple[str, ...]) -> Sample:
    names = _named(examples, i, classes)
    pixels = images.smaller(examples["inputs"][i])
    attention = examples["attention"][i]
    if attention.ndim != 2 or not attention.size:
        return Sample(**names, image=images.encoded(pixels))
    overlay = images.encoded(images.overlaid(pixels, attention))
    return Sample(**names, image=images.encoded(pixels), overlay=overlay, note=images.in_words(attention))
