"""Asks Kubernetes about one namespace; objects are plain dicts, as ``kubectl get -o json`` has them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from parak8s.cluster.api.faults import Forbidden, reaching
from parak8s.cluster.api.kinds import Kind
from parak8s.cluster.connection import CONNECT_S
from parak8s.cluster.faults import Unavailable
from parak8s.cluster.patience import BRIEF, Patience, persistently

T = TypeVar("T")
Json = dict[str, Any]


class Client(Protocol):
    """Two parts of Kubernetes' client."""

    custom_api: Any
    core_api: Any


@dataclass(frozen=True)
class Connection:
    """A namespace of a cluster.

    Args:
        client: Its answers are not made into typed objects, which would take long and rename the fields.
        host: Address, for messages.
        namespace: Of the objects.
        kind: Of the objects that are asked for.
        timeout_s: How long one answer may take.
        patience: How long the server is asked again, where a question says nothing else.
    """

    client: Client
    host: str
    namespace: str
    kind: Kind
    timeout_s: float = 30
    patience: Patience = BRIEF

    @property
    def limit(self) -> tuple[float, float]:
        """How long a connection may take to come about, and an answer."""
        return min(CONNECT_S, self.timeout_s), self.timeout_s

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
            ParaK8sError: See :func:`parak8s.cluster.api.faults.reaching`.
        """

        def act() -> T:
            with reaching(self.host, self.kind.missing):
                return call(*arguments, _request_timeout=self.limit, **options)

        return persistently(act, patience or self.patience, on_pause)

    def get(self, name: str, plural: str | None = None, **options: Any) -> Json:
        """Return an object of the connection's kind, or of another one of its group and version.

        Raises:
            NotFound: There is none of that name.
        """
        call = self.client.custom_api.get_namespaced_custom_object
        return self.ask(call, *self.kind.address, self.namespace, plural or self.kind.plural, name, **options)

    def all(self, plural: str, selector: str, **options: Any) -> list[Json]:
        """Return the objects of the connection's group and version with these labels."""
        call = self.client.custom_api.list_namespaced_custom_object
        where = (*self.kind.address, self.namespace, plural)
        answer = self.ask(call, *where, label_selector=selector, **options)
        items: list[Json] = answer.get("items") or []
        return items

    def change(self, name: str, change: Mapping[str, Any]) -> Json:
        """Put values over those of an object of the connection's kind (a merge patch), and return it."""
        call = self.client.custom_api.patch_namespaced_custom_object
        return self.ask(call, *self.kind.address, self.namespace, self.kind.plural, name, change)

    def pods(self, selector: str, **options: Any) -> list[Json]:
        """Return the pods with these labels."""
        return self._items(self.client.core_api.list_namespaced_pod, label_selector=selector, **options)

    def events(self, kind: str, name: str, uid: str | None = None) -> list[Json]:
        """Return the events of an object (without ``uid``, of any of that name); none where one may not read them."""
        selector = f"involvedObject.kind={kind},involvedObject.name={name}"
        selector += f",involvedObject.uid={uid}" if uid else ""
        try:
            return self._items(self.client.core_api.list_namespaced_event, field_selector=selector)
        except Forbidden:
            return []

    def _items(self, call: Callable[..., Any], **options: Any) -> list[Json]:
        """Return the objects of a list as plain dicts."""

        def read(**given: Any) -> list[Json]:
            answer = call(self.namespace, _preload_content=False, **given)
            items: list[Json] = json.loads(answer.data)["items"] or []
            return items

        return self.ask(read, **options)
