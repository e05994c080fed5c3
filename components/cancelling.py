"""Lets what a task makes on a cluster go with the task: the run is cancelled, the task fails, or its pod is gone."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

from parak8s.components.voices import say
from parak8s.errors import ParaK8sError, Stopped

CANCELLED_S = 20
"""How long a cancelled task waits for the pods of what it made: Kubernetes gives it thirty seconds."""
AGAIN_S = 1.0
"""When to raise again what was raised within a finalizer: Python lets nothing out of there."""
_SIGNALS = (signal.SIGTERM, signal.SIGALRM)


class _Cancelled(BaseException):
    """The run was cancelled: nothing that goes on after an error may take it for one."""


def on_cluster() -> bool:
    """Return whether this is a pod."""
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST"))


def ours(made: dict[str, Any]) -> dict[str, Any]:
    """Let an object go with the pod of this task, should that be killed before it can delete the object."""
    name, uid = (os.environ.get(key) for key in ("KFP_POD_NAME", "KFP_POD_UID"))
    if name and uid:
        made["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}]
    return made


@contextlib.contextmanager
def together(what: str, delete: Callable[..., object], by_hand: str) -> Iterator[None]:
    """Run a block that makes something and follows it; when the block does not come to its end, delete that.

    Args:
        what: What is made, for messages.
        delete: Deletes it; takes ``wait_s``.
        by_hand: A command that does the same.

    Raises:
        Stopped: KFP cancelled the run: it sends SIGTERM.
    """
    with _cancellable(what):
        try:
            yield
        except BaseException:
            _heed(signal.SIG_IGN, signal.SIG_IGN)
            try:
                delete(wait_s=CANCELLED_S)
            except ParaK8sError as fault:
                say(f"{fault}; {by_hand}")
            raise


@contextlib.contextmanager
def _cancellable(what: str) -> Iterator[None]:
    def stop(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        raise _Cancelled

    before = [signal.getsignal(each) for each in _SIGNALS]
    _heed(stop, stop)
    try:
        yield
    except _Cancelled:
        raise Stopped(f"the run was cancelled, and {what} with it") from None
    finally:
        _heed(*before)


def _heed(*handlers: Any) -> None:
    """Let these handle the signals; no alarm is on its way any more."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in zip(_SIGNALS, handlers, strict=True):
        signal.signal(number, handler)
