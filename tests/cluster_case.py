"""What the tests of the cluster's client share: an environment without settings, a small pipeline, a narrator."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from kfp_server import KfpServer, kfp_server
from parak8s.cluster import Connection, Target, connect
from parak8s.cluster.patience import Patience

QUICK = Patience(first_s=0.01, longest_s=0.02, total_s=5)
SETTINGS = ("KF_", "PARAK8S_", "SSL_CERT", "REQUESTS_CA", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
SPEC: dict[str, Any] = {
    "pipelineInfo": {"name": "ecg"},
    "root": {
        "dag": {
            "tasks": {
                "ingest": {"cachingOptions": {"enableCache": True}},
                "condition-1": {"componentRef": {"name": "comp-condition-1"}},
            }
        },
        "inputDefinitions": {"parameters": {"experiment": {"parameterType": "STRING"}, "overrides": {}}},
    },
    "components": {
        "comp-ingest": {"executorLabel": "ingest"},
        "comp-condition-1": {"dag": {"tasks": {"train": {"cachingOptions": {"enableCache": True}}}}},
    },
    "schemaVersion": "2.1.0",
}
PLATFORM: dict[str, Any] = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"ingest": {}}}}}}


@pytest.fixture(autouse=True, name="home")
def home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of the test's own, and none of the machine's settings."""
    for name in [*os.environ]:
        if name.upper().startswith(SETTINGS):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture(name="server")
def open_server() -> Iterator[KfpServer]:
    """A server that lets everybody in."""
    with kfp_server() as running:
        yield running


@pytest.fixture(name="package")
def compiled_package(tmp_path: Path) -> Path:
    """A compiled pipeline with two documents, as kfp-kubernetes makes them."""
    path = tmp_path / "ecg.yaml"
    path.write_text(yaml.safe_dump_all([SPEC, PLATFORM]))
    return path


def connected(server: KfpServer, *, timeout_s: float = 10, patience: Patience = QUICK, **options: Any) -> Connection:
    """Return a connection that waits for hundredths of a second where the user's waits for seconds."""
    return connect(Target(server.uri, timeout_s=timeout_s, **options), patience)


@dataclass
class Told:
    """A narrator that remembers."""

    lines: list[str] = field(default_factory=list)

    def started(self, step: str) -> None:
        self.lines.append(f"started {step}")

    def finished(self, step: str, summary: str, seconds: float | None) -> None:
        self.lines.append(f"finished {step} {'reused' if seconds is None else f'{seconds:g} s'}{summary}")

    def failed(self, step: str, reason: str) -> None:
        self.lines.append(f"failed {step}: {reason}")

    def skipped(self, step: str) -> None:
        self.lines.append(f"skipped {step}")

    def waiting(self, reason: str) -> None:
        self.lines.append(f"waiting: {reason}")
