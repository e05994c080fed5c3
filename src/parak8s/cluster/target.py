"""Says which server of Kubeflow Pipelines is meant, and who asks: from options, environment and pod."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from parak8s.cluster.faults import PORT_FORWARD
from parak8s.cluster.login import Credentials
from parak8s.errors import EnvironmentFault, InputError

MOUNTS = Path("/var/run/secrets")
"""Where Kubernetes puts what a pod is told about itself."""
IN_CLUSTER = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
"""The address inside a cluster, as kfp has it."""


@dataclass(frozen=True)
class Target:
    """A server of Kubeflow Pipelines, and how to be let in. :meth:`find` puts one together.

    Args:
        host: Address up to, and without, ``/apis``; with ``http://`` or ``https://``.
        namespace: Of the user's profile; None where the server has no users.
        token_file: Holds a token, and is read again for every request.
        credentials: For the login page.
        ca_file: Certificates of the authorities to trust, PEM; None for those of kfp.
        dashboard: Address of the dashboard; None for ``host``.
        timeout_s: How long one answer may take.
    """

    host: str
    namespace: str | None = None
    token_file: Path | None = None
    credentials: Credentials | None = None
    ca_file: Path | None = None
    dashboard: str | None = None
    timeout_s: float = 30

    @classmethod
    def find(
        cls,
        host: str | None = None,
        *,
        namespace: str | None = None,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        environment: Mapping[str, str] = os.environ,
        mounts: Path = MOUNTS,
    ) -> Target:
        """Return the target that the options and the environment name; options come first.

        Args:
            host: Else KF_PIPELINES_ENDPOINT, else the server of the cluster that this pod runs in.
            namespace: Else that of kfp's context file, else that of this pod.
            token_file: Else KF_PIPELINES_SA_TOKEN_PATH, else the token that this pod was given, else the login
                PARAK8S_USERNAME and PARAK8S_PASSWORD, else no credentials at all.
            ca_file: Else SSL_CERT_FILE, else REQUESTS_CA_BUNDLE.
            environment: Variables.
            mounts: See :data:`MOUNTS`.

        Raises:
            InputError: No address, or one without ``http://``; a file that is not there; a name without password.
        """
        in_cluster = (mounts / "kubernetes.io/serviceaccount/namespace").is_file()
        address = host or environment.get("KF_PIPELINES_ENDPOINT") or (IN_CLUSTER if in_cluster else None)
        token = token_file or _path(environment.get("KF_PIPELINES_SA_TOKEN_PATH"))
        mounted = mounts / "kubeflow/pipelines/token"
        token = token or (mounted if mounted.is_file() else None)
        authority = ca_file or _path(environment.get("SSL_CERT_FILE") or environment.get("REQUESTS_CA_BUNDLE"))
        dashboard = environment.get("KF_PIPELINES_UI_ENDPOINT") or ("/pipeline" if address == IN_CLUSTER else None)
        return cls(
            host=_address(address),
            namespace=namespace or _context_namespace(environment) or _pod_namespace(mounts),
            token_file=_existing(token, "token file"),
            credentials=None if token else _credentials(environment),
            ca_file=_existing(authority, "certificate file"),
            dashboard=dashboard.rstrip("/") if dashboard else None,
        )

    def page(self, path: str) -> str:
        """Return the address of a page of the dashboard, such as ``runs/details/ID``."""
        base = self.dashboard or self.host
        if base.endswith("/pipeline") and self.namespace:  # the pages of Kubeflow's own dashboard frame those of KFP
            return f"{base.removesuffix('/pipeline')}/_/pipeline/?ns={self.namespace}#/{path}"
        return f"{base}/#/{path}"


def _address(address: str | None) -> str:
    if address is None:
        raise InputError(
            "no address of Kubeflow Pipelines: give --host or set KF_PIPELINES_ENDPOINT; without an address that is "
            f"reachable from here: {PORT_FORWARD}, then --host http://localhost:8080"
        )
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"the address {address!r} of Kubeflow Pipelines: write http://HOST or https://HOST")
    if parts.username or parts.password:
        raise InputError(
            "the address of Kubeflow Pipelines holds a password: set PARAK8S_USERNAME and PARAK8S_PASSWORD"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').partition('/apis')[0]}"


def _credentials(environment: Mapping[str, str]) -> Credentials | None:
    username, password = environment.get("PARAK8S_USERNAME"), environment.get("PARAK8S_PASSWORD")
    if bool(username) != bool(password):
        missing = "PARAK8S_PASSWORD" if username else "PARAK8S_USERNAME"
        raise InputError(f"{missing} is not set: the login page needs a name and a password")
    return Credentials(username, password) if username and password else None


def _context_namespace(environment: Mapping[str, str]) -> str | None:
    """Return the namespace that kfp remembers."""
    context = Path(environment.get("HOME") or Path.home(), ".config/kfp/context.json")
    try:
        namespace = json.loads(context.read_text(encoding="utf-8")).get("namespace")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise EnvironmentFault(f"{context}: kfp's settings cannot be read; mend or delete the file") from error
    return str(namespace) if namespace else None


def _pod_namespace(mounts: Path) -> str | None:
    file = mounts / "kubernetes.io/serviceaccount/namespace"
    return file.read_text(encoding="utf-8").strip() or None if file.is_file() else None


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _existing(path: Path | None, what: str) -> Path | None:
    if path is not None and not path.is_file():
        raise InputError(f"{path}: no such {what}")
    return path
