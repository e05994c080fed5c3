"""Folders of images: ``class/file``, or ``train/class/file``, ``val/class/file`` and ``test/class/file``."""

from pathlib import Path

from parak8s.data.sources import Source, reading
from parak8s.data.xray.listing import PARTS, Listing
from parak8s.errors import InputError


def read(source: Source) -> Listing:
    """List the images of a folder.

    Each folder below the root is a class, whatever lies in it, at any depth, an image of it. Where the folders below
    the root are called train, val (or validation) and test, the classes lie in these: the layout of Kermany et al.
    (2018). Files that lie beside the folders, such as a licence, do not count.

    Raises:
        InputError: There is no such folder, one without images, or a class that another part does not have.
        EnvironmentFault: A folder may not be read.
    """
    root = source.root
    assert root is not None
    folders = subfolders(root)
    parts = {folder: PARTS.get(folder.name.casefold(), "") for folder in folders}
    if any(parts.values()) and not all(parts.values()):
        other = next(folder for folder, part in parts.items() if not part)
        raise InputError(f"{other}: stands beside train, val or test; expected only these in {root}, or only classes")
    if not any(parts.values()):
        return _listing(source, dict.fromkeys(_classes(root, folders)))
    return _listing(source, {each: part for top, part in parts.items() for each in _classes(top, subfolders(top))})


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in ``folder``, hidden ones left out, sorted by name."""
    with reading(folder):
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _classes(above: Path, folders: list[Path]) -> list[Path]:
    """Return ``folders``, which are classes."""
    if not folders:
        raise InputError(f"{above}: no folders; expected one for each class, such as NORMAL and PNEUMONIA")
    if len(folders) == 1 and (inner := subfolders(folders[0])):
        names = ", ".join(folder.name for folder in inner[:3])
        raise InputError(f"{above}: holds only the folder {folders[0].name}; name that one, which holds {names}")
    return folders


def _listing(source: Source, classes: dict[Path, str | None]) -> Listing:
    """List the files of the folders ``classes``, given with the part to which each belongs."""
    files, labels, parts = [], [], []
    for folder, part in classes.items():
        inside = [file for file in source.files if file.is_relative_to(folder)]
        if not inside:
            raise InputError(f"{folder}: a class without images; put some in, or remove the folder")
        files += inside
        labels += [folder.name] * len(inside)
        parts += [part or ""] * len(inside)
    return Listing(
        images=files,
        names=[source.name(file) for file in files],
        labels=labels,
        classes=tuple(sorted(set(labels))),
        parts=parts if any(parts) else None,
    )
