"""TFJobs for tests, and what a test asks of a job that ran."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE_S = 60
"""How long a test waits for what must come; it fails then, and never measures."""


def replicas(*command: str, count: int = 1, policy: str = "Never", env: Any = None, **pod: Any) -> dict[str, Any]:
    container = {"name": "tensorflow", "image": "tf:1", "command": list(command), "env": env or []}
    template = {"spec": {"containers": [container], **pod}}
    return {"replicas": count, "restartPolicy": policy, "template": template}


def python(program: str, **keys: Any) -> dict[str, Any]:
    return replicas("python", "-S", "-c", program, **keys)


def tfjob(types: dict[str, Any], *, success: str | None = None, **run_policy: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {"runPolicy": run_policy, "tfReplicaSpecs": types}
    if success is not None:
        spec["successPolicy"] = success
    metadata = {"name": "ecg", "namespace": "heart"}
    return {"apiVersion": "kubeflow.org/v1", "kind": "TFJob", "metadata": metadata, "spec": spec}


def conditions(job: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [(c["type"], c["status"], c["reason"], c["message"]) for c in job["status"]["conditions"]]


def log(folder: Path, name: str) -> str:
    return (folder / f"{name}.log").read_text()


def said(folder: Path, name: str) -> list[str]:
    """Return what a replica wrote, without the engine's own lines."""
    return [line for line in log(folder, name).splitlines() if not line.startswith("===")]


def wait_for(what: Callable[[], Any]) -> Any:
    """Wait until ``what`` gives something, and return it."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def content(path: Path) -> str:
    """Return what a file holds that may not be there yet."""
    return path.read_text() if path.exists() else ""


def wait_until_written(text: str, path: Path) -> None:
    """Wait until a file holds ``text``."""
    wait_for(lambda: text in content(path))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


CREATED = ("Created", "True", "TFJobCreated", "TFJob ecg is created.")
RAN = ("Running", "False", "TFJobRunning", "TFJob heart/ecg is running.")
SUCCEEDED = ("Succeeded", "True", "TFJobSucceeded", "TFJob heart/ecg successfully completed.")


class Heard:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def opened(self, replicas: Any) -> None:
        self.events.append(("opened", *replicas))

    def began(self, replica: str, start: int, process: int) -> None:
        self.events.append(("began", replica, start, process))

    def said(self, replica: str, line: str) -> None:
        self.events.append(("said", replica, line))

    def ended(self, replica: str, code: int, then: str) -> None:
        self.events.append(("ended", replica, code, then))

    def told(self, sentence: str) -> None:
        self.events.append(("told", sentence))

    def lines(self, replica: str) -> list[str]:
        """Return the lines of one replica."""
        return [each[2] for each in self.events if each[:2] == ("said", replica)]


INDEX = [
    {
        "name": "INDEX",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['training.kubeflow.org/replica-index']"}},
    }
]
