"""Makes a TFJob, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from parak8s.cluster.api import objects
from parak8s.cluster.api.objects import Created
from parak8s.cluster.jobs.conditions import state_of

if TYPE_CHECKING:
    from parak8s.cluster.jobs.connection import Connection


def create(connection: Connection, job: Mapping[str, Any]) -> Created:
    """Create a TFJob.

    Args:
        connection: Where.
        job: The whole object, of ``kubeflow.org/v1``; it is not changed.

    Raises:
        InputError: It is no TFJob, its name is taken, or the server does not take a value.
        EnvironmentFault: The cluster does not know TFJobs, does not answer, or refuses.
    """

    def refuse(found: Mapping[str, Any]) -> None:
        raise objects.taken(connection, found["metadata"]["name"], state_of(found)) from None

    return objects.create(connection, job, refuse)
