"""The commands about searches. Registered by :mod:`parak8s.cli`."""

from typing import Annotated

import typer

from parak8s.cli_pipelines import File, Namespace, Overrides


def katib_manifest(
    file: File,
    overrides: Overrides = None,
    namespace: Namespace = None,
    name: Annotated[str | None, typer.Option(help="Name of the search. Default: the experiment's.")] = None,
) -> None:
    """Print a Katib Experiment (kubeflow.org/v1beta1) that searches the space of the section search."""
    from parak8s.components import spec
    from parak8s.katib.building import katib_experiment
    from parak8s.loading import load

    built = katib_experiment(load(file, overrides or ()), namespace=namespace, name=name)
    comment = f"The Experiment {built['metadata']['name']}, made from its experiment file by: parak8s manifest katib"
    typer.echo(spec.dumped([built], comment), nl=False)
