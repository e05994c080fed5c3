"""A pipeline as text: KFP's intermediate representation (IR YAML, schema 2.1.0), readable, the same every time.

KFP's own writer puts the default values of the parameters into a comment, which a value of several lines breaks out of.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent


_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
"""Text that Kubernetes' reader of YAML takes for a number without quotes; PyYAML does not know 1e-05."""


class _Dumper(yaml.CSafeDumper):
    """Writes text of several lines as a block."""


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else "'" if _NUMBER.fullmatch(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def documents_of(component: BaseComponent) -> list[dict[str, Any]]:
    """Return the specification of a pipeline or component, and that of the platform where there is one."""
    from google.protobuf import json_format

    platform = json_format.MessageToDict(getattr(component, "platform_spec", None) or _nothing())
    return [json_format.MessageToDict(component.pipeline_spec), *([platform] if platform else [])]


def _nothing() -> Any:
    from kfp.pipeline_spec import pipeline_spec_pb2

    return pipeline_spec_pb2.PlatformSpec()


def dumped(documents: list[dict[str, Any]], comment: str = "") -> str:
    """Return YAML documents, the first below ``comment``."""
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    return head + yaml.dump_all(documents, Dumper=_Dumper, sort_keys=True, width=120, allow_unicode=True)
