"""Optuna's pictures of a search, in the look of the report: readable names, no more ink than they need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parak8s.experiment.dimensions import Dimension
from parak8s.katib.results import canvas, labels, study
from parak8s.katib.results.leaders import number
from parak8s.katib.results.records import Search, TrialRecord
from parak8s.katib.results.study import Shown
from parak8s.report.drawing import BLUE, INK, MUTED, VERMILION, Picture
from parak8s.report.words import count, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_AXES, MOST_BARS, MOST_SLICES = 8, 10, 9
"""Parameters that a picture shows; with more it shows the most important ones."""
MANY = 300
"""Trials from which on points are pixels: as shapes they would fill the page."""
FEWEST, FEW = 10, 50
"""Trials from which on importances are drawn: their best tenth is one trial; and below which it is fewer than five."""
MOST_LINES = 200
"""Lines that can be told apart."""
WIDE = 720
"""Units of a wide drawing."""


@dataclass(frozen=True)
class Panel:
    """One picture of the page, or why it is missing.

    Args:
        title: What it is about.
        text: How it is read; without a picture, why there is none.
        pictures: One, or one for each parameter.
        wide: Whether it takes the width of the page.
    """

    title: str
    text: str
    pictures: tuple[Picture, ...] = ()
    wide: bool = False


def panels(search: Search) -> tuple[list[Panel], int]:
    """Return the pictures of a search, and how many trials are so far off that they are left out of them."""
    shown = study.shown_of(search)
    with study.quiet():
        weights = _weights(shown)
        ordered = [*weights, *(name for name in shown.names.values() if name not in weights)]
        made = [
            _history(search, shown),
            _importances(search, shown, weights),
            _parallel(search, shown, ordered),
            _slices(search, shown, ordered),
        ]
    return made, shown.far


def _weights(shown: Shown) -> dict[str, float]:
    """Return the importance of each parameter that varies, the largest first; nothing where there is none to tell."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    tried = {path: {trial.assignments.get(path) for trial in shown.drawn} for path in shown.names}
    varied = [name for path, name in shown.names.items() if len(tried[path]) > 1]
    if len(shown.drawn) < FEWEST or len({trial.value for trial in shown.drawn}) < 2 or len(varied) < 2:
        return {}
    found = get_param_importances(shown.study, evaluator=PedAnovaImportanceEvaluator(), params=varied)
    return found if math.isfinite(sum(found.values())) and sum(found.values()) > 0 else {}


def _missing(search: Search, shown: Shown, parameters: int) -> str:
    """Return why a picture cannot be drawn; empty where it can."""
    if len(shown.drawn) < 2:
        return f"Drawn from two trials with a value on; so far there is {'one' if shown.drawn else 'none'}."
    if len(search.space) < parameters:
        return "The search has a single parameter: there is nothing to compare it with."
    return ""


def _history(search: Search, shown: Shown) -> Panel:
    from optuna.visualization.matplotlib import plot_optimization_history

    title = "How the search went on"
    if why := _missing(search, shown, parameters=1):
        return Panel(title, why)
    with canvas.surface("history"):
        ax: Any = plot_optimization_history(shown.study, target_name=search.objective)
        points, line = ax.collections[0], ax.lines[0]
        points.set(color=BLUE, sizes=[_size(shown)], alpha=0.75, linewidth=0)
        line.set(color=VERMILION, alpha=1, linewidth=1.8, drawstyle="steps-post", zorder=3)
        if search.goal is not None and _near(ax, search.goal):
            ax.axhline(search.goal, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="goal")
        ax.set_xlabel("trial, in the order of suggestion")
        labels.whole_numbers(ax)
        handles, texts = ax.get_legend_handles_labels()
        renamed = {"Best Value": "best so far", search.objective: "a trial", "goal": "goal"}
        texts = [renamed.get(text, text) for text in texts]
        ax.legend(handles, texts, loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=3, borderaxespad=0.2)
        first, best = shown.drawn[0], _best(search, shown)
        label = (
            f"{search.objective} of {count(len(shown.drawn), 'trial')} in the order of suggestion: "
            f"{number(first.value)} at the first, {number(best.value)} at the best, {best.name}"
        )
        drawn = canvas.picture(ax.figure, "history", label, 250, pixels=_many(shown))
    text = "Each point is a trial; the line is the best value so far."
    return Panel(title, text, (drawn,))


def _importances(search: Search, shown: Shown, weights: dict[str, float]) -> Panel:
    from optuna.importance import PedAnovaImportanceEvaluator
    from optuna.visualization.matplotlib import plot_param_importances

    title = "Which parameters matter"
    if why := _missing(search, shown, parameters=2):
        return Panel(title, why)
    if len(shown.drawn) < FEWEST:
        return Panel(title, f"Told from {FEWEST} trials with a value on; so far there are {len(shown.drawn)}.")
    if not weights:
        return Panel(title, "The trials give no hint: their values, or their parameters, are all alike.")
    names = list(weights)[:MOST_BARS]
    with canvas.surface("importances"):
        ax: Any = plot_param_importances(shown.study, evaluator=PedAnovaImportanceEvaluator(), params=names)
        for patch in ax.patches:
            patch.set(color=BLUE, height=0.62)
        for number_beside in ax.texts:
            number_beside.set_x(number_beside.get_position()[0] + 0.012 * ax.get_xlim()[1])
        if (legend := ax.get_legend()) is not None:
            legend.remove()
        ax.set(xlabel="share of the importance", ylabel="")
        lines = [labels.wrapped(each.get_text(), 20) for each in ax.get_yticklabels()]
        ax.set_yticks(ax.get_yticks(), lines)
        bar = 12 + 14 * max(line.count("\n") + 1 for line in lines)
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", length=0, labelcolor=INK)
        shares = dict(zip(names, sorted((patch.get_width() for patch in ax.patches), reverse=True), strict=True))
        label = "Importance: " + ", ".join(f"{name} {percent(share)}" for name, share in shares.items())
        drawn = canvas.picture(ax.figure, "importances", label, 60 + bar * max(3, len(names)))
    text = (
        "How far a parameter separates the best tenth of the trials from the others, as a share of all that are shown "
        "(PED-ANOVA; Watanabe et al. 2023). It tells where to search on, not what is the cause."
    )
    if len(shown.drawn) < FEW:
        text += f" From {count(len(shown.drawn), 'trial')} it is little more than a guess."
    return Panel(title, text + _of_all(len(names), list(weights)), (drawn,))


def _parallel(search: Search, shown: Shown, ordered: Sequence[str]) -> Panel:
    from optuna.visualization.matplotlib import plot_parallel_coordinate

    title = "What good trials have in common"
    if why := _missing(search, shown, parameters=2):
        return Panel(title, why)
    names = sorted(ordered[:MOST_AXES])
    with canvas.surface("parallel"):
        ax: Any = plot_parallel_coordinate(shown.study, params=names, target_name=search.objective)
        best = _best(search, shown)
        _best_on_top(ax, search)
        figure = ax.figure
        *twins, bar = _twins_and_bar(figure, ax)
        ax.set_xticks(
            range(len(names) + 1), [labels.wrapped(name, 16) for name in (search.objective, *names)], rotation=0
        )
        ax.tick_params(axis="x", length=0, labelcolor=INK, pad=7)
        ax.grid(visible=False)
        labels.halo(ax)
        for axis, name in zip(twins, names, strict=True):
            axis.grid(visible=False)
            axis.spines["right"].set_visible(True)
            ends = axis.get_ylim()  # of the values that were tried, to which the lines are drawn
            labels.readable(axis.yaxis, _parameter(search, shown, name), WIDE // (8 * len(names)))
            axis.set_ylim(ends)
            labels.halo(axis)
        bar.remove()
        label = f"{count(len(shown.drawn), 'trial')} as lines; the best, {best.name}: " + ", ".join(
            f"{shown.names[path]} {text}" for path, text in best.assignments.items() if path in shown.names
        )
        drawn = canvas.picture(figure, "parallel", label, 300, WIDE)
    text = "Each line is a trial, the darker the better; the best one is orange."
    if len(shown.drawn) > MOST_LINES:
        half, others = MOST_LINES // 2, len(shown.drawn) - MOST_LINES // 2
        text += f" Drawn are the best {half}, and of the {others:,} others {half} at equal distances in rank."
    return Panel(title, text + _of_all(len(names), ordered), (drawn,), wide=True)


def _best_on_top(ax: Any, search: Search) -> None:
    """Draw the lines from the worst to the best, the best in its own colour; of very many not all, but the best."""
    import numpy as np

    lines = ax.collections[0]
    values = np.asarray(lines.get_array(), dtype=np.float64)
    order = np.lexsort((-np.arange(len(values)), values if search.maximize else -values))  # of equals the first is best
    if len(order) > MOST_LINES:
        half = MOST_LINES // 2
        spread = np.linspace(0, len(order) - half - 1, half).round().astype(int)
        order = np.concatenate([order[spread], order[-half:]])
    segments = lines.get_segments()
    lines.set_segments([segments[i] for i in order])
    lines.set_array(np.linspace(0.25, 1, len(order)))  # by rank: one value far from the others would take all shades
    lines.set(cmap="Blues", clim=(0, 1), linewidth=1.2, alpha=0.6)
    best = segments[int(order[-1])]
    ax.plot(best[:, 0], best[:, 1], color=VERMILION, linewidth=2, zorder=5)


def _twins_and_bar(figure: Figure, ax: Axes) -> list[Axes]:
    """Return the axes of the parameters, and last that of the colours."""
    others = [each for each in figure.axes if each is not ax]
    bar = [each for each in others if each.get_label() == "<colorbar>"]
    return [*(each for each in others if each not in bar), *bar]


def _slices(search: Search, shown: Shown, ordered: Sequence[str]) -> Panel:
    from optuna.visualization.matplotlib import plot_slice

    title = "Each parameter by itself"
    if why := _missing(search, shown, parameters=1):
        return Panel(title, why)
    names, drawn = ordered[:MOST_SLICES], []
    paths = {name: path for path, name in shown.names.items()}
    best = _best(search, shown)
    for place, name in enumerate(names):
        with canvas.surface(f"slice{place}"):
            ax: Any = plot_slice(shown.study, params=[name], target_name=search.objective)
            figure = ax.figure
            _twins_and_bar(figure, ax)[-1].remove()
            ax.collections[0].set(sizes=[_size(shown)], edgecolors=BLUE, linewidth=0 if _many(shown) else 0.4)
            ax.collections[0].set(clim=(-0.4 * len(search.trials), len(search.trials)), cmap="Blues")
            labels.readable(ax.xaxis, _parameter(search, shown, name))
            ax.set_xlabel(labels.wrapped(name, 40))
            at = best.assignments.get(paths[name], "")
            label = f"{search.objective} against {name}; the best trial has {at}"
            drawn.append(canvas.picture(figure, f"slice{place}", label, 230, pixels=_many(shown)))
    text = "Each point is a trial, a later one darker."
    return Panel(title, text + _of_all(len(names), ordered), tuple(drawn))


def _of_all(shown: int, names: Sequence[str]) -> str:
    """Say that only the first of the parameters are shown, which are the most important where importances are known."""
    return f" Shown are the first {shown} of {len(names)} parameters, by importance." if shown < len(names) else ""


def _best(search: Search, shown: Shown) -> TrialRecord:
    kept = {trial.number for trial in shown.drawn}
    return next(trial for trial in search.ranked() if trial.number in kept)


def _many(shown: Shown) -> bool:
    return len(shown.drawn) >= MANY


def _size(shown: Shown) -> float:
    return 5 if _many(shown) else 22


def _near(ax: Axes, value: float) -> bool:
    """Return whether a value can be drawn without pressing the points together."""
    low, high = ax.get_ylim()
    return low - (high - low) / 2 <= value <= high + (high - low) / 2


def _parameter(search: Search, shown: Shown, name: str) -> Dimension:
    return next(each for each in search.space if shown.names[each.name] == name)
