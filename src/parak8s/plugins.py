"""Finds loaders and builders by registered name or ``package.module:function``, and checks their settings."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from parak8s.errors import ExperimentError, InputError, nearest
from parak8s.mistakes import mistakes_of

Settings = TypeVar("Settings", bound=BaseModel)


def resolve(name: str, registered: Mapping[str, str], kind: str) -> Any:
    """Return the object behind ``name``.

    Args:
        name: A key of ``registered``, or ``package.module:function``.
        registered: Names and where each lives, as ``package.module:function``; imported only when asked for.
        kind: What messages call it: ``loader``, ``builder``.

    Raises:
        InputError: No such name, module or function.
    """
    module, colon, attribute = registered.get(name, name).partition(":")
    if not colon:
        raise InputError(f"no {kind} {name!r}; {nearest(name, registered)}, or package.module:function of your own")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(f"no {kind} {name!r}: no module {error.name!r}; is its folder on PYTHONPATH?") from error
    if not hasattr(found, attribute):
        raise InputError(f"no {kind} {name!r}: in {module}, {nearest(attribute, public_names(found))}")
    return getattr(found, attribute)


def public_names(module: object) -> list[str]:
    """Return the names in ``module`` that do not begin with an underscore."""
    return [name for name in vars(module) if not name.startswith("_")]


class NoSettings(BaseModel):
    """A record without fields: unknown keys and silent conversions are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


def settings_of(function: Callable[..., Any], base: type[Settings] = NoSettings) -> type[Settings]:
    """Return a kind of ``base`` whose fields are the keyword-only parameters of ``function``."""
    fields: dict[str, Any] = {
        parameter.name: (
            Any if parameter.annotation is parameter.empty else parameter.annotation,
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    return create_model(function.__name__, __base__=base, __module__=function.__module__, **fields)


def with_settings(settings: type[Settings], values: Mapping[str, Any], name: str) -> Settings:
    """Return a record of ``values``.

    Raises:
        ExperimentError: All that is wrong with ``values``.
    """
    try:
        return settings.model_validate(dict(values))
    except ValidationError as error:
        raise ExperimentError(name, mistakes_of(error, settings)) from None
