"""What the setting of an algorithm may be. An Experiment holds all of them as text."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from parak8s.errors import nearest

CHECKPOINTS = "/opt/katib/data"
"""Where a trial of population based training finds its folder, unless ``suggestion_trial_dir`` says otherwise."""


@dataclass(frozen=True)
class Setting:
    """What a setting of an algorithm may be.

    Args:
        kind: ``parameter`` is the name of a searched value, ``path`` an absolute path of a folder.
        rule: Tells whether a number is allowed.
        allowed: The rule in words.
        words: All that are allowed.
        required: Whether the algorithm cannot do without it.
        default: Value where none is given; None leaves it to the algorithm.
    """

    kind: Literal["whole", "number", "word", "parameter", "path"]
    rule: Callable[[float], bool] = lambda _: True
    allowed: str = ""
    words: tuple[str, ...] = ()
    required: bool = False
    default: str | None = None


def example(setting: Setting) -> str:
    """Return what to write for a setting that is missing."""
    return {"parameter": "the path of a searched value", "path": CHECKPOINTS}.get(setting.kind, setting.allowed)


def wrong(setting: Setting, text: str, names: Sequence[str]) -> str | None:
    """Return what is wrong with a value; None where it is fine. ``names`` are those of all that is searched."""
    if setting.kind == "word":
        return None if text in setting.words else f"got {text!r}; {nearest(text, setting.words)}"
    if setting.kind == "parameter":
        return None if text in names else f"must be one of the parameters, got {text!r}; {nearest(text, names)}"
    if setting.kind == "path":
        fits = re.fullmatch("(/[A-Za-z0-9_.-]+)+/?", text)
        return None if fits else f"expected an absolute path without blanks, such as {CHECKPOINTS}, got {text!r}"
    number = _number(text, whole=setting.kind == "whole")
    if number is None or not setting.rule(number):
        return f"expected {setting.allowed}, got {text!r}"
    return None


def _number(text: str, *, whole: bool) -> float | None:
    """Return the number that Katib reads; None where it is none."""
    if not re.fullmatch(r"[+-]?[0-9]{1,18}" if whole else r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        return None
    return float(text) if math.isfinite(float(text)) else None


def at_least(least: int, *, required: bool = False) -> Setting:
    """Return a whole number with a lower bound."""
    return Setting("whole", lambda number: number >= least, f"a whole number from {least} on", required=required)


def share(*, required: bool = False) -> Setting:
    """Return a number from 0 to 1."""
    return Setting("number", lambda number: 0 <= number <= 1, "a number from 0 to 1", required=required)


def one_of(*words: str) -> Setting:
    """Return one of some words."""
    return Setting("word", words=words)
