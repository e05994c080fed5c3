"""What a run's tasks are doing, read from the nodes of the workflow that the server lists.

A server of KFP 2 lists every node of the Argo workflow. A task ``train`` is a node ``train`` with a node ``executor``
below it, and a pod ``train-driver`` before it that finds its inputs; a task that was reused is a node that succeeded
although its executor was skipped. Conditions, loops and exit handlers are nodes around others, with names like
``condition-3``; the tasks inside a condition that does not hold are no nodes at all.

Source: kubeflow/pipelines, backend/src/v2/compiler/argocompiler (container.go, dag.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

PENDING, RUNNING, SUCCEEDED, SKIPPED, FAILED, CANCELED = (
    "PENDING", "RUNNING", "SUCCEEDED", "SKIPPED", "FAILED", "CANCELED",
)  # fmt: skip
REUSED = "CACHED"
"""No state of KFP 2; so KFP's own metadata calls a task whose outputs were taken from an earlier run."""

_DRIVER = "-driver"
_INNER = re.compile(
    r"(.+-)?driver(\(\d+\))?|executor(\(\d+\))?|root|entrypoint"
    r"|(condition(-branches)?|for-loop|exit-handler)-\d+|iteration.*"
)


@dataclass(frozen=True)
class Task:
    """One task of a run, at one moment.

    Args:
        id: Of the node; a loop has several tasks of one name.
        name: As in the pipeline.
        state: A state of KFP's v2beta1, or :data:`REUSED`.
        seconds: How long it took; 0 until it is over.
        error: The server's words; empty when it says none.
    """

    id: str
    name: str
    state: str
    seconds: float
    error: str


def tasks(run: Any) -> list[Task]:
    """Return the tasks of a ``V2beta1Run``, without the nodes that only serve them, in the order they began."""
    details = (run.run_details.task_details if run.run_details else None) or []
    executors = {detail.pod_name: detail for detail in details if _is_executor(detail)}
    return [_task(detail, executors) for detail in sorted(details, key=_began) if not _is_inner(detail)]


def _task(detail: Any, executors: Mapping[str, Any]) -> Task:
    inside = [executors[child.pod_name] for child in detail.child_tasks or [] if child.pod_name in executors]
    reused = detail.state == SUCCEEDED and any(executor.state == SKIPPED for executor in inside)
    return Task(
        id=str(detail.task_id),
        name=str(detail.display_name).removesuffix(_DRIVER),
        state=REUSED if reused else str(detail.state or PENDING),
        seconds=_seconds(detail.start_time, detail.end_time),
        error=next(_errors([detail, *inside]), ""),
    )


def _is_executor(detail: Any) -> bool:
    return str(detail.display_name).partition("(")[0] == "executor"


def _is_inner(detail: Any) -> bool:
    """Return whether a node is no task: a driver that works, an executor, a group, or the workflow as a whole."""
    name = str(detail.display_name or "")
    if name.endswith(_DRIVER) and detail.state == FAILED:  # the task itself never became a node
        return False
    return name in ("", detail.pod_name) or _INNER.fullmatch(name) is not None


def _errors(sources: Sequence[Any]) -> Iterator[str]:
    for source in sources:
        for status in (source, *(source.state_history or [])):
            if status.error and status.error.message:
                yield str(status.error.message)


def _began(detail: Any) -> float:
    return float(detail.start_time.timestamp()) if detail.start_time else 0.0


def _seconds(start: datetime | None, end: datetime | None) -> float:
    """Return the time between; the server writes 1970 for an end that has not come."""
    return max(0.0, (end - start).total_seconds()) if start and end else 0.0
