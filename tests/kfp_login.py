"""The login of Kubeflow in front of a server: Dex with its pages, behind the authservice or the oauth2-proxy."""

import html
import secrets
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit

PAGE = "text/html; charset=utf-8"


@dataclass(frozen=True)
class Asked:
    """A request as the login sees it."""

    method: str
    url: str
    cookies: dict[str, str]
    form: dict[str, str]

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, str]:
        return {key: values[0] for key, values in parse_qs(urlsplit(self.url).query).items()}


@dataclass(frozen=True)
class Reply:
    """What is sent back."""

    status: int
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Dex:
    """Lets in who has a session.

    Args:
        proxy: ``authservice`` (Kubeflow up to 1.8) or ``oauth2-proxy`` (1.9 and later).
        username: Of the only user.
        password: Of the only user.
        approval: Show the page that asks for approval.
        connectors: Show the page that asks which way to log in.
        invalid: Status of the page that says that the password is wrong: 401, of older versions 200.
    """

    proxy: str
    username: str
    password: str
    approval: bool = False
    connectors: bool = False
    invalid: int = 401
    sessions: set[str] = field(default_factory=set)
    logins: int = 0
    _wanted: dict[str, str] = field(default_factory=dict)
    _codes: dict[str, str] = field(default_factory=dict)

    @property
    def cookie(self) -> str:
        return "authservice_session" if self.proxy == "authservice" else "oauth2_proxy_kubeflow"

    def lets_in(self, asked: Asked) -> bool:
        return asked.cookies.get(self.cookie) in self.sessions

    def reply(self, asked: Asked) -> Reply:
        """Answer somebody without a session."""
        if asked.path == "/oauth2/start" and self.proxy == "oauth2-proxy":
            return self._to_dex(asked.query["rd"])
        if asked.path in ("/oauth2/callback", "/login/oidc"):
            return self._enter(asked.query["code"])
        if asked.path.startswith("/dex/"):
            return self._dex(asked)
        if self.proxy == "authservice":
            return self._to_dex(asked.url)
        return Reply(403, '<html><form method="GET" action="/oauth2/start"><button>Sign in</button></form></html>')

    def _to_dex(self, wanted: str) -> Reply:
        state = secrets.token_hex(4)
        self._wanted[state] = wanted
        back = "/login/oidc" if self.proxy == "authservice" else "/oauth2/callback"
        return _redirect(
            f"/dex/auth?{urlencode({'client_id': 'kubeflow', 'redirect_uri': back, 'state': state})}",
            ("Set-Cookie", f"csrf_{state}=1; Path=/; HttpOnly"),
        )

    def _dex(self, asked: Asked) -> Reply:
        state = asked.query.get("state") or asked.query.get("req", "")
        if asked.path == "/dex/auth":
            if self.connectors:
                links = (
                    f'<a href="/dex/auth/local?state={state}">E-mail</a><a href="/dex/auth/ldap?state={state}">LDAP</a>'
                )
                return Reply(200, f"<html>Log in to Your Account {links}</html>")
            return _redirect(f"/dex/auth/local?{urlencode({'state': state})}")
        if asked.path == "/dex/auth/local":
            return _redirect(f"/dex/auth/local/login?{urlencode({'back': '', 'state': state})}")
        if asked.path == "/dex/auth/local/login":
            return self._login(asked, state)
        if asked.path == "/dex/approval":
            return self._approval(asked, state)
        return Reply(404, "<html>not found</html>")

    def _login(self, asked: Asked, state: str) -> Reply:
        action = html.escape(f"/dex/auth/local/login?{urlencode({'back': '', 'state': state})}")
        fields = '<input name="login" type="text"/><input name="password" type="password"/>'
        form = f'<form method="post" action="{action}">{fields}<button type="submit">Login</button></form>'
        if asked.method == "GET":
            return Reply(200, f"<html>Log in to Your Account {form}</html>")
        if (asked.form.get("login"), asked.form.get("password")) != (self.username, self.password):
            return Reply(self.invalid, f"<html>Invalid Email Address and password. {form}</html>")
        self.logins += 1
        if self.approval:
            return _redirect(f"/dex/approval?{urlencode({'req': state, 'hmac': 'abc'})}", status=303)
        return self._back(state)

    def _approval(self, asked: Asked, state: str) -> Reply:
        if asked.method == "GET":
            forms = "".join(
                f'<form method="post"><input type="hidden" name="req" value="{state}"/>'
                f'<input type="hidden" name="approval" value="{answer}"/><button type="submit">{answer}</button></form>'
                for answer in ("approve", "rejected")
            )
            return Reply(200, f"<html>Grant Access {forms}</html>")
        if (asked.form.get("req"), asked.form.get("approval")) != (state, "approve"):
            return Reply(400, "<html>Approval rejected</html>")
        return self._back(state)

    def _back(self, state: str) -> Reply:
        code = secrets.token_hex(4)
        self._codes[code] = state
        back = "/login/oidc" if self.proxy == "authservice" else "/oauth2/callback"
        return _redirect(f"{back}?{urlencode({'code': code, 'state': state})}", status=303)

    def _enter(self, code: str) -> Reply:
        session = secrets.token_hex(8)
        self.sessions.add(session)
        wanted = self._wanted[self._codes.pop(code)]
        return _redirect(wanted, ("Set-Cookie", f"{self.cookie}={session}; Path=/; HttpOnly; Max-Age=86400"))


def cookies_of(header: str | None) -> dict[str, str]:
    """Return the cookies of a request."""
    return {name: morsel.value for name, morsel in SimpleCookie(header or "").items()}


def _redirect(location: str, *headers: tuple[str, str], status: int = 302) -> Reply:
    return Reply(status, f'<a href="{html.escape(location)}">Found</a>.', (("Location", location), *headers))
