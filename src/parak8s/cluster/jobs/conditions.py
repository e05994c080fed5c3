"""What state a TFJob is in, in the words of its operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SUCCEEDED, FAILED, DELETED = "Succeeded", "Failed", "Deleted"
"""How a job ends; the first two are conditions of its status."""
STATES = (FAILED, SUCCEEDED, "Suspended", "Restarting", "Running", "Created")
"""Conditions of a job, the one first that says most."""
PENDING = "Pending"
"""State of a job that its operator has not taken up yet."""


def condition(job: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return a condition of the job that holds now, or nothing."""
    found: list[Mapping[str, Any]] = (job.get("status") or {}).get("conditions") or []
    return next((each for each in found if each.get("type") == kind and each.get("status") == "True"), {})


def state_of(job: Mapping[str, Any]) -> str:
    """Return the condition of a job that says most; :data:`PENDING` before there is one."""
    return next((state for state in STATES if condition(job, state)), PENDING)


def is_over(job: Mapping[str, Any]) -> bool:
    """Return whether the job succeeded or failed, for ever."""
    return state_of(job) in (SUCCEEDED, FAILED)
