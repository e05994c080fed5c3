"""What somebody wants searched: an experiment file with a section ``search``, or an Experiment that others wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from parak8s import loading, promotion
from parak8s.errors import InputError
from parak8s.experiment import Experiment, documents, space
from parak8s.katib.building import katib_experiment
from parak8s.katib.local.reading import read

PROMOTED = ": the best point of "
"""What the first line of a promoted file says."""
_COUNTS = ("parallelTrialCount", "maxFailedTrialCount")


@dataclass(frozen=True)
class Wanted:
    """A search that is wanted.

    Args:
        file: Where it is written.
        object: The Experiment of Katib.
        point: The experiment; None where the file is an Experiment of Katib.
        overrides: What was put over the experiment file.
    """

    file: Path
    object: Mapping[str, Any]
    point: Experiment | None
    overrides: Mapping[str, Any]

    @classmethod
    def read(
        cls,
        file: Path,
        overrides: Sequence[str],
        *,
        trials: int | None = None,
        name: str | None = None,
        namespace: str | None = None,
        on_cluster: bool = False,
    ) -> Wanted:
        """Read a file of either kind; for a cluster also with what only a cluster needs.

        Raises:
            InputError: It is neither, or breaks a rule.
        """
        foreign = _katib_object(file)
        if foreign is None:
            point = loading.load(file, [*overrides, *_counted(file, overrides, trials)])
            given = dict(space.parse_override(text) for text in overrides)
            return cls(
                file, katib_experiment(point, namespace=namespace, name=name, on_cluster=on_cluster), point, given
            )
        if overrides:
            raise InputError(f"{file} is an Experiment of Katib: -s goes with an experiment file")
        for key in ("metadata", "spec"):
            if not isinstance(foreign.get(key), dict):
                raise InputError(f"{file}: {key} is missing, or no mapping (key: value)")
        metadata = {"name": name, "namespace": namespace}
        foreign["metadata"] |= {key: each for key, each in metadata.items() if each}
        if not isinstance(foreign["metadata"].get("name"), str):
            raise InputError(f"{file}: metadata.name is missing; write one, or give --name")
        if trials is not None:
            given = {key: foreign["spec"].get(key) for key in _COUNTS}
            fewer = {key: min(trials, count) for key, count in given.items() if isinstance(count, int)}
            foreign["spec"] |= {"maxTrialCount": trials, **fewer}
        if not on_cluster:
            read(foreign)
        return cls(file, foreign, None, {})

    @property
    def name(self) -> str:
        """Of the search."""
        return str(self.object["metadata"]["name"])

    def best(self, assignments: Mapping[str, str], comment: str) -> str | None:
        """Return the text of the experiment file with a point of the search in it; None where there is no file of ours.

        Raises:
            InputError: The point does not go into the file.
        """
        if self.point is None:
            return None
        text = self.file.read_text(encoding="utf-8")
        return promotion.promoted(text, {**self.overrides, **promotion.values_of(assignments)}, comment)


def is_promoted(file: Path) -> bool:
    """Return whether a file was written with the best point of a search, and begins with the line that says so."""
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    return first.startswith("# ") and PROMOTED in first


def promoted_name(file: Path) -> Path:
    """Return where the file with the best point goes: ``ecg-best.yaml`` beside ``ecg.yaml``."""
    return file.with_name(f"{file.stem.removesuffix('-best')}-best{file.suffix or '.yaml'}")


def _counted(file: Path, overrides: Sequence[str], trials: int | None) -> list[str]:
    """Return the overrides that set the number of trials; no more of them at a time than there are."""
    if trials is None:
        return []
    values = space.override(documents.read(file).data, [space.parse_override(text) for text in overrides])
    search = values.get("search")
    counts = {key: search.get(key) for key in ("parallel", "max_failed")} if isinstance(search, Mapping) else {}
    fewer = [f"search.{key}={trials}" for key, count in counts.items() if isinstance(count, int) and count > trials]
    return [f"search.trials={trials}", *fewer]


def _katib_object(file: Path) -> dict[str, Any] | None:
    """Return the object in a file that says that it is one of Kubernetes; None for every other file."""
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None  # whoever reads it as an experiment file says what is wrong
    if not isinstance(values, dict) or not {"apiVersion", "kind"} <= values.keys():
        return None
    return dict(json.loads(json.dumps(values, default=str)))  # YAML knows dates, and Kubernetes does not
