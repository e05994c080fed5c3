"""Reaches MLflow: which store, within bounded time, without its noise, with one sentence when it does not answer."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from parak8s.errors import EnvironmentFault, InputError, from_os_error
from parak8s.secrets import redacted

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from parak8s.experiment import Tracking

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reads it when it is imported

DEFAULT_URI = "sqlite:///mlflow.db"
NOTHING_LOST = "nothing is lost: everything is in the run's directory, and the same command sends the rest"

QUICK = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # A server may close an idle connection at the moment it is used.
    "PGCONNECT_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # It would print the password too.
}
"""Settings while a training waits, or nobody knows yet whether the server is there. The user's own settings win."""
PATIENT = {
    **QUICK,
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "120",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
"""Settings while large files are sent to a server that has just answered. MLflow's own retry for four minutes."""


def tracking_uri(tracking: Tracking) -> str:
    """Return ``tracking.uri``, else MLFLOW_TRACKING_URI, else SQLite in the working directory.

    Where a platform began the run (MLFLOW_RUN_ID), its MLFLOW_TRACKING_URI says where: then it comes first.

    Raises:
        InputError: A Postgres address without its driver, which SQLAlchemy reads as another one.
    """
    platform = os.environ.get("MLFLOW_TRACKING_URI")
    joined = platform if os.environ.get("MLFLOW_RUN_ID") else None
    uri = joined or tracking.uri or platform or DEFAULT_URI
    if re.match(r"postgres(ql)?://", uri):
        shown = redacted(uri)
        raise InputError(f"MLFLOW_TRACKING_URI {shown}: write postgresql+psycopg2://{shown.partition('://')[2]}")
    return uri


def sqlite_file(uri: str) -> Path | None:
    """Return the file of an SQLite address; None for every other store."""
    scheme, _, rest = uri.partition("://")
    path = rest.partition("?")[0].removeprefix("/")
    return Path(path) if scheme.startswith("sqlite") and path not in ("", ":memory:") else None


def is_database(uri: str) -> bool:
    """Return whether MLflow talks to a database itself, and not to a server that does."""
    return re.match(r"(sqlite|postgresql|mysql|mssql)(\+\w+)?://", uri) is not None


def connect(uri: str, *, create: bool = True) -> MlflowClient:
    """Return a client of a store that has just answered.

    Args:
        uri: See :func:`tracking_uri`.
        create: Make the SQLite file when there is none.

    Raises:
        InputError: There is no SQLite file, and ``create`` is False.
        EnvironmentFault: The store does not answer, or refuses.
    """
    file = sqlite_file(uri)
    if file and not create and not file.exists():
        raise InputError(f"no MLflow database {file}; set tracking.uri or MLFLOW_TRACKING_URI, or go to its folder")
    with reaching(uri, QUICK):
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
        if is_database(uri):
            _ping(uri)
        from mlflow import MlflowClient

        with _one_at_a_time(file) if file else contextlib.nullcontext():
            client = MlflowClient(uri, registry_uri=uri)
            client.search_experiments(max_results=1)
    return client


@contextlib.contextmanager
def _one_at_a_time(file: Path) -> Iterator[None]:
    """Let one process at a time make the tables of a new SQLite file: two would trip over each other's migration."""
    digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir(), f"parak8s-mlflow-{os.getuid()}-{digest}.lock")
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def reaching(uri: str, settings: Mapping[str, str] = PATIENT) -> Iterator[None]:
    """Run a block that talks to MLflow: with its time bounded, in silence, and with one sentence when it fails.

    Raises:
        InputError: MLflow does not take a value, such as a model name with a slash.
        EnvironmentFault: What MLflow, its store or the operating system refused.
    """
    with _environment(settings):
        import requests
        from alembic.util import CommandError
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        with _silence():
            try:
                yield
            except (
                MlflowException,
                SQLAlchemyError,
                requests.RequestException,
                CommandError,
            ) as error:
                # The error's own text may hold the address with its password, and --debug would print it.
                cause = error if redacted(uri) == uri else None
                message = f"MLflow at {redacted(uri)}: {_reason(error, uri)}"
                if getattr(error, "error_code", None) == "INVALID_PARAMETER_VALUE":
                    raise InputError(message) from cause
                raise EnvironmentFault(f"{message}; {NOTHING_LOST}") from cause
            except OSError as error:
                raise from_os_error(error) from error


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    ours = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the log lines of MLflow, Alembic and urllib3 back, unless the user set MLFLOW_LOGGING_LEVEL."""
    loggers = (
        []
        if os.environ.get("MLFLOW_LOGGING_LEVEL")
        else [logging.getLogger(name) for name in ("mlflow", "alembic", "urllib3")]
    )
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _ping(uri: str) -> None:
    """Ask the database once; MLflow itself would ask for 100 seconds."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    sqlalchemy.inspect(engine).get_table_names()


def _reason(error: BaseException, uri: str) -> str:
    """Return in a few words why MLflow could not be reached, without any password."""
    import requests

    chain = [error]
    while following := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(following)
    if any(isinstance(cause, ConnectionRefusedError) for cause in chain):
        return "connection refused; is it running?"
    if any(isinstance(cause, socket.gaierror) for cause in chain):
        return "no such host"
    if any(isinstance(cause, requests.Timeout) for cause in chain):
        return "no answer in time"
    if any(isinstance(cause, ConnectionError | requests.ConnectionError) for cause in chain):
        return "the connection broke; is it running?"
    if status := re.search(r"error code (\d{3})\b|\b(\d{3}) error responses", str(error)):
        code = status[1] or status[2]
        hint = ": set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        return f"it answered {code}{hint if code in ('401', '403') else ''}"
    return _scrubbed(str(error), uri)


def _scrubbed(text: str, uri: str) -> str:
    line = redacted(next((line for line in text.splitlines() if line.strip()), "it gave no reason"))
    line = re.sub(r"^\([\w.]+\) ", "", line.strip(" .;"))
    password = re.match(r"[\w+.-]+://[^:/@]*:(.+)@", uri)
    secrets = [
        password[1] if password else "",
        *map(os.environ.get, ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")),
    ]
    for secret in filter(None, secrets):
        line = line.replace(secret, "***")
    return line
