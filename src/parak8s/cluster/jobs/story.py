"""The story of a TFJob that is followed: what was seen of it, and what was told already."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from parak8s.cluster.api.faults import NotFound
from parak8s.cluster.api.troubles import News, Trouble
from parak8s.cluster.faults import Unavailable
from parak8s.cluster.jobs import refusals
from parak8s.cluster.jobs.conditions import DELETED, PENDING, SUCCEEDED, is_over, state_of
from parak8s.cluster.jobs.endings import ended
from parak8s.cluster.jobs.logs import last_words
from parak8s.cluster.jobs.replicas import SUCCEEDED as POD_SUCCEEDED
from parak8s.cluster.jobs.replicas import Replica, replicas
from parak8s.cluster.jobs.telling import Narrator, Outcome
from parak8s.cluster.jobs.waiting import waiting
from parak8s.cluster.patience import Patience
from parak8s.errors import EnvironmentFault

if TYPE_CHECKING:
    from parak8s.cluster.jobs.connection import Connection

SILENT_S = 30
"""After so long, an operator that runs has written a status."""


@dataclass
class Story:
    """What was seen, and what the narrator was told already.

    Args:
        connection: Where.
        name: Of the job.
        narrator: Told what is new.
        patience: How long the server may be out of reach.
    """

    connection: Connection
    name: str
    narrator: Narrator
    patience: Patience
    seen: Sequence[Replica] = ()
    job: Mapping[str, Any] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    endings: dict[str, Trouble] = field(default_factory=dict)
    attempts: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    news: News = field(default_factory=News)
    _speaking: threading.Lock = field(default_factory=threading.Lock)

    def look(self, uid: str | None) -> Mapping[str, Any] | None:
        """Return the job as it is now, with its pods in ``seen``; None when it was deleted."""
        options: dict[str, Any] = {"patience": self.patience, "on_pause": self.pause}
        try:
            job = self.connection.get(self.name, **options)
        except NotFound:
            if uid is None:
                raise
            return None
        own = job["metadata"]["uid"]
        if uid not in (None, own) or job["metadata"].get("deletionTimestamp"):
            return None
        pods = self.connection.replicas(self.name, **options)
        self.job, self.seen = job, replicas([pod for pod in pods if _owner(pod) in (None, own)])
        return job

    def hear(self, job: Mapping[str, Any] | None) -> None:
        """Remember a change of the job: with a short time to live it is gone before the next look at it."""
        if job is not None and job["metadata"].get("uid") == self.job["metadata"]["uid"]:  # no other of that name
            self.job = job

    def tell(self, job: Mapping[str, Any], seconds: float) -> None:
        """Tell what is new."""
        for replica in self.seen:
            self._tell(replica)
        if not is_over(job):
            self.troubles = [*self._job_troubles(job, seconds), *self._replica_troubles()]
            for sentence in self.news.sentences(self.troubles):
                self._speak(self.narrator.waiting, sentence)

    def _tell(self, replica: Replica) -> None:
        current = "terminated" in (replica.container.get("state") or {}) or not replica.container
        if not current:
            self._tell_ending(replica)
        attempts = self.attempts.setdefault(replica.name, set())
        if replica.has_begun and replica.attempt not in attempts:
            attempts.add(replica.attempt)
            number = f", attempt {len(attempts)}" if len(attempts) > 1 else ""
            self._speak(self.narrator.started, f"{replica.name}{number}")
        if current:
            self._tell_ending(replica)
        if replica.phase == POD_SUCCEEDED and self.news.is_new(replica.uid, POD_SUCCEEDED):
            self._speak(self.narrator.finished, replica.name, "", replica.seconds)

    def _tell_ending(self, replica: Replica) -> None:
        if ended(replica) is None or not self.news.is_new(replica.uid, replica.ended.get("finishedAt"), "ended"):
            return
        trouble = ended(replica, last_words(self.connection, replica))
        assert trouble is not None
        self.endings[replica.name] = trouble
        self._speak(self.narrator.failed, replica.name, trouble.words)

    def _replica_troubles(self) -> list[Trouble]:
        namespace, found = self.connection.namespace, []
        for replica in self.seen:
            events = lambda: self.connection.events("Pod", replica.pod_name, replica.uid)  # noqa: B023, E731
            found.append(waiting(replica, namespace, events))
        return [trouble for trouble in found if trouble is not None]

    def _job_troubles(self, job: Mapping[str, Any], seconds: float) -> list[Trouble]:
        uid = job["metadata"]["uid"]
        if found := refusals.suspended(job, lambda: self.connection.workloads(uid)):
            return [found]
        if len(self.seen) >= refusals.expected_pods(job):
            return []
        found = refusals.not_created(self.connection.events("TFJob", self.name, uid))
        if found is None and state_of(job) == PENDING and seconds > SILENT_S:
            found = refusals.silent(SILENT_S)
        return [found] if found else []

    def outcome(self, job: Mapping[str, Any]) -> Outcome:
        """Return how the job ended."""
        state, status = state_of(job), job.get("status") or {}
        if state == SUCCEEDED:
            return Outcome(self.name, state, (), status)
        known = {name: str(trouble) for name, trouble in self.endings.items()}
        events = self.connection.events("TFJob", self.name, job["metadata"]["uid"])
        unseen = [words for words in refusals.exits(events, self.name) if words.partition(":")[0] not in known]
        hindered = [str(trouble) for trouble in self.troubles if trouble.about not in known]
        return Outcome(self.name, state, (refusals.failed(job), *known.values(), *unseen, *hindered), status)

    def deleted(self) -> Outcome:
        """Return the outcome of a job that is gone: how it ended, where that was seen."""
        if is_over(self.job):
            return self.outcome(self.job)
        reason = "somebody deleted it, or it ended and its runPolicy.ttlSecondsAfterFinished is over"
        return Outcome(self.name, DELETED, (reason,), self.job.get("status") or {})

    def late(self, job: Mapping[str, Any], timeout_s: float) -> EnvironmentFault:
        """Return that the job takes longer than somebody wants to watch."""
        hindered = "".join(f"; {trouble}" for trouble in self.troubles)
        see = f"kubectl get tfjob {self.name} -n {self.connection.namespace}"
        return EnvironmentFault(
            f"the TFJob {self.name} is still {state_of(job)} after {timeout_s:g} s{hindered}; it goes on: {see}"
        )

    def pause(self, fault: Unavailable) -> None:
        """Tell that the server cannot be reached."""
        self._speak(self.narrator.waiting, str(fault))

    def say(self, line: str) -> None:
        """Tell a line of the leader's log."""
        self._speak(self.narrator.said, line)

    def _speak(self, tell: Any, *words: Any) -> None:
        with self._speaking:
            tell(*words)


def _owner(pod: Mapping[str, Any]) -> str | None:
    owners = pod["metadata"].get("ownerReferences") or []
    return next((str(owner["uid"]) for owner in owners if owner.get("kind") == "TFJob"), None)
