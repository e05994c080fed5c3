"""What a TFJob may not hold, said before anything is created."""

import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from parak8s import provenance
from parak8s.errors import InputError
from parak8s.experiment import Compute, Experiment
from parak8s.experiment.compute import is_store, lies_in
from parak8s.experiment.rules import FORMS, PLACE
from parak8s.secrets import redacted, secret_paths
from parak8s.tfjobs.objects import Role
from parak8s.tfjobs.pods import SCRATCH

MAX_NAME = 63
"""Letters of a service's name: each replica has one of its own, such as ecg-worker-0."""
MAX_ARGUMENT_BYTES = 131_071
"""Bytes of one argument of a program on Linux (MAX_ARG_STRLEN, less the zero at its end)."""
MAX_OBJECT_BYTES = 1_500_000
"""What etcd takes."""


def refuse_name(name: str, replicas: Mapping[Role, int]) -> None:
    """Refuse a name that the operator, or the service of a replica, cannot have."""
    if not re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", name):
        raise InputError(
            f"a TFJob cannot be named {name!r}: expected lower-case letters, digits and inner hyphens, a letter first, "
            f"such as ecg; change the experiment's name"
        )
    longest = max((f"{name}-{role.lower()}-{count - 1}" for role, count in replicas.items()), key=len)
    if len(longest) > MAX_NAME:
        raise InputError(
            f"the name {name!r} is too long for a TFJob: its replica {longest} has {len(longest)} letters, above the "
            f"{MAX_NAME} that Kubernetes takes; take {len(longest) - MAX_NAME} off the experiment's name"
        )


def refuse_passwords(experiment: Experiment, what: str = "a TFJob") -> None:
    """Refuse what everybody who may look at the object would read."""
    paths = [path for path in secret_paths(experiment.canonical()) if not path.startswith("compute.secrets.")]
    if paths:
        raise InputError(
            f"{paths[0]} holds a password or a token, and {what} shows its values as they are written: keep it in a "
            "Kubernetes Secret, and name that in compute.secrets; on a laptop, set an environment variable"
        )


def refuse_reserved(compute: Compute) -> None:
    """Refuse what the operator sets, and a volume where every replica has its scratch folder."""
    if "TF_CONFIG" in compute.env or any("TF_CONFIG" in secret.env for secret in compute.secrets):
        raise InputError("compute.env: TF_CONFIG is set by the training operator for each replica; take it out")
    if any(posixpath.normpath(volume.path) == SCRATCH for volume in compute.volumes):
        raise InputError(f"compute.volumes: {SCRATCH} is the scratch folder of each replica; mount the claim elsewhere")


def refuse_long_argument(text: str) -> None:
    """Refuse an experiment that no program can be given."""
    size = len(text.encode())
    if size > MAX_ARGUMENT_BYTES:
        raise InputError(
            f"the experiment has {size:,} bytes with all defaults, above the {MAX_ARGUMENT_BYTES:,} that a replica can "
            "be given as an argument; leave out what the training does not need, such as the section search"
        )


def refuse_large_object(job: Mapping[str, Any], what: str = "the TFJob") -> None:
    """Refuse an object that Kubernetes cannot keep."""
    size = len(json.dumps(job).encode())
    if size > MAX_OBJECT_BYTES:
        raise InputError(
            f"{what} has {size:,} bytes, above the {MAX_OBJECT_BYTES:,} that a cluster takes; shorten compute.env"
        )


def default_directory(compute: Compute, name: str) -> str:
    """Return where the job ``name`` works on a cluster."""
    return posixpath.join(compute.runs or f"{SCRATCH}/runs", name)


def refuse_unshared(compute: Compute, directory: str, replicas: int) -> None:
    """Refuse several replicas without a place that all of them reach, and one without a place to write to."""
    if is_store(directory):
        if not re.fullmatch(PLACE, directory):
            raise InputError(f"{redacted(directory)}: expected {FORMS[PLACE]}; passwords belong into compute.secrets")
        return
    if any(lies_in(directory, volume.path) for volume in compute.volumes):
        return
    if replicas == 1 and not lies_in(directory, SCRATCH):
        raise InputError(
            f"no pod can write to the folder {directory}; write one on a volume of compute.volumes, such as "
            f"/mnt/runs/ecg, or below {SCRATCH}, where it is lost with the pod"
        )
    if replicas > 1:
        raise InputError(
            f"{replicas} replicas must share one folder, and {directory} lies on none of compute.volumes; mount a "
            "claim that several nodes may write to (ReadWriteMany), and name a folder on it: compute: {volumes: "
            "[{claim: runs, path: /mnt/runs}], runs: /mnt/runs}; or an object store: compute: {runs: s3://bucket/runs}"
        )


def refuse_missing_code(experiment: Experiment, what: str = "a TFJob") -> None:
    """Refuse code of the user's own that no image is said to hold: a job brings none along."""
    modules = provenance.own_modules(experiment)
    if modules and experiment.compute.image is None:
        raise InputError(
            f"{', '.join(modules)}: code of your own must be in the image of {what}; build one with ParaK8s and it, "
            "and name it in compute.image"
        )


def refuse_lost_tracking(experiment: Experiment) -> None:
    """Refuse an SQLite file that is gone with its pod. Where no address is written, the pod looks for one."""
    from parak8s.tracking.placement import refuse_lost  # NumPy comes with it

    if experiment.tracking.uri:
        refuse_lost(experiment.tracking.uri, experiment.compute)
