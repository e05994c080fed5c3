"""The commands about distributed training. Registered by :mod:`parak8s.cli`."""

from typing import Annotated

import typer

from parak8s.cli_pipelines import File, Namespace, Overrides


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
