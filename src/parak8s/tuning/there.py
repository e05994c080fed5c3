"""Gives a search to Katib on a cluster, follows it, and leaves what people want to see of it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import typer

from parak8s.errors import EnvironmentFault, Stopped
from parak8s.tuning.wanted import Wanted


def search_there(
    wanted: Wanted,
    context: str | None,
    namespace: str | None,
    output: Path | None,
    parallel: int | None,
    *,
    wait: bool,
    delete_on_stop: bool,
) -> None:
    """Create the Experiment, or let one that is there go on with more trials; follow it if that is wanted.

    Raises:
        InputError: The cluster does not take it, or is not there.
        EnvironmentFault: The search failed, or no trial has a value; what is known of it is written all the same.
        Stopped: Ctrl-C.
    """
    from parak8s import console
    from parak8s.cluster.searches import connect
    from parak8s.katib import watched
    from parak8s.tuning.results import leave

    experiment: dict[str, Any] = copy.deepcopy(dict(wanted.object))
    if parallel is not None:
        experiment["spec"]["parallelTrialCount"] = parallel
    searches = connect(context, namespace or experiment["metadata"].get("namespace"))
    created = searches.create(experiment)
    typer.echo(f"experiment  {created.name} in the namespace {created.namespace}")
    if not wait:
        typer.echo(f"follow      kubectl get experiment {created.name} -n {created.namespace} --watch")
        return
    try:
        with console.Console() as screen:
            outcome = searches.follow(created.name, screen, uid=created.uid)
    except KeyboardInterrupt:
        if delete_on_stop:
            searches.delete(created.name, created.uid)
            raise Stopped(f"stopped; the Experiment {created.name} is deleted with its trials") from None
        raise Stopped(f"no longer following; the Experiment {created.name} goes on in the cluster") from None
    found = watched.found(experiment, outcome.trials, outcome.reason or outcome.state)
    directory = output or Path("runs") / wanted.name / f"katib-{created.uid[:8]}"
    leave(wanted, directory, found, {**experiment, "status": dict(outcome.status)})
    if not outcome.succeeded:
        raise EnvironmentFault(outcome.reason)
