"""Runs one component function in a process of its own: ``component_alone.py NAME ARGUMENTS``; says what it loaded."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from kfp import dsl

KINDS = {
    "system.Artifact": dsl.Artifact,
    "system.Dataset": dsl.Dataset,
    "system.HTML": dsl.HTML,
    "system.Markdown": dsl.Markdown,
    "system.Metrics": dsl.Metrics,
    "system.Model": dsl.Model,
}


def main(name: str, arguments: dict[str, Any]) -> None:
    """Call the component with paths as artifacts, and its outputs in the working directory."""
    module = import_module(f"parak8s.components.{name}")
    assert module.__file__
    (spec,) = yaml.safe_load(Path(module.__file__).with_name("component.yaml").read_text())["components"].values()
    inputs = spec["inputDefinitions"].get("artifacts", {})
    outputs = spec.get("outputDefinitions", {}).get("artifacts", {})
    for port in inputs.keys() & arguments.keys():
        given = arguments[port]
        many = [dsl.Model(uri=uri, metadata={"overrides": ""}) for uri in given] if isinstance(given, list) else None
        arguments[port] = many or dsl.Artifact(uri=given)
    if "status" in arguments:
        arguments["status"] = dsl.PipelineTaskFinalStatus(arguments["status"]["state"], "job", "task", None, None)
    if "task_config" in arguments:
        arguments["task_config"] = dsl.TaskConfig(**arguments["task_config"])
    for port, about in outputs.items():
        arguments[port] = KINDS[about["artifactType"]["schemaTitle"]](uri=str(Path(port).absolute()), metadata={})
    getattr(module, name).python_func(**arguments)
    loaded = {"tensorflow", "keras", "mlflow"} & set(sys.modules)
    print(f"loaded {sorted(loaded)}" if loaded else "no tensorflow")


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
