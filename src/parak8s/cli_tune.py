"""The commands that run a search, and one trial of it. Registered by :mod:`parak8s.cli`."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parak8s.cli_endings import conclude
from parak8s.cli_pipelines import Namespace, Overrides
from parak8s.errors import InputError

if TYPE_CHECKING:
    from parak8s.experiment import Experiment


class Engine(StrEnum):
    """What runs a search."""

    LOCAL = "local"
    KATIB = "katib"


def tune(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Experiment file, or an Experiment of Katib.", show_default=False)
    ],
    overrides: Overrides = None,
    engine: Annotated[
        Engine, typer.Option(help="local: processes on this machine. katib: Katib on a cluster.")
    ] = Engine.LOCAL,
    trials: Annotated[int | None, typer.Option(min=1, help="Default: search.trials.")] = None,
    parallel: Annotated[int | None, typer.Option(min=1, help="Trials at a time. Default: search.parallel.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Default: runs/NAME/search-DIGEST.")
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Write FILE with the best point beside it; with local, run it too.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="With katib: follow the search; its outcome is the exit code.")
    ] = False,
    delete_on_stop: Annotated[
        bool, typer.Option("--delete-on-stop", help="With --wait: Ctrl-C deletes the search instead of leaving it.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name of the search. Default: the experiment's.")] = None,
    context: Annotated[str | None, typer.Option(help="With katib: context of the kubeconfig.")] = None,
    namespace: Namespace = None,
) -> None:
    """Search the space of the section search: the very Experiment that Katib gets. A killed search goes on."""
    from parak8s.tuning.wanted import Wanted

    there = engine is Engine.KATIB
    wanted = Wanted.read(file, overrides or [], trials=trials, name=name, namespace=namespace, on_cluster=there)
    if promote and wanted.point is None:
        raise InputError(f"--promote: {file} is no experiment file; there is nothing to write the best point into")
    if promote:
        _refuse_overwriting(file)
    if delete_on_stop and not wait:
        raise InputError("--delete-on-stop goes with --wait: who does not follow the search cannot stop it")
    if there:
        if promote:
            raise InputError("--promote goes with --engine local; on a cluster: parak8s compile FILE --tune")
        from parak8s.tuning.there import search_there

        search_there(wanted, context, namespace, output, parallel, wait=wait, delete_on_stop=delete_on_stop)
        return
    if wait or context:
        raise InputError("--wait and --context go with --engine katib")
    from parak8s.tuning.here import search_here

    directory = search_here(wanted, output, parallel)
    if promote:
        _promote(file, directory / "best.yaml")


def _refuse_overwriting(file: Path) -> None:
    """Refuse to write the best point over a file that was not made so."""
    from parak8s.tuning.wanted import is_promoted, promoted_name

    target = promoted_name(file)
    if target.exists() and (target == file or not is_promoted(target)):
        raise InputError(f"--promote: would write over {target}; move it, or give {file} another name")


def _promote(file: Path, best: Path) -> None:
    """Write the best point beside the file, and make a model of it: train, calibrate, gate, register."""
    from parak8s import console, files, loading
    from parak8s.run import run
    from parak8s.tuning.wanted import promoted_name

    target = promoted_name(file)
    if not best.is_file():
        raise InputError(f"--promote: the best point does not go into {file}; see the warning above")
    files.write_text(target, best.read_text(encoding="utf-8"))
    typer.echo(f"promoted    {target}")
    with console.Console() as screen:
        layout = run(loading.load(target), narrator=screen, observers=[screen])
    conclude(layout, judged=True)


def trial(
    file: Path | None,
    overrides: list[str] | None,
    output: Path | None,
    name: str | None,
    search: str | None,
    checkpoint: Path | None,
) -> None:
    """Train one point and print its metrics; what a search's template calls.

    Raises:
        InputError: There is no experiment, or no such point in it.
    """
    from parak8s import trial as trials

    experiment = _point(file, overrides or [])
    search = search or experiment.name
    name = name or f"{search}-by-hand"
    trials.refuse_strange_name(name)
    trials.take_trial(
        experiment,
        name,
        output or trials.folder_of(experiment, search, name),
        search=search,
        assignments=overrides or [],
        checkpoint=checkpoint,
        say=_say,
    )


def _point(file: Path | None, overrides: list[str]) -> "Experiment":
    from parak8s import loading
    from parak8s.trial import TEXT

    if file is not None:
        return loading.load(file, overrides)
    if text := os.environ.get(TEXT):
        return loading.parse(text, TEXT, overrides)
    raise InputError(f"parak8s step trial: name the experiment file, or put its text into {TEXT}")


def _say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()
