"""An object store that speaks S3 over HTTP, with one bucket. It keeps what it holds in memory."""

import contextlib
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest
import requests

BUCKET = "s3://clinic"


class Store:
    """What lies in the bucket, seen past ParaK8s.

    Attributes:
        environment: Variables with which a process finds the store.
    """

    def __init__(self, address: str) -> None:
        self.environment = {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    @property
    def files(self) -> Any:
        """A file system of its own, which remembers nothing of what others wrote."""
        return fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)

    def names(self, url: str = BUCKET) -> list[str]:
        """Return the names of all objects at the address."""
        top = url.removeprefix("s3://") + "/"
        return sorted(name.removeprefix(top) for name in self.files.find(top))


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Yield the address of a store, which is gone afterwards."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def emptied(address: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return the store at ``address`` with nothing but a bucket, and let this process find it."""
    requests.post(f"{address}/moto-api/reset", timeout=10).raise_for_status()
    store = Store(address)
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # of an earlier address
    store.files.mkdir(BUCKET)
    return store
