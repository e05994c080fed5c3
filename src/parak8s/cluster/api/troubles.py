"""What hinders something, in plain words, and what of it was told already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from parak8s.cluster.faults import SHOWN
from parak8s.secrets import redacted


@dataclass(frozen=True)
class Trouble:
    """Why something does not go on.

    Args:
        about: Name of the replica or the trial, or ``the job``.
        kind: One word; a trouble of one kind is told once.
        words: What the cluster says, and what to change; reads on after a name and a colon.
    """

    about: str
    kind: str
    words: str

    def __str__(self) -> str:
        return f"{self.about}: {self.words}"


@dataclass
class News:
    """What was told already."""

    told: set[tuple[object, ...]] = field(default_factory=set)

    def is_new(self, *key: object) -> bool:
        """Return whether this was not asked before."""
        before = len(self.told)
        self.told.add(key)
        return len(self.told) > before

    def sentences(self, troubles: Sequence[Trouble]) -> Iterator[str]:
        """Yield every trouble once, and those that several share together."""
        news: dict[str, list[str]] = {}
        for trouble in troubles:
            if self.is_new(trouble.about, trouble.kind):
                news.setdefault(trouble.words, []).append(trouble.about)
        for words, names in news.items():
            yield f"{', '.join(names)}: {words}"


def said(text: str) -> str:
    """Return a server's words on one line, without secrets, and without their end where they are long."""
    line = redacted(" ".join(text.split()))
    return line if len(line) <= SHOWN else f"{line[:SHOWN]} …"
