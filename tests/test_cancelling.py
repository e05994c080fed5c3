"""A task that KFP cancels takes along what it has made."""

import io
import os
import signal
import time

import pytest

from parak8s.components import cancelling
from parak8s.errors import Stopped


class Closing(io.RawIOBase):
    """Is asked to stop while Python closes it: what is raised there goes nowhere."""

    def close(self) -> None:
        if not self.closed:
            os.kill(os.getpid(), signal.SIGTERM)
        super().close()


def test_a_cancellation_in_the_middle_of_a_finalizer_is_heard_a_little_later() -> None:
    deleted, before = list[float](), (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM))

    def delete(wait_s: float) -> None:
        deleted.append(wait_s)
        os.kill(os.getpid(), signal.SIGTERM)  # once more; it is on its way already
        time.sleep(1.5)

    def follow() -> None:
        with cancelling.together("the job", delete, "kubectl delete"):
            Closing()
            time.sleep(60)

    with pytest.raises(Stopped, match=r"^the run was cancelled, and the job with it$"):
        follow()
    assert deleted == [20]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)) == before
