"""Line drawings of the report: learning curves, ROC, precision and recall, reliability."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from parak8s.report import drawing
from parak8s.report.drawing import BLUE, INK, MUTED, RULE, VERMILION, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = (
    ("Loss", (("loss", "training"), ("val_loss", "validation"))),
    ("Accuracy", (("accuracy", "training"), ("val_accuracy", "validation"))),
    ("AUC and F1 (validation)", (("val_auc", "AUC"), ("val_f1", "F1, macro"))),
)
"""Title of each learning curve; which values of an epoch it shows, and what they are called."""
FEW = 10
"""Examples below which a point of the reliability diagram is drawn open."""

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""x and y of one class's curve."""


def learning_curves(history: Mapping[str, Any]) -> list[Picture]:
    """Draw loss, accuracy, AUC and F1 over the epochs of history.json; a panel without values is left out."""
    epochs: Sequence[Mapping[str, Any]] = history["epochs"]
    panels = []
    for number, (title, series) in enumerate(PANELS):
        shown = [(key, name) for key, name in series if any(epoch.get(key) is not None for epoch in epochs)]
        if shown:
            panels.append(_learning_curve(f"learning{number}", title, shown, history))
    return panels


def _learning_curve(name: str, title: str, series: list[tuple[str, str]], history: Mapping[str, Any]) -> Picture:
    from matplotlib.ticker import MaxNLocator

    x: list[int] = [epoch["epoch"] for epoch in history["epochs"]]
    kept, said = history.get("kept_epoch"), []
    with drawing.style(name):
        figure = drawing.surface(230)
        ax = drawing.axes(figure, 44, 40, 284, 160)
        for (key, label), colour, dash in zip(series, (BLUE, VERMILION), ("-", (0, (5, 2))), strict=False):
            y = np.array([math.nan if (v := epoch.get(key)) is None else v for epoch in history["epochs"]], np.float64)
            ax.plot(x, y, color=colour, linestyle=dash, label=label, marker="o" if len(x) < 3 else "", markersize=5)
            if kept in x:
                at_kept = y[x.index(kept)]
                ax.plot([kept], [at_kept], "o", color=colour, markersize=5, zorder=4)
                said.append(f"{label} {at_kept:.4g}")
        if kept is not None:
            ax.axvline(kept, color=MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        ax.set_title(title, loc="left", fontweight="bold", pad=9)
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(MaxNLocator(7, integer=True))
        ax.set_xlim(min(x) - 0.5 * (len(x) < 3), max(x) + 0.5 * (len(x) < 3))
        ax.legend(loc="best", borderaxespad=0.3)
        at = f"; at the kept epoch {kept}: {', '.join(said)}" if said else ""
        return drawing.picture(figure, name, f"{title} over {len(x)} epochs{at}")


def roc(curves: Mapping[str, Curve], mark: tuple[float, float] | None = None) -> Picture:
    """Draw (false positive rate, true positive rate) of each class, with the corner enlarged where it is crowded.

    ``mark`` is the operating point, in the same two rates.
    """
    with drawing.style("roc"):
        figure = drawing.surface(340)
        ax = _unit_axes(figure, "1 − specificity (false positive rate)", "sensitivity (true positive rate)")
        ax.plot([0, 1], [0, 1], color=RULE, linewidth=1, linestyle=(0, (4, 3)))
        _draw(ax, curves, mark)
        if all(np.interp(0.28, *curve) > 0.75 for curve in curves.values() if len(curve[0])):
            _corner(figure, curves, mark)
        at = f"; operating point: {mark[1]:.4f} found, {mark[0]:.4f} called falsely" if mark else ""
        return drawing.picture(figure, "roc", f"ROC curves of {', '.join(curves)}, each against the rest{at}")


def _corner(figure: "Figure", curves: Mapping[str, Curve], mark: tuple[float, float] | None) -> None:
    """Enlarge the upper left corner, where good curves crowd, in the lower right, where they leave room."""
    inset = drawing.axes(figure, 152, 72, 158, 158)
    _draw(inset, curves, mark)
    inset.set(xlim=(-0.002, 0.1), ylim=(0.9, 1.002), xticks=(0, 0.05, 0.1), yticks=(0.9, 0.95, 1))
    inset.set_title("upper left corner", fontsize=10.5, color=MUTED, pad=5)


def precision_recall(curves: Mapping[str, Curve]) -> Picture:
    """Draw (recall, precision) of each class."""
    with drawing.style("pr"):
        figure = drawing.surface(340)
        ax = _unit_axes(figure, "recall (sensitivity)", "precision (positive predictive value)")
        _draw(ax, curves)
        return drawing.picture(figure, "pr", f"Precision-recall curves of {', '.join(curves)}, each against the rest")


def _draw(ax: "Axes", curves: Mapping[str, Curve], mark: tuple[float, float] | None = None) -> None:
    for index, (x, y) in enumerate(curves.values()):
        colour, dash = line_style(index)
        pattern = (0, tuple(float(length) for length in dash.split())) if dash else "-"
        ax.plot(x, y, color=colour, linestyle=pattern, linewidth=1.7, dash_capstyle="butt")
    if mark:
        ax.plot(*([rate] for rate in mark), "D", color=INK, markerfacecolor="white", markersize=7, zorder=5)


def line_style(index: int) -> tuple[str, str]:
    """Return colour and dashes (empty for a whole line) of the class at ``index``."""
    palette, dashes = drawing.PALETTE, drawing.DASHES
    return palette[index % len(palette)], dashes[(index + index // len(palette)) % len(dashes)]


def _unit_axes(figure: "Figure", x: str, y: str) -> "Axes":
    ax = drawing.axes(figure, 44, 42, 284, 284)
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y, xticks=ticks, yticks=ticks)
    return ax


Bins = Sequence[tuple[float, float, int]]
"""Mean confidence, share correct and number of examples of each bin that has any."""


def reliability(before: Bins, after: Bins | None) -> Picture:
    """Draw how often predictions of each confidence are right, and how many there are.

    Args:
        before: Bins of the model's own probabilities.
        after: The same after calibration; None where there is none.
    """
    series = [(before, VERMILION, "s", "before"), (after, BLUE, "o", "after")] if after else [(before, BLUE, "o", "")]
    with drawing.style("reliability"):
        figure = drawing.surface(340)
        ax = drawing.axes(figure, 56, 122, 272, 204)
        counts = drawing.axes(figure, 56, 42, 272, 66, sharex=ax)
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="perfect")
        for bins, colour, marker, label in series:
            confidence, correct, size = np.array(bins, np.float64).T
            for axes, y in ((ax, correct), (counts, size)):
                axes.plot(confidence, y, color=colour, linewidth=1.3)
                for members, fill in ((size >= FEW, colour), (size < FEW, "white")):
                    axes.plot(confidence[members], y[members], marker, color=colour, markerfacecolor=fill, markersize=5)
            ax.plot([], [], marker=marker, color=colour, markersize=5, linewidth=1.3, label=label or None)
        ax.set(xlim=(-0.01, 1.01), ylim=(-0.02, 1.02), ylabel="share correct", yticks=(0, 0.2, 0.4, 0.6, 0.8, 1))
        ax.tick_params(labelbottom=False)
        ax.legend(loc="upper left", borderaxespad=0.3)
        _logarithmic(counts, max(size for bins, *_ in series for *_, size in bins))
        counts.set(xlabel="stated probability of the predicted class", ylabel="examples")
        return drawing.picture(figure, "reliability", "Share of correct predictions against their stated probability")


def _logarithmic(ax: "Axes", highest: int) -> None:
    """Scale y from 1 to ``highest`` with two or three plain labels: powers of ten."""
    ax.set(yscale="log", ylim=(0.6, 2 * highest))
    powers = range(len(str(highest)))
    ax.minorticks_off()
    ax.set_yticks(
        [10**power for power in powers],
        [f"{10**power:,}" if power % -(-len(powers) // 4) == 0 else "" for power in powers],
    )
