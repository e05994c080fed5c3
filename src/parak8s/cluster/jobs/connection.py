"""Asks Kubernetes about the TFJobs of one namespace; objects are plain dicts, as ``kubectl get -o json`` has them."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parak8s.cluster.api import connection as api
from parak8s.cluster.api.connection import Json
from parak8s.cluster.api.faults import Forbidden, NoSuchKind, reaching
from parak8s.cluster.api.kinds import Kind
from parak8s.cluster.connection import CONNECT_S
from parak8s.cluster.patience import BRIEF, Patience
from parak8s.errors import EnvironmentFault, InputError

if TYPE_CHECKING:
    from parak8s.cluster.api.access import Access

TFJOB = Kind(
    "TFJob",
    "kubeflow.org/v1",
    "tfjobs",
    operator="Kubeflow's Training Operator (version 1, with TFJob of kubeflow.org/v1)",
    instead="train here with --engine local",
)
WORKLOADS = ("kueue.x-k8s.io", "v1beta1", "workloads")
JOB_NAME = "training.kubeflow.org/job-name"
"""Label of every pod of a job."""


@dataclass(frozen=True)
class Connection(api.Connection):
    """A namespace of a cluster, and its TFJobs.

    The client is that of kubeflow-training. Its own methods hide the server's answers, so its two APIs are used.
    """

    @classmethod
    def open(cls, access: Access, *, timeout_s: float = 30, patience: Patience = BRIEF) -> Connection:
        """Return a connection; nothing is asked yet."""
        from kubeflow.training import TrainingClient

        client = TrainingClient(client_configuration=access.configuration, namespace=access.namespace, job_kind="TFJob")
        return cls(client, access.host, access.namespace, TFJOB, timeout_s, patience)

    def replicas(self, name: str, **options: Any) -> list[Json]:
        """Return the pods of a TFJob."""
        return self.pods(f"{JOB_NAME}={name}", **options)

    def workloads(self, job_uid: str) -> list[Json]:
        """Return what Kueue knows of a job; nothing where there is no Kueue, or one may not ask it."""
        group, version, plural = WORKLOADS
        call = self.client.custom_api.list_namespaced_custom_object
        selector = f"kueue.x-k8s.io/job-uid={job_uid}"
        try:
            answer = self.ask(call, group, version, self.namespace, plural, label_selector=selector)
        except (Forbidden, NoSuchKind):
            return []
        items: list[Json] = answer["items"]
        return items

    def wait_for_change(self, job: Mapping[str, Any], longest_s: float) -> Json | None:
        """Return the job when it is no longer as it was, or None after ``longest_s``; a deleted one as it last was.

        Whoever calls looks again either way. So a connection that breaks, a version that the server has forgotten
        (410 Gone), and the lack of the permission to watch cost only time.
        """
        from kubernetes.watch import Watch

        group, version = self.kind.address
        began, limit_s = time.monotonic(), math.ceil(longest_s)
        changes = Watch().stream(
            self.client.custom_api.list_namespaced_custom_object,
            *(group, version, self.namespace, self.kind.plural),
            field_selector=f"metadata.name={job['metadata']['name']}",
            resource_version=job["metadata"].get("resourceVersion"),
            timeout_seconds=limit_s,
            _request_timeout=(min(CONNECT_S, self.timeout_s), limit_s + self.timeout_s),
        )
        with contextlib.suppress(EnvironmentFault, InputError), contextlib.closing(changes), reaching(self.host):
            for change in changes:
                changed: Json = change["object"]
                return changed
        time.sleep(max(0.0, longest_s - (time.monotonic() - began)))
        return None
