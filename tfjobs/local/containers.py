"""What a container would run, as a process of this machine: command, variables, folder.

Source: kubernetes.io/docs, "Define Dependent Environment Variables"; third_party/forked/golang/expansion of
kubernetes/kubernetes.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from parak8s.errors import InputError
from parak8s.tfjobs.local.fields import Fields
from parak8s.tfjobs.local.reading import Job, Replicas

BIN = Path(sys.executable).parent
"""Where ``python`` and ``parak8s`` are looked for first."""

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
_SOURCES = ("secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef")


@dataclass(frozen=True)
class Launch:
    """A process to start.

    Args:
        arguments: The program and its arguments.
        environment: All variables.
        directory: Where it starts.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` as Kubernetes does; ``$$`` is a dollar, and a name that is not known stays as it is."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] is None else variables.get(found[1], found[0])

    return _REFERENCE.sub(value, text)


def launch(job: Job, kind: str, index: int, tf_config: str | None, around: Mapping[str, str]) -> Launch:
    """Return what a replica runs.

    Args:
        job: The TFJob.
        kind: Type of the replica.
        index: Of the replica in its type.
        tf_config: Value of TF_CONFIG; None for none.
        around: Variables of this machine. Replicas get them too, and secrets are looked up here.

    Raises:
        InputError: There is no command, or this machine lacks the program, the folder or a secret.
    """
    replicas = job.replicas[kind]
    variables = _variables(replicas.container, _pod(job, replicas, index), around)
    if tf_config is not None:
        variables["TF_CONFIG"] = tf_config
    inherited = {name: value for name, value in around.items() if name != "TF_CONFIG"}
    environment = {"PYTHONUNBUFFERED": "1", **inherited, **variables}
    environment["PATH"] = os.pathsep.join([str(BIN), environment.get("PATH", os.defpath)])
    directory = _directory(replicas.container, variables)
    arguments = _arguments(replicas.container, variables)
    _refuse_unknown_program(replicas.container, arguments[0], environment["PATH"], directory)
    return Launch(arguments, environment, directory)


def _arguments(container: Fields, variables: Mapping[str, str]) -> tuple[str, ...]:
    command = container.words("command")
    if not command:
        fix = "a laptop does not know what the image would start; write the command"
        raise container.missing("command", fix)
    return tuple(expanded(word, variables) for word in (*command, *container.words("args")))


def _directory(container: Fields, variables: Mapping[str, str]) -> Path:
    directory = Path(expanded(container.text("workingDir"), variables) or ".").absolute()
    if not directory.is_dir():
        raise container.wrong("workingDir", "no such folder on this machine; leave it out or make it")
    return directory


def _refuse_unknown_program(container: Fields, program: str, path: str, directory: Path) -> None:
    if "/" in program:
        found = os.access(directory / program, os.X_OK) and not (directory / program).is_dir()
    else:
        found = shutil.which(program, path=path) is not None
    if not found:
        fix = "this machine has no such program; install it, or write one that it has"
        raise InputError(f"{container.where('command')}[0]: {fix}, got {program!r}")


def _variables(container: Fields, pod: Mapping[str, str], around: Mapping[str, str]) -> dict[str, str]:
    """Return the container's own variables; a value may refer to those before it."""
    for source in container.each("envFrom"):
        if not any(inner.get("optional") for inner in source.values.values() if isinstance(inner, Mapping)):
            fix = "name each variable under env, with secretKeyRef or configMapKeyRef"
            raise InputError(f"{source.path}: a laptop does not see what the cluster keeps; {fix}")
    found: dict[str, str] = {}
    for entry in container.each("env"):
        name = entry.text("name")
        if not name or "=" in name:
            raise entry.wrong("name", "expected a variable's name")
        source = entry.inner("valueFrom")
        value = _looked_up(source, name, pod, around) if source.values else expanded(entry.text("value"), found)
        if value is not None:
            found[name] = value
    return found


def _looked_up(source: Fields, name: str, pod: Mapping[str, str], around: Mapping[str, str]) -> str | None:
    """Return what the cluster would look up: facts of the pod, or this machine's variable of the same name."""
    source.only(_SOURCES)
    field = source.inner("fieldRef").values.get("fieldPath")
    if field in pod:
        return pod[str(field)]
    if name in around:
        return around[name]
    kind = next(iter(source.values))
    if source.inner(kind).values.get("optional") is True:
        return None
    fix = f"set the variable {name} here before the job starts: export {name}=..."
    raise InputError(f"{source.where(kind)}: a laptop does not see what the cluster keeps; {fix}")


def _pod(job: Job, replicas: Replicas, index: int) -> dict[str, str]:
    """Return what ``fieldRef`` can ask of a pod -> the answer."""
    labels = {
        **replicas.labels,
        "training.kubeflow.org/job-name": job.name,
        "training.kubeflow.org/operator-name": "tfjob-controller",
        "training.kubeflow.org/replica-type": replicas.type.lower(),
        "training.kubeflow.org/replica-index": str(index),
    }
    return {
        "metadata.name": f"{job.name}-{replicas.names[index]}",
        "metadata.namespace": job.namespace,
        "spec.nodeName": platform.node(),
        "status.podIP": "127.0.0.1",
        "status.hostIP": "127.0.0.1",
        **{f"metadata.labels['{key}']": str(value) for key, value in labels.items()},
    }
