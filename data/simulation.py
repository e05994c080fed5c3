"""Reads the settings of simulated sources: ``synthetic://NAME?setting=value&...``."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from parak8s.errors import InputError, nearest


def settings(url: str, name: str, known: Mapping[str, tuple[int, int, int]]) -> dict[str, int]:
    """Return the value of each setting that ``known`` names, with its default, its least and its greatest value.

    Raises:
        InputError: ``url`` names another simulation or setting, a setting twice, or a value out of range.
    """
    got, _, query = url.removeprefix("synthetic://").partition("?")
    if got.strip("/") != name:
        raise InputError(f"{url}: no simulation {got!r}; {nearest(got, [name])}")
    values = {key: default for key, (default, _, _) in known.items()}
    pairs = parse_qsl(query, keep_blank_values=True)
    for key, value in pairs:
        if key not in known:
            raise InputError(f"{url}: no setting {key!r}; {nearest(key, known)}")
        if [each for each, _ in pairs].count(key) > 1:
            raise InputError(f"{url}: {key} given twice; keep one")
        _, low, high = known[key]
        if not (value.isascii() and value.isdigit() and len(value) < 20 and low <= int(value) <= high):
            raise InputError(f"{url}: {key}: expected a whole number from {low} to {high:,}, got {value!r}")
        values[key] = int(value)
    return values
