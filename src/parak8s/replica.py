"""One replica of a distributed run: the leader runs all steps, the others join it for the training."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from parak8s import files, provenance
from parak8s.experiment import Experiment
from parak8s.layout import Layout
from parak8s.rendezvous import Meeting, attend
from parak8s.run import Narrator, run
from parak8s.team import Team

if TYPE_CHECKING:
    from parak8s.training.distribution import Together
    from parak8s.training.fitting import Observer

START_S, HANG_S = 600.0, 600.0


def take_part(
    experiment: Experiment,
    root: Path,
    *,
    narrator: Narrator,
    observers: Sequence[Observer] = (),
    train_only: bool = False,
) -> None:
    """Do what TF_CONFIG says that this replica is there for; without TF_CONFIG, everything.

    Args:
        experiment: What to run.
        root: The run's directory, which all replicas see.
        narrator: Told of every step, where this is the leader.
        observers: Told of every training step and epoch.
        train_only: ``root`` holds a prepared ``dataset``: write ``training``, and nothing else.

    Raises:
        InputError: TF_CONFIG, the data or the file breaks a rule.
        PeerLost: Another replica is missing, or was lost.
        Interrupted: This replica, or another one, was asked to stop.
    """
    team = Team.from_environment()
    if team is None or team.leads:
        _lead(team, experiment, root, narrator, observers, train_only)
    elif team.role == "evaluator":
        return  # the leader measures; there is nothing left to do
    elif team.coordinated:
        _serve(team, experiment)
    else:
        _follow(team, experiment)


def _lead(
    team: Team | None,
    experiment: Experiment,
    root: Path,
    narrator: Narrator,
    observers: Sequence[Observer],
    train_only: bool,
) -> None:
    meets = team is not None and not team.coordinated
    with Meeting(team) if team is not None and meets else contextlib.nullcontext() as meeting:
        together = _together(team, meeting) if team is not None else None
        if train_only:
            _train(experiment, root, observers, together)
        else:
            run(experiment, root, narrator=narrator, observers=observers, together=together)


def _train(experiment: Experiment, root: Path, observers: Sequence[Observer], together: Together | None) -> None:
    from parak8s.steps.train import train

    layout = Layout(root)
    key = provenance.digest(provenance.identity(experiment))
    if layout.training.is_dir():
        return
    with files.folder(layout.training, resume=key) as partial:
        train(experiment, layout.dataset, partial, observers, together)


def _follow(team: Team, experiment: Experiment) -> None:
    from parak8s.steps.train import train
    from parak8s.training import determinism

    determinism.prepare(experiment)  # TensorFlow is there before the leader begins
    told = attend(team, START_S)
    if told["begin"]:
        train(experiment, Path(told["dataset"]), Path(told["training"]), together=_together(team, told=told))


def _serve(team: Team, experiment: Experiment) -> None:
    from parak8s.training import determinism

    determinism.prepare(experiment)
    from parak8s.training.devices import serve

    serve(team)


def _together(team: Team, meeting: Meeting | None = None, told: dict[str, object] | None = None) -> Together:
    from parak8s.training.distribution import Together

    return Together(team, START_S, HANG_S, meeting, told or {})
