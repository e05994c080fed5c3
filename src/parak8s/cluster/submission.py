"""Submits a compiled pipeline: uploaded when it is new, run with its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parak8s.cluster.creation import create_once, describe, equals, mark, one, pages
from parak8s.cluster.limits import refuse_too_large
from parak8s.cluster.packages import Version, read_package, upload
from parak8s.errors import InputError

if TYPE_CHECKING:
    from parak8s.cluster.connection import Connection


@dataclass(frozen=True)
class Submitted:
    """A run that was created.

    Args:
        run_id: Of the run.
        link: Its page in the dashboard.
        experiment_id: Of the KFP experiment that it belongs to.
        version: What it runs.
    """

    run_id: str
    link: str
    experiment_id: str
    version: Version


def submit(
    connection: Connection,
    package: Path,
    *,
    pipeline_name: str,
    run_name: str,
    experiment_name: str,
    arguments: Mapping[str, str],
    service_account: str | None = None,
    enable_caching: bool | None = None,
    description: str = "",
) -> Submitted:
    """Create a run of the package, which becomes a version of the pipeline unless one has its content already.

    Args:
        connection: Where.
        package: Compiled pipeline, YAML.
        pipeline_name: Of the pipeline on the server.
        run_name: Shown in the dashboard; need not be unique.
        experiment_name: KFP experiment; made when there is none.
        arguments: Of the pipeline.
        service_account: Kubernetes account that the pods run as; None for the server's default.
        enable_caching: False makes every task run anew; otherwise it stays as compiled.
        description: Shown on the run's page.

    Raises:
        InputError: The package is none, the arguments are too large, or the server does not take a value.
        EnvironmentFault: The server does not answer, or refuses.
    """
    from kfp_server_api import V2beta1PipelineVersionReference, V2beta1Run, V2beta1RuntimeConfig

    refuse_too_large(arguments)
    content = read_package(package, enable_caching=enable_caching)
    experiment_id = experiment(connection, experiment_name)
    version = upload(connection, content, pipeline_name=pipeline_name)
    words = mark()
    body = V2beta1Run(
        experiment_id=experiment_id,
        display_name=run_name,
        description=describe(description, words),
        pipeline_version_reference=V2beta1PipelineVersionReference(version.pipeline_id, version.version_id),
        runtime_config=V2beta1RuntimeConfig(parameters=dict(arguments)),
        service_account=service_account,
    )
    runs = connection.client.runs

    def find() -> Any:
        options = {"experiment_id": experiment_id, "filter": equals(run_name)}
        found = pages(connection, runs.run_service_list_runs, "runs", **options)
        return one([run for run in found if words in (run.description or "")])

    run = create_once(connection, lambda: runs.run_service_create_run(run=body), find)
    return Submitted(str(run.run_id), connection.target.page(f"runs/details/{run.run_id}"), experiment_id, version)


def experiment(connection: Connection, name: str) -> str:
    """Return the id of the KFP experiment; made when there is none.

    Raises:
        InputError: It is archived, where nothing can run.
    """
    from kfp_server_api import V2beta1Experiment

    api, namespace = connection.client.experiments, connection.target.namespace
    options: dict[str, Any] = {"namespace": namespace} if namespace else {}

    def find() -> Any:
        page = connection.ask(api.experiment_service_list_experiments, filter=equals(name), **options)
        return one(page.experiments)

    body = V2beta1Experiment(display_name=name, namespace=namespace)
    found = find() or create_once(connection, lambda: api.experiment_service_create_experiment(experiment=body), find)
    if found.storage_state == "ARCHIVED":
        raise InputError(f"the KFP experiment {name!r} is archived: restore it in the dashboard, or take another name")
    return str(found.experiment_id)
