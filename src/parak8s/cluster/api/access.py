"""Finds the cluster and who asks it: a kubeconfig and its context, or the account of the pod that this runs in."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from parak8s.cluster.connection import proxy_for
from parak8s.errors import InputError, nearest
from parak8s.secrets import redacted

if TYPE_CHECKING:
    from kubernetes.client import Configuration

ACCOUNT = "kubernetes.io/serviceaccount"
"""Below the folder of mounts: what Kubernetes gives to the account of a pod."""


@dataclass(frozen=True)
class Access:
    """A cluster, as whom, and the namespace to work in.

    Args:
        configuration: Of Kubernetes' client.
        namespace: Where the jobs are.
    """

    configuration: Configuration
    namespace: str

    @property
    def host(self) -> str:
        """Address of the server."""
        return str(self.configuration.host)


def find_access(
    context: str | None, namespace: str | None, *, environment: Mapping[str, str] = os.environ, mounts: Path
) -> Access:
    """Return the access that options, environment and pod name; options come first.

    A pod's own account is used inside a cluster, unless a context or KUBECONFIG is given.

    Args:
        context: Of the kubeconfig; None for its current one.
        namespace: None for that of the context, else that of the pod, else ``default``, as kubectl has it.
        environment: Variables.
        mounts: Where Kubernetes puts what a pod is told about itself.

    Raises:
        InputError: There is no cluster, no such context, or a file that cannot be read.
    """
    import urllib3
    from kubernetes.client import Configuration

    configuration = Configuration()
    account = mounts / ACCOUNT
    in_pod = "KUBERNETES_SERVICE_HOST" in environment and (account / "token").is_file()
    if in_pod and context is None and "KUBECONFIG" not in environment:
        own = _use_account(configuration, account, environment)
    else:
        own = _use_kubeconfig(configuration, context, environment)
    # Whether to ask again is decided where it is known what was asked; urllib3 would ask at once, and log it.
    configuration.retries = urllib3.Retry(0, raise_on_redirect=False)
    configuration.proxy = proxy_for(configuration.host)
    return Access(configuration, namespace or own or "default")


def _use_account(configuration: Configuration, account: Path, environment: Mapping[str, str]) -> str | None:
    """Fill in the account of this pod, whose token is read again every minute; return the pod's namespace."""
    from kubernetes.config.config_exception import ConfigException
    from kubernetes.config.incluster_config import InClusterConfigLoader

    try:
        InClusterConfigLoader(
            token_filename=str(account / "token"), cert_filename=str(account / "ca.crt"), environ=environment
        ).load_and_set(configuration)
    except (ConfigException, OSError) as error:
        raise InputError(f"the account of this pod in {account} cannot be used: {error}") from error
    file = account / "namespace"
    return file.read_text(encoding="utf-8").strip() or None if file.is_file() else None


def _use_kubeconfig(configuration: Configuration, context: str | None, environment: Mapping[str, str]) -> str | None:
    """Fill in what the kubeconfig says; return the namespace of the context."""
    import yaml
    from kubernetes.config import list_kube_config_contexts, load_kube_config
    from kubernetes.config.config_exception import ConfigException

    paths = environment.get("KUBECONFIG") or str(Path(environment.get("HOME") or Path.home(), ".kube/config"))
    if not any(Path(path).is_file() for path in paths.split(os.pathsep)):
        raise InputError(
            f"no cluster: there is no kubeconfig {paths}; save the one that your cluster gives you there or name it in "
            "KUBECONFIG (kubectl get pods must work), or train here with --engine local"
        )
    try:
        contexts, current = list_kube_config_contexts(paths)
        names = [each["name"] for each in contexts]
        if context is not None and context not in names:
            raise InputError(f"--context {context!r}: {paths} has no such context; {nearest(context, names)}")
        with _overheard() as said:
            load_kube_config(paths, context, configuration, persist_config=False)
    except (ConfigException, yaml.YAMLError, OSError, KeyError, TypeError) as error:
        raise InputError(f"the kubeconfig {paths} cannot be used: {redacted(str(error))}") from None
    chosen = current if context is None else contexts[names.index(context)]
    if said:
        raise InputError(f"the login of the context {chosen['name']} failed: {redacted(' '.join(said))}")
    found: str | None = chosen["context"].get("namespace")
    return found


@contextlib.contextmanager
def _overheard() -> Iterator[list[str]]:
    """Yield what Kubernetes' client logs where it ought to raise: that a program for the login failed."""
    said: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: said.append(" ".join(record.getMessage().split()))  # type: ignore[method-assign]
    root = logging.getLogger()
    handlers = root.handlers[:]
    root.handlers[:] = [handler]
    try:
        yield said
    finally:
        root.handlers[:] = handlers
