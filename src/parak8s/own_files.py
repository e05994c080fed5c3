"""The user's own code: the files that a fingerprint depends on and that a pipeline takes along."""

import ast
import fnmatch
import importlib.util
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

SKIPPED = ("__pycache__", "*.pyc", ".*", "*.egg-info")
"""What Python and tools leave behind."""


def own_files(modules: Iterable[str]) -> dict[str, Path]:
    """Return every file of the packages and modules around ``modules``, and of those beside them that they import.

    The keys are paths below the folder on ``sys.path``, in order. What is installed in an environment brings its own
    files alone: what lies beside it there is installed too.
    """
    waiting, places, found = [module.partition(".")[0] for module in modules], dict[str, Path](), dict[str, Path]()
    while waiting:
        name = waiting.pop()
        place = None if name in places else _place(name)
        if place is None:
            continue
        places[name] = place
        own = list(_files(place))
        found |= {path.relative_to(place.parent).as_posix(): path for path in own}
        waiting += [each for path in own if path.suffix == ".py" for each in _imported(path) if _is_beside(each, place)]
    return dict(sorted(found.items()))


def _place(name: str) -> Path | None:
    """Return the folder of a package or the file of a module; None for what is neither."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return None
    if spec.submodule_search_locations is not None:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.has_location and spec.origin else None


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    for folder, inner, names in os.walk(place):
        inner[:] = [name for name in inner if not _is_skipped(name)]
        yield from (Path(folder, name) for name in names if not _is_skipped(name))


def _is_skipped(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in SKIPPED)


def _imported(path: Path) -> Iterator[str]:
    """Yield the first name of every absolute import; none of a file that is not Python."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]


def _is_beside(name: str, place: Path) -> bool:
    folder = place.parent
    if {"site-packages", "dist-packages"} & set(folder.parts):
        return False
    return (folder / f"{name}.py").is_file() or any((folder / name).glob("*.py"))
