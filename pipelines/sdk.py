"""Imports KFP's SDK without its client, which would take all models of Kubernetes along: over a second."""

import os

FLAG = "_KFP_RUNTIME"
"""KFP's own switch, which it sets in its pods."""


def import_without_client() -> None:
    """Import the package ``kfp`` and what makes pipelines; ``kfp.Client`` is not there afterwards.

    For processes of our own: in a user's notebook it would be missing.
    """
    before = os.environ.get(FLAG)
    os.environ[FLAG] = "true"
    try:
        import kfp
    finally:
        os.environ.pop(FLAG) if before is None else os.environ.update({FLAG: before})
    assert kfp
    from kfp import dsl

    assert dsl
