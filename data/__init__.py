"""Loaders: from a source to verified raw files, to a prepared dataset directory, to batches."""

from collections.abc import Mapping
from typing import Any

from parak8s import plugins
from parak8s.data.loader import FunctionLoader, Loader

LOADERS = {"ecg": "parak8s.data.ecg:ECGLoader", "xray": "parak8s.data.xray:XRayLoader"}
"""Registered loaders, imported when they are asked for."""


def loader_type(name: str) -> type[Loader]:
    """Return the loader called ``name``: a registered one, or a class or function of the user's own.

    Raises:
        InputError: No such loader.
    """
    found = plugins.resolve(name, LOADERS, "loader")
    return found if isinstance(found, type) and issubclass(found, Loader) else FunctionLoader.around(found)


def loader(name: str, options: Mapping[str, Any]) -> Loader:
    """Return the loader called ``name`` with its settings.

    Raises:
        InputError: No such loader, or no such setting.
    """
    return plugins.with_settings(loader_type(name), options, f"loader {name}")
