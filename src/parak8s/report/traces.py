"""Drawings of signals: the trace on ECG paper, coloured by the model's attention."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from parak8s.report import drawing
from parak8s.report.drawing import INK, MUTED, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch
    from matplotlib.transforms import Transform

WIDTH, HEIGHT = 324, 132
"""Units of a trace's drawing, its axis left out."""
PAPER, RULING, SQUARE_MS = "#fffcfa", "#cf6a58", 40
FALLS, RISES = "#5aaee0", "#f2a05a"
"""Where hiding lowers, and where it raises, the probability of the predicted class."""
LEVELS = 8
"""Shades on each side."""

Floats = NDArray[np.floating[Any]]


def draw(
    trace: Floats, attention: Floats, scale: float, axis: tuple[str, str, float], name: str, label: str
) -> Picture:
    """Draw one signal.

    Args:
        trace: (length,).
        attention: (m,), fall of the predicted class's probability when that part is hidden; empty without.
        scale: Attention that gets the full colour.
        axis: Name, unit and step of the trace's axis.
        name: Keeps the drawing's ids apart from others.
        label: What it shows, for those who cannot see it.
    """
    what, unit, step = axis
    with drawing.style("trace"):
        figure = drawing.surface(HEIGHT + 44)
        ax = drawing.axes(figure, 8, 36, WIDTH, HEIGHT)
        _paper(ax, len(trace) * step, unit)
        _trace(ax, np.arange(len(trace)) * step, trace)
        _band(ax, attention / (scale or 1), edges(trace, attention, step))
        ax.set_xlabel(f"{what} ({unit})" if unit else what, labelpad=2)
        return drawing.picture(figure, name, label)


def edges(trace: Floats, attention: Floats, step: float) -> Floats:
    """Return the borders of the parts of ``attention`` on the trace's axis, (m + 1,)."""
    return np.linspace(0, len(trace) * step, len(attention) + 1)


def in_words(attention: Floats, edges: Floats, unit: str) -> str:
    """Return the largest fall, and the stretch around it with at least half of it; nothing without attention."""
    if not len(attention):
        return ""
    peak = int(attention.argmax())
    if attention[peak] < 0.005:
        return "Hiding any one part hardly changes the prediction."
    below = np.flatnonzero(np.append(attention, 0) < attention[peak] / 2)
    start, stop = below[below < peak].max(initial=-1) + 1, below[below > peak].min()
    where = f"{edges[start]:.0f}–{edges[stop]:.0f} {unit}".rstrip()
    return f"Largest fall: {attention[peak]:.2f}, around {where}."


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
        lines = [*([(x, 0.0), (x, 1.0)] for x in columns), *([(0.0, y), (1.0, y)] for y in rows)]
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
    end = filled if len(trace) - filled > 1 else len(trace)
    ax.plot(x[end:], trace[end:], color=MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=4)
    ax.plot(x[:end], trace[:end], color=INK, linewidth=1.5, zorder=5, solid_joinstyle="round")


def _band(ax: "Axes", attention: Floats, edges: Floats) -> None:
    """Colour the paper: one path for each shade, so that hundreds of samples stay small."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not len(attention):
        return
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
    """Return the colour of ``shade``, -LEVELS to LEVELS: that of the paper at 0, FALLS or RISES at the ends."""
    share, full = abs(shade) / LEVELS, bytes.fromhex((FALLS if shade > 0 else RISES)[1:])
    mixed = (
        round(paper * (1 - share) + ink * share) for paper, ink in zip(bytes.fromhex(PAPER[1:]), full, strict=True)
    )
    return f"#{bytes(mixed).hex()}"
