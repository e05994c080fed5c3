"""The graphs: what runs after what.

No postponed annotations here: KFP reads the types of a pipeline's parameters from its signature.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from parak8s.components.calibrate import calibrate
from parak8s.components.configure import configure
from parak8s.components.distributed_train import distributed_train
from parak8s.components.evaluate import evaluate
from parak8s.components.gate import gate
from parak8s.components.ingest import ingest
from parak8s.components.keep_best import keep_best
from parak8s.components.outcome import outcome
from parak8s.components.points import points as name_points
from parak8s.components.record import record
from parak8s.components.register import register
from parak8s.components.report import report
from parak8s.components.train import train
from parak8s.components.tune import tune
from parak8s.experiment import Compute
from parak8s.pipelines.resources import of_the_job, place


def experiment_pipeline(
    name: str, text: str, overrides: str, compute: Compute, own_code: Sequence[Callable[..., Any]] = ()
) -> BaseComponent:
    """Return the pipeline of one experiment.

    ingest -> train -> calibrate -> evaluate -> gate -> report -> register if the gate passed, else record.

    Args:
        name: Of the pipeline.
        text: Experiment file that the run form shows first.
        overrides: Overrides that it shows first.
        compute: What the tasks get. It is fixed in the compiled pipeline, whatever the run's text says.
        own_code: Components that bring modules of the user's own along, see :func:`own_code.carriers_of`.
    """
    placed = partial(place, compute=compute)

    @dsl.pipeline(name=name, description=f"The experiment {name}: from its data to a registered model.")
    def pipeline(experiment: str = text, overrides: str = overrides) -> None:
        with dsl.ExitHandler(placed(outcome(experiment=experiment, overrides=overrides)), name="experiment"):
            code = _brought_along(placed, own_code)
            _point(placed, compute, code, experiment=experiment, overrides=overrides)

    return pipeline


def search_pipeline(
    name: str, text: str, overrides: str, compute: Compute, own_code: Sequence[Callable[..., Any]] = ()
) -> BaseComponent:
    """Return the pipeline that searches the space of an experiment and goes on with the best point.

    tune -> configure -> ingest -> train and so on, as :func:`experiment_pipeline`.

    Args:
        name: Of the pipeline.
        text: Experiment file with a section ``search`` that the run form shows first.
        overrides: Overrides that it shows first.
        compute: What each task and each trial gets.
        own_code: Components that bring modules of the user's own along, see :func:`own_code.carriers_of`.
    """
    placed = partial(place, compute=compute)

    @dsl.pipeline(name=name, description=f"A search by the experiment {name}, and its best point as its model.")
    def pipeline(experiment: str = text, overrides: str = overrides) -> None:
        with dsl.ExitHandler(placed(outcome(experiment=experiment, overrides=overrides)), name="search"):
            code = _brought_along(placed, own_code)
            given = {"experiment": experiment, "overrides": overrides, **code}
            best = placed(tune(compute=of_the_job(compute), **given)).outputs["best"]
            _point(placed, compute, code, experiment=best)

    return pipeline


def sweep_pipeline(
    name: str,
    text: str,
    overrides: str,
    points: str,
    compute: Compute,
    own_code: Sequence[Callable[..., Any]] = (),
    *,
    monitor: str,
    parallelism: int,
) -> BaseComponent:
    """Return the pipeline that trains named points of one experiment and goes on with the best of them.

    Args:
        name: Of the pipeline.
        text: Experiment file that the run form shows first.
        overrides: Overrides that it shows first.
        points: YAML with the points that it shows first; see :func:`parak8s.sweep.read_points`.
        compute: What each task gets.
        own_code: Components that bring modules of the user's own along, see :func:`own_code.carriers_of`.
        monitor: Value of an epoch by which the best point is chosen.
        parallelism: Points that train at the same time.
    """
    placed = partial(place, compute=compute)

    @dsl.pipeline(name=name, description=f"Points of the experiment {name}, and the best of them as its model.")
    def pipeline(
        experiment: str = text, overrides: str = overrides, points: str = points, monitor: str = monitor
    ) -> None:
        with dsl.ExitHandler(placed(outcome(experiment=experiment, overrides=overrides)), name="sweep"):
            code = _brought_along(placed, own_code)
            known = placed(configure(experiment=experiment, overrides=overrides, **code)).outputs
            given = {"experiment": known["experiment"], "settings": known["train"], **code}
            named = placed(name_points(points=points, monitor=monitor, **given))
            dataset = placed(ingest(settings=known["ingest"], **code)).outputs["dataset"]
            items, base = named.outputs["Output"], named.outputs["base"]
            with dsl.ParallelFor(items, name="points", parallelism=parallelism) as point:
                trained = placed(_train(compute, base=base, dataset=dataset, overrides=point.overrides, **code))
            swept = {"points": items, "monitor": monitor, "trained": dsl.Collected(trained.outputs["training"])}
            best = placed(keep_best(experiment=known["experiment"], digest=known["digest"], **swept, **code))
            _release(placed, best.outputs, dataset, best.outputs["training"], code)

    return pipeline


def _point(placed: Callable[[Any], Any], compute: Compute, code: Mapping[str, Any], **configured: Any) -> None:
    """Take one point from its data to a registered model; ``configured`` are the inputs of configure."""
    known = placed(configure(**configured, **code)).outputs
    dataset = placed(ingest(settings=known["ingest"], **code)).outputs["dataset"]
    trained = placed(_train(compute, settings=known["train"], dataset=dataset, **code))
    _release(placed, known, dataset, trained.outputs["training"], code)


def _train(compute: Compute, **inputs: Any) -> Any:
    """Return the task that trains: in its own pod, or in a job of several replicas."""
    return distributed_train(compute=of_the_job(compute), **inputs) if compute.distributed else train(**inputs)


def _brought_along(placed: Callable[[Any], Any], carriers: Sequence[Callable[..., Any]]) -> dict[str, Any]:
    """Return the argument ``code`` of the other tasks; nothing without code of the user's own."""
    code: dict[str, Any] = {}
    for carrier in carriers:
        before = {"before": code["code"]} if code else {}
        code = {"code": placed(carrier(**before)).outputs["code"]}
    return code


def _release(
    placed: Callable[[Any], Any], known: Mapping[str, Any], dataset: Any, training: Any, code: Mapping[str, Any]
) -> None:
    """Calibrate a trained network, measure and judge it, and register what the gate lets through."""
    point = {name: known[name] for name in ("experiment", "fingerprint", "digest")}
    model = placed(calibrate(settings=known["calibrate"], dataset=dataset, training=training, **code)).outputs["model"]
    measured = placed(evaluate(settings=known["evaluate"], dataset=dataset, model=model, **code)).outputs["evaluation"]
    judged = placed(gate(experiment=known["experiment"], dataset=dataset, evaluation=measured, **code))
    made = {"dataset": dataset, "training": training, "model": model, "evaluation": measured}
    run = {**point, **made, "verdict": judged.outputs["verdict"], **code}
    page = placed(report(**run)).outputs["page"]
    job = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    with dsl.If(judged.outputs["Output"] == True, name="passed"):  # noqa: E712 - KFP reads the comparison
        placed(register(job=job, page=page, **run))
    with dsl.Else(name="refused"):
        placed(record(job=job, page=page, **run))
