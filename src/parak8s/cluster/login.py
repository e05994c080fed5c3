"""Logs in at the page of Dex, as a browser does, and brings the session's cookies home.

Knows the authservice of Kubeflow up to 1.8 (cookie ``authservice_session``) and the oauth2-proxy of 1.9 and later
(``oauth2_proxy_kubeflow``). Source: dexidp/dex, web/templates (login.html, password.html, approval.html).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin, urlsplit

from parak8s.cluster.faults import NotLoggedIn, Unavailable, reaching
from parak8s.errors import EnvironmentFault

if TYPE_CHECKING:
    import requests

CONNECTOR = "local"
"""Where Dex offers several ways to log in: that of its own passwords."""


@dataclass(frozen=True)
class Credentials:
    """A user of Dex. The password shows up nowhere.

    Args:
        username: Usually an e-mail address.
        password: Never on a command line.
    """

    username: str
    password: str = field(repr=False)


@dataclass
class _Form(HTMLParser):
    """The first form of a page that is posted, with its hidden fields; ``action`` is None when there is none."""

    page: str
    action: str | None = None
    hidden: dict[str, str] = field(default_factory=dict)
    _open: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form" and self.action is None and values.get("method", "").lower() == "post":
            self.action, self._open = values.get("action", ""), True
        elif tag == "input" and self._open and values.get("type") == "hidden" and values.get("name"):
            self.hidden[values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = False


def session_cookies(
    host: str,
    credentials: Credentials,
    *,
    ca_file: Path | None = None,
    proxy: str | None = None,
    timeout_s: float = 30,
) -> str | None:
    """Log in and return the value of the header ``Cookie`` for ``host``; None where no login is asked for.

    Raises:
        NotLoggedIn: The name or the password is wrong, or the page is none of Dex.
        Unavailable: The server does not answer.
    """
    import requests

    with reaching(host), requests.Session() as session:
        session.trust_env = False  # it would take a password from ~/.netrc
        session.verify = str(ca_file) if ca_file else True
        session.proxies = {"http": proxy, "https": proxy} if proxy else {}
        browser = _Browser(session, host, timeout_s)
        if not browser.find_login():
            return None
        browser.log_in(credentials)
        request = session.prepare_request(requests.Request("GET", host))
        cookies: str | None = request.headers.get("Cookie")
        return cookies


@dataclass
class _Browser:
    """Goes from page to page; ``page`` is the one it stands on."""

    session: requests.Session
    host: str
    timeout_s: float
    page: requests.Response = field(init=False)

    def find_login(self) -> bool:
        """Go to the login page; return False when the server lets everybody in."""
        self._get(f"{self.host}/apis/v2beta1/healthz")
        if self.page.status_code in (401, 403):  # the oauth2-proxy shows a page with a button
            self._get(urljoin(self.page.url, f"/oauth2/start?{urlencode({'rd': urlsplit(self.page.url).path})}"))
        elif not self.page.history:
            return False
        if urlsplit(self.page.url).path.endswith("/auth"):  # Dex asks which way to log in
            parts = urlsplit(self.page.url)
            self._get(parts._replace(path=f"{parts.path}/{CONNECTOR}").geturl())
        return True

    def log_in(self, credentials: Credentials) -> None:
        """Fill in the form, and approve where Dex asks for that."""
        self._refuse_open_line()
        self._submit({"login": credentials.username, "password": credentials.password})
        if self.page.status_code == 401 or not self.page.history:
            raise NotLoggedIn(
                f"{self.host}: Dex does not know {credentials.username} with this password; "
                "check PARAK8S_USERNAME and PARAK8S_PASSWORD"
            )
        if urlsplit(self.page.url).path.endswith("/approval"):
            self._submit({"approval": "approve"})
        if self.page.status_code >= 400 or "/dex/" in urlsplit(self.page.url).path:
            raise NotLoggedIn(f"{self.host}: the login stopped at {_short(self.page.url)} ({self.page.status_code})")

    def _get(self, url: str) -> None:
        self.page = self.session.get(url, timeout=self.timeout_s)
        self._refuse_outage()

    def _submit(self, fields: dict[str, str]) -> None:
        form = _Form(self.page.text)
        if form.action is None:
            raise NotLoggedIn(f"{self.host}: no login form of Dex at {_short(self.page.url)} ({self.page.status_code})")
        target = urljoin(self.page.url, form.action)
        self.page = self.session.post(target, data={**form.hidden, **fields}, timeout=self.timeout_s)
        self._refuse_outage()

    def _refuse_outage(self) -> None:
        if self.page.status_code >= 500:
            raise Unavailable(f"{self.host}: {_short(self.page.url)} answered {self.page.status_code}")

    def _refuse_open_line(self) -> None:
        """Refuse to send the password unencrypted where the user asked for encryption."""
        if self.host.startswith("https://") and not self.page.url.startswith("https://"):
            raise EnvironmentFault(
                f"{self.host}: its login page {_short(self.page.url)} is not encrypted; nothing was sent"
            )


def _short(url: str) -> str:
    return url.partition("?")[0]  # the query holds codes
