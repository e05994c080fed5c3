"""What can go wrong, sorted by whose turn it is: the user's input, the environment, or the release gate."""

import difflib
import errno
import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self

DONE, FAILED, BAD_INPUT, GATE_REFUSED = 0, 1, 2, 3
"""Exit codes of the command line."""

SHOWN = 50
"""Mistakes of one file that are printed; the rest are counted."""


class ParaK8sError(Exception):
    """Base of every error that ParaK8s raises on purpose; its text is written for the user."""

    exit_code = FAILED


class InputError(ParaK8sError, ValueError):
    """The user's input breaks a rule: an experiment file, an override, a data file."""

    exit_code = BAD_INPUT


class EnvironmentFault(ParaK8sError, RuntimeError):  # noqa: N818 - a fault is what users call it
    """The input is fine but the machine, the network or a server is not."""


class Stopped(ParaK8sError):  # noqa: N818 - it is no error
    """The user pressed Ctrl-C."""

    exit_code = 130


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
        self.name, self.mistakes = name, tuple(mistakes)
        count = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        more = [f"and {len(self.mistakes) - SHOWN} more"] if len(self.mistakes) > SHOWN else []
        super().__init__("\n  ".join([f"{name}: {count}", *map(str, self.mistakes[:SHOWN]), *more]))

    def __reduce__(self) -> tuple[type[Self], tuple[str, tuple[Mistake, ...]]]:
        """Let it travel to another process."""
        return type(self), (self.name, self.mistakes)


def nearest(word: str, known: Collection[str]) -> str:
    """Return ``did you mean 'x'? allowed: x, y``: the nearest spelling, if one is near, and all that is allowed."""
    folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), folded, n=1)
    hint = f"did you mean {folded[near[0]]!r}? " if near else ""
    return f"{hint}allowed: {', '.join(sorted(known)) or 'none'}"


def from_os_error(error: OSError, path: Path = Path()) -> EnvironmentFault:
    """Say in plain words what the operating system refused while working in ``path``."""
    place = error.filename or path
    if error.errno == errno.ENOSPC or disk_is_full(path):
        fix = "the disk is full; free some space or choose another folder with -o, then give the same command again"
    elif isinstance(error, PermissionError):
        fix = "no permission; choose another folder with -o, or change its owner or mode"
    else:
        fix = os.strerror(error.errno) if error.errno else str(error)
    return EnvironmentFault(f"{place}: {fix}")


def disk_is_full(path: Path) -> bool:
    """Return whether less than 1 MiB is left where ``path`` lies."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free < 1 << 20
