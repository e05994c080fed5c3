"""One replica of a distributed run: the leader runs all steps, the others join it for the training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from parak8s import files, provenance
from parak8s.claims import HELD_S, refuse_edited, refuse_foreign
from parak8s.errors import InputError
from parak8s.experiment import Experiment
from parak8s.layout import Layout
from parak8s.rendezvous import Meeting, attend
from parak8s.restarts import counted
from parak8s.run import Narrator, run
from parak8s.steps.pretrained import as_begun
from parak8s.team import Team
from parak8s.tracking.placement import refuse_lost_here
from parak8s.training import determinism
from parak8s.workplace import Keeper, Workplace

if TYPE_CHECKING:
    from parak8s.training.distribution import Together
    from parak8s.training.fitting import Observer


def take_part(
    experiment: Experiment,
    workplace: Workplace,
    *,
    narrator: Narrator,
    observers: Sequence[Observer] = (),
    train_only: bool = False,
    certify: bool = False,
) -> None:
    """Do what TF_CONFIG says that this replica is there for; without TF_CONFIG, everything.

    Args:
        experiment: What to run.
        workplace: Where the run's directory is.
        narrator: Told of every step, where this is the leader.
        observers: Told of every training step and epoch.
        train_only: The directory holds a prepared ``dataset``: write ``training``, and nothing else.
        certify: Train on one worker too, and write how far the two are apart; see :mod:`parak8s.steps.certify`.

    Raises:
        InputError: TF_CONFIG, the data or the file breaks a rule.
        PeerLost: Another replica is missing, or was lost.
        Interrupted: This replica, or another one, was asked to stop.
    """
    team, layout = Team.from_environment(), workplace.layout
    if team is not None and not team.leads:
        determinism.prepare(experiment, together=True)  # TensorFlow is there before the replicas meet
        join(team, experiment, workplace)
        return
    if not train_only:  # then nothing is told to MLflow
        refuse_lost_here(experiment)
    with workplace.led():
        if not train_only:
            refuse_foreign(layout)
            refuse_edited(layout, as_begun(experiment, layout.experiment))
        if certify:
            refuse_late_certificate(layout)
        workplace.claim()
        with counted(layout, experiment):
            workplace.keep()  # that it has started
            if team is not None:
                determinism.prepare(experiment, together=True)
            keeper, act = Keeper(workplace, narrator), _train if train_only else _run
            with _leading_if_any(team, experiment, certify, workplace) as together:
                act(experiment, layout, keeper, [keeper, *observers], together)


def refuse_late_certificate(layout: Layout) -> None:
    """Refuse to certify what was trained without: the two trainings must begin alike, and with the same code.

    Raises:
        InputError: The folder holds a whole training without a certificate.
    """
    if layout.training.is_dir() and not layout.certificate.is_file():
        raise InputError(f"{layout.where}: was trained without --certify; give another folder with -o")


def join(team: Team, experiment: Experiment, workplace: Workplace) -> None:
    """Do the part of a replica that does not lead.

    Args:
        team: Of this replica.
        experiment: What is run.
        workplace: Where the leader trains.
    """
    if team.role == "evaluator":
        return  # the leader measures; there is nothing left to do
    if team.coordinated:
        _serve(team, experiment.compute.gpus)
    elif not workplace.is_trained():  # else this replica died at the very end, and the leader may be gone
        _follow(team, experiment, workplace)


@contextlib.contextmanager
def leading(
    team: Team, experiment: Experiment, *, certify: bool = False, ready: Callable[[], None] = lambda: None
) -> Iterator[Together]:
    """Yield what the leader's training needs to meet the others, who may come from now on.

    Args:
        team: Of this replica.
        experiment: What is run.
        certify: See :func:`take_part`.
        ready: Called before the others are told to begin.
    """
    with contextlib.ExitStack() as stack:
        meeting = stack.enter_context(Meeting(team)) if not team.coordinated else None
        yield _together(team, experiment, meeting, certify=certify, ready=ready)


@contextlib.contextmanager
def _leading_if_any(
    team: Team | None, experiment: Experiment, certify: bool, workplace: Workplace
) -> Iterator[Together | None]:
    if team is None:
        yield None
    else:
        with leading(team, experiment, certify=certify, ready=workplace.keep) as together:
            yield together


def _run(
    experiment: Experiment, layout: Layout, narrator: Narrator, observers: Sequence[Observer], together: Together | None
) -> None:
    begun = as_begun(experiment, layout.experiment)
    run(begun, layout.root, narrator=narrator, observers=observers, together=together, wait_s=HELD_S)


def _train(
    experiment: Experiment,
    layout: Layout,
    _narrator: Narrator,
    observers: Sequence[Observer],
    together: Together | None,
) -> None:
    from parak8s.steps.train import train

    if layout.training.is_dir():
        return  # it was whole when it got its name
    with files.folder(layout.training, resume=provenance.digest(provenance.identity(experiment))) as partial:
        train(experiment, layout.dataset, partial, observers, together)


def _follow(team: Team, experiment: Experiment, workplace: Workplace) -> None:
    from parak8s.steps.train import train

    workplace.expect()
    told = attend(team, experiment.compute.job.rendezvous_s)
    if told["begin"]:
        pinned = experiment.model.model_copy(update={"params": told["params"]})  # the leader may have resolved an alias
        experiment = experiment.model_copy(update={"model": pinned})
        together = _together(team, experiment, told=told)
        train(experiment, workplace.bring(told["dataset"]), workplace.bring(told["training"]), together=together)


def _serve(team: Team, gpus: int) -> None:
    from parak8s.training.devices import serve

    serve(team, gpus)


def _together(
    team: Team,
    experiment: Experiment,
    meeting: Meeting | None = None,
    told: dict[str, Any] | None = None,
    *,
    certify: bool = False,
    ready: Callable[[], None] = lambda: None,
) -> Together:
    from parak8s.training.distribution import Together

    job = experiment.compute.job
    return Together(team, job.rendezvous_s, job.peer_timeout_s, meeting, told or {}, certify, ready)
