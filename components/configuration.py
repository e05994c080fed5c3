"""What a pipeline must know of an experiment before its first step."""

import os
import re

from parak8s import provenance
from parak8s.errors import InputError
from parak8s.experiment import Experiment, documents
from parak8s.parts import parts
from parak8s.steps.ingest import identify
from parak8s.steps.pretrained import pinned
from parak8s.tracking.connection import sqlite_file, tracking_uri


def configured(experiment: Experiment) -> dict[str, str]:
    """Return the outputs of the component ``configure``.

    Raises:
        InputError: The data or the weights are not there or not the pinned ones, or MLflow would write into a pod
            that goes away.
    """
    refuse_lost_tracking(experiment)
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


def refuse_lost_tracking(experiment: Experiment) -> None:
    """Refuse an SQLite file in a pod's own file system: it is gone with the pod, and with it the evidence."""
    uri = tracking_uri(experiment.tracking)
    file = sqlite_file(uri)
    mounted = [volume.path.rstrip("/") for volume in experiment.compute.volumes]
    kept = file is not None and any(re.match(f"{re.escape(path)}/", str(file)) for path in mounted)
    if file and not kept and os.environ.get("KUBERNETES_SERVICE_HOST"):
        raise InputError(
            f"tracking.uri {uri}: a file that is lost with its pod; write the address of your MLflow server there, or "
            "set MLFLOW_TRACKING_URI in the pods (compute.env, compute.secrets), or put it on one of compute.volumes"
        )
