"""The report of a search: report.html, one page that needs nothing but itself."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from parak8s import files
from parak8s.errors import from_os_error
from parak8s.katib.results import leaders
from parak8s.katib.results.ending import counts, ending
from parak8s.katib.results.records import Search, written
from parak8s.report import words

MOST_ROWS = 100
"""Trials in the table; of more, these are the best."""
MOST_REASONS = 20
"""Reasons of failed trials that are told."""
SEVERAL = 5
"""Names of failed trials that are told for one reason."""


def write_report(path: Path, search: Search) -> None:
    """Write the page of a search to ``path``, such as ``report.html``, whole or not at all.

    No script, font, style or picture comes from elsewhere; the same search gives the same page. It links to
    ``trials.csv`` beside it. A search that is still running has a page too.

    Raises:
        EnvironmentFault: The file cannot be written.
    """
    page = render(search)
    try:
        files.write_text(path, page)
    except OSError as error:
        raise from_os_error(error, path) from error


def render(search: Search) -> str:
    """Return the page of a search."""
    import jinja2

    from parak8s.katib.results import pictures

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(count=words.count)
    template = resources.files("parak8s.katib.results").joinpath("page.html.j2").read_text(encoding="utf-8")
    panels, far = pictures.panels(search)
    ranked, failed = search.ranked(), leaders.failures(search)
    best = ranked[0] if ranked else None
    return environment.from_string(template).render(
        search=search,
        best=best,
        best_value=leaders.number(best.value) if best else "",
        best_point=leaders.shown(search, best) if best else {},
        best_state=leaders.STATES[best.state] if best else "",
        ending=ending(search),
        facts=_facts(search),
        panels=panels,
        far=far,
        board=leaders.board(search, MOST_ROWS),
        ranked=len(ranked),
        failed=failed[:MOST_REASONS],
        unnamed=len(failed[MOST_REASONS:]),
        shortened=leaders.shortened,
        several=SEVERAL,
    )


def _facts(search: Search) -> dict[str, str]:
    """Return what stands under the headline."""
    starts = sorted(filter(None, (written(trial.started) for trial in search.trials)))
    seconds = [trial.seconds for trial in search.trials if trial.seconds is not None]
    facts = {
        "Trials": ", ".join(f"{number:,} {state}" for state, number in counts(search).items()) or "none",
        "Objective": f"{search.objective}, {'maximized' if search.maximize else 'minimized'}",
        "Goal": "" if search.goal is None else f"{search.goal:g}",
        "Algorithm": search.algorithm,
        "Parameters": f"{len(search.space)}",
        "Time of all trials": words.duration(sum(seconds)) if seconds else "",
        "First trial": starts[0].replace("T", " ").replace("Z", " UTC") if starts else "",
        "Katib says": search.status,
    }
    return {name: value for name, value in facts.items() if value}
