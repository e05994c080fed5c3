"""From an experiment to the TFJob that trains it on many workers: one object for a cluster and for a laptop."""

from typing import Any

from parak8s.experiment import Compute, Experiment, documents
from parak8s.experiment.compute import RESTARTS_EACH, is_store
from parak8s.tfjobs import checks
from parak8s.tfjobs.objects import Metadata, ReplicaSpec, Role, RunPolicy, SchedulingPolicy, TFJob, TFJobSpec
from parak8s.tfjobs.pods import IN_A_POD, Pods, literal

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"


def tfjob(
    experiment: Experiment,
    *,
    directory: str,
    namespace: str | None = None,
    name: str | None = None,
    certify: bool = False,
) -> dict[str, Any]:
    """Return the TFJob (``kubeflow.org/v1``) of a run, as plain JSON values; nothing is sent anywhere.

    Workers alone train synchronously, and worker 0 leads. With parameter servers a chief leads. The leader does the
    whole run in ``directory``; the others join it for the training. The same experiment gives the same object. What is
    about a cluster alone is left to :func:`cluster_tfjob`: no queue holds the job, and home is where it is.

    Args:
        experiment: Complete, as :func:`parak8s.loading.load` returns it: its text is an argument of every replica.
        directory: Where all replicas work: a folder that all of them reach under this path, or an address in an object
            store.
        namespace: Of the job; None leaves it to whoever creates it.
        name: Of the job; None: the experiment's.
        certify: The leader trains on one worker too, and stores how far the two are apart.

    Raises:
        InputError: No job can have that name, a value holds a password, sets what the operator sets, or the object is
            larger than Kubernetes and Linux take.
    """
    return _built(experiment, directory, namespace, name or experiment.name, on_cluster=False, certify=certify)


def _built(
    experiment: Experiment, directory: str, namespace: str | None, name: str, *, on_cluster: bool, certify: bool = False
) -> dict[str, Any]:
    compute, replicas = experiment.compute, replicas_of(experiment.compute)
    text = documents.dump(experiment.canonical())
    checks.refuse_name(name, replicas)
    checks.refuse_long_argument(text)
    checks.refuse_passwords(experiment)
    checks.refuse_reserved(compute)
    labels = {"app.kubernetes.io/name": "parak8s", "app.kubernetes.io/instance": experiment.name}
    command = ("parak8s", "replica", literal(text), "--output", literal(directory), *(["--certify"] * certify))
    pods = (
        Pods(compute, command, labels, IN_A_POD | database(experiment), compute.job.deadline_s)
        if on_cluster
        else Pods(compute, command, labels, {})
    )
    queue = {QUEUE_LABEL: compute.job.queue} if compute.job.queue and on_cluster else {}
    job = TFJob(
        metadata=Metadata(name=name, namespace=namespace, labels={**labels, **queue}),
        spec=TFJobSpec(
            run_policy=run_policy(compute, sum(replicas.values()), on_cluster=on_cluster),
            success_policy=compute.job.success_policy,
            tf_replica_specs={
                role: ReplicaSpec(replicas=count, restart_policy="ExitCode", template=pods.template(role))
                for role, count in replicas.items()
            },
        ),
    ).manifest()
    checks.refuse_large_object(job)
    return job


def cluster_tfjob(
    experiment: Experiment,
    *,
    directory: str | None = None,
    namespace: str | None = None,
    name: str | None = None,
    certify: bool = False,
) -> dict[str, Any]:
    """Return the TFJob for a cluster: as :func:`tfjob`, and what only a cluster needs is there.

    Args:
        experiment: As for :func:`tfjob`.
        directory: None: what is named after the job in ``compute.runs``, so that no two jobs of a namespace share
            one, and the same job goes on where it was; without ``compute.runs``, one replica works in its pod.
        namespace: As for :func:`tfjob`.
        name: As for :func:`tfjob`.
        certify: As for :func:`tfjob`.

    Raises:
        InputError: As for :func:`tfjob`; several replicas share no volume, code of the user's own is in no image, or
            MLflow's database would be lost with a pod.
    """
    replicas = replicas_of(experiment.compute)
    name = name or experiment.name
    directory = directory or checks.default_directory(experiment.compute, name)
    job = _built(experiment, directory, namespace, name, on_cluster=True, certify=certify)
    checks.refuse_unshared(experiment.compute, directory, sum(replicas.values()))
    checks.refuse_missing_code(experiment)
    checks.refuse_lost_tracking(experiment)
    return job


def database(experiment: Experiment) -> dict[str, str]:
    """Return where MLflow writes if nobody says so: beside the runs, since the working folder goes with the pod."""
    runs = experiment.compute.runs
    if runs is None or is_store(runs) or experiment.tracking.uri is not None:
        return {}
    return {"MLFLOW_TRACKING_URI": f"sqlite:///{runs}/mlflow.db"}


def replicas_of(compute: Compute) -> dict[Role, int]:
    """Return how many replicas of each role a job has, its leader's role first."""
    if compute.parameter_servers:
        return {"Chief": 1, "Worker": compute.workers, "PS": compute.parameter_servers}
    return {"Worker": compute.workers}


def run_policy(compute: Compute, replicas: int, *, on_cluster: bool) -> RunPolicy:
    """Return how a job of so many replicas lives and ends."""
    job = compute.job
    limit, waits = job.backoff_limit, on_cluster and (job.suspend or job.queue is not None)
    return RunPolicy(
        clean_pod_policy=job.clean_pods,
        backoff_limit=RESTARTS_EACH * replicas if limit is None else limit,
        active_deadline_seconds=job.deadline_s,
        ttl_seconds_after_finished=job.ttl_s,
        scheduling_policy=_scheduling_policy(compute, replicas),
        suspend=True if waits else None,
    )


def _scheduling_policy(compute: Compute, replicas: int) -> SchedulingPolicy | None:
    gang = compute.job.gang
    if gang is None:
        return None
    return SchedulingPolicy(
        min_available=replicas,  # fewer cannot begin: each waits for all others
        queue=gang.queue,
        priority_class=compute.job.priority_class,
        schedule_timeout_seconds=gang.timeout_s,
    )
