"""Experiments of Katib as others write them: any command, a Job or a TFJob."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PARABOLA = """
x = float('${trialParameters.x}')
for epoch in range(1, 4):
    print(f'y={1 - x * x + epoch / 10}', flush=True)
"""


def job(command: Sequence[str], **spec: Any) -> dict[str, Any]:
    """Return a Job that runs one container with Python."""
    container = {"name": "main", "image": "python:3.11", "command": list(command)}
    pod = {"containers": [container], "restartPolicy": "Never"}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": pod}, **spec}}


def python(code: str, **spec: Any) -> dict[str, Any]:
    """Return a Job that runs Python code; the trial's value is ``${trialParameters.x}``."""
    return job(["python3", "-c", code], **spec)


def experiment(
    trial: Mapping[str, Any] | None = None,
    *,
    algorithm: str = "random",
    settings: Mapping[str, str] | None = None,
    references: Mapping[str, str] | None = None,
    objective: Mapping[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """Return an Experiment named ``q`` that maximizes ``y`` over x in [-1, 1]; ``spec`` replaces what stands there."""
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "q"},
        "spec": {
            "objective": {"type": "maximize", "objectiveMetricName": "y", **(objective or {})},
            "algorithm": {
                "algorithmName": algorithm,
                "algorithmSettings": [{"name": name, "value": value} for name, value in (settings or {}).items()],
            },
            "parallelTrialCount": 2,
            "maxTrialCount": 4,
            "parameters": [
                {"name": "x", "parameterType": "double", "feasibleSpace": {"min": "-1", "max": "1", "step": "0.25"}}
            ],
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [
                    {"name": name, "reference": reference}
                    for name, reference in {"x": "x", **(references or {})}.items()
                ],
                "trialSpec": trial or python(PARABOLA),
            },
            **spec,
        },
    }


def holding(done: Mapping[str, Any]) -> dict[str, str]:
    """Return type -> reason of the conditions that hold."""
    return {each["type"]: each["reason"] for each in done["status"]["conditions"] if each["status"] == "True"}


def events(directory: Path, kind: str) -> list[dict[str, Any]]:
    """Return the events of the journal, in the order of the trials."""
    lines = map(json.loads, (directory / ".state" / "trials.jsonl").read_text().splitlines())
    return sorted((line for line in lines if line["event"] == kind), key=lambda line: line["number"])
