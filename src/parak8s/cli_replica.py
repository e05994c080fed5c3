"""The command that a replica of a TFJob runs. Registered by :mod:`parak8s.cli`."""

import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from parak8s.cli_endings import report_error
from parak8s.errors import InputError, ParaK8sError, from_os_error

if TYPE_CHECKING:
    from parak8s.layout import Layout

REFUSAL = "the gate said no; its reasons are in gate/verdict.json"
UNLIKE = "many workers did not train what one trains; training/certificate.json has the losses side by side"
"""What a leader says at the end, for whoever follows its log."""


def replica(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Its text.", show_default=False)],
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="DIR", help="Folder that all replicas see, or s3://bucket/DIR.")
    ],
    only: Annotated[str | None, typer.Option(metavar="train", help="Train the dataset in DIR, and no more.")] = None,
    certify: Annotated[bool, typer.Option("--certify", help="Train on one worker too, and compare.")] = False,
) -> None:
    """Take part in a run as the replica that TF_CONFIG names; TFJobs call it."""
    from parak8s.training import heap

    heap.keep()  # before NumPy, which has threads
    from parak8s import console, loading, workplace
    from parak8s.replica import take_part

    # The first process of a container gets no signal that it does not ask for.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    code = 0
    try:
        if only not in (None, "train"):
            raise InputError(f"--only {only}: replicas meet for the training alone; write train")
        with workplace.opened(output) as place:
            with console.Console() as screen:
                take_part(
                    loading.parse(experiment, "the experiment"), place,
                    narrator=screen, observers=[screen], train_only=only == "train", certify=certify,
                )  # fmt: skip
            _tell_outcome(place.layout, certify=certify)
    except (ParaK8sError, OSError) as error:
        code = report_error(error if isinstance(error, ParaK8sError) else from_os_error(error), error)
    except Exception as error:
        code = report_error(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # TensorFlow's threads wait for peers that may be gone


def _tell_outcome(layout: "Layout", *, certify: bool) -> None:
    """Say so when the gate or the certificate said no: the job has succeeded all the same."""
    from parak8s import files
    from parak8s.team import Team

    team = Team.from_environment()
    if team is not None and not team.leads:
        return
    told = {layout.gate / "verdict.json": REFUSAL} | ({layout.certificate: UNLIKE} if certify else {})
    for path, words in told.items():
        if path.is_file() and not files.read_json(path)["passed"]:
            typer.echo(words)
