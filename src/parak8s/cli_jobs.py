"""The commands about distributed training. Registered by :mod:`parak8s.cli`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parak8s.cli_endings import conclude
from parak8s.cli_pipelines import File, Namespace, Overrides
from parak8s.cli_replica import REFUSAL, UNLIKE
from parak8s.errors import BAD_INPUT, GATE_REFUSED, EnvironmentFault, InputError, Stopped

if TYPE_CHECKING:
    from parak8s.console import Console
    from parak8s.experiment import Experiment
    from parak8s.layout import Layout
    from parak8s.tfjobs.local.terminal import Terminal


class Engine(StrEnum):
    """What runs a TFJob."""

    LOCAL = "local"
    TFJOB = "tfjob"


def distribute(
    file: File,
    overrides: Overrides = None,
    engine: Annotated[
        Engine, typer.Option(help="local: processes on this machine. tfjob: the training operator of a cluster.")
    ] = Engine.LOCAL,
    workers: Annotated[int | None, typer.Option(min=1, help="Default: compute.workers.")] = None,
    ps: Annotated[int | None, typer.Option(min=0, help="Default: compute.parameter_servers.")] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Default: runs/NAME/FINGERPRINT; with tfjob compute.runs/NAME."
        ),
    ] = None,
    certify: Annotated[
        bool, typer.Option("--certify", help="Train on one worker too, and store how far the two are apart.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="With tfjob: follow the job; its outcome is the exit code.")
    ] = False,
    delete_on_stop: Annotated[
        bool, typer.Option("--delete-on-stop", help="With --wait: Ctrl-C deletes the job instead of leaving it.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="With tfjob: name of the job. Default: the experiment's.")] = None,
    context: Annotated[str | None, typer.Option(help="With tfjob: context of the kubeconfig.")] = None,
    namespace: Namespace = None,
) -> None:
    """Run the experiment with many workers: the very TFJob that a cluster gets."""
    from parak8s import console, loading
    from parak8s.experiment.compute import is_store
    from parak8s.tfjobs.building import cluster_tfjob

    experiment = loading.load(file, _counted(overrides, workers, ps))
    if certify:
        _refuse_uncertifiable(experiment)
    if delete_on_stop and not wait:
        raise InputError("--delete-on-stop goes with --wait: who does not follow the job cannot stop it")
    if engine is Engine.TFJOB:
        job = cluster_tfjob(experiment, directory=output, namespace=namespace, name=name, certify=certify)
        _run_there(job, context, namespace, wait=wait, delete_on_stop=delete_on_stop)
        return
    if wait or delete_on_stop or name or context or namespace:
        raise InputError("--wait, --delete-on-stop, --name, --context and --namespace go with --engine tfjob")
    if output and is_store(output):
        raise InputError(f"-o {output}: an object store goes with --engine tfjob; write a folder")
    layout = _run_here(experiment, Path(output) if output else None, certify=certify)
    if certify and not console.print_certificate(layout.certificate):
        raise EnvironmentFault(
            f"many workers did not train what one trains; {layout.certificate} has the losses side by side"
        )
    conclude(layout, judged=True)


def _counted(overrides: list[str] | None, workers: int | None, ps: int | None) -> list[str]:
    counts = {"compute.workers": workers, "compute.parameter_servers": ps}
    return [*(overrides or ()), *(f"{path}={count}" for path, count in counts.items() if count is not None)]


def _refuse_uncertifiable(experiment: "Experiment") -> None:
    if experiment.compute.parameter_servers:
        raise InputError(
            "--certify: workers of parameter servers do not wait for each other, so that no two trainings are the "
            "same; write compute.parameter_servers: 0"
        )
    if experiment.reproducibility != "strict":
        raise InputError("--certify needs reproducibility: strict; two trainings differ anyhow without it")
    if experiment.compute.workers == 1:
        raise InputError("--certify compares several workers with one; give --workers 2, say")
    if experiment.compute.gpus:
        raise InputError(
            "--certify computes the shares of all workers in one process, on processors; write compute.gpus: 0"
        )


def _run_here(experiment: "Experiment", output: Path | None, *, certify: bool) -> "Layout":
    """Run the job on this machine, in one directory; return where everything lies."""
    from parak8s import claims, files
    from parak8s.replica import refuse_late_certificate
    from parak8s.run import place
    from parak8s.steps.pretrained import pinned
    from parak8s.tfjobs import local
    from parak8s.tfjobs.building import tfjob
    from parak8s.tfjobs.local.terminal import Terminal

    experiment = pinned(experiment)  # all replicas, and all their starts, begin with the same weights
    _, _, layout = place(experiment, output)
    claims.refuse_foreign(layout)
    claims.refuse_busy(layout)
    if certify:
        refuse_late_certificate(layout)
    job = tfjob(experiment, directory=str(layout.root.absolute()), certify=certify)
    record = layout.root / "tfjob.json"
    layout.starts.unlink(missing_ok=True)  # those of an earlier job

    def write(status: dict[str, Any]) -> None:
        files.write_json(record, status)

    witness = _Witness(Terminal())
    ended = local.run(job, logs=layout.root / "logs", narrator=witness, on_status=write)
    conditions = {each["type"]: each for each in ended["status"]["conditions"] if each["status"] == "True"}
    if "Failed" in conditions:
        _fail(witness, conditions["Failed"]["message"], layout.root / "logs")
    return layout


class _Witness:
    """Hands everything on to the terminal, and remembers the last error of each replica, and how it ended."""

    def __init__(self, terminal: "Terminal") -> None:
        self.terminal = terminal
        self.errors: dict[str, str] = {}
        self.codes: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.terminal, name)

    def said(self, replica: str, line: str) -> None:
        if line.startswith("parak8s: "):
            self.errors[replica] = line.removeprefix("parak8s: ")
        self.terminal.said(replica, line)

    def ended(self, replica: str, code: int, then: str) -> None:
        self.codes[replica] = code
        self.terminal.ended(replica, code, then)


def _fail(witness: _Witness, message: str, logs: Path) -> None:
    """Say why the job failed: what the replica said that ended with bad input, or else the engine's words."""
    for replica, code in witness.codes.items():
        if code == BAD_INPUT and replica in witness.errors:
            raise InputError(f"{replica}: {witness.errors[replica]}")
    said = [f"{replica}: {witness.errors[replica]}" for replica, code in witness.codes.items()
            if 0 < code < 128 and replica in witness.errors]  # fmt: skip
    why = "; ".join(said) or message
    raise EnvironmentFault(f"{why}. All that was said is in {logs}; the same command goes on from the last checkpoint")


def _run_there(
    job: dict[str, Any], context: str | None, namespace: str | None, *, wait: bool, delete_on_stop: bool
) -> None:
    """Create the job on a cluster and follow it, if that is wanted; leave with what its outcome means."""
    from parak8s import console
    from parak8s.cluster.jobs import connect

    jobs = connect(context, namespace)
    try:
        created = jobs.create(job)
    except KeyboardInterrupt:
        name = job["metadata"]["name"]
        look = f"kubectl get tfjob {name}{f' -n {namespace}' if namespace else ''}"
        raise Stopped(f"stopped while the TFJob {name} was being created; see whether it is there: {look}") from None
    typer.echo(f"tfjob       {created.name} in the namespace {created.namespace}")
    if not wait:
        typer.echo(f"follow      kubectl get tfjob {created.name} -n {created.namespace} --watch")
        return
    try:
        with console.Console() as screen:
            listener = _Listener(screen)
            outcome = jobs.follow(created.name, listener, uid=created.uid)
    except KeyboardInterrupt:
        if delete_on_stop:
            jobs.delete(created.name, created.uid)
            raise Stopped(f"stopped; the TFJob {created.name} is deleted, its checkpoints are kept") from None
        raise Stopped(f"no longer following; the TFJob {created.name} goes on in the cluster") from None
    if not outcome.succeeded:
        raise EnvironmentFault(outcome.reason)
    if listener.unlike:
        raise EnvironmentFault(UNLIKE)
    if listener.refused:
        raise typer.Exit(GATE_REFUSED)


class _Listener:
    """Hands everything on to the screen, and hears whether the leader says that the gate or the certificate said no."""

    def __init__(self, screen: "Console") -> None:
        self.screen, self.refused, self.unlike = screen, False, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.screen, name)

    def said(self, line: str) -> None:
        self.refused = self.refused or line.strip() == REFUSAL
        self.unlike = self.unlike or line.strip() == UNLIKE
        self.screen.said(line)


def tfjob_manifest(
    file: File,
    overrides: Overrides = None,
    namespace: Namespace = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Where the run lies: a folder in the pods, or s3://bucket/DIR. Default: compute.runs/NAME.",
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Default: compute.workers.")] = None,
    ps: Annotated[int | None, typer.Option(min=0, help="Default: compute.parameter_servers.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the job. Default: the experiment's.")] = None,
) -> None:
    """Print a TFJob (kubeflow.org/v1) that trains on compute.workers and compute.parameter_servers."""
    from parak8s.components import spec
    from parak8s.loading import load
    from parak8s.tfjobs.building import cluster_tfjob

    experiment = load(file, _counted(overrides, workers, ps))
    job = cluster_tfjob(experiment, directory=output, namespace=namespace, name=name)
    if experiment.compute.runs is None and output is None:
        typer.echo("parak8s: the run goes with its pod; write compute.volumes and compute.runs to keep it", err=True)
    comment = f"The TFJob {job['metadata']['name']}, made from its experiment file by: parak8s manifest tfjob"
    typer.echo(spec.dumped([job], comment), nl=False)
