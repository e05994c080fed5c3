"""What kinds of objects of Kubeflow there are, and who runs them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of object that an operator brings.

    Args:
        name: Such as ``TFJob``.
        version: Group and version.
        plural: As addresses have it; kubectl takes it in the singular.
        operator: Who runs such objects.
        instead: What to do where nobody does; reads on after ``or``.
    """

    name: str
    version: str
    plural: str
    operator: str
    instead: str

    @property
    def address(self) -> tuple[str, str]:
        """Group, version."""
        group, _, version = self.version.partition("/")
        return group, version

    @property
    def one(self) -> str:
        """One of them, with its article."""
        return f"{'an' if self.name[0] in 'AEIOU' else 'a'} {self.name}"

    @property
    def missing(self) -> str:
        """What it means that a cluster does not know the kind; reads on after its address."""
        return f"does not know {self.name}s (404): install {self.operator} there, or {self.instead}"

    def command(self, verb: str, name: str, namespace: str) -> str:
        """Return a command of kubectl."""
        return f"kubectl {verb} {self.name.lower()} {name} -n {namespace}"
