"""Versions in the registry by their addresses: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from parak8s.errors import InputError, nearest
from parak8s.secrets import redacted
from parak8s.tracking import connection, registry
from parak8s.tracking.connection import tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from parak8s.experiment import Tracking

ALLOWED = "give a run id, models:/NAME@ALIAS, models:/NAME/VERSION, or a run directory"


def version_of(client: MlflowClient, reference: str, uri: str) -> ModelVersion:
    """Return the version behind ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

    Raises:
        InputError: There is no such model, alias or version; says what there is.
    """
    match = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/([^/@]+))?", reference)
    if not match:
        raise InputError(f"{reference}: not a model version; {ALLOWED}")
    name, alias, number = match.groups()
    models = {model.name: model for model in client.search_registered_models(max_results=1000)}
    if name not in models:
        raise InputError(f"{reference}: no model {name!r} at {redacted(uri)}; {nearest(name, models)}")
    aliases = {key: str(value) for key, value in models[name].aliases.items()}
    versions = {str(version.version): version for version in client.search_model_versions(f"name='{name}'")}
    wanted = aliases.get(alias) if alias else number
    if wanted in versions:
        return versions[wanted]
    choices = [*(f"{name}@{each}" for each in aliases), *(f"{name}/{each}" for each in versions)]
    raise InputError(f"{reference}: no such version; {nearest(reference.removeprefix('models:/'), choices)}")


def locate(reference: str, tracking: Tracking) -> tuple[str, str]:
    """Return the version behind a reference as ``models:/NAME/VERSION``, and the digest of its ``model.keras``.

    Raises:
        InputError: There is no such version, or it was not registered by ParaK8s.
        EnvironmentFault: The store cannot be reached.
    """
    uri = tracking_uri(tracking)
    client = connection.connect(uri, create=False)
    with connection.reaching(uri):
        version = version_of(client, reference, uri)
        digest = registry.digest_of(client, version)
    if digest is None:
        raise InputError(f"{reference}: not registered by ParaK8s, so it does not say which weights it holds")
    return f"models:/{version.name}/{version.version}", digest


def download(reference: str, tracking: Tracking, folder: Path) -> Path:
    """Fetch ``model.keras`` of the version behind a reference into ``folder``; return its path.

    Raises:
        InputError: There is no such version, or it holds no such file.
        EnvironmentFault: The store cannot be reached.
    """
    uri = tracking_uri(tracking)
    client = connection.connect(uri, create=False)
    with connection.reaching(uri):
        version = version_of(client, reference, uri)
        file = registry.keras_file(client, version.name, str(version.version), folder)
    if file is None:
        raise InputError(f"{reference}: holds no {registry.KERAS_FILE}; name a version that 'parak8s run' registered")
    return file
