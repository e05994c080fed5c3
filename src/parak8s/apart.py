"""Calls a function in a process of its own, of which only the result comes back."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

from parak8s.errors import EnvironmentFault

Given = ParamSpec("Given")
Result = TypeVar("Result")


def apart(function: Callable[Given, Result], *arguments: Given.args, **settings: Given.kwargs) -> Result:
    """Return what the function returns, or raise what it raises; both, and what it is given, can be pickled.

    So a loader of the user's own may use TensorFlow in the leader of a job: in one process TensorFlow hears of other
    machines only before its first use.

    Raises:
        EnvironmentFault: The process was killed.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(function, *arguments, **settings).result()
        except BrokenProcessPool as error:
            raise EnvironmentFault(
                f"the process of {function.__name__} was killed, perhaps because the memory was not enough"
            ) from error
