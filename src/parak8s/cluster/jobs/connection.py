"""Asks Kubernetes about the TFJobs of one namespace; objects are plain dicts, as ``kubectl get -o json`` has them."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from parak8s.cluster.connection import CONNECT_S
from parak8s.cluster.faults import Unavailable
from parak8s.cluster.jobs.faults import Forbidden, NoSuchKind, reaching
from parak8s.cluster.patience import BRIEF, Patience, persistently
from parak8s.errors import EnvironmentFault, InputError

if TYPE_CHECKING:
    from kubeflow.training import TrainingClient

    from parak8s.cluster.jobs.access import Access

T = TypeVar("T")
Json = dict[str, Any]

TFJOBS = ("kubeflow.org", "v1", "tfjobs")
WORKLOADS = ("kueue.x-k8s.io", "v1beta1", "workloads")
JOB_NAME = "training.kubeflow.org/job-name"
"""Label of every pod of a job."""


@dataclass(frozen=True)
class Connection:
    """A namespace of a cluster.

    Args:
        client: Of kubeflow-training. Its own methods hide the server's answers, so its two APIs of Kubernetes are used.
        host: Address, for messages.
        namespace: Of the jobs.
        timeout_s: How long one answer may take.
        patience: How long the server is asked again, where a question says nothing else.
    """

    client: TrainingClient
    host: str
    namespace: str
    timeout_s: float = 30
    patience: Patience = BRIEF

    @classmethod
    def open(cls, access: Access, *, timeout_s: float = 30, patience: Patience = BRIEF) -> Connection:
        """Return a connection; nothing is asked yet."""
        from kubeflow.training import TrainingClient

        client = TrainingClient(client_configuration=access.configuration, namespace=access.namespace, job_kind="TFJob")
        return cls(client, access.host, access.namespace, timeout_s, patience)

    def ask(
        self,
        call: Callable[..., T],
        *arguments: Any,
        patience: Patience | None = None,
        on_pause: Callable[[Unavailable], None] = lambda _: None,
        **options: Any,
    ) -> T:
        """Return what the server answers; ask again while it cannot answer.

        Args:
            call: Harmless when done twice; takes ``_request_timeout``.
            arguments: Its arguments.
            patience: How long to ask; None for the connection's own.
            on_pause: Told why, before each pause.
            options: Its options.

        Raises:
            ParaK8sError: See :func:`parak8s.cluster.jobs.faults.reaching`.
        """
        limit = (min(CONNECT_S, self.timeout_s), self.timeout_s)

        def act() -> T:
            with reaching(self.host):
                return call(*arguments, _request_timeout=limit, **options)

        return persistently(act, patience or self.patience, on_pause)

    def tfjob(self, name: str, **options: Any) -> Json:
        """Return a TFJob.

        Raises:
            NotFound: There is none of that name.
        """
        group, version, plural = TFJOBS
        call = self.client.custom_api.get_namespaced_custom_object
        return self.ask(call, group, version, self.namespace, plural, name, **options)

    def pods(self, name: str, **options: Any) -> list[Json]:
        """Return the pods of a TFJob."""
        call = self.client.core_api.list_namespaced_pod
        return self._items(call, label_selector=f"{JOB_NAME}={name}", **options)

    def events(self, kind: str, name: str, uid: str) -> list[Json]:
        """Return the events of an object; none where one may not read them."""
        selector = f"involvedObject.kind={kind},involvedObject.name={name},involvedObject.uid={uid}"
        try:
            return self._items(self.client.core_api.list_namespaced_event, field_selector=selector)
        except Forbidden:
            return []

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

    def wait_for_change(self, job: Mapping[str, Any], longest_s: float) -> None:
        """Return when the job is no longer as it was, or after ``longest_s``.

        Whoever calls looks again either way. So a connection that breaks, a version that the server has forgotten
        (410 Gone), and the lack of the permission to watch cost only time.
        """
        from kubernetes.watch import Watch

        group, version, plural = TFJOBS
        began, limit_s = time.monotonic(), math.ceil(longest_s)
        changes = Watch().stream(
            self.client.custom_api.list_namespaced_custom_object,
            *(group, version, self.namespace, plural),
            field_selector=f"metadata.name={job['metadata']['name']}",
            resource_version=job["metadata"].get("resourceVersion"),
            timeout_seconds=limit_s,
            _request_timeout=(min(CONNECT_S, self.timeout_s), limit_s + self.timeout_s),
        )
        with contextlib.suppress(EnvironmentFault, InputError), contextlib.closing(changes), reaching(self.host):
            for _ in changes:
                return
        time.sleep(max(0.0, longest_s - (time.monotonic() - began)))

    def _items(self, call: Callable[..., Any], **options: Any) -> list[Json]:
        """Return the objects of a list as plain dicts; typed ones would take long and rename the fields."""

        def read(**given: Any) -> list[Json]:
            answer = call(self.namespace, _preload_content=False, **given)
            items: list[Json] = json.loads(answer.data)["items"] or []
            return items

        return self.ask(read, **options)
