"""A compiled pipeline, and its place on the server: one version for each content."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parak8s.cluster.creation import create_once, equals, one
from parak8s.errors import InputError

if TYPE_CHECKING:
    from parak8s.cluster.connection import Connection

DIGITS = 16
"""Hexadecimal digits of the content's SHA-256 that name a version."""


@dataclass(frozen=True)
class Version:
    """A version of a pipeline on the server.

    Args:
        pipeline_id: Of the pipeline.
        version_id: Of the version.
        name: ``sha256-`` and the first digits of the content's digest.
    """

    pipeline_id: str
    version_id: str
    name: str


def read_package(package: Path, *, enable_caching: bool | None = None) -> bytes:
    """Return the content of a compiled pipeline, as it will be uploaded.

    Args:
        package: YAML, as ``parak8s compile`` writes it.
        enable_caching: False makes every task run anew; otherwise it stays as compiled.

    Raises:
        InputError: No such file, or no compiled pipeline.
    """
    import yaml

    try:
        content = package.read_bytes()
        documents = [*yaml.safe_load_all(content)]
    except FileNotFoundError:
        raise InputError(f"{package}: no such file; parak8s compile writes one") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{package}: is no compiled pipeline: {str(error).splitlines()[0]}") from error
    if not documents or not isinstance(documents[0], dict) or "pipelineInfo" not in documents[0]:
        raise InputError(f"{package}: is no compiled pipeline: it has no pipelineInfo; parak8s compile writes one")
    if enable_caching is not False:
        return content
    for task in _tasks(documents[0]):
        task["cachingOptions"] = {}  # as kfp compiles it when caching is off
    return yaml.safe_dump_all(documents, sort_keys=True).encode()


def _tasks(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every task, also those inside conditions and loops."""
    for component in [spec.get("root", {}), *spec.get("components", {}).values()]:
        yield from component.get("dag", {}).get("tasks", {}).values()


def upload(connection: Connection, content: bytes, *, pipeline_name: str, description: str = "") -> Version:
    """Return the version of the pipeline that has this content; upload it when there is none.

    Args:
        connection: Where.
        content: See :func:`read_package`.
        pipeline_name: Made when there is none.
        description: Of a new version.
    """
    name = f"sha256-{hashlib.sha256(content).hexdigest()[:DIGITS]}"
    pipeline_id = _pipeline(connection, pipeline_name)

    def find() -> Any:
        return _find_version(connection, pipeline_id, name)

    version = find() or create_once(
        connection, lambda: _send(connection, content, pipeline_id, name, description), find
    )
    return Version(pipeline_id, str(version.pipeline_version_id), name)


def _pipeline(connection: Connection, name: str) -> str:
    """Return the id of the pipeline; made empty when there is none, as an upload would name its version like itself."""
    from kfp_server_api import V2beta1Pipeline

    api, namespace = connection.client.pipelines, connection.target.namespace

    def find() -> Any:
        return one(connection.ask(api.pipeline_service_list_pipelines, filter=equals(name), **_in(namespace)).pipelines)

    body = V2beta1Pipeline(display_name=name, namespace=namespace)
    found = find() or create_once(connection, lambda: api.pipeline_service_create_pipeline(pipeline=body), find)
    return str(found.pipeline_id)


def _find_version(connection: Connection, pipeline_id: str, name: str) -> Any:
    call = connection.client.pipelines.pipeline_service_list_pipeline_versions
    return one(connection.ask(call, pipeline_id=pipeline_id, filter=equals(name)).pipeline_versions)


def _send(connection: Connection, content: bytes, pipeline_id: str, name: str, description: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pipeline.yaml")
        file.write_bytes(content)
        options = {"description": description} if description else {}
        call = connection.client.pipeline_uploads.upload_pipeline_version
        return call(str(file), name=name, pipelineid=pipeline_id, **options)


def _in(namespace: str | None) -> dict[str, Any]:
    return {"namespace": namespace} if namespace else {}
