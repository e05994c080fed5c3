"""A function in a process of its own: its result and its errors come back, and nothing else."""

import os
import signal

import pytest

from parak8s.apart import apart
from parak8s.errors import EnvironmentFault, ExperimentError, InputError, Mistake


def process_plus(number: int, *, minus: int = 0) -> int:
    return os.getpid() + number - minus


def refuse(rule: str) -> None:
    raise InputError(rule)


class OwnError(Exception):
    def __init__(self, row: int, column: str) -> None:
        super().__init__(f"row {row} lacks {column}")


def refuse_in_own_words() -> None:
    raise OwnError(3, "label")


def refuse_a_file() -> None:
    raise ExperimentError("x.yaml", [Mistake("data.loader", "no loader 'x'")])


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_result_comes_back_from_another_process() -> None:
    assert apart(process_plus, 1, minus=1) != os.getpid()


def test_errors_keep_their_kind_and_their_words() -> None:
    with pytest.raises(InputError, match=r"^no such column$") as refused:
        apart(refuse, "no such column")
    assert refused.value.exit_code == 2


def test_an_error_with_a_constructor_of_its_own_keeps_its_words() -> None:
    with pytest.raises(InputError, match=r"^OwnError: row 3 lacks label$"):
        apart(refuse_in_own_words)
    with pytest.raises(ExperimentError, match=r"^x.yaml: 1 mistake\n  data.loader: no loader 'x'$") as refused:
        apart(refuse_a_file)
    assert refused.value.mistakes == (Mistake("data.loader", "no loader 'x'"),)


def test_a_process_that_is_killed_is_told_of() -> None:
    with pytest.raises(EnvironmentFault, match=r"^the process of die was killed, perhaps because the mem") as killed:
        apart(die)
    assert killed.value.exit_code == 137
