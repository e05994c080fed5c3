"""A TFJob, moments of its life, and what follows it on an emulated cluster."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import cluster_case
from kubernetes_server import KubernetesServer, Moment, pod, status
from parak8s.cluster.jobs import Jobs, Outcome, connect
from parak8s.cluster.patience import Patience

QUICK = Patience(first_s=0.01, longest_s=0.02, total_s=5)
PATIENT = Patience(first_s=0.01, longest_s=0.01, total_s=5, server_errors=None, unreachable=True)
JOB: dict[str, Any] = {
    "apiVersion": "kubeflow.org/v1",
    "kind": "TFJob",
    "metadata": {"name": "ecg"},
    "spec": {
        "runPolicy": {"backoffLimit": 3, "activeDeadlineSeconds": 3600},
        "tfReplicaSpecs": {"Worker": {"replicas": 2, "template": {"spec": {"containers": [{"name": "tensorflow"}]}}}},
    },
}
RUNNING = Moment(status("Running"), [pod("worker-0"), pod("worker-1")])
DONE = Moment(
    status("Succeeded", Worker={"succeeded": 2}), [pod("worker-0", "Succeeded"), pod("worker-1", "Succeeded")]
)


@dataclass
class Told(cluster_case.Told):
    """A narrator that remembers, also what the leader says."""

    def said(self, line: str) -> None:
        self.lines.append(f"said {line}")


def kubeconfig(folder: Path, uri: str, **user: Any) -> Path:
    """Write a kubeconfig with two contexts, of which ``here`` is the current one."""
    cluster = {"server": uri}
    path = folder / "kubeconfig"
    contexts = [
        {"name": "here", "context": {"cluster": "test", "user": "me", "namespace": "ml"}},
        {"name": "bare", "context": {"cluster": "test", "user": "me"}},
    ]
    content = {"current-context": "here", "contexts": contexts, "clusters": [{"name": "test", "cluster": cluster}]}
    path.write_text(yaml.safe_dump({**content, "users": [{"name": "me", "user": user}]}))
    return path


def connected(server: KubernetesServer, folder: Path, *, timeout_s: float = 10, **options: Any) -> Jobs:
    environment = {"KUBECONFIG": str(kubeconfig(folder, server.uri))}
    return connect(environment=environment, mounts=folder, timeout_s=timeout_s, patience=QUICK, **options)


def watch(server: KubernetesServer, folder: Path, told: Told | None = None, **options: Any) -> Outcome:
    jobs = connected(server, folder, timeout_s=options.pop("answer_s", 10))
    created = jobs.create(options.pop("job", JOB))
    options = {"poll_s": 0.05, "patience": PATIENT, **options}
    return jobs.follow(created.name, told or Told(), uid=created.uid, **options)


def pending(*pods: Any, events: tuple[Any, ...] = ()) -> Moment:
    return Moment(status("Created"), list(pods), list(events))


def failed(*pods: Any, message: str = "TFJob ml/ecg has failed because 1 Worker replica(s) failed.") -> Moment:
    return Moment(status("Failed", message), list(pods))
