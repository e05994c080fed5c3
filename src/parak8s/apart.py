"""Calls a function in a process of its own, of which only the result comes back."""

import pickle
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, ParamSpec, TypeVar

from parak8s.errors import EnvironmentFault, InputError

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Killed(EnvironmentFault):
    """The process was killed; a replica that ends so is started again."""

    exit_code = 128 + signal.SIGKILL


def apart(function: Callable[Given, Result], *arguments: Given.args, **settings: Given.kwargs) -> Result:
    """Return what the function returns, or raise what it raises; both, and what it is given, can be pickled.

    So a loader of the user's own may use TensorFlow in the leader of a job: in one process TensorFlow hears of other
    machines only before its first use.

    Raises:
        InputError: The function raised what cannot be pickled.
        Killed: The process was killed.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_portably, function, arguments, settings).result()
        except BrokenProcessPool as error:
            raise Killed(
                f"the process of {function.__name__} was killed, perhaps because the memory was not enough"
            ) from error


def _portably(function: Callable[..., Result], arguments: Any, settings: Any) -> Result:
    try:
        return function(*arguments, **settings)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        except Exception:
            raise InputError(f"{type(error).__name__}: {error}") from None
        raise
