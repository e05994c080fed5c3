"""The replicas of a TFJob as their pods tell of them (Kubernetes ``core/v1`` Pod, as plain dicts)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

Json = Mapping[str, Any]

CONTAINER = "tensorflow"
"""Name that TFJob demands of the container that trains."""
TYPE, INDEX, ROLE = (f"training.kubeflow.org/{name}" for name in ("replica-type", "replica-index", "job-role"))
LEADERS = ("chief", "master", "worker")
"""Replica types by who leads: the first that there is, its replica 0."""
PENDING, RUNNING, SUCCEEDED, FAILED = "Pending", "Running", "Succeeded", "Failed"


@dataclass(frozen=True)
class Replica:
    """One replica, in the pod that it has now.

    Args:
        pod: As the server gives it.
    """

    pod: Json

    @property
    def main(self) -> str:
        """Name of the container that trains."""
        return CONTAINER

    @property
    def kind(self) -> str:
        """Replica type in small letters: chief, worker, ps, evaluator."""
        return str(self._labels.get(TYPE, "replica"))

    @property
    def index(self) -> int:
        """Number among the replicas of its type, from 0."""
        return int(self._labels.get(INDEX, 0))

    @property
    def name(self) -> str:
        """Such as ``worker-0``."""
        return f"{self.kind}-{self.index}"

    @property
    def pod_name(self) -> str:
        """Name of the pod."""
        return str(self.pod["metadata"]["name"])

    @property
    def uid(self) -> str:
        """Of the pod: another one means that the operator made a new pod."""
        return str(self.pod["metadata"]["uid"])

    @property
    def attempt(self) -> tuple[str, int]:
        """Pod and the number of restarts in it: another one means that the container began anew."""
        return self.uid, self.restarts

    @property
    def phase(self) -> str:
        """Pending, Running, Succeeded, Failed or Unknown."""
        return str(self.status.get("phase", PENDING))

    @property
    def status(self) -> Json:
        """Of the pod."""
        found: Json = self.pod.get("status") or {}
        return found

    @property
    def restarts(self) -> int:
        """How often the container was started again in this pod."""
        return int(self.container.get("restartCount", 0))

    @cached_property
    def container(self) -> Json:
        """Status of the container that trains; empty before there is one."""
        found: list[Json] = self.status.get("containerStatuses") or []
        return next((each for each in found if each.get("name") == self.main), found[0] if found else {})

    @property
    def waits(self) -> Json:
        """Why a container of the pod waits, also one that prepares it: reason and message; empty when none does."""
        statuses = [*(self.status.get("initContainerStatuses") or []), *(self.status.get("containerStatuses") or [])]
        waiting = [each["state"]["waiting"] for each in statuses if (each.get("state") or {}).get("waiting")]
        return waiting[0] if waiting else {}

    @property
    def ended(self) -> Json:
        """How the container ended, now or the last time: exitCode, reason, message; empty when it did not."""
        state, last = self.container.get("state") or {}, self.container.get("lastState") or {}
        found: Json = state.get("terminated") or last.get("terminated") or {}
        return found

    @property
    def has_begun(self) -> bool:
        """Whether the container runs or ran: then there is a log."""
        state = self.container.get("state") or {}
        return "running" in state or "terminated" in state

    @property
    def seconds(self) -> float:
        """How long the container ran; 0 when that is not known."""
        start, end = (self.ended.get(key) for key in ("startedAt", "finishedAt"))
        return max(0.0, (_moment(end) - _moment(start)).total_seconds()) if start and end else 0.0

    @property
    def is_ours(self) -> bool:
        """Whether it runs ``parak8s replica``, whose exit codes say more than those of other programs."""
        return [*(self._spec.get("command") or [])][:2] == ["parak8s", "replica"]

    @property
    def image(self) -> str:
        """Of the container."""
        return str(self._spec.get("image", ""))

    def asks_for(self, resource: str) -> str:
        """Return how much of a resource the container may use: ``8Gi``; empty when nothing is said."""
        resources = self._spec.get("resources") or {}
        kinds = ((resources.get("limits") or {}), (resources.get("requests") or {}))
        return str(next((kind[resource] for kind in kinds if resource in kind), ""))

    @property
    def containers(self) -> tuple[str, ...]:
        """Names of its containers."""
        return tuple(str(each.get("name")) for each in (self.pod.get("spec") or {}).get("containers") or [])

    def condition(self, kind: str) -> Json:
        """Return a condition of the pod, or nothing."""
        found: list[Json] = self.status.get("conditions") or []
        return next((each for each in found if each.get("type") == kind), {})

    @property
    def _labels(self) -> Json:
        found: Json = self.pod["metadata"].get("labels") or {}
        return found

    @cached_property
    def _spec(self) -> Json:
        containers: list[Json] = (self.pod.get("spec") or {}).get("containers") or [{}]
        return next((each for each in containers if each.get("name") == self.main), containers[0])


def replicas(pods: Sequence[Json]) -> list[Replica]:
    """Return the replicas in order: by type, then by number. Of two pods of one replica, the newer one."""
    newest = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
    found = {replica.name: replica for replica in map(Replica, newest)}
    return sorted(found.values(), key=lambda replica: (replica.kind, replica.index))


def leader(found: Sequence[Replica]) -> Replica | None:
    """Return the replica that leads: chief, else worker 0; None while it has no pod."""
    for kind in LEADERS:
        of_kind = [replica for replica in found if replica.kind == kind]
        if of_kind:
            return of_kind[0] if of_kind[0].index == 0 else None
    return None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
