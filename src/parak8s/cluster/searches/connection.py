"""Asks Kubernetes about the searches of one namespace: experiments, their trials, algorithms and pods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from parak8s.cluster.api import connection as api
from parak8s.cluster.api.connection import Json
from parak8s.cluster.api.faults import NotFound
from parak8s.cluster.api.kinds import Kind
from parak8s.cluster.patience import BRIEF, Patience

if TYPE_CHECKING:
    from parak8s.cluster.api.access import Access

EXPERIMENT = Kind(
    "Experiment",
    "kubeflow.org/v1beta1",
    "experiments",
    operator="Katib (with Experiment of kubeflow.org/v1beta1)",
    instead="search here with --engine local",
)
OF_EXPERIMENT, DEPLOYMENT = "katib.kubeflow.org/experiment", "katib.kubeflow.org/deployment"
"""Labels: of a trial, the experiment's name; of the pod that suggests trials, what :func:`deployment` returns."""
OF_JOB = {"Job": "job-name", "TFJob": "training.kubeflow.org/job-name"}
"""Kind of what a trial runs -> label of its pods that has the trial's name."""
AT_ONCE = 50
"""Trials whose pods are asked for at once: their names go into an address."""


@dataclass(frozen=True)
class Connection(api.Connection):
    """A namespace of a cluster, and its searches.

    The two APIs of Kubernetes are used as they are: Katib's own client takes no time limit, hides the server's answers
    behind RuntimeError, and is another one in 0.14 than in 0.19.
    """

    @classmethod
    def open(cls, access: Access, *, timeout_s: float = 30, patience: Patience = BRIEF) -> Connection:
        """Return a connection; nothing is asked yet."""
        from kubernetes.client import ApiClient, CoreV1Api, CustomObjectsApi

        client = ApiClient(access.configuration)
        both = SimpleNamespace(custom_api=CustomObjectsApi(client), core_api=CoreV1Api(client))
        return cls(both, access.host, access.namespace, EXPERIMENT, timeout_s, patience)

    def trials(self, name: str, **options: Any) -> list[Json]:
        """Return the trials of an experiment."""
        return self.all("trials", f"{OF_EXPERIMENT}={name}", **options)

    def suggestion(self, name: str, **options: Any) -> Json | None:
        """Return what suggests the trials of an experiment; None before there is one."""
        try:
            return self.get(name, "suggestions", **options)
        except NotFound:
            return None

    def pods_of(self, trials: Sequence[Json], **options: Any) -> Iterator[Json]:
        """Yield the pods of trials, of the last :data:`AT_ONCE`."""
        for kind, label in OF_JOB.items():
            names = [trial["metadata"]["name"] for trial in trials[-AT_ONCE:] if run_of(trial).get("kind") == kind]
            if names:
                yield from self.pods(f"{label} in ({','.join(names)})", **options)


def run_of(trial: Json) -> Json:
    """Return the job of a trial, as Katib makes it."""
    found: Json = (trial.get("spec") or {}).get("runSpec") or {}
    return found


def deployment(experiment: Json) -> str:
    """Return the name of what runs the algorithm of an experiment: a deployment, its service and its volume."""
    return f"{experiment['metadata']['name']}-{experiment['spec']['algorithm']['algorithmName']}"
