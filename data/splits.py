"""Shares examples out to splits by hash: the same example, or patient, lands in the same split for ever."""

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parak8s.data.examples import Examples
from parak8s.errors import InputError
from parak8s.experiment import Split

NAMES = ("train", "validation", "calibration", "test")


def assign(examples: Examples, split: Split) -> dict[str, NDArray[np.intp]]:
    """Return the rows of each split, in the order of the source.

    Rows that the source sets aside as its test set are the test split, whole and alone; the fractions of the other
    three are then scaled to share the rest.

    Raises:
        InputError: A split that is asked for comes out empty, a class is missing from train, ``by: patient`` without
            known patients, or the same example (or patient, or nearly the same example) stands in two splits.
    """
    keys = _keys(examples, split.by)
    fractions = split.fractions()
    given = examples.test if examples.test is not None else np.zeros(len(examples), bool)
    if given.any():
        fractions = {name: share for name, share in fractions.items() if name != "test"}
    bounds = np.cumsum([*fractions.values()])
    drawn = np.searchsorted(bounds / bounds[-1], _uniform(keys), side="right")
    rows = {name: np.flatnonzero((drawn == index) & ~given) for index, name in enumerate(fractions)}
    if given.any():
        rows["test"] = np.flatnonzero(given)
    _refuse_empty(rows, split, examples)
    fix = ", or write data.options.near_duplicates: drop" if examples.alike is not None else ""
    if split.by == "hash":
        _refuse_leakage(rows, keys, examples.names, lambda _: "the same example", fix)
    else:
        _refuse_leakage(rows, keys, examples.names, lambda key: f"patient {key.decode(errors='surrogateescape')}", "")
    if examples.alike is not None:
        _refuse_leakage(rows, examples.alike.tolist(), examples.names, lambda _: "nearly the same example", fix)
    return rows


def _keys(examples: Examples, by: str) -> list[bytes]:
    """Return what decides the split of each row: its content, or its patient."""
    if by == "hash":
        return [
            hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in np.ascontiguousarray(examples.inputs)
        ]
    if examples.patients is None:
        raise InputError("data.split.by: patient, but this source does not say who is who; write by: hash")
    # A patient may be named by a file, whose name need not be UTF-8.
    return [str(patient).encode("utf-8", "surrogateescape") for patient in examples.patients]


def _uniform(keys: list[bytes]) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each key, the same on every machine."""
    hashes = b"".join(hashlib.blake2b(key, digest_size=8, person=b"parak8s split").digest() for key in keys)
    return np.frombuffer(hashes, ">u8") / 2.0**64


def _refuse_empty(rows: Mapping[str, NDArray[np.intp]], split: Split, examples: Examples) -> None:
    for name in rows:
        if not len(rows[name]) and (split.fractions()[name] or name == "test"):
            count = f"{len(examples)} examples"
            if split.by == "patient" and examples.patients is not None:
                count += f" of {len(np.unique(examples.patients))} patients"
            fix = f"raise data.split.{name}, or give more data"
            if not split.fractions()[name]:
                fix = "raise data.split.test, which is 0, or give a source that brings a test set"
            raise InputError(f"the {name} split is empty ({count}); {fix}")
    absent = set(range(len(examples.classes))) - set(examples.labels[rows["train"]].tolist())
    if absent:
        names = ", ".join(examples.classes[index] for index in sorted(absent))
        raise InputError(f"no example of class {names} in the train split: a model cannot learn it; give more data")


def _refuse_leakage(
    rows: Mapping[str, NDArray[np.intp]],
    keys: Sequence[Hashable],
    names: Sequence[str] | None,
    what: Callable[[Any], str],
    fix: str,
) -> None:
    """Refuse what stands in two splits: rows with the same key, which ``what`` puts into words."""
    seen: dict[Hashable, tuple[str, int]] = {}
    twice: list[tuple[str, int, str, int]] = []
    for name, indices in rows.items():
        for row in indices.tolist():
            other, first = seen.setdefault(keys[row], (name, row))
            if other != name:
                twice.append((other, first, name, row))
    if not twice:
        return
    other, first, name, row = twice[0]
    places = [names[place] if names is not None else f"row {place}" for place in (first, row)]
    more = f", and {len(twice) - 1:,} more" if len(twice) > 1 else ""
    raise InputError(
        f"{what(keys[row])} is in {other} ({places[0]}) and in {name} ({places[1]}){more}: the test would flatter the "
        f"model; remove one of them from the source{fix}"
    )
