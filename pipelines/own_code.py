"""Ships modules of the user's own inside a pipeline: packed once, unpacked by its first tasks."""

import base64
import gzip
import hashlib
import importlib.util
import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kfp import dsl

from parak8s import provenance
from parak8s.errors import InputError
from parak8s.experiment import Experiment
from parak8s.image import IMAGE
from parak8s.own_files import own_files

LIMIT = 1_000_000
"""Bytes of the packed modules. The whole pipeline becomes one Kubernetes object, which may have 1.5 MB."""
PIECE = 90_000
"""Bytes that one task carries. Linux takes no argument above 128 KiB, and KFP hands a whole component to its driver as
one; base64 makes four bytes of three."""

SOURCE = '''"""Written for one pipeline: brings the user's modules along."""

from kfp.dsl import Artifact, Input, Output


def own_code({parameters}):
    """Bring modules along, and unpack them once the last piece is there.

    Returns:
        code: Folder with them, for the argument code of the other components; until then what is there, packed.
    """
    import base64
    import io
    import tarfile
    from pathlib import Path

    packed = {before}base64.b64decode("{piece}")
    {keep}
'''
UNPACK = 'tarfile.open(fileobj=io.BytesIO(packed)).extractall(code.path, filter="data")'


def carriers_of(experiment: Experiment, folder: Path) -> list[Callable[..., Any]]:
    """Return the components that carry the modules which the experiment names, one after the other.

    All but the first take the output ``code`` of the one before as ``before``. The same files give the same
    components, byte for byte, so that KFP's cache knows them.

    Args:
        experiment: With ``package.module:function`` as loader or builder.
        folder: Empty folder for the components' source, which KFP reads.

    Raises:
        InputError: The files are too large when packed, or one of them is a link.
    """
    modules = provenance.own_modules(experiment)
    if not modules:
        return []
    packed = _archive(own_files(modules))
    if len(packed) > LIMIT:
        raise InputError(
            f"the modules {', '.join(modules)} have {len(packed):,} bytes when packed, above the {LIMIT:,} that travel "
            "inside a pipeline; build an image with them and name it in compute.image, or move data files out of the "
            "package"
        )
    starts = range(0, len(packed), PIECE)
    return [
        _carrier(folder, packed[at : at + PIECE], is_first=at == starts[0], is_last=at == starts[-1]) for at in starts
    ]


def _carrier(folder: Path, piece: bytes, *, is_first: bool, is_last: bool) -> Callable[..., Any]:
    """Return the component that adds one piece to those before it."""
    text = SOURCE.format(
        parameters="code: Output[Artifact]" if is_first else "before: Input[Artifact], code: Output[Artifact]",
        before="" if is_first else "Path(before.path).read_bytes() + ",
        piece=base64.b64encode(piece).decode(),
        keep=UNPACK if is_last else "Path(code.path).write_bytes(packed)",
    )
    source = folder / f"own_code_{hashlib.sha256(text.encode()).hexdigest()}.py"
    source.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(source.stem, source)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    component: Callable[..., Any] = dsl.component(module.own_code, base_image=IMAGE, install_kfp_package=False)
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
