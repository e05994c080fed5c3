"""The ground on which Optuna draws: without a window, in the look of the report, nothing cut off at its edges."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from parak8s.report import drawing
from parak8s.report.drawing import INK, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGIN = 0.03
"""Inches around a drawing."""
RESOLUTION = 180
"""Pixels per inch of what is drawn as pixels: sharp at twice the size."""
COLOURS = 64
"""In a picture of pixels: shades of blue."""


@contextlib.contextmanager
def surface(name: str) -> Iterator[None]:
    """Draw without a window and in the report's style, which Optuna changes while it draws."""
    import matplotlib
    from matplotlib import pyplot

    before, open_figures = matplotlib.get_backend(auto_select=False), set(pyplot.get_fignums())
    with drawing.style(name):
        matplotlib.rcParams["axes.formatter.useoffset"] = False
        pyplot.switch_backend("agg")
        try:
            yield
        finally:
            for figure in set(pyplot.get_fignums()) - open_figures:
                pyplot.close(figure)
            if before is not None:
                pyplot.switch_backend(before)


def picture(
    figure: Figure, name: str, label: str, height: float, width: float = drawing.WIDTH, *, pixels: bool = False
) -> Picture:
    """Return the figure as SVG, its text live.

    Args:
        figure: As Optuna left it.
        name: Keeps its ids apart from those of other drawings.
        label: What it shows, for those who cannot see it.
        height: In units, of which 72 are an inch.
        width: Likewise.
        pixels: Draw points as pixels: thousands of shapes would fill the page.
    """
    figure.set(size_inches=(width / 72, height / 72), facecolor="white")
    for ax in figure.axes:
        _plain(ax)
        for points in ax.collections:
            points.set_rasterized(pixels)
    figure.set_dpi(RESOLUTION)
    _fit(figure)
    made = drawing.picture(figure, name, label)
    made = dataclasses.replace(made, svg=re.sub(r"(?<=image/png;base64,)[^\"]+", _fewer_colours, made.svg))
    box = f'viewBox="0 0 {drawing.WIDTH} '
    return dataclasses.replace(made, svg=made.svg.replace(box, f'viewBox="0 0 {width:g} ', 1))


def _fewer_colours(png: re.Match[str]) -> str:
    """Return a PNG with a palette in base64, a third of its size."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(png[0])))
    buffer = io.BytesIO()
    image.quantize(COLOURS, method=Image.Quantize.FASTOCTREE).save(buffer, "png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _fit(figure: Figure) -> None:
    """Make the axes as large as they can be with all that is written around them within the figure."""
    figure.set_layout_engine("none")
    width, height = figure.get_size_inches()
    left, bottom, right, top = 0.15, 0.15, 0.85, 0.85
    for _ in range(3):  # ticks change with the size
        for ax in figure.axes:
            ax.set_position((left, bottom, right - left, top - bottom))
        around = figure.get_tightbbox()
        left, bottom = left + (MARGIN - around.x0) / width, bottom + (MARGIN - around.y0) / height
        right, top = right + (width - MARGIN - around.x1) / width, top + (height - MARGIN - around.y1) / height


def _plain(ax: Axes) -> None:
    """Take Optuna's grey ground away, and its titles, which stand in the page."""
    ax.set_title("", loc="center")
    ax.set_title("", loc="left")
    ax.set_facecolor("none")
    ax.grid(color="#e8ebee", linewidth=0.8) if ax.xaxis.get_gridlines()[0].get_visible() else None
    for side, spine in ax.spines.items():
        spine.set(color="#9aa4af", linewidth=0.8)
        spine.set_visible(spine.get_visible() and side != "top")
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set(color=INK, size=11)
        axis.labelpad = 6
        axis.set_tick_params(color="#9aa4af", labelsize=10.5)
