"""TFJobs of one namespace of a cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parak8s.cluster.api import objects
from parak8s.cluster.api.access import find_access
from parak8s.cluster.api.objects import Created
from parak8s.cluster.jobs import creation, following
from parak8s.cluster.jobs.connection import Connection
from parak8s.cluster.jobs.telling import Narrator, Outcome
from parak8s.cluster.patience import BRIEF, LASTING, Patience
from parak8s.cluster.target import MOUNTS


@dataclass(frozen=True)
class Jobs:
    """TFJobs of one namespace. :func:`connect` makes one.

    Args:
        connection: Where.
    """

    connection: Connection

    @property
    def namespace(self) -> str:
        """Where the jobs are."""
        return self.connection.namespace

    def create(self, job: Mapping[str, Any]) -> Created:
        """Create a TFJob; see :func:`parak8s.cluster.jobs.creation.create`."""
        return creation.create(self.connection, job)

    def follow(
        self,
        name: str,
        narrator: Narrator,
        *,
        uid: str | None = None,
        poll_s: float = 5,
        timeout_s: float | None = None,
        patience: Patience = LASTING,
    ) -> Outcome:
        """Watch a TFJob until it is over; see :func:`parak8s.cluster.jobs.following.follow`."""
        options: dict[str, Any] = {"uid": uid, "poll_s": poll_s, "timeout_s": timeout_s, "patience": patience}
        return following.follow(self.connection, name, narrator, **options)

    def delete(self, name: str, uid: str | None = None, *, wait_s: float | None = None) -> bool:
        """Delete a TFJob with its pods and wait; see :func:`parak8s.cluster.api.objects.delete`."""
        return objects.delete(self.connection, name, uid, wait_s=wait_s)


def connect(
    context: str | None = None,
    namespace: str | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    mounts: Path = MOUNTS,
    timeout_s: float = 30,
    patience: Patience = BRIEF,
) -> Jobs:
    """Return the jobs of a namespace; the cluster is not asked yet.

    Args:
        context: Of the kubeconfig; None for its current one, or for the account of the pod that this runs in.
        namespace: None for that of the context, else that of the pod.
        environment: Variables; KUBECONFIG names the kubeconfig.
        mounts: Where Kubernetes puts what a pod is told about itself.
        timeout_s: How long one answer may take.
        patience: How long the server is asked again, where a question says nothing else.

    Raises:
        InputError: There is no cluster, no such context, or a file that cannot be read.
    """
    access = find_access(context, namespace, environment=environment, mounts=mounts)
    return Jobs(Connection.open(access, timeout_s=timeout_s, patience=patience))
