"""A trial in the engine's eyes, and all that is kept of it on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from parak8s.errors import InputError
from parak8s.katib.local.suggestions.algorithm import Past, State, Suggestion

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True)
class Trial:
    """One trial.

    Args:
        number: From 0.
        name: Of the trial.
        suggestion: What it tries.
        started: When it began, RFC 3339; empty before.
        state: As in Katib's conditions.
        ended: When it ended; empty before.
        reason: Why it has that state, in one word of Katib's.
        message: The same in words.
        metrics: As in ``status.observation.metrics``.
        value: The objective; None where there is none.
        first: The first values of the objective, for ``medianstop``.
    """

    number: int
    name: str
    suggestion: Suggestion
    started: str = ""
    state: State = "Running"
    ended: str = ""
    reason: str = ""
    message: str = ""
    metrics: tuple[Mapping[str, str], ...] = ()
    value: float | None = None
    first: tuple[float, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state != "Running"

    def killed(self, message: str) -> Trial:
        """Return the trial, ended with the search."""
        return replace(self, state="Killed", reason="TrialKilled", message=message, ended=now())

    def past(self) -> Past:
        """Return the trial as algorithms see it once they may."""
        value = self.value if self.state in ("Succeeded", "EarlyStopped") else None
        return Past(self.number, self.name, self.suggestion.assignments, self.state, value, self.suggestion.memory)

    def masked(self) -> Past:
        """Return the trial as algorithms see it while they may not look at its outcome."""
        return Past(self.number, self.name, self.suggestion.assignments, "Running", None, self.suggestion.memory)


def name_of(search: str, number: int) -> str:
    """Return the name of a trial: eight letters behind the search's, as Katib gives them, but always the same ones."""
    digest = int.from_bytes(hashlib.sha256(f"{search}/{number}".encode()).digest()[:8], "big")
    letters = []
    for _ in range(8):
        digest, place = divmod(digest, len(ALPHABET))
        letters.append(ALPHABET[place])
    return f"{search}-{''.join(letters)}"


def now() -> str:
    """Return the moment as Kubernetes writes it, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Journal:
    """What happened to each trial, a line of JSON for each event, so that a killed search goes on.

    Args:
        path: The file.
        trials: In the order of their numbers.
    """

    path: Path
    trials: list[Trial] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Journal:
        """Read what is there, and leave it as it is; a last line that is not finished does not count.

        Raises:
            InputError: The file holds something else.
        """
        journal = cls(path)
        if path.is_file():
            for number, line in enumerate(_whole_lines(path).splitlines(), start=1):
                journal._replay(line, number)
        return journal

    @classmethod
    def opened(cls, path: Path) -> Journal:
        """Read what is there and go on writing; a last line that a killed engine did not finish is taken away.

        Raises:
            InputError: The file holds something else.
        """
        journal = cls.read(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            os.truncate(path, len(_whole_lines(path)))
        journal._file = path.open("ab")
        return journal

    def __post_init__(self) -> None:
        self._file: Any = None

    def suggested(self, trial: Trial) -> None:
        """Remember what a new trial tries."""
        self.trials.append(trial)
        self._write({"event": "suggested", "number": trial.number, "name": trial.name, **asdict(trial.suggestion)})

    def began(self, trial: Trial) -> None:
        """Take note that a trial runs; a killed engine begins it again."""
        self.trials[trial.number] = trial

    def ended(self, trial: Trial) -> None:
        """Remember how a trial ended."""
        self.trials[trial.number] = trial
        kept = ("started", "state", "ended", "reason", "message", "metrics", "value", "first")
        self._write({"event": "ended", "number": trial.number, **{name: getattr(trial, name) for name in kept}})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, event: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(event, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _replay(self, line: bytes, place: int) -> None:
        try:
            event = json.loads(line)
            kind, number = event.pop("event"), event.pop("number")
            if kind == "suggested":
                assert number == len(self.trials)
                self.trials.append(Trial(number, event.pop("name"), Suggestion(**event)))
            else:
                event["metrics"], event["first"] = tuple(event["metrics"]), tuple(event["first"])
                self.trials[number] = replace(self.trials[number], **event)
        except (ValueError, KeyError, TypeError, IndexError, AssertionError) as error:
            fix = "cut the file off before it to go on with the trials until then, or choose another folder with -o"
            raise InputError(f"{self.path}: line {place} is broken ({line[:60]!r}); {fix}") from error


def _whole_lines(path: Path) -> bytes:
    text = path.read_bytes()
    return text[: text.rfind(b"\n") + 1]
