"""Who an image is from, as its file name says."""

import re
from collections.abc import Sequence
from pathlib import PurePath

PATTERN = r"person\d+|IM-\d+"
"""The names of Kermany et al. (2018): ``person123_bacteria_45.jpeg``, ``IM-0115-0001.jpeg``,
``NORMAL2-IM-0428-0001.jpeg``."""


def from_names(names: Sequence[str], pattern: str) -> list[str] | None:
    """Return for each file what ``pattern`` finds in its name, empty where it finds nothing; None if it never does.

    A pattern with groups says only what is in these.
    """
    found = [re.search(pattern, PurePath(name).name) for name in names]
    if not any(found):
        return None
    return ["" if match is None else "_".join(filter(None, match.groups())) or match[0] for match in found]
