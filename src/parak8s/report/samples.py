"""Single test examples of the report: beats with the model's attention, or images; right ones and mistakes."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from parak8s.report import drawing
from parak8s.report.drawing import INK, MUTED, Picture
from parak8s.report.words import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch
    from matplotlib.transforms import Transform

MOST_WRONG, MOST_RIGHT = 9, 9
LEVELS = 8
"""Shades of attention on each side of zero."""
WIDTH, HEIGHT = 324, 132
"""Units of a trace's drawing, its axis left out."""
PAPER, RULING, SQUARE_MS = "#fffcfa", "#cf6a58", 40
MOST_PIXELS = 112
"""Longest side of an image on the page; larger ones are averaged down."""

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
        note: What the attention says in words, or empty.
    """

    row: int
    truth: str
    predicted: str
    shares: str
    picture: Picture | None = None
    image: str = ""
    note: str = ""


@dataclass(frozen=True)
class Samples:
    """The examples of the page.

    Args:
        wrong: The mistakes, the one made with the highest confidence first.
        right: Correct ones, every class in turn.
        attention: Largest absolute change of probability, the full scale of the colours; 0 without attention.
    """

    wrong: tuple[Sample, ...]
    right: tuple[Sample, ...]
    attention: float


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
    attention = examples["attention"] if signals else np.zeros((1, 1))
    scale = float(np.abs(attention).max())
    shown = {
        int(i): _signal(examples, int(i), classes, axis, scale) if signals else _image(examples, int(i), classes)
        for i in (*wrong, *right)
    }
    return Samples(tuple(shown[i] for i in wrong), tuple(shown[i] for i in right), scale)


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
    examples: Mapping[str, NDArray[Any]],
    i: int,
    classes: tuple[str, ...],
    axis: tuple[str, str, float] | None,
    scale: float,
) -> Sample:
    names = _named(examples, i, classes)
    name, unit, step = axis or ("sample", "", 1.0)
    trace, attention = examples["inputs"][i].ravel(), examples["attention"][i].ravel()
    edges = np.linspace(0, len(trace) * step, len(attention) + 1)
    note = _attention_in_words(attention, edges, unit)
    label = f"Test example {names['row']}, true class {names['truth']}, predicted {names['predicted']}. {note}"
    with drawing.style("beat"):
        figure = drawing.surface(176)
        ax = drawing.axes(figure, 8, 36, WIDTH, HEIGHT)
        _paper(ax, len(trace) * step, unit)
        _trace(ax, np.arange(len(trace)) * step, trace)
        _band(ax, attention / (scale or 1), edges)
        ax.set_xlabel(f"{name} ({unit})" if unit else name, labelpad=2)
        return Sample(**names, picture=drawing.picture(figure, f"beat{i}", label), note=note)


def _attention_in_words(attention: Floats, edges: Floats, unit: str) -> str:
    peak = int(attention.argmax())
    if attention[peak] < 0.005:
        return "Hiding any one part hardly changes the prediction."
    same = attention >= attention[peak] - 1e-6
    stop = peak + int(np.argmin(np.append(same[peak:], False)))
    where = f"{edges[peak]:.0f}–{edges[stop]:.0f} {unit}".rstrip()
    return f"Largest fall: {attention[peak]:.2f} at {where}."


def _paper(ax: "Axes", end: float, unit: str) -> None:
    """Rule the drawing as ECG paper, 40 and 200 ms a square, where the axis is short and in milliseconds."""
    ax.set(xlim=(0, end), yticks=(), facecolor=PAPER)
    ax.spines["left"].set_visible(False)
    ax.tick_params(length=3)
    if unit != "ms" or end > 5000:
        return
    ax.grid(False)
    ax.set_xticks(np.arange(0, end + 1, 200 if end < 2000 else 1000))
    square = SQUARE_MS / end
    for every, alpha in ((1, 0.18), (5, 0.32)):
        columns = np.arange(0, 1, square * every)
        rows = np.arange(0, 1, square * every * WIDTH / HEIGHT)
        lines = [[(x, 0), (x, 1)] for x in columns] + [[(0, y), (1, y)] for y in rows]
        ax.add_patch(_stroke(lines, alpha, ax.transAxes))


def _stroke(lines: list[list[tuple[float, float]]], alpha: float, transform: "Transform") -> "Patch":
    """Return all ``lines`` as a single path: a page has hundreds of them."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    path = Path.make_compound_path(*map(Path, lines))
    return PathPatch(path, fill=False, edgecolor=RULING, alpha=alpha, linewidth=0.7, zorder=2, transform=transform)


def _trace(ax: "Axes", x: Floats, trace: Floats) -> None:
    """Draw the trace, and what pads it with zeros at the end in grey."""
    low, high = float(trace.min()), float(trace.max())
    margin = 0.12 * (high - low or 1)
    ax.set_ylim(low - margin, high + margin)
    filled = int(np.flatnonzero(trace)[-1]) + 1 if trace.any() else 0
    end = filled if len(trace) - filled > 4 else len(trace)
    ax.plot(x[end:], trace[end:], color=MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=4)
    ax.plot(x[:end], trace[:end], color=INK, linewidth=1.5, zorder=5, solid_joinstyle="round")


def _band(ax: "Axes", attention: Floats, edges: Floats) -> None:
    """Colour the paper: one path for each shade, so that hundreds of samples stay small."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    shades = np.round(attention * LEVELS).astype(int)
    starts = np.flatnonzero(np.diff(shades, prepend=shades[0] - 1))
    stops = np.append(starts[1:], len(shades))
    for shade in sorted(set(shades.tolist()) - {0}):
        runs = [(edges[a], edges[b]) for a, b in zip(starts, stops, strict=True) if shades[a] == shade]
        boxes = [Path([(a, 0), (b, 0), (b, 1), (a, 1), (a, 0)], closed=True) for a, b in runs]
        path = Path.make_compound_path(*boxes)
        ax.add_patch(
            PathPatch(path, facecolor=shade_colour(shade), linewidth=0, zorder=1.5, transform=ax.get_xaxis_transform())
        )


def shade_colour(shade: int) -> str:
    """Return the colour of ``shade``, -LEVELS to LEVELS: blue where hiding lowers the probability, orange where it raises it."""
    full = np.array([0x5A, 0xAE, 0xE0] if shade > 0 else [0xF2, 0xA0, 0x5A])
    mixed = np.array([0xFF, 0xFC, 0xFA]) * (1 - abs(shade) / LEVELS) + full * abs(shade) / LEVELS
    return "#" + "".join(f"{round(part):02x}" for part in mixed)


def _image(examples: Mapping[str, NDArray[Any]], i: int, classes: tuple[str, ...]) -> Sample:
    from matplotlib.image import imsave

    pixels = _smaller(examples["inputs"][i])
    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png", cmap="gray", vmin=0, vmax=1, metadata={"Software": None})
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Sample(**_named(examples, i, classes), image=url)


def _smaller(image: NDArray[Any]) -> Floats:
    """Return ``image``, uint8 or float, as (h, w) or (h, w, 3) in [0, 1] and at most ``MOST_PIXELS`` a side."""
    values = image.astype(np.float64)
    if image.dtype == np.uint8:
        values /= 255
    elif values.min() < 0 or values.max() > 1:
        values = (values - values.min()) / (np.ptp(values) or 1)
    block = -(-max(values.shape[:2]) // MOST_PIXELS)
    height, width = (side // block for side in values.shape[:2])
    cut = values[: height * block, : width * block].reshape(height, block, width, block, -1).mean(axis=(1, 3))
    return cut[..., 0] if cut.shape[-1] == 1 else cut
