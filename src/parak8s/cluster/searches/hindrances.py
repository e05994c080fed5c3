"""Finds what hinders a search that runs: it has no trials, or they have no pods, or these do not start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from parak8s.cluster.api.troubles import Trouble
from parak8s.cluster.jobs.refusals import not_created
from parak8s.cluster.jobs.replicas import PENDING as POD_PENDING
from parak8s.cluster.jobs.waiting import last_warning, waiting
from parak8s.cluster.searches import algorithm, reasons
from parak8s.cluster.searches.conditions import OVER, PENDING, resumes, state_of, trial_state
from parak8s.cluster.searches.connection import EXPERIMENT, run_of
from parak8s.cluster.searches.pods import TrialPod, newest

if TYPE_CHECKING:
    from parak8s.cluster.searches.connection import Connection

Json = dict[str, Any]
SILENT_S = 30
"""After so long, a Katib that runs has written a status."""
SEARCH = "the search"
"""What a trouble is about that is no trial's."""


@dataclass
class Hindrances:
    """What hinders a search and its trials.

    Args:
        connection: Where.
        latest: Trial -> what hindered it last, until its pods run.
        idle_since: When there was a trial to wait for last, in seconds.
    """

    connection: Connection
    latest: dict[str, Trouble] = field(default_factory=dict)
    idle_since: float = 0

    def of_trials(
        self, trials: Sequence[Json], pods: Mapping[str, Sequence[TrialPod]], endings: Mapping[str, Trouble]
    ) -> Iterator[Trouble]:
        """Yield what hinders trials that are not over.

        Args:
            trials: All.
            pods: Trial -> its pods.
            endings: Trial -> why one of its pods failed.
        """
        for trial in trials:
            if trial_state(trial) not in OVER:
                name = str(trial["metadata"]["name"])
                yield from self._of_trial(trial, name, pods.get(name, ()), endings.get(name))

    def _of_trial(self, trial: Json, name: str, pods: Sequence[TrialPod], ending: Trouble | None) -> Iterator[Trouble]:
        now = newest(pods)
        found = [self._waits(pod) for pod in now] if pods else [self._not_made(trial, name)]
        troubles = [each for each in found if each]
        if troubles:
            self.latest[name] = troubles[0]
        elif any(pod.phase != POD_PENDING for pod in pods):
            self.latest.pop(name, None)
        yield from troubles
        if any(pod.lacks_collector for pod in pods):
            yield Trouble(SEARCH, "Collector", f"{name}: {reasons.uncollected(self.connection.namespace)}")
        if ending and (len(pods) > len(now) or any(pod.restarts for pod in now)):
            yield Trouble(name, f"Again {len(pods)}", f"{ending.words}; its job starts it again")

    def _waits(self, pod: TrialPod) -> Trouble | None:
        return waiting(pod, self.connection.namespace, lambda: self.connection.events("Pod", pod.pod_name, pod.uid))

    def _not_made(self, trial: Json, name: str) -> Trouble | None:
        """Return why a trial has no pods: its job may not make them, or Katib may not make its job."""
        kind = str(run_of(trial).get("kind", "job"))
        if found := not_created(self.connection.events(kind, name)):
            return Trouble(name, found.kind, found.words)
        words = last_warning(self.connection.events("Trial", name))
        return Trouble(name, "Warning", f"its {kind} could not be made: {words}") if words else None

    def of_search(self, experiment: Json, trials: Sequence[Json], seconds: float, **options: Any) -> Iterator[Trouble]:
        """Yield why there is no trial to wait for.

        Args:
            experiment: As the server gives it.
            trials: All of them.
            seconds: Since the search has been followed.
            options: Of :meth:`Connection.ask`.
        """
        if any(trial_state(trial) not in OVER for trial in trials):
            self.idle_since = seconds
            return
        idle = seconds - self.idle_since
        if state_of(experiment) != PENDING and not resumes(experiment):
            found = algorithm.hindered(self.connection, experiment, idle, **options)
            yield from [found] if found else []
        elif idle > SILENT_S:
            words = f"nobody has taken it up for {SILENT_S:g} s; does {EXPERIMENT.operator} run?"
            yield Trouble(SEARCH, "Silent", words)
