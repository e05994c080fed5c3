"""The commands about distributed training. Registered by :mod:`parak8s.cli`."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parak8s.cli_endings import conclude, report_error
from parak8s.cli_pipelines import File, Namespace, Overrides
from parak8s.errors import EnvironmentFault, InputError, ParaK8sError, from_os_error

if TYPE_CHECKING:
    from parak8s.experiment import Experiment
    from parak8s.layout import Layout


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
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Default: runs/NAME/FINGERPRINT.")
    ] = None,
    certify: Annotated[
        bool, typer.Option("--certify", help="Train on one worker too, and store how far the two are apart.")
    ] = False,
) -> None:
    """Run the experiment with many workers: the very TFJob that a cluster gets."""
    from parak8s import console, loading

    counts = {"compute.workers": workers, "compute.parameter_servers": ps}
    given = [f"{path}={count}" for path, count in counts.items() if count is not None]
    experiment = loading.load(file, [*(overrides or ()), *given])
    if certify:
        _refuse_uncertifiable(experiment)
    layout = _run_here(experiment, output, certify=certify)
    if certify:
        console.print_certificate(layout.training / "certificate.json")
    conclude(layout, judged=True)


def _refuse_uncertifiable(experiment: "Experiment") -> None:
    if experiment.compute.parameter_servers:
        raise InputError("--certify: workers of parameter servers do not wait for each other, so that no two trainings are "
                         "the same; write compute.parameter_servers: 0")  # fmt: skip
    if experiment.reproducibility != "strict":
        raise InputError("--certify needs reproducibility: strict; two trainings differ anyhow without it")


def _run_here(experiment: "Experiment", output: Path | None, *, certify: bool) -> "Layout":
    """Run the job on this machine, in one directory; return where everything lies."""
    from parak8s import claims, files
    from parak8s.run import place
    from parak8s.tfjobs import local
    from parak8s.tfjobs.building import tfjob
    from parak8s.tfjobs.local.terminal import Terminal

    _, _, layout = place(experiment, output)
    claims.refuse_foreign(layout)
    if certify and layout.training.is_dir() and not (layout.training / "certificate.json").is_file():
        raise InputError(f"{layout.root}: was trained without --certify; give another folder with -o")
    job = tfjob(experiment, directory=str(layout.root.absolute()), certify=certify)
    record = layout.root / "tfjob.json"

    def write(status: dict[str, Any]) -> None:
        files.write_json(record, status)

    ended = local.run(job, logs=layout.root / "logs", narrator=Terminal(), on_status=write)
    conditions = {each["type"]: each for each in ended["status"]["conditions"] if each["status"] == "True"}
    if "Failed" in conditions:
        raise EnvironmentFault(
            f"{conditions['Failed']['message']} What each replica said is in {layout.root / 'logs'}; the same command "
            "goes on from the last checkpoint"
        )
    return layout


def replica(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Its text.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder that all replicas see.")],
    only: Annotated[str | None, typer.Option(metavar="train", help="Train the dataset in DIR, and no more.")] = None,
    certify: Annotated[bool, typer.Option("--certify", help="Train on one worker too, and compare.")] = False,
) -> None:
    """Take part in a run as the replica that TF_CONFIG names; TFJobs call it."""
    from parak8s import console, loading
    from parak8s.replica import take_part

    code = 0
    try:
        if only not in (None, "train"):
            raise InputError(f"--only {only}: replicas meet for the training alone; write train")
        with console.Console() as screen:
            take_part(
                loading.parse(experiment, "the experiment"), output,
                narrator=screen, observers=[screen], train_only=only == "train", certify=certify,
            )  # fmt: skip
    except (ParaK8sError, OSError) as error:
        code = report_error(error if isinstance(error, ParaK8sError) else from_os_error(error), error)
    except Exception as error:
        code = report_error(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # TensorFlow's threads wait for peers that may be gone


def tfjob_manifest(
    file: File,
    overrides: Overrides = None,
    namespace: Namespace = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Folder of the run in the pods. Default: compute.runs/NAME."
        ),
    ] = None,
) -> None:
    """Print a TFJob (kubeflow.org/v1) that trains on compute.workers and compute.parameter_servers."""
    from parak8s.components import spec
    from parak8s.loading import load
    from parak8s.tfjobs.building import cluster_tfjob

    job = cluster_tfjob(load(file, overrides or ()), directory=output, namespace=namespace)
    comment = f"The TFJob {job['metadata']['name']}, made from its experiment file by: parak8s manifest tfjob"
    typer.echo(spec.dumped([job], comment), nl=False)
