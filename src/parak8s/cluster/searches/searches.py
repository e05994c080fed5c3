"""Searches of one namespace of a cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parak8s.cluster.api import objects
from parak8s.cluster.api.access import find_access
from parak8s.cluster.api.objects import Created
from parak8s.cluster.jobs.telling import Narrator
from parak8s.cluster.patience import BRIEF, LASTING, Patience
from parak8s.cluster.searches import creation, following
from parak8s.cluster.searches.connection import Connection
from parak8s.cluster.searches.telling import Outcome
from parak8s.cluster.searches.trials import Trial, trials_of
from parak8s.cluster.target import MOUNTS


@dataclass(frozen=True)
class Searches:
    """Searches of one namespace. :func:`connect` makes one.

    Args:
        connection: Where.
    """

    connection: Connection

    @property
    def namespace(self) -> str:
        """Where the searches are."""
        return self.connection.namespace

    def create(self, experiment: Mapping[str, Any]) -> Created:
        """Create an experiment, or resume it; see :func:`parak8s.cluster.searches.creation.create`."""
        return creation.create(self.connection, experiment)

    def get(self, name: str) -> dict[str, Any]:
        """Return an experiment.

        Raises:
            NotFound: There is none of that name.
        """
        return self.connection.get(name)

    def trials(self, name: str) -> tuple[Trial, ...]:
        """Return the trials of an experiment in the order in which they were made."""
        return trials_of(self.connection.trials(name))

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
        """Look at a search until it is over; see :func:`parak8s.cluster.searches.following.follow`."""
        options: dict[str, Any] = {"uid": uid, "poll_s": poll_s, "timeout_s": timeout_s, "patience": patience}
        return following.follow(self.connection, name, narrator, **options)

    def delete(self, name: str, uid: str | None = None, *, wait_s: float | None = None) -> bool:
        """Delete an experiment with its trials and wait; see :func:`parak8s.cluster.api.objects.delete`."""
        return objects.delete(self.connection, name, uid, wait_s=wait_s)


def connect(
    context: str | None = None,
    namespace: str | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    mounts: Path = MOUNTS,
    timeout_s: float = 30,
    patience: Patience = BRIEF,
) -> Searches:
    """Return the searches of a namespace; the cluster is not asked yet.

    The arguments are those of :func:`parak8s.cluster.jobs.connect`.

    Raises:
        InputError: There is no cluster, no such context, or a file that cannot be read.
    """
    access = find_access(context, namespace, environment=environment, mounts=mounts)
    return Searches(Connection.open(access, timeout_s=timeout_s, patience=patience))
