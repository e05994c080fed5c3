"""Turns whatever can go wrong on the way to Kubernetes into one readable sentence."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from parak8s.cluster.faults import (
    Advice,
    Conflict,
    NotLoggedIn,
    ServerError,
    Unavailable,
    server_words,
    shown_cause,
    unanswered,
)
from parak8s.errors import EnvironmentFault, InputError, ParaK8sError, from_os_error
from parak8s.secrets import redacted

if TYPE_CHECKING:
    from kubernetes.client import ApiException

_ADVICE = Advice(
    refused="does the cluster run, and is it the right --context? kubectl get pods must work",
    unknown="check the address in the kubeconfig, or give another --context",
    authority="the kubeconfig must name the certificate of its authority (certificate-authority)",
)
_FORBIDDEN = re.compile(
    r'User "(?P<user>[^"]+)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]+)")?'
)


class NotFound(EnvironmentFault):
    """There is no object of that name."""


class NoSuchKind(EnvironmentFault):
    """The cluster does not know objects of that kind."""


class Forbidden(EnvironmentFault):
    """The account may not do that."""


class Expired(EnvironmentFault):
    """The server no longer knows the version from which it shall tell changes (410 Gone)."""


@contextlib.contextmanager
def reaching(host: str, missing: str = "does not know that kind of object (404)") -> Iterator[None]:
    """Run a block that talks to the Kubernetes at ``host``, and say in one sentence what failed.

    Args:
        host: Address.
        missing: What it means that the cluster does not know the kind that is asked for; reads on after its address.

    Raises:
        InputError: The server does not take a value.
        Unavailable: It may be asked again.
        EnvironmentFault: Everything else; :class:`NotFound`, :class:`Forbidden`, :class:`Expired`, :class:`Conflict`
            and :class:`NotLoggedIn` where one may want to know.
    """
    import urllib3
    from kubernetes.client import ApiException

    where = f"Kubernetes at {redacted(host)}"
    try:
        yield
    except ParaK8sError:
        raise
    except ApiException as error:
        fault = _answered(error, where, missing) if error.status else unanswered(error, where, _ADVICE)
        raise fault from shown_cause(error)
    except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        raise unanswered(error, where, _ADVICE) from shown_cause(error)
    except OSError as error:
        raise from_os_error(error) from error


def _answered(error: ApiException, where: str, missing: str) -> ParaK8sError:
    """Return what an answer means that is no success."""
    status, words = error.status, server_words(error.body)
    if status in (400, 422) or "denied the request" in words:  # the latter by an admission webhook, often with 403
        return InputError(f"{where} does not take it: {words or 'it gave no reason'}")
    if status == 401:
        fix = "log in to the cluster again, kubectl get pods must work"
        return NotLoggedIn(f"{where} does not know you (401): no credentials, or expired ones; {fix}")
    if status == 403:
        return Forbidden(_forbidden(words))
    if status == 404:
        known = _is_json(error.body)
        return NotFound(f"{where} has no such thing (404): {words}") if known else NoSuchKind(f"{where} {missing}")
    if status == 409:
        return Conflict(f"{where}: a thing of that name is there already (409): {words}")
    message = f"{where} answered {status}{f': {words}' if words else ''}"
    if status == 410:
        return Expired(message)
    if status == 500:
        return ServerError(message)
    return Unavailable(message) if status in (408, 429) or status > 500 else EnvironmentFault(message)


def _forbidden(words: str) -> str:
    """Say who may not do what, and who can change that."""
    if "exceeded quota" in words:
        return f"the namespace's quota does not let it in (403): {words}; ask for less, or for a larger quota"
    if found := _FORBIDDEN.search(words):
        kind = f"{found['resource']}.{found['group']}" if found["group"] else found["resource"]
        place = f"in the namespace {found['namespace']}" if found["namespace"] else "in the cluster"
        return (
            f"{found['user']} may not {found['verb']} {kind} {place} (403); ask for the role kubeflow-edit there, or "
            "give another --namespace or --context"
        )
    return f"not allowed (403): {words or 'the server gave no reason'}; ask for the role kubeflow-edit"


def _is_json(body: str | bytes | None) -> bool:
    try:
        return isinstance(json.loads(body or ""), dict)
    except ValueError:
        return False
