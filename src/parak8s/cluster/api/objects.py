"""Makes an object that must not be there twice although an answer may be lost, and deletes one with all it has."""

from __future__ import annotations

import copy
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from parak8s.cluster.api.connection import Connection, Json
from parak8s.cluster.api.faults import NoSuchKind, NotFound
from parak8s.cluster.faults import Conflict
from parak8s.cluster.patience import persistently
from parak8s.errors import EnvironmentFault, InputError

MARK = "parak8s/submission"
"""Annotation by which exactly this submission is found again."""
GONE_S = 120
"""How long the pods of an object may take to end, beyond the time to save in that they are given."""


@dataclass(frozen=True)
class Created:
    """An object that is on the cluster.

    Args:
        name: Of the object.
        namespace: Where.
        uid: Tells it from another one of that name.
        resumed: It was there already, and goes on with more than it was to do before.
    """

    name: str
    namespace: str
    uid: str
    resumed: bool = False


def create(connection: Connection, wanted: Mapping[str, Any], on_taken: Callable[[Json], None]) -> Created:
    """Create an object of the connection's kind.

    Args:
        connection: Where.
        wanted: The whole object; it is not changed. It is sent as it is, but for its namespace and an annotation.
        on_taken: Given the object that has the name already: raises, or lets that one go on.

    Raises:
        InputError: It is of another kind, or the server does not take a value.
        EnvironmentFault: The cluster does not know the kind, does not answer, or refuses.
    """
    name, kind = _checked(connection, wanted), connection.kind
    body = copy.deepcopy(dict(wanted))
    words = uuid.uuid4().hex
    body["metadata"]["annotations"] = {**(body["metadata"].get("annotations") or {}), MARK: words}
    body["metadata"]["namespace"] = connection.namespace
    call = connection.client.custom_api.create_namespaced_custom_object
    where, once = (*kind.address, connection.namespace, kind.plural), connection.patience.once()

    def act() -> tuple[Mapping[str, Any], bool]:
        try:
            return connection.ask(call, *where, body, patience=once), False
        except Conflict:
            found = connection.get(name)
            is_ours = (found["metadata"].get("annotations") or {}).get(MARK) == words
            if not is_ours:
                on_taken(found)
            return found, not is_ours

    made, resumed = persistently(act, connection.patience)
    return Created(name, connection.namespace, str(made["metadata"]["uid"]), resumed)


def _checked(connection: Connection, wanted: Mapping[str, Any]) -> str:
    """Return the name of an object that can be sent."""
    kind = connection.kind
    if (wanted.get("apiVersion"), wanted.get("kind")) != (kind.version, kind.name):
        got = f"{wanted.get('kind')} of {wanted.get('apiVersion')}"
        raise InputError(f"expected {kind.one} of {kind.version}, got {got}")
    metadata = wanted.get("metadata") or {}
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if not name:
        raise InputError(f"the {kind.name} has no metadata.name; give it one")
    if namespace not in (None, connection.namespace):
        raise InputError(
            f"the {kind.name} {name} is for the namespace {namespace}, and the cluster is asked about "
            f"{connection.namespace}: give --namespace {namespace}"
        )
    return str(name)


def taken(connection: Connection, name: str, state: str) -> InputError:
    """Return that an object of that name, which is in that state, is there already."""
    kind, namespace = connection.kind, connection.namespace
    return InputError(
        f"the namespace {namespace} has {kind.one} {name} already ({state}): delete it with "
        f"{kind.command('delete', name, namespace)}, or give the new one another name"
    )


def delete(connection: Connection, name: str, uid: str | None = None, *, wait_s: float | None = None) -> bool:
    """Delete an object of the connection's kind with all that it owns, and wait until that is gone.

    Args:
        connection: Where.
        name: Of the object.
        uid: Of the object: another one of that name is left alone. None for whichever it is.
        wait_s: How long its pods may take to end; None: GONE_S longer than the time to save in that the object gives.

    Returns:
        Whether there was such an object.

    Raises:
        EnvironmentFault: Its pods do not end in time, or the server does not answer, or refuses.
    """
    kind = connection.kind
    call = connection.client.custom_api.delete_namespaced_custom_object
    body = {"propagationPolicy": "Foreground"} | ({"preconditions": {"uid": uid}} if uid else {})
    try:
        leaving = connection.ask(call, *kind.address, connection.namespace, kind.plural, name, body=body)
    except (NotFound, NoSuchKind, Conflict):  # the last: that uid is gone, and another object has its name
        return False
    wait_s = GONE_S + longest_grace_s(leaving) if wait_s is None else wait_s
    until = time.monotonic() + wait_s
    pause = connection.patience.first_s
    while _is_there(connection, name, uid):
        if time.monotonic() + pause > until:
            fix = f"kubectl get pods -n {connection.namespace} says which pods do not end"
            late = f"is being deleted, but is still there after {wait_s:g} s"
            raise EnvironmentFault(f"the {kind.name} {name} {late}; {fix}")
        time.sleep(pause)
    return True


def longest_grace_s(value: Any) -> float:
    """Return the longest ``terminationGracePeriodSeconds`` of all pods in an object; 0 where none is written."""
    if isinstance(value, list):
        return max(map(longest_grace_s, value), default=0)
    if not isinstance(value, dict):
        return 0
    written = value.get("terminationGracePeriodSeconds")
    return max([written if isinstance(written, int) else 0, *map(longest_grace_s, value.values())])


def _is_there(connection: Connection, name: str, uid: str | None) -> bool:
    try:
        found = connection.get(name)
    except (NotFound, NoSuchKind):
        return False
    return uid in (None, found["metadata"]["uid"])
