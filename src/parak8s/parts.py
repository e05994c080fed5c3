"""The part of an experiment that one step needs: its text is the key under which a pipeline caches the step."""

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

from parak8s import provenance
from parak8s.chain import STEPS
from parak8s.experiment import Experiment, documents
from parak8s.steps.pretrained import registered

CACHED = ("ingest", "train", "calibrate", "evaluate")
"""Steps whose output depends on their inputs alone. The others look at the registry, or write to it."""


def parts(experiment: Experiment, digest: str) -> dict[str, str]:
    """Return the part of each cached step as the text of an experiment file, complete in itself.

    Two experiments give a step the same text exactly when nothing differs that it, or a step before it, reads: values
    of the file, the data's ``digest``, the code. What it does not read is left out, so it takes its default.
    """
    code = provenance.code_digest(*provenance.own_modules(experiment))
    values = experiment.canonical()
    texts = {}
    for count, step in enumerate(STEPS, start=1):
        if step.name in CACHED:
            read = [path for earlier in STEPS[: count - 1] for path in _inside(values, earlier.reads)]
            kept = _kept(values, [*read, *step.reads]) | {"name": step.name}
            kept["data"] |= {"digest": digest, "source": experiment.data.source if step.name == "ingest" else digest}
            if step.name != "ingest" and registered(experiment.model):  # it is fetched from there
                kept["tracking"] = values["tracking"]
            texts[step.name] = f"# code {code}\n{documents.dump(_valid(kept, experiment))}"
    return texts


def _inside(values: Mapping[str, Any], paths: Iterable[str]) -> list[str]:
    """Return the paths one level below ``paths`` whose values the numbers depend on."""
    found = []
    for path in paths:
        value = _at(values, path)
        below = [f"{path}.{key}" for key in value] if isinstance(value, Mapping) else []
        outside = [each for each in below if provenance.is_outside(each)]
        found += [each for each in below if each not in outside] if outside else [path]
    return found


def _kept(values: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Return the values at ``paths`` alone, in their places."""
    kept: dict[str, Any] = {}
    for path in paths:
        *sections, key = path.split(".")
        place = reduce(lambda inner, section: inner.setdefault(section, {}), sections, kept)
        place[key] = _at(values, path)
    return kept


def _at(values: Mapping[str, Any], path: str) -> Any:
    return reduce(lambda value, key: value[key], path.split("."), values)


def _valid(kept: dict[str, Any], experiment: Experiment) -> dict[str, Any]:
    """Add what makes an experiment file of a part; nothing of it is read by the step."""
    kept.setdefault("model", {"builder": "deep_cnn"})
    kept.setdefault("evaluation", {"calibration": "none"})
    if kept["name"] == "ingest":  # it looks for what the data must have for the gate; numbers are not its business
        kept["gate"] = {name: ">= 0" for name in experiment.gate.thresholds() if "/" in name}
        if experiment.evaluation.operating_point:
            kept["evaluation"]["operating_point"] = {"specificity": 0.5}
    return kept
