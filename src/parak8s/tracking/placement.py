"""Where MLflow's database may lie when pods write it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from parak8s.errors import InputError
from parak8s.experiment.compute import lies_in
from parak8s.tracking.connection import sqlite_file, tracking_uri

if TYPE_CHECKING:
    from parak8s.experiment import Compute, Experiment


def refuse_lost(uri: str, compute: Compute) -> None:
    """Refuse an SQLite file in a pod's own file system: it is gone with the pod, and with it the evidence.

    Raises:
        InputError: ``uri`` names a file outside of all ``compute.volumes``.
    """
    file = sqlite_file(uri)
    if file and not any(lies_in(str(file), volume.path) for volume in compute.volumes):
        raise InputError(
            f"tracking.uri {uri}: a file that is lost with its pod; write the address of your MLflow server there, or "
            "leave it out and set MLFLOW_TRACKING_URI in the pods (compute.env, compute.secrets), or put the file on "
            "one of compute.volumes"
        )


def refuse_lost_here(experiment: Experiment) -> None:
    """Do so where this is a pod, with the address that MLflow would take.

    Raises:
        InputError: It names a file outside of all ``compute.volumes``.
    """
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        refuse_lost(tracking_uri(experiment.tracking), experiment.compute)
