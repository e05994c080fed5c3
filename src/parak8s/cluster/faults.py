"""Turns whatever can go wrong on the way to Kubeflow Pipelines into one readable sentence."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parak8s.errors import EnvironmentFault, InputError, ParaK8sError, from_os_error
from parak8s.secrets import redacted

if TYPE_CHECKING:
    from kfp_server_api import ApiException

PORT_FORWARD = "kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80"
WAYS_IN = (
    "give --token-file FILE, or set PARAK8S_USERNAME and PARAK8S_PASSWORD for the login page of Kubeflow, or go past "
    f"the gateway with: {PORT_FORWARD}"
)
SHOWN = 600
"""Characters of a server's own words that are repeated."""


@dataclass(frozen=True)
class Advice:
    """What to do where no answer comes.

    Args:
        refused: Nothing listens at the address.
        unknown: Nobody knows the name of the host.
        authority: Its certificate is not trusted.
    """

    refused: str
    unknown: str
    authority: str


_ADVICE = Advice(
    refused=f"is the port forwarded? {PORT_FORWARD}, then --host http://localhost:8080",
    unknown="check --host or KF_PIPELINES_ENDPOINT",
    authority="give the certificate of its authority with --ca-file FILE or SSL_CERT_FILE",
)


class Unavailable(EnvironmentFault):
    """The server cannot answer now; the same question may be asked again."""


class Unreachable(Unavailable):
    """Nothing listens at the address, or nobody knows it."""


class ServerError(Unavailable):
    """Kubeflow Pipelines itself answered 500: its database may be down, or the request may never work."""


class Conflict(EnvironmentFault):
    """A thing of that name is there already."""


class NotLoggedIn(EnvironmentFault):
    """No credentials, or expired ones."""


class WebPage(Exception):  # noqa: N818 - it becomes NotLoggedIn
    """A page for people came where JSON was expected."""


@contextlib.contextmanager
def reaching(host: str) -> Iterator[None]:
    """Run a block that talks to Kubeflow Pipelines at ``host``, and say in one sentence what failed.

    Raises:
        InputError: The server does not take a value.
        Unavailable: It may be asked again.
        NotLoggedIn: It does not know who asks.
        EnvironmentFault: Everything else.
    """
    import requests
    import urllib3
    from kfp_server_api import ApiException

    try:
        yield
    except ParaK8sError:
        raise
    except ApiException as error:
        raise _answered(error, host) from shown_cause(error)
    except WebPage as error:
        message = f"{host} answers with a web page: not logged in, or the address lacks its path /pipeline; {WAYS_IN}"
        raise NotLoggedIn(message) from error
    except (urllib3.exceptions.HTTPError, requests.RequestException, socket.gaierror, ConnectionError) as error:
        raise unanswered(error, f"Kubeflow Pipelines at {redacted(host)}", _ADVICE) from shown_cause(error)
    except OSError as error:
        raise from_os_error(error) from error


def unanswered(error: BaseException, where: str, advice: Advice) -> EnvironmentFault:
    """Return what it means that no answer came from ``where``."""
    import requests
    import urllib3

    chain = [*_chain(error)]
    if any(
        isinstance(cause, ssl.SSLError | urllib3.exceptions.SSLError | requests.exceptions.SSLError) for cause in chain
    ):
        reason = next((cause.verify_message for cause in chain if isinstance(cause, ssl.SSLCertVerificationError)), "")
        fix = advice.authority
        if any("WRONG_VERSION_NUMBER" in str(cause) for cause in chain):
            reason, fix = "it does not speak TLS", "write http:// instead of https://"
        return EnvironmentFault(f"{where}: no secure connection{f': {reason}' if reason else ''}; {fix}")
    if any(isinstance(cause, ConnectionRefusedError) for cause in chain):
        return Unreachable(f"{where}: connection refused; {advice.refused}")
    if any(isinstance(cause, socket.gaierror | urllib3.exceptions.NameResolutionError) for cause in chain):
        return Unreachable(f"{where}: no such host; {advice.unknown}")
    timeouts = (TimeoutError, urllib3.exceptions.TimeoutError, requests.Timeout)
    if any(isinstance(cause, timeouts) for cause in chain):
        return Unavailable(f"{where}: no answer in time")
    return Unavailable(f"{where}: the connection broke")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what caused it, also where urllib3 hides that in ``reason``."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        cause = waiting.pop()
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]


def _answered(error: ApiException, host: str) -> ParaK8sError:
    """Return what an answer means that is no success."""
    where, words = f"Kubeflow Pipelines at {redacted(host)}", server_words(error.body)
    status = error.status or 0
    # The server wraps mistakes of the user into errors of its own, with the status 500.
    if status == 400 or (status == 500 and re.search(r"invalid ?input ?error", words, re.IGNORECASE)):
        return InputError(f"{where} does not take it: {words or 'it gave no reason'}")
    if status in (301, 302, 303, 307, 308):
        return _redirected(where, str((error.headers or {}).get("Location", "")))
    if status == 401:
        return NotLoggedIn(f"{where} does not know you (401): no credentials, or expired ones; {WAYS_IN}")
    if status == 403:
        return EnvironmentFault(f"{where}: {_forbidden(words)}")
    if status == 404:
        hint = "is it version 2, and does the address need its path /pipeline?"
        return EnvironmentFault(f"{where} has no such thing (404): {words or hint}")
    if status == 409:
        return Conflict(f"{where}: a thing of that name is there already (409): {words}")
    message = f"{where} answered {status or 'nothing it could mean'}{f': {words}' if words else ''}"
    if status == 500 and _json(error.body):
        return ServerError(message)
    return Unavailable(message) if status in (408, 429) or status >= 500 else EnvironmentFault(message)


def _redirected(where: str, location: str) -> ParaK8sError:
    path = location.partition("?")[0]
    if re.search(r"/(dex|oauth2|login|auth|authservice)\b", path):
        return NotLoggedIn(f"{where} sends you to its login page: no credentials, or expired ones; {WAYS_IN}")
    address = redacted(path).partition("/apis/")[0] or "another address"
    return InputError(f"{where} has moved: give --host {address}")


def _forbidden(words: str) -> str:
    """Say who may not do what in which namespace, as far as the server does."""
    user = re.search(r"User '(.+?)' is not authorized", words)
    what = dict(re.findall(r"\b(Namespace|Verb|Resource):([\w.-]+)", words))
    if user and {"Namespace", "Verb", "Resource"} <= what.keys():
        namespace = what["Namespace"]
        return (
            f"{user[1]} may not {what['Verb']} {what['Resource']} in the namespace {namespace} (403); ask for the role "
            f"of a contributor there, or give another --namespace"
        )
    if "RBAC: access denied" in words or not words:
        return (
            "the gateway lets nobody through who does not say who they are (403): outside of the cluster "
            f"{WAYS_IN}; inside, the pod needs the label access-ml-pipeline: 'true'"
        )
    return f"not allowed (403): {words}; ask for the role of a contributor, or give another --namespace"


def server_words(body: Any) -> str:
    """Return what a server says in the body of an error, on one line and without secrets."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    answer = _json(text)
    if answer:
        text = next((str(answer[key]) for key in ("message", "error", "error_message") if answer.get(key)), "")
        if answer.get("error_details") and str(answer["error_details"]) not in text:
            text = f"{text}: {answer['error_details']}" if text else str(answer["error_details"])
    elif "<html" in text.lower():
        text = ""
    line = redacted(" ".join(text.split()))
    line = re.sub(r"(?i)\b(bearer|basic) [\w.~+/=-]+", r"\1 ***", line)
    return line if len(line) <= SHOWN else f"{line[:SHOWN]} …"


def _json(body: Any) -> dict[str, Any]:
    try:
        value = json.loads(body or "")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def shown_cause(error: Exception) -> Exception | None:
    """Return the error for the traceback of --debug, unless its text may hold a password, a token or a cookie."""
    text = str(error)
    return error if redacted(text) == text and not re.search(r"(?i)cookie|bearer|password", text) else None
