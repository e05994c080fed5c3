"""Makes an experiment, or lets the same one that is there already go on with more trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from parak8s.cluster.api import objects
from parak8s.cluster.api.objects import Created
from parak8s.cluster.searches.conditions import FAILED, RESUMABLE, SUCCEEDED, is_resumable, state_of
from parak8s.errors import InputError

if TYPE_CHECKING:
    from parak8s.cluster.searches.connection import Connection

Json = Mapping[str, Any]
COUNTS = ("maxTrialCount", "parallelTrialCount", "maxFailedTrialCount")
"""All that Katib lets one change in the ``spec`` of an experiment."""


def create(connection: Connection, experiment: Json) -> Created:
    """Create an experiment.

    One of that name that is the same but for fewer trials is given the new counts instead, which is how Katib resumes:
    when it still runs, or made all its trials and has the policy LongRunning or FromVolume.

    Args:
        connection: Where.
        experiment: The whole object, of ``kubeflow.org/v1beta1``; it is not changed.

    Raises:
        InputError: It is no Experiment, its name is taken, or Katib does not take a value.
        EnvironmentFault: The cluster does not know experiments, does not answer, or refuses.
    """

    def resume(found: Json) -> None:
        counts = {key: experiment["spec"][key] for key in COUNTS if key in experiment["spec"]}
        if refusal := _refusal(connection, found, experiment, counts):
            raise refusal from None
        connection.change(found["metadata"]["name"], {"spec": counts})

    return objects.create(connection, experiment, resume)


def _refusal(connection: Connection, found: Json, wanted: Json, counts: Mapping[str, int]) -> InputError | None:
    """Return why an experiment that is there cannot become the wanted one; None when it can."""
    name, state = found["metadata"]["name"], state_of(found)
    taken = objects.taken(connection, name, state)
    if not _holds(found["spec"], {key: value for key, value in wanted["spec"].items() if key not in COUNTS}):
        return taken
    more = {key: value > (found["spec"].get(key) or 0) for key, value in counts.items()}
    fewer = any(value < (found["spec"].get(key) or 0) for key, value in counts.items())
    made, now = (found.get("status") or {}).get("trials") or 0, counts.get("maxTrialCount")
    if fewer or not any(more.values()) or (now is not None and now <= made):
        return InputError(f"{taken}; it is this very search, and goes on when search.trials is more than {made}")
    if state in (SUCCEEDED, FAILED) and not is_resumable(found):
        policy = found["spec"].get("resumePolicy", "Never")
        rule = f"it ended because of its number of trials and its resumePolicy is {' or '.join(RESUMABLE)}"
        return InputError(f"{taken}; it is this very search, but goes on only where {rule} (now {policy})")
    return None


def _holds(there: Any, wanted: Any) -> bool:
    """Return whether all that is wanted is there; Katib and Kubernetes fill in what nobody said."""
    if isinstance(wanted, Mapping) and wanted:
        return isinstance(there, Mapping) and all(_holds(there.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list | tuple) and wanted:
        same = isinstance(there, list) and len(there) == len(wanted)
        return same and all(_holds(*both) for both in zip(there, wanted, strict=True))
    return bool(there == wanted) or (not wanted and not there and wanted not in (0, False))
