"""Loads a Keras file whose layers come from modules that nobody has imported yet."""

from __future__ import annotations

import re
import zipfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from parak8s.errors import InputError

if TYPE_CHECKING:
    import keras


def load(file: Path) -> keras.Model:
    """Return the model in ``file`` (``.keras``), without its optimizer.

    Raises:
        InputError: It has layers of a module that is not installed.
    """
    import keras

    import_layers(file)
    return keras.saving.load_model(file, compile=False)


def import_layers(file: Path) -> None:
    """Import the modules whose registered layers the Keras model in ``file`` is made of; Keras itself does not.

    Raises:
        InputError: One of them is not installed.
    """
    with zipfile.ZipFile(file) as archive:
        modules = set(re.findall(r'"module": "([\w.]+)"', archive.read("config.json").decode()))
    for module in sorted(name for name in modules if name.split(".")[0] not in ("keras", "builtins")):
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            raise InputError(
                f"{file} has layers of {module}: no module {error.name!r}; put its folder on PYTHONPATH"
            ) from error
