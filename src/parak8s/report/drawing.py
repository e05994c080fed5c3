"""The drawing surface of the report: small SVGs with live text, the same bytes for the same numbers."""

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE = "#1b2430", "#5b6673", "#d5dae0"
BLUE, VERMILION = "#0072b2", "#d55e00"
PALETTE = (BLUE, VERMILION, "#00795c", "#aa3377", "#7a6200", "#332288", "#4d5560")
"""For the colour-blind (after Okabe & Ito 2008 and Tol 2021), 4.5:1 on white; dashes repeat the difference."""
DASHES = ("", "6 2", "2 2", "8 2 2 2", "10 3", "4 1", "6 2 2 2 2 2")
WIDTH = 340
"""Units of a drawing's width: about the pixels of a phone, so that 11 units of text are readable there."""

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "axes.edgecolor": "#9aa4af",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": "#9aa4af",
    "ytick.color": "#9aa4af",
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8ebee",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Picture:
    """A drawing for the page.

    Args:
        svg: Markup, without ids that others use.
        label: What it shows, for those who cannot see it.
    """

    svg: str
    label: str


@contextlib.contextmanager
def style(name: str) -> Iterator[None]:
    """Draw in the report's style, whatever the user's matplotlibrc says."""
    import matplotlib.style

    with matplotlib.style.context(["default", {**_STYLE, "svg.hashsalt": name}]):
        yield


def surface(height: int) -> "Figure":
    """Return an empty figure ``WIDTH`` by ``height`` units."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH / 72, height / 72), dpi=72)


def axes(figure: "Figure", left: float, bottom: float, width: float, height: float, **options: Any) -> "Axes":
    """Add axes at a place in units, from the lower left corner."""
    total = figure.get_figheight() * 72
    return figure.add_axes((left / WIDTH, bottom / total, width / WIDTH, height / total), **options)


def picture(figure: "Figure", name: str, label: str) -> Picture:
    """Return ``figure`` as SVG to be put into a page; ``name`` keeps its ids apart from other drawings."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})  # type: ignore[no-untyped-call]
    text = buffer.getvalue()
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'url\(#|(?<=href=")#', lambda match: f"{match[0]}{name}-", text)
    text = re.sub(
        r"<svg [^>]*>", f'<svg viewBox="0 0 {WIDTH} {figure.get_figheight() * 72:g}" aria-hidden="true">', text, count=1
    )
    return Picture(re.sub(r"\s*\n\s*", "\n", text), label)
