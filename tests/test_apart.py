"""A function in a process of its own: its result and its errors come back, and nothing else."""

import os
import signal

import pytest

from parak8s.apart import apart
from parak8s.errors import EnvironmentFault, InputError


def process_plus(number: int, *, minus: int = 0) -> int:
    return os.getpid() + number - minus


def refuse(rule: str) -> None:
    raise InputError(rule)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_result_comes_back_from_another_process() -> None:
    assert apart(process_plus, 1, minus=1) != os.getpid()


def test_errors_keep_their_kind_and_their_words() -> None:
    with pytest.raises(InputError, match=r"^no such column$") as refused:
        apart(refuse, "no such column")
    assert refused.value.exit_code == 2


def test_a_process_that_is_killed_is_told_of() -> None:
    with pytest.raises(EnvironmentFault, match=r"^the process of die was killed, perhaps because the memory"):
        apart(die)
