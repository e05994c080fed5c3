"""Makes things on the server that must not be there twice, although an answer may be lost."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from parak8s.cluster.faults import Conflict
from parak8s.cluster.patience import persistently

if TYPE_CHECKING:
    from parak8s.cluster.connection import Connection

EQUALS = 1
PAGE = 100


def create_once(connection: Connection, create: Callable[[], Any], find: Callable[[], Any]) -> Any:
    """Return what ``create`` makes, or ``find`` finds when the answer to ``create`` was lost.

    Kubeflow Pipelines has no key by which it would know a request again. So after each doubtful answer we look first
    whether the thing is there. A request that is still on its way when we look could make a second one; the pause
    before the look makes that unlikely.

    Args:
        connection: Where.
        create: Makes it.
        find: Returns it, or None.
    """
    doubtful = False

    def act() -> Any:
        nonlocal doubtful
        found = find() if doubtful else None
        if found:
            return found
        doubtful = True
        try:
            return connection.ask(create, patience=connection.patience.once())
        except Conflict:
            if found := find():  # somebody else, or our own request before this one
                return found
            raise

    return persistently(act, connection.patience)


def equals(name: str) -> str:
    """Return the filter of a list for things of this name, as kfp writes it."""
    return json.dumps({"predicates": [{"operation": EQUALS, "key": "display_name", "stringValue": name}]})


def one(things: Sequence[Any] | None) -> Any:
    """Return the first thing of a list, or None."""
    return things[0] if things else None


def pages(connection: Connection, call: Callable[..., Any], field: str, **options: Any) -> list[Any]:
    """Return the things of all pages of a list."""
    things: list[Any] = []
    token = ""
    while True:
        page = connection.ask(call, page_token=token, page_size=PAGE, **options)
        things += getattr(page, field) or []
        token = page.next_page_token or ""
        if not token:
            return things


def mark() -> str:
    """Return words for a description by which exactly this submission is found again."""
    return f"parak8s submission {uuid.uuid4().hex}"


def describe(description: str, words: str) -> str:
    """Return a description that ends with the words of :func:`mark`."""
    return f"{description}\n\n{words}" if description else words
