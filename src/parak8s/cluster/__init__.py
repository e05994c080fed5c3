"""The only room that talks to a cluster: connects to Kubeflow Pipelines, submits, follows, schedules."""

from parak8s.cluster.connection import Connection, connect
from parak8s.cluster.following import Narrator, Outcome, follow
from parak8s.cluster.limits import MAX_PARAMETER_BYTES, parameters_bytes
from parak8s.cluster.recurring import Scheduled, schedule
from parak8s.cluster.submission import Submitted, submit
from parak8s.cluster.target import Target

__all__ = [
    "MAX_PARAMETER_BYTES",
    "Connection",
    "Narrator",
    "Outcome",
    "Scheduled",
    "Submitted",
    "Target",
    "connect",
    "follow",
    "parameters_bytes",
    "schedule",
    "submit",
]
