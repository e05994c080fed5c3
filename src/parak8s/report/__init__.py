"""The report: one self-contained HTML page with pictures, written from the files of a run. No TensorFlow."""

from importlib import resources
from pathlib import Path
from typing import Any

from parak8s import files
from parak8s.errors import from_os_error
from parak8s.report.run import Run, read_run

NAME = "report.html"


def write_report(directory: Path) -> Path:
    """Write ``report.html`` into the run ``directory``, whole or not at all, and return its path.

    The page needs nothing but itself: no script, font, style or picture from elsewhere. The same files give the same
    bytes. What a run does not have yet (gate, registration, examples) is left out.

    Raises:
        InputError: A file that evaluation leaves is missing or damaged.
        EnvironmentFault: A file cannot be read or written.
    """
    page = render(read_run(directory))
    try:
        files.write_text(directory / NAME, page)
    except OSError as error:
        raise from_os_error(error, directory / NAME) from error
    return directory / NAME


def render(run: Run) -> str:
    """Return the page of ``run``."""
    import jinja2

    from parak8s.report import curves, facts, images, limits, traces, words

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(yaml_lines=words.yaml_lines, count=words.count, percent=words.percent)
    template = resources.files("parak8s.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        run=run,
        facts=facts,
        limits=limits.limits(run),
        few=curves.FEW,
        overlay=images.scale(),
        shades=(traces.RISES, traces.PAPER, traces.FALLS),
        **_pictures(run),
    )


def _pictures(run: Run) -> dict[str, Any]:
    from parak8s.report import figures, samples

    manifest_axis = run.manifest.get("axis")
    axis = (str(manifest_axis[0]), str(manifest_axis[1]), float(manifest_axis[2])) if manifest_axis else None
    return {
        "learning": figures.learning(run),
        "discrimination": figures.discrimination(run),
        "reliability": figures.reliability(run),
        "samples": samples.samples(run.examples, run.classes, axis) if run.examples is not None else None,
    }
