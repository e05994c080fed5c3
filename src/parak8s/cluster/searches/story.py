"""The story of a search that is followed: what was seen of it, and what was told already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from parak8s.cluster.api.faults import NotFound
from parak8s.cluster.api.troubles import News, Trouble
from parak8s.cluster.faults import Unavailable
from parak8s.cluster.jobs.replicas import FAILED as POD_FAILED
from parak8s.cluster.jobs.telling import Narrator
from parak8s.cluster.patience import Patience
from parak8s.cluster.searches import algorithm, reasons
from parak8s.cluster.searches.conditions import (
    DELETED,
    OVER,
    PENDING,
    RUNNING,
    STOPPED,
    SUCCEEDED,
    WITH_VALUE,
    is_over,
    state_of,
    trial_state,
)
from parak8s.cluster.searches.connection import EXPERIMENT
from parak8s.cluster.searches.hindrances import Hindrances
from parak8s.cluster.searches.pods import TrialPod, by_trial, ended
from parak8s.cluster.searches.telling import Best, Outcome
from parak8s.cluster.searches.trials import Trial, trials_of
from parak8s.errors import EnvironmentFault

if TYPE_CHECKING:
    from parak8s.cluster.searches.connection import Connection

Json = dict[str, Any]


@dataclass
class Story:
    """What was seen, and what the narrator was told already.

    Args:
        connection: Where.
        name: Of the experiment.
        narrator: Told what is new.
        patience: How long the server may be out of reach.
    """

    connection: Connection
    name: str
    narrator: Narrator
    patience: Patience
    experiment: Json = field(default_factory=dict)
    trials: Sequence[Json] = ()
    pods: dict[str, list[TrialPod]] = field(default_factory=dict)
    endings: dict[str, Trouble] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    news: News = field(default_factory=News)

    def __post_init__(self) -> None:
        self.hindrances = Hindrances(self.connection)

    def look(self, uid: str | None) -> Json | None:
        """Return the experiment as it is now, with its trials and their pods; None when it was deleted."""
        options: dict[str, Any] = {"patience": self.patience, "on_pause": self.pause}
        try:
            experiment = self.connection.get(self.name, **options)
        except NotFound:
            if uid is None:
                raise
            return None
        own = experiment["metadata"]["uid"]
        if uid not in (None, own) or experiment["metadata"].get("deletionTimestamp"):
            return None
        trials = [each for each in self.connection.trials(self.name, **options) if _owner(each) in (None, own)]
        self.experiment = experiment
        self.trials = sorted(trials, key=lambda each: str(each["metadata"].get("creationTimestamp", "")))
        open_ones = [each for each in self.trials if _name(each) not in self.reasons]
        self.pods |= by_trial(open_ones, self.connection.pods_of(open_ones, **options))
        return experiment

    def tell(self, seconds: float) -> None:
        """Tell what is new.

        Args:
            seconds: Since the search has been followed.
        """
        state = state_of(self.experiment)
        if self.news.is_new("state", state) and state in ("Restarting", RUNNING):
            self.narrator.said("the search runs" if state == RUNNING else "the search goes on with more trials")
        for trial in self.trials:
            self._tell_trial(trial)
        self._tell_best()
        self._tell_counts()
        if not is_over(self.experiment):
            options: dict[str, Any] = {"patience": self.patience, "on_pause": self.pause}
            of_search = self.hindrances.of_search(self.experiment, self.trials, seconds, **options)
            self.troubles = [*of_search, *self.hindrances.of_trials(self.trials, self.pods, self.endings)]
            for sentence in self.news.sentences(self.troubles):
                self.narrator.waiting(sentence)

    def _tell_trial(self, trial: Json) -> None:
        name, state = _name(trial), trial_state(trial)
        if name in self.reasons:
            return
        record = trials_of([trial])[0]
        if self.news.is_new("created", name):
            self.narrator.said(f"{name} is created: {_point(record.assignments)}")
        for pod in self.pods.get(name, ()):
            self._remember_ending(name, pod)
        if state != PENDING and self.news.is_new("began", name):
            self.narrator.started(name)
        if state in OVER:
            self._tell_end(trial, record)

    def _remember_ending(self, name: str, pod: TrialPod) -> None:
        """Keep why a pod failed while it is there: Katib deletes the job of a trial that is over."""
        over = pod.ended.get("finishedAt", "") if pod.ended else pod.phase == POD_FAILED
        if (pod.ended or over) and self.news.is_new("ended", pod.uid, over) and (found := ended(self.connection, pod)):
            self.endings[name] = found

    def _tell_end(self, trial: Json, record: Trial) -> None:
        seen, name = self.pods.get(record.name, []), record.name
        reason = reasons.reason_of(trial, seen, self.endings.get(name), self.hindrances.latest.get(name))
        self.reasons[name] = reason
        if record.state in WITH_VALUE:
            metric = self.experiment["spec"]["objective"]["objectiveMetricName"]
            early = "stopped early, " if record.state == STOPPED else ""
            self.narrator.finished(name, f"{early}{metric} {_number(record.objective)}", _seconds(record))
        elif self.news.is_new("reason", reason):
            self.narrator.failed(name, reason)
        else:
            self.narrator.failed(name, "for the same reason as one before")

    def _tell_best(self) -> None:
        best = Best.of(self.experiment)
        if best is not None and self.news.is_new("best", best.trial, best.objective):
            metric = self.experiment["spec"]["objective"]["objectiveMetricName"]
            value = f"{metric} {_number(best.objective)}"
            self.narrator.said(f"the best so far is {best.trial}: {value}, {_point(best.assignments)}")

    def _tell_counts(self) -> None:
        states = [trial_state(trial) for trial in self.trials]
        lost = sum(state in OVER and state not in WITH_VALUE for state in states)
        done, running = sum(state in OVER for state in states), states.count(RUNNING)
        if done and self.news.is_new("done", done, lost):
            limit = self.experiment["spec"].get("maxTrialCount")
            of = f" of {limit}" if limit else ""
            more = f", {lost} without a value" if lost else ""
            self.narrator.said(f"{done}{of} trials are over{more}; {running} run")

    def outcome(self) -> Outcome:
        """Return how the search ended."""
        state, best = state_of(self.experiment), Best.of(self.experiment)
        done = trials_of(self.trials, self.reasons)
        status = self.experiment.get("status") or {}
        if state == SUCCEEDED and best is not None:
            return Outcome(self.name, state, (), best, done, status)
        why: list[str] = []
        if state == SUCCEEDED:
            why = [f"no trial has a {self.experiment['spec']['objective']['objectiveMetricName']}"]
        elif found := reasons.of_search(self.experiment, self._refused()):
            why = [found]
        return Outcome(self.name, state, (*why, *reasons.shared(done)), best, done, status)

    def _refused(self) -> str:
        return algorithm.refused(self.connection.suggestion(self.name))

    def deleted(self) -> Outcome:
        """Return the outcome of a search that is gone."""
        best = Best.of(self.experiment) if self.experiment else None
        known = trials_of(self.trials, self.reasons)
        status: Mapping[str, Any] = self.experiment.get("status") or {}
        return Outcome(self.name, DELETED, ("somebody deleted it",), best, known, status)

    def late(self, timeout_s: float) -> EnvironmentFault:
        """Return that the search takes longer than somebody wants to watch."""
        hindered = "".join(f"; {trouble}" for trouble in self.troubles)
        see = EXPERIMENT.command("get", self.name, self.connection.namespace)
        state = state_of(self.experiment)
        return EnvironmentFault(
            f"the Experiment {self.name} is still {state} after {timeout_s:g} s{hindered}; it goes on: {see}"
        )

    def pause(self, fault: Unavailable) -> None:
        """Tell that the server cannot be reached."""
        self.narrator.waiting(str(fault))


def _name(trial: Json) -> str:
    return str(trial["metadata"]["name"])


def _owner(trial: Json) -> str | None:
    owners = trial["metadata"].get("ownerReferences") or []
    return next((str(owner["uid"]) for owner in owners if owner.get("kind") == EXPERIMENT.name), None)


def _point(assignments: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in assignments.items())


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"


def _seconds(trial: Trial) -> float | None:
    if not trial.started or not trial.ended:
        return None
    start, end = (datetime.fromisoformat(moment) for moment in (trial.started, trial.ended))
    return max(0.0, (end - start).total_seconds())
