"""What can go wrong, sorted by whose turn it is: the user's input, the environment, or the release gate."""

import difflib
import errno
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

DONE, FAILED, BAD_INPUT, GATE_REFUSED = 0, 1, 2, 3
"""Exit codes of the command line."""


class ParaK8sError(Exception):
    """Base of every error that ParaK8s raises on purpose; its text is written for the user."""

    exit_code = FAILED


class InputError(ParaK8sError, ValueError):
    """The user's input breaks a rule: an experiment file, an override, a data file."""

    exit_code = BAD_INPUT


class EnvironmentFault(ParaK8sError, RuntimeError):  # noqa: N818 - a fault is what users call it
    """The input is fine but the machine, the network or a server is not."""


@dataclass(frozen=True)
class Mistake:
    """One broken rule of an experiment file.

    Args:
        path: Dotted path of the key, such as ``training.epochs``; empty for the whole file.
        message: The rule, the value and the fix.
        where: Where it was written: ``line 12`` or ``-s``; empty where nothing was written.
    """

    path: str
    message: str
    where: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.path, self.message) if part)


class ExperimentError(InputError):
    """An experiment file with all its mistakes."""

    def __init__(self, name: str, mistakes: Collection[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        super().__init__("\n  ".join([f"{name}: {count}", *map(str, self.mistakes)]))


def nearest(word: str, known: Collection[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest spelling, and the list of what is allowed."""
    near = difflib.get_close_matches(word, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}allowed: {', '.join(sorted(known)) or 'none'}"


def from_os_error(error: OSError, path: Path | str | None = None) -> EnvironmentFault:
    """Say in plain words what the operating system refused."""
    place = error.filename or path or "the output"
    if error.errno == errno.ENOSPC:
        fix = "the disk is full; free some space or choose another folder with -o, then give the same command again"
    elif isinstance(error, PermissionError):
        fix = "no permission; choose another folder with -o, or change its owner or mode"
    else:
        fix = os.strerror(error.errno) if error.errno else str(error)
    return EnvironmentFault(f"{place}: {fix}")
