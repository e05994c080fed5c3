"""Says what pydantic found wrong in the words of the experiment file."""

import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from parak8s.errors import Mistake, nearest

_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "tuple_type": "a list",
    "list_type": "a list",
}


def mistakes_of(error: ValidationError, section: type[BaseModel]) -> list[Mistake]:
    """Return one mistake for each broken rule, in the order of the file's keys."""
    found: dict[str, Mistake] = {}
    for detail in error.errors(include_url=False):
        path = _path(detail["loc"], section)
        found.setdefault(path, Mistake(path, _message(detail, section)))  # a union reports each branch: one is enough
    return list(found.values())


def _path(loc: Sequence[str | int], section: type[BaseModel]) -> str:
    """Return the dotted path, without the names that pydantic adds for the branches of a union."""
    keys = []
    for key, annotation in _walk(loc, section):
        if annotation is not _BRANCH:
            keys.append(str(key))
    return ".".join(keys)


_BRANCH = object()


def _walk(loc: Sequence[str | int], section: Any) -> Iterator[tuple[str | int, Any]]:
    """Yield each key of ``loc`` with the annotation of what stands there; ``_BRANCH`` for a union's branch."""
    annotation: Any = section
    for key in loc:
        fields = fields_of(annotation)
        if fields is not None:
            annotation = fields[str(key)].annotation if str(key) in fields else None
        elif isinstance(key, str) and ("[" in key or key in ("str", "int", "float", "bool", "dict")):
            yield key, _BRANCH
            continue
        else:
            arguments = [argument for argument in typing.get_args(_bare(annotation)) if argument is not type(None)]
            annotation = arguments[-1] if arguments else None
        yield key, annotation


def _bare(annotation: Any) -> Any:
    """Return the annotation without Annotated and Optional."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        inner = [argument for argument in typing.get_args(annotation) if argument is not type(None)]
        return _bare(inner[0]) if len(inner) == 1 else annotation
    return annotation


def fields_of(annotation: Any) -> dict[str, Any] | None:
    """Return the fields of the section behind an annotation, or None where it is no section."""
    bare = _bare(annotation)
    return bare.model_fields if isinstance(bare, type) and issubclass(bare, BaseModel) else None


def _section_around(loc: Sequence[str | int], section: type[BaseModel]) -> list[str]:
    """Return the keys allowed beside the last key of ``loc``."""
    around: Any = section
    for _, annotation in _walk(loc[:-1], section):
        around = annotation
    return list(fields_of(around) or {})


def _message(detail: ErrorDetails, section: type[BaseModel]) -> str:
    kind, given, context = detail["type"], _shown(detail["input"]), detail.get("ctx", {})
    last = str(detail["loc"][-1]) if detail["loc"] else ""
    if kind == "extra_forbidden":
        return f"no such key; {nearest(last, _section_around(detail['loc'], section))}"
    if kind == "missing":
        return "missing; write it"
    if kind == "literal_error":
        return f"got {given}; {_nearest_literal(detail['input'], str(context['expected']))}"
    if kind == "value_error":
        return str(context["error"])
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, got {given}"
    return f"{detail['msg'][0].lower()}{detail['msg'][1:]}, got {given}"


def _nearest_literal(given: object, expected: str) -> str:
    allowed = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    return nearest(str(given), allowed)


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 60 else f"{text[:57]}..."
