"""What a trial runs: the template of an Experiment, with a trial's values put in.

Source: kubeflow/katib v0.19, pkg/controller.v1beta1/experiment/manifest/generator.go; pkg/apis/controller (defaults).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parak8s.errors import InputError
from parak8s.tfjobs.local.fields import Fields

JOB, TFJOB = ("batch/v1", "Job"), ("kubeflow.org/v1", "TFJob")

_META = re.compile(r"\$\{trialSpec\.(.+?)\}")
_META_INDEXED = re.compile(r"(Labels|Annotations)\[(.+)\]")
_PLACEHOLDER = re.compile(r"\$\{trialParameters\.(.+?)\}")
_KNOWN = (
    *("retain", "trialParameters", "trialSpec", "configMap", "primaryPodLabels", "primaryContainerName"),
    *("successCondition", "failureCondition"),
)


@dataclass(frozen=True)
class Template:
    """What a trial runs.

    Args:
        object: The Job or TFJob, with placeholders.
        references: Name of a placeholder -> the parameter that it stands for, or ``${trialSpec.Name}`` and the like.
        container: Name of the container whose metrics count.
        left_out: What is there and means nothing on a laptop.
    """

    object: Mapping[str, Any]
    references: Mapping[str, str]
    container: str
    left_out: tuple[str, ...] = ()

    @property
    def is_tfjob(self) -> bool:
        """Whether a trial is a TFJob, and no Job."""
        return self.object.get("kind") == "TFJob"

    def filled(
        self, name: str, namespace: str, assignments: Mapping[str, str], labels: Mapping[str, str]
    ) -> dict[str, Any]:
        """Return the object of a trial."""
        text = json.dumps(self.object)
        for placeholder, reference in self.references.items():
            value = assignments.get(reference)
            if value is None:
                value = self._of_trial(reference, name, namespace, labels)
            text = text.replace(f"${{trialParameters.{placeholder}}}", json.dumps(value)[1:-1])
        made: dict[str, Any] = json.loads(text)
        made["metadata"] = {**made.get("metadata", {}), "name": name, "namespace": namespace}
        return made

    def _of_trial(self, reference: str, name: str, namespace: str, labels: Mapping[str, str]) -> str:
        match = _META.fullmatch(reference)
        key = match[1] if match else ""
        metadata = self.object.get("metadata") or {}
        facts = {
            "Name": name,
            "Namespace": namespace,
            "Kind": str(self.object.get("kind")),
            "APIVersion": str(self.object.get("apiVersion")),
            **{f"Labels[{label}]": str(value) for label, value in {**metadata.get("labels", {}), **labels}.items()},
            **{f"Annotations[{note}]": str(value) for note, value in metadata.get("annotations", {}).items()},
        }
        return facts.get(key, "")


def read_template(fields: Fields, parameters: Sequence[str]) -> Template:
    """Read ``spec.trialTemplate``.

    Raises:
        InputError: It breaks a rule of Katib's, or a laptop cannot run it.
    """
    if not fields.values:
        raise InputError(f"{fields.path}: missing; write what a trial runs")
    fields.only(_KNOWN)
    if fields.values.get("configMap"):
        raise fields.wrong("configMap", "a laptop does not see what the cluster keeps; write trialSpec instead")
    spec = fields.inner("trialSpec")
    kind = (spec.values.get("apiVersion"), spec.values.get("kind"))
    if kind not in (JOB, TFJOB):
        rule = "a laptop runs a Job of batch/v1 or a TFJob of kubeflow.org/v1"
        raise InputError(f"{spec.path}: {rule}, got {kind[1]} of {kind[0]}")
    metadata = spec.inner("metadata")
    for key in ("name", "namespace"):
        if metadata.values.get(key):
            raise metadata.wrong(key, "the trial gives it; remove it")
    references = _references(fields, parameters)
    _refuse_unmatched(fields, references)
    return Template(
        object=spec.values,
        references=references,
        container=fields.text("primaryContainerName"),
        left_out=("retain",) if fields.values.get("retain") else (),
    )


def _references(fields: Fields, parameters: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in fields.each("trialParameters"):
        each.only(("name", "description", "reference"))
        name, reference = each.text("name"), each.text("reference")
        if not name or not reference or re.search("[{}]", name):
            raise InputError(f"{each.path}: expected a name without braces, and a reference")
        if name in found or reference in found.values():
            raise InputError(f"{each.path}: {name} -> {reference} is there twice; keep one of them")
        if reference not in parameters and not _is_meta(reference):
            raise each.wrong(
                "reference", f"no such parameter; allowed: {', '.join(parameters)}, or ${{trialSpec.Name}}"
            )
        found[name] = reference
    for parameter in parameters:
        if parameter not in found.values():
            raise InputError(f"{fields.where('trialParameters')}: nothing refers to the parameter {parameter}; add it")
    return found


def _is_meta(reference: str) -> bool:
    match = _META.fullmatch(reference)
    plain = ("Name", "Namespace", "Kind", "APIVersion")
    return match is not None and (match[1] in plain or _META_INDEXED.fullmatch(match[1]) is not None)


def _refuse_unmatched(fields: Fields, references: Mapping[str, str]) -> None:
    text = json.dumps(fields.values["trialSpec"])
    used = set(_PLACEHOLDER.findall(text))
    for name in references:
        if name not in used:
            raise InputError(
                f"{fields.path}: ${{trialParameters.{name}}} stands nowhere in trialSpec; use or remove it"
            )
    for name in sorted(used - references.keys()):
        raise InputError(f"{fields.path}: ${{trialParameters.{name}}} is in trialSpec, but not in trialParameters")
