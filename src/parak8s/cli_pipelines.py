"""The commands about pipelines: plan, compile, submit, manifest. Registered by :mod:`parak8s.cli`."""

import re
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parak8s.errors import GATE_REFUSED, EnvironmentFault, InputError, Stopped

if TYPE_CHECKING:
    from parak8s.cluster import Connection
    from parak8s.pipelines.compiling import Request

File = Annotated[Path, typer.Argument(metavar="FILE", help="Experiment file.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="PATH=VALUE", help="Override a value, for example training.epochs=2."),
]
Points = Annotated[
    Path | None,
    typer.Option("--points", metavar="POINTS", help="File with named points: train each of them, keep the best."),
]
Parallelism = Annotated[int, typer.Option(min=1, help="Points that train at the same time.")]
Tune = Annotated[bool, typer.Option("--tune", help="Search the section search first; go on with the best point.")]


def _namespace(name: str | None) -> str | None:
    if name is not None and not re.fullmatch("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name):
        raise InputError(
            f"--namespace {name!r}: expected lower-case letters, digits and inner hyphens, at most 63, such as ml-team"
        )
    return name


Namespace = Annotated[str | None, typer.Option(help="Kubernetes namespace (the user's profile).", callback=_namespace)]


def plan(
    file: File,
    overrides: Overrides = None,
    points: Points = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="The run's directory.")] = None,
) -> None:
    """Print what a run would do: steps that would be reused, what each takes, and the pipeline's size."""
    from parak8s import console
    from parak8s.pipelines import sdk
    from parak8s.pipelines.compiling import Request
    from parak8s.pipelines.plan import plan as make

    sdk.import_without_client()
    console.print_plan(make(Request.read(file, overrides or (), points), output))


def compile_(
    file: File,
    overrides: Overrides = None,
    points: Points = None,
    parallelism: Parallelism = 4,
    tune: Tune = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="PATH", help="Default: NAME.yaml in this folder.")
    ] = None,
) -> None:
    """Compile the experiment, a sweep of named points, or a search, to a pipeline for the dashboard and for kfp."""
    from parak8s.pipelines import sdk
    from parak8s.pipelines.compiling import Request, write

    sdk.import_without_client()
    request = Request.read(file, overrides or (), points, parallelism, tune=tune)
    target = output or Path(f"{request.name}.yaml")
    size = write(request, target)
    typer.echo(f"pipeline    {target} ({size:,} bytes)")


def submit(
    file: File,
    overrides: Overrides = None,
    points: Points = None,
    parallelism: Parallelism = 4,
    tune: Tune = False,
    host: Annotated[str | None, typer.Option(help="Address of KFP. Default: KF_PIPELINES_ENDPOINT.")] = None,
    namespace: Namespace = None,
    token_file: Annotated[Path | None, typer.Option(help="File with a token, read again for every request.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Certificates to trust, PEM.")] = None,
    experiment: Annotated[str | None, typer.Option(help="KFP experiment. Default: the name of the file.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run; its outcome is the exit code.")] = False,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Stop following after this time.")] = None,
    recurring: Annotated[
        bool, typer.Option("--recurring", help="Create or replace the recurring run of the section schedule.")
    ] = False,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Reuse finished tasks.")] = True,
) -> None:
    """Run the experiment, a sweep of named points, or a search, on Kubeflow Pipelines."""
    from parak8s.cluster import Target, connect
    from parak8s.pipelines.compiling import Request, write

    request = Request.read(file, overrides or (), points, parallelism, tune=tune)
    if recurring and request.experiment.schedule is None:
        raise InputError(
            f"{file}: has no section schedule; write when to run, such as schedule: {{cron: '30 2 * * *'}}"
        )
    target = Target.find(host, namespace=namespace, token_file=token_file, ca_file=ca_file)
    shared = _shared(request, experiment, cache)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, f"{request.name}.yaml")
        write(request, package)
        connection = connect(target)
        if recurring:
            _schedule(connection, package, request, shared)
            return
        run_id = _start(connection, package, request, shared)
    if wait:
        _follow(connection, run_id, timeout)


def _shared(request: "Request", experiment: str | None, cache: bool) -> dict[str, Any]:
    return {
        "pipeline_name": request.name,
        "experiment_name": experiment or request.experiment.name,
        "arguments": request.arguments,
        "service_account": request.experiment.compute.service_account,
        "enable_caching": None if cache else False,
    }


def _start(connection: "Connection", package: Path, request: "Request", shared: dict[str, Any]) -> str:
    from parak8s.cluster import submit as create

    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    submitted = create(connection, package, run_name=f"{request.name} {now}", **shared)
    typer.echo(f"run         {submitted.run_id}\nlink        {submitted.link}")
    return submitted.run_id


def _schedule(connection: "Connection", package: Path, request: "Request", shared: dict[str, Any]) -> None:
    from parak8s.cluster import schedule

    when = request.experiment.schedule
    assert when is not None
    start, end = (datetime.fromisoformat(moment) if moment else None for moment in (when.start, when.end))
    scheduled = schedule(
        connection, package, name=request.name, cron=when.cron, interval_s=when.every_s, start=start, end=end,
        max_concurrency=when.max_concurrency, catch_up=when.catch_up, enabled=when.enabled, **shared,
    )  # fmt: skip
    replaced = f" (replaces {', '.join(scheduled.replaced)})" if scheduled.replaced else ""
    typer.echo(f"recurring   {scheduled.recurring_run_id}{replaced}\nlink        {scheduled.link}")


def _follow(connection: "Connection", run_id: str, timeout: float | None) -> None:
    """Print every task until the run is over; leave with the exit code that ``parak8s run`` would give."""
    from parak8s import console
    from parak8s.cluster import follow

    try:
        with console.Console() as screen:
            outcome = follow(connection, run_id, screen, timeout_s=timeout)
    except KeyboardInterrupt:
        raise Stopped(f"no longer following; the run {run_id} goes on in the cluster") from None
    if outcome.reason:
        raise EnvironmentFault(outcome.reason)
    if "record" in outcome.tasks:
        typer.echo("the gate said no; its reasons are in the summary of the task gate")
        raise typer.Exit(GATE_REFUSED)


manifest = typer.Typer(help="Print Kubernetes objects, for kubectl apply -f -.", no_args_is_help=True)


@manifest.callback()
def _manifest() -> None:
    """Print Kubernetes objects, for kubectl apply -f -."""


@manifest.command("pipeline")
def pipeline_manifest(
    file: File,
    overrides: Overrides = None,
    points: Points = None,
    parallelism: Parallelism = 4,
    tune: Tune = False,
    namespace: Namespace = None,
) -> None:
    """Print Pipeline and PipelineVersion (pipelines.kubeflow.org/v2beta1)."""
    from parak8s.pipelines import sdk
    from parak8s.pipelines.compiling import Request, manifests

    sdk.import_without_client()
    typer.echo(manifests(Request.read(file, overrides or (), points, parallelism, tune=tune), namespace), nl=False)
