"""Recurring runs: one of each name, however often it is scheduled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parak8s.cluster.creation import create_once, describe, equals, mark, one, pages
from parak8s.cluster.limits import refuse_too_large
from parak8s.cluster.packages import read_package, upload
from parak8s.cluster.submission import experiment
from parak8s.errors import EnvironmentFault, InputError
from parak8s.experiment.cron import six_fields

if TYPE_CHECKING:
    from parak8s.cluster.connection import Connection

MAX_CONCURRENCY = 10
OURS = "parak8s submission "


@dataclass(frozen=True)
class Scheduled:
    """A recurring run that was created.

    Args:
        recurring_run_id: Of the recurring run.
        link: Its page in the dashboard.
        replaced: Ids of those of the same name that were deleted.
    """

    recurring_run_id: str
    link: str
    replaced: tuple[str, ...]


def schedule(
    connection: Connection,
    package: Path,
    *,
    name: str,
    pipeline_name: str,
    experiment_name: str,
    arguments: Mapping[str, str],
    cron: str | None = None,
    interval_s: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    max_concurrency: int = 1,
    catch_up: bool = False,
    enabled: bool = True,
    service_account: str | None = None,
    enable_caching: bool | None = None,
    description: str = "",
) -> Scheduled:
    """Create the recurring run ``name``; delete the one that ParaK8s made before, once the new one is there.

    Args:
        connection: Where.
        package: Compiled pipeline, YAML.
        name: Of the recurring run.
        pipeline_name: Of the pipeline on the server.
        experiment_name: KFP experiment; made when there is none.
        arguments: Of the pipeline.
        cron: Five fields as in crontab, six with seconds first, or ``@daily`` and the like; in the server's time zone.
        interval_s: Instead of ``cron``: seconds between two runs.
        start: With a time zone; None for now.
        end: With a time zone; None for never.
        max_concurrency: Runs at the same time, 1 to 10.
        catch_up: Make up for runs that were missed, one by one; else only for the latest.
        enabled: False creates it switched off.
        service_account: Kubernetes account that the pods run as.
        enable_caching: False makes every task run anew; otherwise it stays as compiled.
        description: Shown on its page.

    Raises:
        InputError: A value is none, or a recurring run of this name is not of ParaK8s.
        EnvironmentFault: The server does not answer, or refuses.
    """
    from kfp_server_api import V2beta1PipelineVersionReference, V2beta1RecurringRun, V2beta1RuntimeConfig

    trigger = _trigger(cron, interval_s, start, end)
    if not 1 <= max_concurrency <= MAX_CONCURRENCY:
        raise InputError(f"max_concurrency {max_concurrency}: Kubeflow Pipelines takes 1 to {MAX_CONCURRENCY}")
    refuse_too_large(arguments)
    content = read_package(package, enable_caching=enable_caching)
    old = _named(connection, name)
    if foreign := [run.recurring_run_id for run in old if OURS not in (run.description or "")]:
        raise InputError(f"a recurring run {name!r} exists that parak8s did not make ({foreign[0]}): take another name")
    experiment_id = experiment(connection, experiment_name)
    version = upload(connection, content, pipeline_name=pipeline_name)
    words = mark()
    body = V2beta1RecurringRun(
        display_name=name,
        description=describe(description, words),
        experiment_id=experiment_id,
        pipeline_version_reference=V2beta1PipelineVersionReference(version.pipeline_id, version.version_id),
        runtime_config=V2beta1RuntimeConfig(parameters=dict(arguments)),
        trigger=trigger,
        mode="ENABLE" if enabled else "DISABLE",
        max_concurrency=str(max_concurrency),
        no_catchup=not catch_up,
        service_account=service_account,
    )
    call = connection.client.recurring_runs.recurring_run_service_create_recurring_run

    def find() -> Any:
        return one([run for run in _named(connection, name) if words in (run.description or "")])

    new = create_once(connection, lambda: call(recurring_run=body), find)
    replaced = tuple(str(run.recurring_run_id) for run in old)
    _delete(connection, name, replaced)
    link = connection.target.page(f"recurringrun/details/{new.recurring_run_id}")
    return Scheduled(str(new.recurring_run_id), link, replaced)


def _trigger(cron: str | None, interval_s: int | None, start: datetime | None, end: datetime | None) -> Any:
    from kfp_server_api import V2beta1CronSchedule, V2beta1PeriodicSchedule, V2beta1Trigger

    if (cron is None) == (interval_s is None):
        raise InputError("a schedule needs either cron or interval_s")
    for key, moment in (("start", start), ("end", end)):
        if moment is not None and moment.tzinfo is None:
            raise InputError(f"{key} {moment.isoformat()} has no time zone: write {moment.isoformat()}Z for UTC")
    if start and end and end <= start:
        raise InputError(f"end {end.isoformat()} is not after start {start.isoformat()}")
    if cron is not None:
        return V2beta1Trigger(cron_schedule=V2beta1CronSchedule(start, end, six_fields(cron)))
    if interval_s is not None and interval_s < 1:
        raise InputError(f"interval_s {interval_s}: the shortest is 1 second")
    return V2beta1Trigger(periodic_schedule=V2beta1PeriodicSchedule(start, end, str(interval_s)))


def _named(connection: Connection, name: str) -> list[Any]:
    namespace = connection.target.namespace
    options = {"filter": equals(name)} | ({"namespace": namespace} if namespace else {})
    call = connection.client.recurring_runs.recurring_run_service_list_recurring_runs
    return pages(connection, call, "recurring_runs", **options)


def _delete(connection: Connection, name: str, old: tuple[str, ...]) -> None:
    """Delete what was replaced."""
    call = connection.client.recurring_runs.recurring_run_service_delete_recurring_run
    for recurring_run_id in old:
        try:
            connection.ask(call, recurring_run_id)
        except EnvironmentFault as fault:
            fix = "the same command deletes the old one"
            raise EnvironmentFault(
                f"{name}: the new recurring run is there, but so is the old one: {fault}; {fix}"
            ) from fault
