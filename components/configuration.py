"""What a pipeline must know of an experiment before its first step."""

from parak8s import provenance
from parak8s.experiment import Experiment, documents
from parak8s.parts import parts
from parak8s.steps.ingest import identify
from parak8s.steps.pretrained import pinned
from parak8s.tracking.placement import refuse_lost_here


def configured(experiment: Experiment) -> dict[str, str]:
    """Return the outputs of the component ``configure``.

    Raises:
        InputError: The data or the weights are not there or not the pinned ones, or MLflow would write into a pod
            that goes away.
    """
    refuse_lost_here(experiment)
    experiment = pinned(experiment)
    digest = identify(experiment)[1]
    return described(experiment, digest) | parts(experiment, digest)


def described(experiment: Experiment, digest: str) -> dict[str, str]:
    """Return what names the point, and its whole text."""
    return {
        "experiment": documents.dump(experiment.canonical()),
        "fingerprint": provenance.fingerprint(experiment, digest),
        "digest": digest,
    }
