"""Ships modules of the user's own inside a pipeline: packed once, unpacked by its first task."""

import base64
import gzip
import importlib.util
import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kfp import dsl

from parak8s import provenance
from parak8s.components.image import IMAGE
from parak8s.errors import InputError
from parak8s.experiment import Experiment
from parak8s.own_files import own_files

LIMIT = 90_000
"""Bytes of the packed modules. Linux takes no argument above 128 KiB, and KFP hands a whole component to its driver as
one; base64 makes four bytes of three."""

SOURCE = '''"""Written for one pipeline: brings the user's modules along."""

from kfp.dsl import Artifact, Output


def own_code(code: Output[Artifact]):
    """Unpack the modules that the pipeline brings along.

    Returns:
        code: Folder with them, for the argument code of the other components.
    """
    import base64
    import io
    import tarfile

    packed = "{packed}"
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(packed))) as archive:
        archive.extractall(code.path, filter="data")
'''


def component_for(experiment: Experiment, folder: Path) -> Callable[[], Any] | None:
    """Return the component that carries the modules which the experiment names; None where it names none.

    The same files give the same component, byte for byte, so that KFP's cache knows it.

    Args:
        experiment: With ``package.module:function`` as loader or builder.
        folder: Empty folder for the component's source, which KFP reads.

    Raises:
        InputError: The files are too large when packed, or one of them is a link.
    """
    modules = provenance.own_modules(experiment)
    if not modules:
        return None
    packed = _archive(own_files(modules))
    if len(packed) > LIMIT:
        raise InputError(
            f"the modules {', '.join(modules)} have {len(packed):,} bytes when packed, above the {LIMIT:,} that travel "
            "inside a pipeline; build an image with them and name it in compute.image, or move data files out of the "
            "package"
        )
    source = folder / "own_code_of_a_pipeline.py"
    source.write_text(SOURCE.format(packed=base64.b64encode(packed).decode()), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(source.stem, source)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    component: Callable[[], Any] = dsl.component(module.own_code, base_image=IMAGE, install_kfp_package=False)
    return component


def _archive(files: Mapping[str, Path]) -> bytes:
    """Return the files as a tar.gz that tells neither when nor by whom it was made."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, path in files.items():
            if path.is_symlink():
                raise InputError(
                    f"{path}: a link, and what it leads to may not be meant for a pipeline; put a file here"
                )
            content = path.read_bytes()
            about = tarfile.TarInfo(name)
            about.size, about.mode = len(content), 0o644
            archive.addfile(about, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)
