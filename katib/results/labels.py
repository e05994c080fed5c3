"""Labels of the axes: plain numbers, whole words, names that can be read and are not cut off."""

from __future__ import annotations

import math
import re
import textwrap
from ast import literal_eval
from typing import TYPE_CHECKING, Any

from parak8s.experiment.dimensions import Dimension

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_TICKS = 8
"""Numbers of a list that stand beside an axis."""
LONGEST_NAME = 32
"""Letters of a parameter's name beside an axis."""
LONGEST_WORD = 18
"""Letters of a word beside an axis."""
MOST_LETTERS = 34
"""Letters of all words below an axis that fit beside each other."""


def wrapped(name: str, width: int) -> str:
    """Break a long name where its words end; of a very long one both ends are left."""
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME // 2 - 1]}…{name[-LONGEST_NAME // 2 :]}"
    marked = re.sub(r"([_.…])(?=.)", r"\1 ", name)
    return "\n".join(re.sub("([_.…]) ", r"\1", line) for line in textwrap.wrap(marked, width)) or name


def whole_numbers(ax: Axes) -> None:
    """Label x with whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def readable(axis: Any, parameter: Dimension, longest: int = LONGEST_WORD) -> None:
    """Label an axis with few and plain numbers, or with the words or numbers of its list."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if parameter.kind == "categorical":
        _words(axis, longest)
    elif parameter.kind == "discrete" and len(parameter.choices) <= MOST_TICKS:
        axis.set_ticks([float(text) for text in parameter.choices], parameter.choices)
        axis.set_ticks([], minor=True)
    elif axis.get_scale() == "log":
        _log_ticks(axis)
    else:
        axis.set_major_locator(MaxNLocator(5 if axis.axis_name == "x" else 7, integer=parameter.kind == "int"))
        axis.set_major_formatter(FuncFormatter(_plain_number))


def _plain_number(value: float, _: int | None) -> str:
    return f"{value:.6g}"


def _words(axis: Any, longest: int) -> None:
    """Show words without the quotes that Optuna puts around them, slanted where they would run into each other."""
    ticks = axis.get_ticklocs()
    texts = axis.get_major_formatter().format_ticks(ticks)
    below = axis.axis_name == "x"
    words = [text if len(text) <= longest else f"{text[: longest - 1]}…" for text in map(_unquoted, texts)]
    slanted: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    axis.set_ticks(ticks, words, **(slanted if below and sum(map(len, words)) > MOST_LETTERS else {}))


def _unquoted(text: str) -> str:
    return str(literal_eval(text)) if text[:1] in ("'", '"') and text[:1] == text[-1:] and len(text) > 1 else text


def halo(ax: Axes) -> None:
    """Keep lines from running through the labels of an axis."""
    for text in ax.get_yticklabels():
        text.set_bbox({"facecolor": "white", "alpha": 0.75, "pad": 0.6, "linewidth": 0})


def _log_ticks(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers, at least two of them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    low, high = axis.get_view_interval()
    decades = math.log10(high / low) if 0 < low < high else 0
    steps = (1.0,) if decades >= 3 else (1.0, 3.0) if decades >= 1.5 else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=steps, numticks=7))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_plain_number))
    axis.set_minor_formatter(NullFormatter())
