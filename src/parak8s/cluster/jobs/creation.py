"""Makes a TFJob that must not be there twice although an answer may be lost, and deletes one with all it has."""

from __future__ import annotations

import copy
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parak8s.cluster.faults import Conflict
from parak8s.cluster.jobs.conditions import state_of
from parak8s.cluster.jobs.connection import TFJOBS
from parak8s.cluster.jobs.faults import NoSuchKind, NotFound
from parak8s.cluster.patience import persistently
from parak8s.errors import EnvironmentFault, InputError

if TYPE_CHECKING:
    from parak8s.cluster.jobs.connection import Connection

MARK = "parak8s/submission"
"""Annotation by which exactly this submission is found again."""
GONE_S = 120
"""How long the pods of a job may take to end."""


@dataclass(frozen=True)
class Created:
    """A TFJob that is on the cluster.

    Args:
        name: Of the job.
        namespace: Where.
        uid: Tells it from another job of that name.
    """

    name: str
    namespace: str
    uid: str


def create(connection: Connection, job: Mapping[str, Any]) -> Created:
    """Create a TFJob.

    Args:
        connection: Where.
        job: The whole object, of ``kubeflow.org/v1``; it is not changed.

    Raises:
        InputError: It is no TFJob, its name is taken, or the server does not take a value.
        EnvironmentFault: The cluster does not know TFJobs, does not answer, or refuses.
    """
    name = _checked(connection, job)
    body = copy.deepcopy(dict(job))
    words = uuid.uuid4().hex
    body["metadata"]["annotations"] = {**(body["metadata"].get("annotations") or {}), MARK: words}
    body["metadata"]["namespace"] = connection.namespace
    group, version, plural = TFJOBS
    call = connection.client.custom_api.create_namespaced_custom_object

    def act() -> Mapping[str, Any]:
        try:
            made: Mapping[str, Any] = connection.ask(
                call, group, version, connection.namespace, plural, body, patience=connection.patience.once()
            )
        except Conflict:
            made = connection.tfjob(name)
            if (made["metadata"].get("annotations") or {}).get(MARK) != words:
                raise InputError(_taken(connection.namespace, made)) from None
        return made

    made = persistently(act, connection.patience)
    return Created(name, connection.namespace, str(made["metadata"]["uid"]))


def _checked(connection: Connection, job: Mapping[str, Any]) -> str:
    """Return the name of a job that can be sent."""
    if (job.get("apiVersion"), job.get("kind")) != ("kubeflow.org/v1", "TFJob"):
        raise InputError(f"expected a TFJob of kubeflow.org/v1, got {job.get('kind')} of {job.get('apiVersion')}")
    name, namespace = (job.get("metadata") or {}).get("name"), (job.get("metadata") or {}).get("namespace")
    if not name:
        raise InputError("the TFJob has no metadata.name; give it one")
    if namespace not in (None, connection.namespace):
        raise InputError(
            f"the TFJob {name} is for the namespace {namespace}, and the cluster is asked about "
            f"{connection.namespace}: give --namespace {namespace}"
        )
    return str(name)


def _taken(namespace: str, job: Mapping[str, Any]) -> str:
    name = job["metadata"]["name"]
    return (
        f"the namespace {namespace} has a TFJob {name} already ({state_of(job)}): delete it with "
        f"kubectl delete tfjob {name} -n {namespace}, or give the new one another name"
    )


def delete(connection: Connection, name: str, uid: str | None = None, *, wait_s: float = GONE_S) -> bool:
    """Delete a TFJob with its pods and services, and wait until they are gone.

    Args:
        connection: Where.
        name: Of the job.
        uid: Of the job: another one of that name is left alone. None for whichever it is.
        wait_s: How long its pods may take to end.

    Returns:
        Whether there was such a job.

    Raises:
        EnvironmentFault: Its pods do not end in time, or the server does not answer, or refuses.
    """
    group, version, plural = TFJOBS
    call = connection.client.custom_api.delete_namespaced_custom_object
    body = {"propagationPolicy": "Foreground"} | ({"preconditions": {"uid": uid}} if uid else {})
    try:
        connection.ask(call, group, version, connection.namespace, plural, name, body=body)
    except (NotFound, NoSuchKind, Conflict):  # the last: that uid is gone, and another job has its name
        return False
    until = time.monotonic() + wait_s
    pause = connection.patience.first_s
    while _is_there(connection, name, uid):
        if time.monotonic() + pause > until:
            fix = f"kubectl get pods -n {connection.namespace} says which pods do not end"
            raise EnvironmentFault(f"the TFJob {name} is being deleted, but is still there after {wait_s:g} s; {fix}")
        time.sleep(pause)
    return True


def _is_there(connection: Connection, name: str, uid: str | None) -> bool:
    try:
        found = connection.tfjob(name)
    except (NotFound, NoSuchKind):
        return False
    return uid in (None, found["metadata"]["uid"])
