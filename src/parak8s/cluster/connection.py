"""Opens the way to Kubeflow Pipelines: with a token, a login, or through an open door."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from parak8s.cluster.faults import NotLoggedIn, Unavailable, WebPage, reaching
from parak8s.cluster.login import session_cookies
from parak8s.cluster.patience import BRIEF, Patience, persistently
from parak8s.cluster.target import Target
from parak8s.errors import EnvironmentFault, InputError

if TYPE_CHECKING:
    from kfp.client import Client

T = TypeVar("T")

CONNECT_S = 10
"""How long a connection may take to come about."""


@dataclass(frozen=True)
class _TokenFile:
    """Credentials as kfp wants them; its own class logs to the terminal when the file cannot be read."""

    path: Path

    def refresh_api_key_hook(self, configuration: Any) -> None:
        """Put the token into the next request; Kubernetes replaces the file about once an hour."""
        try:
            token = self.path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise EnvironmentFault(f"token file {self.path} cannot be read: {error}") from error
        if not token or not token.isprintable() or " " in token:
            raise EnvironmentFault(f"token file {self.path} holds no token")
        configuration.api_key["authorization"] = token


@dataclass(frozen=True)
class Connection:
    """A server that has just answered.

    Args:
        client: Its generated services (``client.runs`` and so on) are used, which print nothing.
        target: Where, and as whom.
        patience: How long the server is asked again, where a question says nothing else.
    """

    client: Client
    target: Target
    patience: Patience = BRIEF

    def ask(
        self,
        call: Callable[..., T],
        *arguments: Any,
        patience: Patience | None = None,
        on_pause: Callable[[Unavailable], None] = lambda _: None,
        **options: Any,
    ) -> T:
        """Return what the server answers; ask again while it cannot answer, and log in again when the session ended.

        Args:
            call: A method of one of the client's services; harmless when done twice.
            arguments: Its arguments.
            patience: How long to ask; None for the connection's own.
            on_pause: Told why, before each pause.
            options: Its options.

        Raises:
            ParaK8sError: See :func:`parak8s.cluster.faults.reaching`.
        """

        def act() -> T:
            with reaching(self.target.host):
                return call(*arguments, **options)

        def act_logged_in() -> T:
            try:
                return act()
            except NotLoggedIn:
                if not self.target.credentials:
                    raise
                _api_client(self.client).cookie = _cookies(self.target)
                return act()

        return persistently(act_logged_in, patience or self.patience, on_pause)


def connect(target: Target, patience: Patience = BRIEF) -> Connection:
    """Return a connection to a server that has just answered.

    Raises:
        InputError: The server has users, and no namespace is known.
        EnvironmentFault: It does not answer, or does not let us in.
    """
    cookies = persistently(lambda: _cookies(target), patience) if target.credentials else None
    connection = Connection(_client(target, cookies), target, patience)
    health = connection.ask(connection.client.healthzs.healthz_service_get_healthz)
    if health.multi_user and not target.namespace:
        raise InputError(
            f"Kubeflow Pipelines at {target.host} has users: give the namespace of your profile, --namespace"
        )
    return connection if health.multi_user else replace(connection, target=replace(target, namespace=None))


def _client(target: Target, cookies: str | None) -> Client:
    """Return kfp's client without its noise; nothing is asked yet.

    With a namespace, whatever it is, it does not ask the server when it is made (five times, with tracebacks), nor
    write a file into the home directory. Ours is given with every request; ``-`` is what the server calls none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from kfp.client import Client

        client = Client(
            host=target.host,
            namespace=target.namespace if target.namespace not in (None, "kubeflow") else "-",
            credentials=target.token_file and _TokenFile(target.token_file),
            cookies=cookies,
            proxy=proxy_for(target.host),
            ssl_ca_cert=str(target.ca_file) if target.ca_file else None,
        )
    _bound(_api_client(client), target.timeout_s)
    return client


def _api_client(client: Client) -> Any:
    """Return the one client of HTTP that all of kfp's services share."""
    return client.runs.run_service_get_run.__self__.api_client


def _bound(api_client: Any, timeout_s: float) -> None:
    """Give every request an end (kfp sets none), and let no login page pass for an answer."""
    import urllib3

    # Whether to ask again is decided above, where it is known what was asked; urllib3 would ask at once, and log it.
    api_client.rest_client.pool_manager.connection_pool_kw["retries"] = urllib3.Retry(0, raise_on_redirect=False)
    request = api_client.rest_client.request

    def bounded(method: str, url: str, **options: Any) -> Any:
        options["_request_timeout"] = options.get("_request_timeout") or (min(CONNECT_S, timeout_s), timeout_s)
        answer = request(method, url, **options)
        if "html" in (answer.getheader("content-type") or ""):
            raise WebPage(f"{method} {url.partition('?')[0]}")
        return answer

    api_client.rest_client.request = bounded


def _cookies(target: Target) -> str | None:
    assert target.credentials is not None
    return session_cookies(
        target.host,
        target.credentials,
        ca_file=target.ca_file,
        proxy=proxy_for(target.host),
        timeout_s=target.timeout_s,
    )


def proxy_for(host: str) -> str | None:
    """Return the proxy that the environment names for ``host``; urllib3 does not look for it itself."""
    from requests.utils import get_environ_proxies, select_proxy

    if urlsplit(host).hostname in ("localhost", "127.0.0.1", "::1"):  # a forwarded port
        return None
    proxy = select_proxy(host, get_environ_proxies(host))
    return None if proxy is None else str(proxy)
