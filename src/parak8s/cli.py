"""The command line. Starts in a moment: TensorFlow and MLflow are loaded by the commands that need them."""

import contextlib
import json
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parak8s import cli_jobs, cli_pipelines, cli_replica, cli_search, cli_tune
from parak8s.cli_endings import conclude, report_error
from parak8s.cli_pipelines import File, Overrides
from parak8s.errors import InputError, ParaK8sError, Stopped, from_os_error

if TYPE_CHECKING:
    pass

app = typer.Typer(
    name="parak8s",
    help="One file describes an experiment; the same file runs on a laptop and on Kubeflow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Directory = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="DIR", help="Default: runs/NAME/FINGERPRINT.")
]


class Engine(StrEnum):
    """What runs an experiment on this machine."""

    LOCAL = "local"
    KFP = "kfp"


@app.callback(invoke_without_command=True)
def start(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False,  # noqa: ARG001 - main reads it
) -> None:
    """One file describes an experiment; the same file runs on a laptop and on Kubeflow."""
    if version:
        from parak8s import __version__

        typer.echo(f"parak8s {__version__}")
        raise typer.Exit


@app.command()
def run(
    file: File,
    overrides: Overrides = None,
    output: Directory = None,
    engine: Annotated[Engine, typer.Option(help="local: in this process. kfp: the compiled pipeline.")] = Engine.LOCAL,
    points: Annotated[
        Path | None, typer.Option(metavar="POINTS", help="With kfp: train these named points, keep the best.")
    ] = None,
) -> None:
    """Run the experiment: ingest, train, calibrate, evaluate, gate, register. A killed run goes on."""
    if engine is Engine.KFP:
        _run_pipeline(file, overrides, output, points)
        return
    if points:
        raise InputError("--points goes with --engine kfp: a sweep is a pipeline")
    _run(file, overrides, output, only=None)


@app.command()
def step(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="ingest, train, calibrate, evaluate, gate or register; or trial.")
    ],
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Experiment file. A trial may have its text in PARAK8S_EXPERIMENT."),
    ] = None,
    overrides: Overrides = None,
    output: Directory = None,
    trial: Annotated[str | None, typer.Option("--name", help="Of the trial.")] = None,
    search: Annotated[str | None, typer.Option(help="Of the trial: name of its search.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Of the trial: weights to begin with, and to leave there.")
    ] = None,
) -> None:
    """Run a single step in the run's directory; or one trial of a search, with the metrics that Katib reads."""
    from parak8s.chain import STEPS
    from parak8s.errors import nearest

    names = [each.name for each in STEPS]
    if name == "trial":
        cli_tune.trial(file, overrides, output, trial, search, checkpoint)
        return
    if name not in names:
        raise InputError(f"no step {name!r}; {nearest(name, [*names, 'trial'])}")
    if trial or search or checkpoint:
        raise InputError("--name, --search and --checkpoint go with the step trial")
    if file is None:
        raise InputError(f"parak8s step {name}: name the experiment file")
    _run(file, overrides, output, only=name)


def _run(file: Path, overrides: list[str] | None, output: Path | None, only: str | None) -> None:
    from parak8s import console
    from parak8s.loading import load
    from parak8s.run import run as run_steps
    from parak8s.training import heap

    heap.keep()
    experiment = load(file, overrides or ())
    with _stoppable(), console.Console() as screen:
        layout = run_steps(experiment, output, narrator=screen, observers=[screen], only=only)
    conclude(layout, judged=only in (None, "gate", "register"))


def _run_pipeline(file: Path, overrides: list[str] | None, output: Path | None, points: Path | None) -> None:
    from parak8s import console
    from parak8s.pipelines import sdk
    from parak8s.pipelines.compiling import Request
    from parak8s.pipelines.local import run as run_tasks

    sdk.import_without_client()
    request = Request.read(file, overrides or (), points)
    with _stoppable(), console.Console() as screen:
        layout = run_tasks(request, output, narrator=screen)
    conclude(layout, judged=True)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped("stopped; the same command goes on from here") from None


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Experiment files.", show_default=False)],
    overrides: Overrides = None,
) -> None:
    """Check experiment files; report all mistakes of each, with line, path, value and what is allowed."""
    from parak8s.loading import load

    failures: dict[str, ParaK8sError] = {}  # by their text: a broken override is the same mistake in every file
    for file in files:
        try:
            experiment = load(file, overrides or ())
        except ParaK8sError as error:
            failures.setdefault(str(error), error)
        else:
            typer.echo(f"{file}: valid ({experiment.name}: {experiment.data.loader}, {experiment.model.builder})")
    codes = [report_error(error) for error in failures.values()]
    if codes:
        raise typer.Exit(max(codes))


@app.command()
def schema() -> None:
    """Print the JSON Schema of an experiment file."""
    from parak8s.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@app.command()
def diff(
    first: Annotated[Path, typer.Argument(metavar="A", show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="B", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Option("-s", "--set", metavar="PATH=VALUE", help="Override a value of B.")
    ] = None,
) -> None:
    """Print what differs between two experiments, and whether it changes the fingerprint."""
    from parak8s.console import print_differences
    from parak8s.loading import load

    print_differences(load(first), load(second, overrides or ()))


@app.command()
def show(
    reference: Annotated[
        str, typer.Argument(metavar="RUN", help="Run directory, MLflow run id, or models:/NAME@ALIAS.")
    ],
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow store. Default: MLFLOW_TRACKING_URI, else SQLite.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the whole lineage of a run or of a model version."""
    from parak8s import console
    from parak8s.experiment import Tracking
    from parak8s.tracking.lineage import lineage

    found = lineage(reference, Tracking(uri=tracking_uri))
    typer.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False)) if as_json else console.print_lineage(found)


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Run directory.", show_default=False)],
) -> None:
    """Write report.html of a run directory again."""
    from parak8s.report import write_report

    typer.echo(f"report  {write_report(directory)}")


app.command()(cli_pipelines.plan)
app.command("compile")(cli_pipelines.compile_)
app.command()(cli_pipelines.submit)
app.command()(cli_jobs.distribute)
app.command()(cli_tune.tune)
app.command(hidden=True)(cli_replica.replica)
cli_pipelines.manifest.command("tfjob")(cli_jobs.tfjob_manifest)
cli_pipelines.manifest.command("katib")(cli_search.katib_manifest)
app.add_typer(cli_pipelines.manifest, name="manifest")


def main() -> None:
    """Entry point of ``parak8s``."""
    sys.exit(run_command([argument for argument in sys.argv[1:] if argument != "--debug"]))


def run_command(arguments: list[str]) -> int:
    """Return the exit code of a command. Every error is one readable paragraph; ``--debug`` alone shows a traceback."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # package.module:function of the user's own may lie beside the file
    try:
        app(arguments, prog_name="parak8s")  # Typer answers a wrong usage itself, with exit code 2, and then exits
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except (ParaK8sError, OSError) as error:
        return report_error(error if isinstance(error, ParaK8sError) else from_os_error(error), error)
    except Exception as error:
        return report_error(error)
    return 0


if __name__ == "__main__":
    main()
