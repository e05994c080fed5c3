"""Who a point is: the digest of its canonical config, of its data and of the code that computes it."""

import hashlib
import importlib.util
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import parak8s
from parak8s.experiment import Experiment, flatten
from parak8s.own_files import own_files

OUTSIDE = (
    *("name", "gate", "tracking", "registry", "compute", "search", "serving", "schedule"),
    *("data.source", "data.digest", "training.steps_per_call", "training.tensorboard"),
)
"""Paths that do not change the numbers: where it runs, who keeps it, who judges it. The data counts by its digest."""

PACKAGES = (
    *("parak8s", "parak8s.components", "parak8s.data", "parak8s.katib", "parak8s.models", "parak8s.pipelines"),
    "parak8s.tfjobs",
)
"""Packages whose source is the code version; those that a checkout keeps in folders of their own are named."""


def identity(experiment: Experiment) -> dict[str, Any]:
    """Return the flat values that the numbers depend on."""
    flat = flatten(experiment.canonical())
    return {path: value for path, value in flat.items() if not is_outside(path)}


def is_outside(path: str) -> bool:
    """Return whether ``path`` leaves the fingerprint as it is."""
    return any(path == outside or path.startswith(f"{outside}.") for outside in OUTSIDE)


def fingerprint(experiment: Experiment, data_digest: str) -> str:
    """Return 16 hexadecimal digits that name the point: canonical config + data digest + code version."""
    code = code_digest(*own_modules(experiment))
    return digest({"config": identity(experiment), "data": data_digest, "code": code})[:16]


def digest(value: object) -> str:
    """Return the SHA-256 of ``value`` as canonical JSON, in hexadecimal."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def own_modules(experiment: Experiment) -> tuple[str, ...]:
    """Return the user's modules that the experiment names as ``package.module:function``."""
    names = (experiment.data.loader, experiment.model.builder)
    modules = {name.partition(":")[0] for name in names if ":" in name}
    return tuple(sorted(module for module in modules if module.partition(".")[0] != "parak8s"))


@cache
def code_digest(*modules: str) -> str:
    """Return ``sha256:...`` of the source of ParaK8s and of all files of the user's ``modules``; see own_files."""
    found = hashlib.sha256()
    for path, name in [*_sources(), *((path, name) for name, path in own_files(modules).items())]:
        found.update(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n".encode())
    return f"sha256:{found.hexdigest()}"


def _sources() -> list[tuple[Path, str]]:
    """Return every source file of ParaK8s with a name that is the same in a checkout and in an installed wheel."""
    found = [(path, f"{name}/{relative}") for name in PACKAGES for path, relative in _python_files(name)]
    return sorted(found, key=lambda item: item[1])


def _python_files(package: str) -> Iterator[tuple[Path, str]]:
    """Yield the source files of a package, with their paths in it."""
    spec = importlib.util.find_spec(package)
    for place in (spec and spec.submodule_search_locations) or ():
        for folder, inner, names in os.walk(place):
            inner[:] = [name for name in inner if f"{package}.{name}" not in PACKAGES]  # they are walked on their own
            for path in (Path(folder, name) for name in names if name.endswith(".py")):
                yield path, path.relative_to(place).as_posix()


def environment(experiment: Experiment) -> dict[str, Any]:
    """Return what the run stands on: Python, platform, package versions, git commits, code digest, devices."""
    packages = ("parak8s", "tensorflow", "keras", "mlflow", "numpy", "pydantic", "pyarrow", "scikit-learn")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "gpus": _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines(),
        "packages": {name: _version(name) for name in packages},
        "git": git_state(Path(parak8s.__file__).resolve().parent),
        "own_git": {module: git_state(_folder_of(module)) for module in own_modules(experiment)},
        "code": code_digest(*own_modules(experiment)),
    }


def _folder_of(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    return Path(spec.origin).resolve().parent if spec and spec.origin else Path()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return parak8s.__version__ if name == "parak8s" else None


def git_state(folder: Path) -> Mapping[str, str | bool | None]:
    """Return the commit of the checkout that ``folder`` belongs to, and whether it has uncommitted changes.

    Both are None outside a checkout, and in a folder that one ignores, such as the site-packages of a .venv in it.
    """
    git = ("git", "-C", str(folder))
    if not _output(*git, "ls-files", "--", "."):
        return {"commit": None, "dirty": None}
    commit = _output(*git, "rev-parse", "HEAD")
    status = _output(*git, "status", "--porcelain")
    return {"commit": commit or None, "dirty": bool(status) if commit else None}


def _output(*command: str) -> str:
    """Return what a program prints; nothing where it fails or is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
