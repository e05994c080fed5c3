"""Ends a job that is started again and again and gets nowhere: one whose memory never is enough, say.

The training operator starts a replica that ended with 128 or more again, and nothing on a cluster counts how often. So
the leader does, in the folder that all starts see. The count begins anew with every checkpoint and finished step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from parak8s import files, provenance
from parak8s.errors import FAILED, EnvironmentFault
from parak8s.experiment.compute import RESTARTS_EACH
from parak8s.layout import Layout
from parak8s.rendezvous import PeerMissing
from parak8s.training.interruption import Interrupted, told_first

if TYPE_CHECKING:
    from parak8s.experiment import Experiment

RETRYABLE = 128
"""The lowest exit code with which a replica is started again."""


@contextlib.contextmanager
def counted(layout: Layout, experiment: Experiment) -> Iterator[None]:
    """Count the start of the leader that this block is, until it ends well.

    A start that waits for a replica in vain is not counted, as a cluster may be full for a night; nor is one that is
    asked to stop (SIGTERM), as a node may be needed for something else. (Where an object store keeps the run, one that
    is asked outside of the training is counted: it ends before it can tell the store.)

    Args:
        layout: Of the run.
        experiment: Says how many restarts in a row may leave the run where it was (``compute.job.backoff_limit``).

    Raises:
        EnvironmentFault: They were as many; the next start is the first one again.
    """
    given, headway = experiment.compute.job.backoff_limit, _headway(layout, experiment)
    if given == 0:  # no replica is started again, so that there is nothing to count
        yield
        return
    limit = RESTARTS_EACH if given is None else given
    before = files.read_json(layout.starts) if layout.starts.is_file() else {}
    fruitless = before["starts"] if before.get("headway") == headway else 0
    if fruitless > limit:
        layout.starts.unlink()
        raise EnvironmentFault(
            f"{layout.where}: started {fruitless} times in a row without an epoch or a step of the run being finished; "
            "see in the replicas' logs and in the pods' last states how they ended, mend it, and create the job again: "
            "it goes on from there. compute.job.backoff_limit says how often to try"
        )

    def note(starts: int) -> None:
        files.write_json(layout.starts, {"headway": headway, "starts": starts})

    note(fruitless + 1)
    with told_first(lambda: note(fruitless)):
        try:
            yield
        except (PeerMissing, Interrupted):
            note(fruitless)
            raise
        except Exception as error:
            if getattr(error, "exit_code", FAILED) < RETRYABLE:
                _forget(layout)
            raise
    _forget(layout)


def _forget(layout: Layout) -> None:
    layout.starts.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # what was refused leaves no folder behind, unless something is in it
        layout.root.rmdir()


def _headway(layout: Layout, experiment: Experiment) -> str:
    """Return a digest of what is done, and of the file: when that has changed, something may have been mended."""
    steps, checkpoints = layout.root.glob("*/step.json"), files.partial_of(layout.training).rglob("*.index")
    done = sorted(str(path.relative_to(layout.root)) for path in (*steps, *checkpoints))
    return provenance.digest([done, experiment.canonical()])
