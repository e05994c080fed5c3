"""Runs a Katib Experiment on this machine: the very object that a cluster gets."""

from __future__ import annotations

import contextlib
import copy
import fcntl
import logging
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from parak8s import files
from parak8s.errors import EnvironmentFault, InputError, Stopped, from_os_error
from parak8s.katib.local import status as words
from parak8s.katib.local.engine import Engine
from parak8s.katib.local.launching import UID, Launcher
from parak8s.katib.local.narration import Narrator, Quiet
from parak8s.katib.local.reading import RESUMABLE, Search, read
from parak8s.katib.local.status import ENDINGS, Status
from parak8s.katib.local.suggestions import make
from parak8s.katib.local.suggestions.algorithm import Algorithm, Problem
from parak8s.katib.local.trials import Journal, now
from parak8s.tfjobs.local.interrupts import caught

__all__ = ["Narrator", "Quiet", "run"]

log = logging.getLogger(__name__)

EDITABLE = ("parallelTrialCount", "maxTrialCount", "maxFailedTrialCount")
"""What may change of an Experiment that exists, as Katib's webhook has it."""
WRITTEN_EVERY_S = 1.0


def run(
    experiment: Mapping[str, Any],
    directory: Path,
    *,
    parallel: int | None = None,
    narrator: Narrator | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run an Experiment to its end and return the object with its status.

    The object is taken as it is, also one that others wrote; docs/katib-engine.md says what a laptop does otherwise
    than a cluster. A search that was stopped or killed goes on where it was, when it is given the same directory. When
    this returns or raises, nothing of the search runs any more.

    Args:
        experiment: The Experiment, plain values as from YAML; it is not changed.
        directory: Where ``experiment.json``, the logs and the trials' folders lie.
        parallel: Trials at the same time on this machine; None for ``parallelTrialCount``.
        narrator: Told of every event; None for silence.
        environment: Variables that trials get, and where secrets are looked up; None for those of this process.

    Raises:
        InputError: The object is no Experiment, this machine cannot run it, or the directory holds another search.
        EnvironmentFault: Another process works in the directory, or this machine has no processes or no disk left.
        Stopped: Ctrl-C or a signal stopped the search; the same call goes on. Only in the main thread.
    """
    wanted = read(experiment).at_once(parallel)
    algorithm = _algorithm(wanted)
    launcher = Launcher(wanted, directory, os.environ if environment is None else environment)
    _try_out(wanted, algorithm, launcher)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _alone_in(directory), caught() as stops:
            book = _Book(experiment, wanted, directory)
            try:
                if book.is_over:
                    return book.values
                teller = narrator or Quiet()
                teller.opened(wanted, book.journal.trials)
                book.begin()
                launcher.variables[UID] = book.uid
                engine = Engine(wanted, algorithm, book.journal, launcher, directory, teller, stops, book.changed)
                reason = engine.run()
                book.end(reason)
            finally:
                book.close()
    except OSError as error:
        raise from_os_error(error, directory) from error
    if engine.stopped_by is not None and reason is None:
        stopped = Stopped(f"{engine.stopped_by.name} stopped the search {wanted.name}; the same command goes on")
        stopped.exit_code = 128 + engine.stopped_by
        raise stopped
    return book.values


def _algorithm(search: Search) -> Algorithm:
    problem = Problem(search.space, search.objective.maximize, search.settings, search.seed, search.parallel)
    return make(search.algorithm, problem)


def _try_out(search: Search, algorithm: Algorithm, launcher: Launcher) -> None:
    """Refuse before anything starts what no trial could run: a program that is not here, say."""
    if (first := algorithm.suggest(0, [])) is not None:
        launcher.refuse_unknown(f"{search.name}-tried-out", first)


@contextlib.contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    with (directory / ".lock").open("a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fix = "wait for it, or choose another folder with -o"
            raise EnvironmentFault(f"{directory}: another search is working here; {fix}") from None
        yield


class _Book:
    """Keeps ``experiment.json`` true: the object with its status."""

    def __init__(self, experiment: Mapping[str, Any], search: Search, directory: Path) -> None:
        self.values = copy.deepcopy(dict(experiment))
        self._search, self._file = search, directory / "experiment.json"
        self._status, self._written = Status(), 0.0
        before = _before(self._file)
        if before is None:
            _refuse_foreign(directory)
        else:
            self._go_on(before, directory)
        known = {**(before or {}).get("metadata", {}), **self.values["metadata"]}
        self.values["metadata"] = {"uid": str(uuid.uuid4()), "creationTimestamp": now(), **known}
        self.journal = Journal.opened(directory / ".state" / "trials.jsonl")
        self._update()

    @property
    def uid(self) -> str:
        """What tells this search from others of the same name, as on a cluster."""
        return str(self.values["metadata"]["uid"])

    @property
    def is_over(self) -> bool:
        """Whether the search has ended, and nothing asks for more."""
        return bool(self._status.completed)

    def begin(self) -> None:
        """Write that the search runs."""
        if not self._status.started:
            self._status.started = now()
            self._status.hold("Created", "ExperimentCreated", "Experiment is created")
        self._status.hold("Running", "ExperimentRunning", "Experiment is running")
        self._write()

    def changed(self) -> None:
        """Write the status, but not more often than people look at it."""
        if time.monotonic() - self._written >= WRITTEN_EVERY_S:
            self._write()

    def end(self, reason: str | None) -> None:
        """Write how the search ended; None: it was stopped, and goes on another time."""
        if reason is not None:
            kind, message = ENDINGS[reason]
            self._status.hold(kind, reason, message)
            self._status.completed = now()
            for trial in self.journal.trials:
                if not trial.is_over:
                    self.journal.ended(trial.killed(message))
        self._write()

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()

    def _update(self) -> None:
        self.values["status"] = self._status.to_json(self.journal.trials, self._search.objective)

    def _write(self) -> None:
        self._update()
        files.write_json(self._file, self.values)
        self._written = time.monotonic()

    def _go_on(self, before: dict[str, Any], directory: Path) -> None:
        """Take up the search that the directory holds."""
        _refuse_another(before, self.values, directory)
        self._status = Status.of(before.get("status", {}))
        ended = words.ending(before)
        if ended is None:
            return
        done, wanted = before["status"]["trials"], self._search.most
        if wanted == before["spec"].get("maxTrialCount"):
            return
        if ended["reason"] != words.MOST or self._search.resume not in RESUMABLE:
            rule = "only one that reached maxTrialCount goes on, with resumePolicy LongRunning or FromVolume"
            raise InputError(
                f"{directory}: the search is over ({ended['message']}); {rule}; choose another folder with -o"
            )
        if wanted is not None and wanted <= done:
            raise InputError(f"maxTrialCount: must be above the {done} trials that there are, got {wanted}")
        self._status.restart()


def _refuse_another(before: Mapping[str, Any], wanted: Mapping[str, Any], directory: Path) -> None:
    old, new = ({key: each for key, each in it["spec"].items() if key not in EDITABLE} for it in (before, wanted))
    changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    if before["metadata"]["name"] != wanted["metadata"]["name"]:
        changed = ["metadata.name", *changed]
    if changed:
        rule = f"only {', '.join(EDITABLE)} may change of a search that has begun"
        raise InputError(
            f"{directory}: holds another search ({', '.join(changed)}): {rule}; choose another folder with -o"
        )


def _before(file: Path) -> dict[str, Any] | None:
    """Return the object as an earlier run left it; None where there is none, or none that can be read."""
    if not file.is_file():
        return None
    try:
        values = files.read_json(file)
        return {**values, "spec": {**values["spec"]}, "metadata": {**values["metadata"]}}
    except (ValueError, TypeError, KeyError):
        log.warning("%s: cannot be read; it is written anew, the trials are in the journal beside it", file)
    return None


def _refuse_foreign(directory: Path) -> None:
    found = sorted(path.name for path in directory.iterdir() if path.name != ".lock")
    if found and not (directory / ".state").is_dir():
        raise InputError(f"{directory}: holds {found[0]!r} and no search; choose a new or an empty folder with -o")
