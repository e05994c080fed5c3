"""Follows a TFJob to its end, and tells of its replicas, of what hinders them, and what the leader says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from parak8s.cluster.jobs.conditions import is_over
from parak8s.cluster.jobs.logs import LeaderLog
from parak8s.cluster.jobs.replicas import leader
from parak8s.cluster.jobs.story import Story
from parak8s.cluster.jobs.telling import Narrator, Outcome
from parak8s.cluster.patience import LASTING, Patience

if TYPE_CHECKING:
    from parak8s.cluster.jobs.connection import Connection


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
    """Watch a TFJob until it is over.

    Args:
        connection: Where.
        name: Of the job.
        narrator: Told what happens.
        uid: Of the job; another one of that name is not followed. None for the first that is seen.
        poll_s: The longest pause between two looks, in seconds; a change of the job ends it.
        timeout_s: When to stop watching; None for never. The job goes on.
        patience: How long the server may be out of reach.

    Raises:
        EnvironmentFault: There is no such job, it is not over in time, or the server stayed out of reach.
    """
    started, story = time.monotonic(), Story(connection, name, narrator, patience)
    with LeaderLog(connection, story.say) as log:
        while True:
            job = story.look(uid)
            if job is None:
                log.read_to_the_end()
                return story.deleted()
            uid = str(job["metadata"]["uid"])
            log.at(leader(story.seen))
            story.tell(job, time.monotonic() - started)
            log.begin()
            if is_over(job):
                log.read_to_the_end()
                return story.outcome(job)
            pause = poll_s if timeout_s is None else min(poll_s, timeout_s - (time.monotonic() - started))
            if pause <= 0:
                raise story.late(job, timeout_s or 0)
            story.hear(connection.wait_for_change(job, pause))
