"""From the object of a trial to what this machine runs."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from parak8s import files
from parak8s.errors import InputError
from parak8s.katib.local.reading import Search
from parak8s.katib.local.suggestions.algorithm import Suggestion
from parak8s.tfjobs.local.containers import Launch
from parak8s.tfjobs.local.containers import launch as launch_replica
from parak8s.tfjobs.local.fields import Fields
from parak8s.tfjobs.local.gpus import dealt
from parak8s.tfjobs.local.reading import GRACE_S, Job, Replicas
from parak8s.tfjobs.local.reading import read as read_tfjob

TRIALS = "PARAK8S_TRIALS"
"""Where trials of our own have their folders; see :mod:`parak8s.trial`."""
UID = "PARAK8S_SEARCH_UID"
"""What tells a search from others of its name, for the same."""
CHECKPOINTS = "/opt/katib/data"
"""Where Katib mounts a trial's checkpoints, unless ``suggestion_trial_dir`` says otherwise."""


class Launcher:
    """Makes trials runnable.

    Args:
        search: Whose trials they are.
        directory: Of the search; everything that trials write lies in it.
        around: Variables of this machine.

    Attributes:
        variables: What trials get beside them.
    """

    def __init__(self, search: Search, directory: Path, around: Mapping[str, str]) -> None:
        self._search, self._directory = search, directory.absolute()
        self._around, self.variables = around, {TRIALS: str(self._directory / "trials")}

        self._gpus = self._dealt()

    def launch(self, name: str, suggestion: Suggestion, slot: int) -> Launch:
        """Return what a trial runs.

        Args:
            name: Of the trial.
            suggestion: What it tries.
            slot: Its place among those that run at the same time: each has GPUs of its own.

        Raises:
            InputError: It has no command, or this machine lacks the program, the folder or a secret.
        """
        search = self._search
        made = search.template.filled(name, search.namespace, suggestion.assignments, suggestion.labels)
        launched = self._tfjob(name, made) if search.template.is_tfjob else self._job(name, made)
        seen = {**launched.environment, **self._gpus.get(f"worker-{slot}", {})}
        return self._moved(replace(launched, environment=seen), name)

    def refuse_unknown(self, name: str, suggestion: Suggestion) -> None:
        """Refuse what this machine cannot run; nothing is written.

        Raises:
            InputError: As for :meth:`launch`.
        """
        made = self._search.template.filled(name, self._search.namespace, suggestion.assignments, suggestion.labels)
        if self._search.template.is_tfjob:
            read_tfjob(made)
        else:
            self._job(name, made)

    def deadline_s(self) -> int | None:
        """Return how long a trial may run; None for any time."""
        spec = Fields(self._search.template.object, "spec.trialTemplate.trialSpec").inner("spec")
        return (spec.inner("runPolicy") if self._search.template.is_tfjob else spec).whole("activeDeadlineSeconds", 1)

    def grace_s(self) -> int:
        """Return how long a trial has from SIGTERM to SIGKILL."""
        if self._search.template.is_tfjob:
            return GRACE_S
        return _pod(self._search.template.object).whole("terminationGracePeriodSeconds", 0, GRACE_S) or 0

    def metrics_file(self, name: str) -> Path | None:
        """Return the file into which a trial writes its metrics; None for standard output."""
        return self._directory / "metrics" / f"{name}.log" if self._search.metrics_file else None

    def checkpoints(self, name: str) -> Path:
        """Return the folder of a trial's checkpoints."""
        return self._directory / "checkpoints" / name

    def _job(self, name: str, made: Mapping[str, Any]) -> Launch:
        pod = _pod(made)
        container = self._container(pod)
        replicas = Replicas("Worker", 1, "Never", GRACE_S, container, {})
        job = Job(name, self._search.namespace, {"Worker": replicas})
        return launch_replica(job, "Worker", 0, None, {**self._around, **self.variables})

    def _dealt(self) -> dict[str, dict[str, str]]:
        """Deal out this machine's GPUs among trials of one pod that run at the same time; a TFJob deals out its own."""
        if self._search.template.is_tfjob:
            return {}
        container = self._container(_pod(self._search.template.object))
        slots = Replicas("Worker", self._search.parallel, "Never", GRACE_S, container, {})
        return dealt(Job(self._search.name, self._search.namespace, {"Worker": slots}), self._around)

    def _container(self, pod: Fields) -> Fields:
        containers = pod.each("containers")
        named = [each for each in containers if each.values.get("name") == self._search.template.container]
        if len(named) != 1:
            names = ", ".join(str(each.values.get("name")) for each in containers) or "none"
            wanted = self._search.template.container
            raise InputError(
                f"{pod.where('containers')}: expected one named {wanted!r} (primaryContainerName), got {names}"
            )
        return named[0]

    def _tfjob(self, name: str, made: Mapping[str, Any]) -> Launch:
        """Return the program that runs a whole TFJob; its primary replica is what it prints."""
        read_tfjob(made)
        file = self._directory / "trials" / name / "tfjob.json"
        files.write_json(file, made)
        program = (sys.executable, "-m", "parak8s.katib.local.tfjob", str(file))
        return Launch(program, {**self._around, **self.variables}, Path().absolute())

    def _moved(self, launched: Launch, name: str) -> Launch:
        """Return the launch with paths of the pod that lie elsewhere on this machine."""
        moves: dict[str, Path] = {}
        if self._search.algorithm == "pbt":
            moves[self._search.settings.get("suggestion_trial_dir", CHECKPOINTS).rstrip("/")] = self.checkpoints(name)
        if file := self.metrics_file(name):
            moves[self._search.metrics_file] = file

        def moved(text: str) -> str:
            for there, here in moves.items():
                whole = rf"(?<![\w.-]){re.escape(there)}(?![\w.-])"
                text = re.sub(whole, str(here).replace("\\", r"\\"), text)
            return text

        words = tuple(moved(word) for word in launched.arguments)
        variables = {key: moved(value) for key, value in launched.environment.items()}
        return replace(launched, arguments=words, environment=variables)


def _pod(made: Mapping[str, Any]) -> Fields:
    return Fields(made, "spec.trialTemplate.trialSpec").inner("spec").inner("template").inner("spec")


def said_last(log: bytes) -> str:
    """Return what a program said before it failed: our own error line, else its last line."""
    lines = [line.strip() for line in log.decode("utf-8", "replace").splitlines() if line.strip()]
    own = [line.removeprefix("parak8s: ") for line in lines if line.startswith("parak8s: ")]
    return (own or lines or [""])[-1][:500]
