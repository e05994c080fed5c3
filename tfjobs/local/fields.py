"""Reads the fields of an object as Kubernetes would: what is not understood is refused, with its path and the fix."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from parak8s.errors import InputError, nearest
from parak8s.experiment.mistakes import shown


@dataclass(frozen=True)
class Fields:
    """A mapping somewhere in an object.

    Args:
        values: The mapping.
        path: Where it stands, such as ``spec.runPolicy``; empty for the whole object.
    """

    values: Mapping[str, Any]
    path: str = ""

    def where(self, key: str) -> str:
        """Return the path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def wrong(self, key: str, rule: str) -> InputError:
        """Return the error that says what was expected at ``key`` and what stands there."""
        return InputError(f"{self.where(key)}: {rule}, got {shown(self.values.get(key))}")

    def missing(self, key: str, fix: str) -> InputError:
        """Return the error that says what to write at ``key``."""
        return InputError(f"{self.where(key)}: missing; {fix}")

    def only(self, known: Collection[str]) -> None:
        """Refuse keys that Kubernetes does not know either."""
        for key in self.values:
            if key not in known:
                raise InputError(f"{self.where(str(key))}: no such field; {nearest(str(key), known)}")

    def text(self, key: str, default: str = "") -> str:
        """Return text; null is the same as nothing."""
        value = self._or(key, default)
        if not isinstance(value, str) or "\0" in value:
            raise self.wrong(key, "expected text, in quotes and without a zero byte")
        return value

    def choice(self, key: str, allowed: Collection[str], default: str) -> str:
        """Return one of a few words."""
        value = self._or(key, default)
        if value not in allowed:
            *first, last = (word or "''" for word in allowed)
            raise self.wrong(key, f"expected {', '.join(first)} or {last}")
        return str(value)

    def whole(self, key: str, least: int, default: int | None = None) -> int | None:
        """Return a whole number of at least ``least``."""
        value = self._or(key, default)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            raise self.wrong(key, f"expected a whole number of at least {least}")
        return value

    def flag(self, key: str) -> bool:
        """Return true or false; nothing is false."""
        value = self._or(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, "expected true or false")
        return value

    def inner(self, key: str) -> Fields:
        """Return the mapping at ``key``, which may be empty."""
        value = self._or(key, {})
        if not isinstance(value, Mapping):
            raise self.wrong(key, "expected a mapping (key: value)")
        return Fields(value, self.where(key))

    def each(self, key: str) -> list[Fields]:
        """Return the mappings in the list at ``key``."""
        found = [Fields(value, f"{self.where(key)}[{place}]") for place, value in enumerate(self._list(key))]
        for item in found:
            if not isinstance(item.values, Mapping):
                raise InputError(f"{item.path}: expected a mapping (key: value), got {shown(item.values)}")
        return found

    def words(self, key: str) -> tuple[str, ...]:
        """Return the texts in the list at ``key``."""
        found = self._list(key)
        for place, value in enumerate(found):
            if not isinstance(value, str) or "\0" in value:
                rule = "expected text, in quotes and without a zero byte"
                raise InputError(f"{self.where(key)}[{place}]: {rule}, got {shown(value)}")
        return tuple(found)

    def _list(self, key: str) -> list[Any]:
        value = self._or(key, [])
        if not isinstance(value, list | tuple):
            raise self.wrong(key, "expected a list")
        return list(value)

    def _or(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        return default if value is None else value
