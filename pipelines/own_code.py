"""Ships modules of the user's own inside a pipeline: packed once, unpacked by its first task."""

import contextlib
import functools
import gzip
import importlib.util
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kfp import dsl
from kfp.dsl import Artifact, Output

from parak8s import provenance
from parak8s.components.image import IMAGE
from parak8s.errors import InputError
from parak8s.experiment import Experiment

LIMIT = 1_000_000
"""Bytes of the packed modules. The whole pipeline becomes one Kubernetes object, which may have 1.5 MB."""


def own_code(embedded: dsl.EmbeddedInput[Artifact], code: Output[Artifact]):
    """Unpack the modules that the pipeline brings along.

    Args:
        embedded: Folder inside the component.

    Returns:
        code: The same folder, for the argument ``code`` of the other components.
    """
    import shutil

    shutil.copytree(embedded.path, code.path)


def packed(experiment: Experiment, folder: Path) -> Callable[[], Any] | None:
    """Return the component that carries the modules which the experiment names; None where it names none.

    The same modules give the same component, byte for byte, so that KFP's cache knows it.

    Args:
        experiment: With ``package.module:function`` as loader or builder.
        folder: Empty folder to collect them in.

    Raises:
        InputError: They are larger than 1 MB when packed.
    """
    modules = provenance.own_modules(experiment)
    if not modules:
        return None
    for package in sorted({module.partition(".")[0] for module in modules}):
        _collect(package, folder)
    size = len(_archive(folder))
    if size > LIMIT:
        raise InputError(
            f"the modules {', '.join(modules)} have {size:,} bytes when packed, above the {LIMIT:,} that travel inside "
            "a pipeline; build an image with them and name it in compute.image, or move data files out of the package"
        )
    with _same_bytes_every_time():
        decorate = dsl.component(base_image=IMAGE, install_kfp_package=False, embedded_artifact_path=str(folder))
        component: Callable[[], Any] = decorate(own_code)
        return component


def _collect(package: str, folder: Path) -> None:
    """Copy the package or single module into ``folder``, without what Python and tools leave behind."""
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    skipped = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "*.egg-info")
    if places:
        shutil.copytree(places[0], folder / package, ignore=skipped, dirs_exist_ok=True)
    elif spec and spec.origin:
        shutil.copy(spec.origin, folder / Path(spec.origin).name)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (0, 0))
    os.utime(folder, (0, 0))


def _archive(folder: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(folder, arcname=".")
    return gzip.compress(packed.getvalue(), mtime=0)


@contextlib.contextmanager
def _same_bytes_every_time() -> Iterator[None]:
    """Keep the time of day out of the archive that KFP packs: it would make another component each time."""
    timed, gzip.compress = gzip.compress, functools.partial(gzip.compress, mtime=0)
    try:
        yield
    finally:
        gzip.compress = timed
