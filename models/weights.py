"""Which file weights come from: its digest, and that it is the pinned one."""

from pathlib import Path

from parak8s import files
from parak8s.errors import InputError

REGISTERED = "models:/"
"""How weights of a registered model begin."""


def digest_of(file: Path) -> str:
    """Return ``sha256:...`` of a file with weights.

    Raises:
        InputError: There is no such file.
    """
    if not file.is_file():
        raise InputError(f"model.params.weights: no file {file}")
    return f"sha256:{files.sha256_of(file)}"


def check_pinned(found: str, pinned: str | None, name: object) -> None:
    """Refuse any weights but the pinned ones; None pins nothing.

    Raises:
        InputError: ``found`` is not ``pinned``.
    """
    if pinned is not None and found != pinned:
        raise InputError(
            f"{name}: not the weights that model.params.weights_digest pins: expected {pinned}, got {found}; "
            "bring that file back, or write the new digest into the experiment file"
        )
