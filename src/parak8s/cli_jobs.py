"""The commands about distributed training. Registered by :mod:`parak8s.cli`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from parak8s.cli_pipelines import File, Namespace, Overrides
from parak8s.errors import ParaK8sError, from_os_error


def replica(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Text of the experiment.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder that all replicas see.")],
    only: Annotated[str | None, typer.Option(metavar="train", help="Train the dataset in DIR, and no more.")] = None,
) -> None:
    """Take part in a run as the replica that TF_CONFIG names; TFJobs call it."""
    from parak8s import console, loading
    from parak8s.cli import report_error
    from parak8s.replica import take_part

    code = 0
    try:
        with console.Console() as screen:
            take_part(
                loading.parse(experiment, "the experiment"), output,
                narrator=screen, observers=[screen], train_only=only == "train",
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
