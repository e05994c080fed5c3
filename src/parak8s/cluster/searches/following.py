"""Follows a search to its end, and tells of its trials, of the best one so far, and of what hinders them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from parak8s.cluster.jobs.telling import Narrator
from parak8s.cluster.patience import LASTING, Patience
from parak8s.cluster.searches.conditions import is_over
from parak8s.cluster.searches.story import Story
from parak8s.cluster.searches.telling import Outcome

if TYPE_CHECKING:
    from parak8s.cluster.searches.connection import Connection


def follow(
    connection: Connection,
    name: str,
    narrator: Narrator,
    *,
    uid: str | None = None,
    poll_s: float = 5,
    timeout_s: float | None = None,
    patience: Patience = LASTING,
) -> Outcome:
    """Look at a search again and again until it is over.

    Args:
        connection: Where.
        name: Of the experiment.
        narrator: Told what happens; its steps are trials.
        uid: Of the experiment; another one of that name is not followed. None for the first that is seen.
        poll_s: The pause between two looks, in seconds. Katib deletes the pods of a trial that is over, so that what
            they said is lost between two looks that are far apart.
        timeout_s: When to stop watching; None for never. The search goes on.
        patience: How long the server may be out of reach.

    Raises:
        EnvironmentFault: There is no such experiment, it is not over in time, or the server stayed out of reach.
    """
    started, story = time.monotonic(), Story(connection, name, narrator, patience)
    while True:
        experiment = story.look(uid)
        if experiment is None:
            return story.deleted()
        uid = str(experiment["metadata"]["uid"])
        story.tell(time.monotonic() - started)
        if is_over(experiment):
            return story.outcome()
        pause = poll_s if timeout_s is None else min(poll_s, timeout_s - (time.monotonic() - started))
        if pause <= 0:
            raise story.late(timeout_s or 0)
        time.sleep(pause)
