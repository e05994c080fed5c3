"""Says what pydantic found wrong in the words of the experiment file."""

import json
import re
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from parak8s.errors import Mistake, nearest
from parak8s.experiment import pods, rules
from parak8s.experiment.rules import RuleError

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "tuple_type": "a list such as [a, b]",
    "list_type": "a list such as [a, b]",
}

_FORMS = rules.FORMS | pods.FORMS

_WRONG_TYPE = {*_EXPECTED, "literal_error"}

_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


def mistakes_of(error: ValidationError, section: type[BaseModel]) -> list[Mistake]:
    """Return one mistake for each broken rule, in the order of the file's keys."""
    found: dict[str, list[ErrorDetails]] = {}  # a union reports each of its branches
    for detail in error.errors(include_url=False):
        found.setdefault(_path_of(detail, section), []).append(detail)
    above = {path[:dot] for path in found for dot in _dots(path)}
    return [Mistake(path, _message(details, section)) for path, details in found.items() if path not in above]


def paths(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every value of ``section``, such as ``training.optimizer.name``."""
    for name, field in section.model_fields.items():
        path = f"{prefix}.{name}" if prefix else name
        inner = section_of(field.annotation)
        if inner is None:
            yield path
        else:
            yield from paths(inner, path)


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section behind an annotation, or None where it is no section."""
    bare = [member for member in _members(annotation) if isinstance(member, type) and issubclass(member, BaseModel)]
    return bare[0] if bare else None


def _members(annotation: Any) -> list[Any]:
    """Return what an annotation stands for, without Annotated, and without None where something else is allowed."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        inner = [member for member in typing.get_args(annotation) if member is not type(None)]
        return [bare for member in inner for bare in _members(member)]
    return [annotation]


def _path_of(detail: ErrorDetails, section: type[BaseModel]) -> str:
    rule = detail.get("ctx", {}).get("error")
    key = rule.key if isinstance(rule, RuleError) else ""
    return ".".join(filter(None, (_path(detail["loc"], section), key)))


def _path(loc: Sequence[str | int], section: type[BaseModel]) -> str:
    """Return the dotted path, without the names that pydantic adds for the branches of a union."""
    return ".".join(str(key) for key, _ in _walk(loc, section) if key != "[key]")  # pydantic's word for a wrong key


def _walk(loc: Sequence[str | int], section: type[BaseModel]) -> Iterator[tuple[str | int, Any]]:
    """Yield each key of ``loc`` with the annotation of what stands there."""
    annotation: Any = section
    keys = iter(loc)
    for key in keys:
        record = section_of(annotation)
        if record is not None:
            annotation = record.model_fields[str(key)].annotation if str(key) in record.model_fields else None
        else:
            arguments = typing.get_args(annotation)
            annotation = arguments[-1] if arguments and arguments[-1] is not ... else (*arguments, None)[0]
        yield key, annotation
        members = _members(annotation)
        branch = str(next(keys, "")) if len(members) > 1 else ""
        annotation = next((member for member in members if branch.casefold().startswith(_branch(member))), members[0])


def _branch(member: Any) -> str:
    return str(getattr(typing.get_origin(member) or member, "__name__", member)).casefold()


def _section_around(loc: Sequence[str | int], section: type[BaseModel]) -> type[BaseModel] | None:
    """Return the section that holds the last key of ``loc``."""
    annotations = [section, *(annotation for _, annotation in _walk(loc[:-1], section))]
    return section_of(annotations[-1])


def _message(details: Sequence[ErrorDetails], section: type[BaseModel]) -> str:
    detail = next((each for each in details if each["type"] not in _WRONG_TYPE), details[0])
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return f"no such key; {_nearest_key(detail['loc'], section)}"
    if kind == "missing":
        return "missing; write it"
    if kind == "value_error":
        return str(context["error"])
    if kind in _WRONG_TYPE:
        return _wrong_type(details)
    if kind in _BOUNDS:
        name, word = _BOUNDS[kind]
        return f"must be {word} {context[name]:.12g}, got {shown(given)}"
    if kind == "string_pattern_mismatch":
        expected = _FORMS.get(context["pattern"], f"text that matches {context['pattern']}")
        return f"expected {expected}, got {shown(given)}"
    if kind in ("too_short", "string_too_short"):
        return "empty; write at least one" if kind == "too_short" else "empty; write something"
    return f"{detail['msg'][0].lower()}{detail['msg'][1:]}, got {shown(given)}"


def _wrong_type(details: Sequence[ErrorDetails]) -> str:
    """Say what a value may be, over all branches of a union, and how to get there from what was given."""
    given = details[0]["input"]
    literals = [word for detail in details if detail["type"] == "literal_error" for word in _literals(detail)]
    kinds = [_EXPECTED[detail["type"]] for detail in details if detail["type"] in _EXPECTED]
    if given is None and kinds == [_EXPECTED["model_type"]]:
        return "empty; write keys below it, or delete the line to take the defaults"
    if literals and isinstance(given, str):
        return f"got {shown(given)}; {nearest(given, literals)}{''.join(f', or {kind}' for kind in kinds)}"
    *first, last = dict.fromkeys([*literals, *kinds])
    return f"expected {', '.join(first)}{' or ' if first else ''}{last}, got {shown(given)}{_fix(given, kinds)}"


def _literals(detail: ErrorDetails) -> list[str]:
    return [word.strip("'") for word in str(detail.get("ctx", {})["expected"]).replace(" or ", ", ").split(", ")]


def _fix(given: object, kinds: Sequence[str]) -> str:
    """Return what to write where one value is easily taken for another."""
    if kinds == ["a whole number"] and isinstance(given, float) and given.is_integer():
        return f"; write {given:.0f}"
    if kinds in (["a whole number"], ["a number"]) and isinstance(given, str) and re.match("[-+]?[.]?[0-9]", given):
        return "; a number stands without quotes"
    if kinds == ["text"] and isinstance(given, int | float):
        return "; put it in quotes"
    return f"; write [{given}]" if kinds == [_EXPECTED["tuple_type"]] and isinstance(given, str) else ""


def _nearest_key(loc: Sequence[str | int], section: type[BaseModel]) -> str:
    """Return the nearest spelling among the keys allowed here, or where else in the file the key belongs."""
    key, around = str(loc[-1]), _section_around(loc, section)
    hint = nearest(key, list(around.model_fields) if around else [])
    known = {path[:end] for path in paths(section) for end in (*_dots(path), len(path))}
    here = ".".join(filter(None, (_path(loc[:-1], section), key)))
    if here in known:
        return f"a dot does not lead into a section; write {_nested(key)}"
    elsewhere = sorted(path for path in known if path.endswith(f".{key}"))
    if elsewhere and not hint.startswith("did you mean"):
        return f"did you mean {_nested(elsewhere[0])}? {hint}"
    return hint


def _dots(path: str) -> list[int]:
    return [place for place, letter in enumerate(path) if letter == "."]


def _nested(path: str) -> str:
    *outer, last = path.split(".")
    return f"{': {'.join([*outer, last])}: ...{'}' * len(outer)}"


def shown(value: object) -> str:
    """Return ``value`` as one would write it in the file, cut to 60 characters."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= 60 else f"{text[:57]}..."
