"""Who trains together: the replicas of one job, as the operator tells each of them in TF_CONFIG."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from parak8s.errors import InputError, nearest

ROLES = ("chief", "worker", "ps", "evaluator")


@dataclass(frozen=True)
class Team:
    """The replicas of a job, seen from one of them.

    Args:
        cluster: Addresses ``host:port`` of each role.
        role: ``chief``, ``worker``, ``ps`` or ``evaluator``.
        index: Which one of its role, from 0.
    """

    cluster: Mapping[str, tuple[str, ...]]
    role: str
    index: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self | None:
        """Return the team that TF_CONFIG names; None for a job's only replica, evaluators aside.

        Raises:
            InputError: TF_CONFIG is not what the operator writes.
        """
        text = environment.get("TF_CONFIG", "")
        if not text.strip():
            return None
        try:
            config = json.loads(text)
            cluster = {str(role): tuple(map(str, addresses)) for role, addresses in config["cluster"].items()}
            role, index = str(config["task"]["type"]), int(config["task"]["index"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"TF_CONFIG: expected cluster (role -> addresses) and task (type, index), as the training operator "
                f"writes them, got {text[:200]!r}"
            ) from error
        role = "chief" if role == "master" else role
        cluster = {"chief" if name == "master" else name: addresses for name, addresses in cluster.items()}
        team = cls(cluster, role, index)
        team._check()
        return team if team.role == "evaluator" or sum(map(len, cluster.values())) > 1 else None

    def _check(self) -> None:
        for role in (*self.cluster, self.role):
            if role not in ROLES:
                raise InputError(f"TF_CONFIG: no role {role!r}; {nearest(role, ROLES)}")
        count = len(self.cluster.get(self.role, ()))
        if self.role != "evaluator" and not 0 <= self.index < count:
            raise InputError(f"TF_CONFIG: task {self.name} is not in the cluster, which has {count} of that role")
        if "ps" in self.cluster and "chief" not in self.cluster:
            raise InputError("TF_CONFIG: parameter servers need a chief, which coordinates; add one to the job")

    @property
    def name(self) -> str:
        """This replica, such as ``worker-1``."""
        return f"{self.role}-{self.index}"

    @property
    def leader(self) -> str:
        """The replica that keeps what comes of the training: the chief, or else worker-0."""
        return "chief-0" if "chief" in self.cluster else "worker-0"

    @property
    def leads(self) -> bool:
        """Whether this is the leader."""
        return self.name == self.leader

    @property
    def coordinated(self) -> bool:
        """Whether the leader hands out the work, with the weights on parameter servers; else all work in step."""
        return "ps" in self.cluster

    @property
    def in_step(self) -> int:
        """How many replicas share every batch."""
        return 1 if self.coordinated else sum(len(self.cluster.get(role, ())) for role in ("chief", "worker"))

    def addresses(self) -> Iterator[tuple[str, str]]:
        """Yield name and address of every replica."""
        for role, addresses in self.cluster.items():
            yield from ((f"{role}-{index}", address) for index, address in enumerate(addresses))

    def address_of(self, name: str) -> str:
        """Return the address of a replica."""
        return dict(self.addresses())[name]
