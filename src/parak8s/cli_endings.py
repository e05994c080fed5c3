"""How commands end: where the results are, what the gate said, what went wrong."""

import sys
import traceback
from typing import TYPE_CHECKING

import typer

from parak8s.errors import FAILED, GATE_REFUSED, ParaK8sError
from parak8s.secrets import redacted

if TYPE_CHECKING:
    from parak8s.layout import Layout


def conclude(layout: "Layout", *, judged: bool) -> None:
    """Print the verdict, if there can be a new one, and where everything is; leave with 3 if the gate said no."""
    from parak8s import console

    verdict = layout.gate / "verdict.json"
    refused = judged and verdict.is_file() and console.print_verdict(verdict)
    console.print_places(layout)
    if refused:
        raise typer.Exit(GATE_REFUSED)


def report_error(error: Exception, cause: Exception | None = None) -> int:
    """Say on stderr what went wrong, with a traceback if ``--debug`` is given; return the exit code."""
    known = isinstance(error, ParaK8sError)
    message = (
        str(error) if known else f"{type(error).__name__}: {error}\nThis is a bug in ParaK8s; --debug shows where."
    )
    if "--debug" in sys.argv:
        traceback.print_exception(cause or error)
    typer.echo(f"parak8s: {redacted(message)}", err=True)
    return error.exit_code if isinstance(error, ParaK8sError) else FAILED
