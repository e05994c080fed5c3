"""Finds loaders and builders by registered name or ``package.module:function``, and checks their settings."""

import contextlib
import importlib
import inspect
import json
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType
from typing import Any, TypeVar, overload

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError

from parak8s.errors import ExperimentError, InputError, ParaK8sError, nearest
from parak8s.experiment.mistakes import mistakes_of, shown

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
    if not colon or not all(part.isidentifier() for part in [*module.split("."), attribute]):
        raise InputError(f"no {kind} {name!r}; {nearest(name, registered)}, or package.module:function of your own")
    found = _imported(module, f"{kind} {name!r}")
    if not hasattr(found, attribute):
        raise InputError(f"no {kind} {name!r}: in {module}, {nearest(attribute, public_names(found))}")
    if not callable(getattr(found, attribute)):
        raise InputError(f"{kind} {name!r}: expected a function or a class, got {shown(getattr(found, attribute))}")
    return getattr(found, attribute)


def _imported(module: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise InputError(f"no {what}: no module {error.name!r}; is its folder on PYTHONPATH?") from error
        raise InputError(f"{what}: it imports {error.name}, which is not installed here") from error
    except Exception as error:  # whatever a module of the user's own raises while it is imported
        raise InputError(f"{what}: importing {module} failed: {type(error).__name__}: {error}") from error


def public_names(module: object) -> list[str]:
    """Return the names in ``module`` that do not begin with an underscore."""
    return [name for name in vars(module) if not name.startswith("_")]


class NoSettings(BaseModel):
    """A record without fields: unknown keys and silent conversions are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


@overload
def settings_of(function: Callable[..., Any]) -> type[NoSettings]: ...
@overload
def settings_of(function: Callable[..., Any], base: type[Settings]) -> type[Settings]: ...
def settings_of(function: Callable[..., Any], base: type[BaseModel] = NoSettings) -> type[BaseModel]:
    """Return a kind of ``base`` whose fields are the keyword-only parameters of ``function``.

    Raises:
        InputError: A parameter cannot be a setting: its name is taken, or its type cannot stand in a file.
    """
    return _record(function, base)


@cache
def _record(function: Callable[..., Any], base: type[BaseModel]) -> type[BaseModel]:
    name = f"{function.__module__}:{function.__qualname__}"
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        raise InputError(
            f"{name}: it does not say what parameters it takes; wrap it in a function of your own"
        ) from None
    fields: dict[str, Any] = {
        parameter.name: (
            Any if parameter.annotation is parameter.empty else parameter.annotation,
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    taken = [field for field in fields if field.startswith("_") or hasattr(base, field)]
    if taken:
        raise InputError(f"{name}: no setting can be called {', '.join(taken)}; rename the parameter")
    try:
        settings = create_model(function.__name__, __base__=base, __module__=function.__module__, **fields)
        settings.model_rebuild()
    except (PydanticUserError, NameError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{name}: a setting has a type that cannot stand in a file: {reason}") from error
    return settings


def call(name: str, function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """Call a loader or builder; an error in a user's own code is told as such, with its place.

    Raises:
        InputError: The code behind ``name``, written as ``package.module:function``, raised something.
    """
    if ":" not in name:
        return function(*arguments, **settings)
    try:
        return function(*arguments, **settings)
    except ParaK8sError:
        raise
    except Exception as error:
        *_, last = traceback.extract_tb(error.__traceback__)
        place = f"{last.filename}, line {last.lineno}"
        raise InputError(f"{name} failed: {type(error).__name__}: {error} ({place})") from error


def with_settings(settings: type[Settings], values: Mapping[str, Any], name: str) -> Settings:
    """Return a record of ``values``, which are plain values as a file holds them.

    Raises:
        ExperimentError: All that is wrong with ``values``.
    """
    try:
        return settings.model_validate_json(json.dumps(dict(values)))  # JSON: a list may become a tuple, text a path
    except ValidationError as error:
        raise ExperimentError(name, mistakes_of(error, settings)) from None


def written_out(record: BaseModel) -> dict[str, Any]:
    """Return the plain values of ``record``, defaults included, but not those that no file can hold."""
    values: dict[str, Any] = {}
    for name in type(record).model_fields:
        with contextlib.suppress(PydanticSerializationError):
            values |= record.model_dump(mode="json", include={name})
    return values
