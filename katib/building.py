"""From an experiment to the Katib Experiment that searches its space: one object for a cluster and for a laptop."""

from __future__ import annotations

import posixpath
from typing import Any

from parak8s import loading
from parak8s.experiment import Experiment, Objective, Search, algorithms, documents
from parak8s.experiment.search import TrialStopping
from parak8s.katib import checks, trials
from parak8s.katib.objects import (
    AlgorithmSpec,
    EarlyStoppingSpec,
    ExperimentSpec,
    KatibExperiment,
    MetricStrategy,
    NamedValue,
    ObjectiveSpec,
    TrialParameter,
    TrialTemplate,
)
from parak8s.katib.parameters import parameter_spec, trial_parameters
from parak8s.tfjobs import checks as job_checks
from parak8s.tfjobs.building import database, replicas_of
from parak8s.tfjobs.objects import Metadata
from parak8s.tfjobs.pods import IN_A_POD, Pods

_CONDITION = 'status.conditions.#(type=="{}")#|#(status=="True")#'


def katib_experiment(
    experiment: Experiment, *, namespace: str | None = None, name: str | None = None, on_cluster: bool = True
) -> dict[str, Any]:
    """Return the Experiment (``kubeflow.org/v1beta1``) of a file's section ``search``; nothing is sent anywhere.

    Each trial is a Job of one pod, or a TFJob where ``compute`` asks for several replicas, and trains one point by
    ``parak8s step trial``. The same experiment gives the same object, as plain JSON values.

    Args:
        experiment: Complete, as :func:`parak8s.loading.load` returns it: each trial has its text in a variable.
        namespace: Of the Experiment; None leaves it to whoever creates it.
        name: Of the Experiment; None: the experiment's.
        on_cluster: False leaves out what is about a cluster alone: no queue holds a trial, home is where it is, and
            neither an image nor a shared volume is missed.

    Raises:
        InputError: There is no section ``search``; Katib cannot have the name or start the command; several replicas
            share no volume; a value holds a password; code of the user's own is in no image; or the object is larger
            than Kubernetes and Linux take.
    """
    search, name = checks.search_of(experiment), name or experiment.name
    settings = algorithms.completed(search.algorithm, search.settings, experiment.seed)
    text, axes = _text_of_a_trial(experiment), loading.axes(experiment)
    checkpoints = settings.get("suggestion_trial_dir")
    _refuse(experiment, name, text, checkpoints)
    if on_cluster:
        _refuse_unreachable(experiment, name)
    checks.refuse_shell(axes)
    parameters = trial_parameters([axis.name for axis in axes])
    command = _command(name, parameters, checkpoints)
    checks.refuse_shell_words(command)
    labels = {"app.kubernetes.io/name": "parak8s", "app.kubernetes.io/instance": experiment.name}
    variables = {**(IN_A_POD | database(experiment) if on_cluster else {}), checks.VARIABLE: text}
    pods = Pods(experiment.compute, command, labels, variables)
    built = KatibExperiment(
        metadata=Metadata(name=name, namespace=namespace, labels=labels),
        spec=ExperimentSpec(
            objective=_objective(search.objective),
            algorithm=AlgorithmSpec(algorithm_name=search.algorithm, algorithm_settings=_named(settings)),
            early_stopping=_stopping(search.early_stopping),
            parallel_trial_count=search.parallel,
            max_trial_count=search.trials,
            max_failed_trial_count=search.max_failed,
            resume_policy=search.resume,
            parameters=tuple(parameter_spec(axis) for axis in axes),
            trial_template=_template(experiment, search, pods, parameters, on_cluster=on_cluster),
        ),
    ).manifest()
    job_checks.refuse_large_object(built, "the Experiment")
    return built


def _text_of_a_trial(experiment: Experiment) -> str:
    """Return the file that trials read: of its section search they need the metrics that they print, and no more.

    So the number of trials may change, and they stay what they were: that is how Katib goes on with a search.
    """
    search = checks.search_of(experiment)
    asked = Search(objective=search.objective, parameters=search.parameters, trials=1)
    return documents.dump(experiment.model_copy(update={"search": asked}).canonical())


def _refuse(experiment: Experiment, name: str, text: str, checkpoints: str | None) -> None:
    compute = experiment.compute
    checks.refuse_name(name, experiment)
    checks.refuse_long_text(text)
    checks.refuse_placeholders(text)
    job_checks.refuse_passwords(experiment, "an Experiment")
    job_checks.refuse_reserved(compute)
    checks.refuse_reserved(compute, [checks.METRICS, *([posixpath.normpath(checkpoints)] if checkpoints else [])])


def _refuse_unreachable(experiment: Experiment, name: str) -> None:
    """Refuse what pods of a cluster would not find."""
    compute = experiment.compute
    job_checks.refuse_missing_code(experiment, "a trial")
    job_checks.refuse_lost_tracking(experiment)
    if compute.distributed:
        replicas = sum(replicas_of(compute).values())
        checks.refuse_store(compute)
        job_checks.refuse_unshared(compute, job_checks.default_directory(compute, name), replicas)


def _command(name: str, parameters: tuple[TrialParameter, ...], checkpoints: str | None) -> tuple[str, ...]:
    """Return the words of a trial. Katib joins them for a shell, and puts the values where the placeholders stand."""
    trial, *values = parameters
    point = [part for each in values for part in ("-s", f"{each.reference}=${{trialParameters.{each.name}}}")]
    # Katib mounts the trial's own folder there: the one that its service made, from that of the trial's parent
    handed_on = ["--checkpoint", checkpoints] if checkpoints else []
    named = ["--name", f"${{trialParameters.{trial.name}}}", "--search", name]
    return ("parak8s", "step", "trial", *named, *handed_on, *point)


def _objective(objective: Objective) -> ObjectiveSpec:
    best = {"maximize": "max", "minimize": "min"}[objective.type]
    others = {name: "min" if name.endswith("loss") else "max" for name in objective.additional}
    strategies = {objective.metric: best, **others}
    return ObjectiveSpec(
        type=objective.type,
        goal=objective.goal,
        objective_metric_name=objective.metric,
        additional_metric_names=objective.additional or None,
        metric_strategies=tuple(
            MetricStrategy(name=name, value=value)  # type: ignore[arg-type]
            for name, value in strategies.items()
        ),
    )


def _named(settings: dict[str, str]) -> tuple[NamedValue, ...]:
    return tuple(NamedValue(name=name, value=value) for name, value in settings.items())


def _stopping(stopping: TrialStopping | None) -> EarlyStoppingSpec | None:
    if stopping is None:
        return None
    settings = {"min_trials_required": stopping.min_trials_required, "start_step": stopping.start_step}
    named = _named({name: str(value) for name, value in settings.items()})
    return EarlyStoppingSpec(algorithm_name=stopping.algorithm, algorithm_settings=named)


def _template(
    experiment: Experiment, search: Search, pods: Pods, parameters: tuple[TrialParameter, ...], *, on_cluster: bool
) -> TrialTemplate:
    if experiment.compute.distributed:
        return TrialTemplate(
            primary_container_name="tensorflow",
            primary_pod_labels={"training.kubeflow.org/job-role": "master"},
            success_condition=_CONDITION.format("Succeeded"),
            failure_condition=_CONDITION.format("Failed"),
            trial_parameters=parameters,
            trial_spec=trials.tfjob(experiment, search, pods, on_cluster=on_cluster),
        )
    return TrialTemplate(
        primary_container_name="training",
        success_condition=_CONDITION.format("Complete"),
        failure_condition=_CONDITION.format("Failed"),
        trial_parameters=parameters,
        trial_spec=trials.job(experiment, search, pods, on_cluster=on_cluster),
    )
