"""Why a TFJob on a cluster does not start, or has failed: in plain words, over real HTTP."""

import copy
from pathlib import Path
from typing import Any

import pytest

from cluster_case import home_of_its_own  # noqa: F401
from kubernetes_server import Moment, ended, event, kubernetes_server, pod, status, unscheduled, waits
from tfjobs_case import DONE, JOB, RUNNING, Told, failed, pending, watch


def hindered(folder: Path, *moments: Moment, job: dict[str, Any] = JOB, **options: Any) -> list[str]:
    """Return what is told to wait for while a job goes through moments that do not start, until it runs and ends."""
    told = Told()
    with kubernetes_server(script=[*moments, RUNNING, DONE], **options) as server:
        assert watch(server, folder, told, job=job).succeeded
    return [line.removeprefix("waiting: ") for line in told.lines if line.startswith("waiting")]


def reasons(folder: Path, *moments: Moment, **options: Any) -> tuple[str, ...]:
    with kubernetes_server(script=[*moments], **options) as server:
        outcome = watch(server, folder)
    assert (outcome.succeeded, outcome.exit_code) == (False, 1)
    return outcome.reasons


# Why a job does not start


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("3 Insufficient memory. preemption: 0/3 nodes", "lower compute.memory (now 64Gi of memory for each replica)"),
        (
            "3 Insufficient nvidia.com/gpu.",
            "lower compute.gpus or compute.workers (now 2 of nvidia.com/gpu for each replica)",
        ),
        ("3 node(s) had untolerated taint {team: a}.", "bear the taint team: a in compute.tolerations"),
        (
            "3 node(s) didn't match Pod's node affinity/selector.",
            "correct compute.node_selector, whose labels no free node has",
        ),
        ("3 Too many pods.", "wait, or ask for less in compute"),
    ],
)
def test_a_pod_without_a_node_says_what_to_change(words: str, fix: str, tmp_path: Path) -> None:
    limits = {"cpu": "4", "memory": "64Gi", "nvidia.com/gpu": "2"}
    conditions = unscheduled(f"0/3 nodes are available: {words}")
    both = [pod(name, "Pending", conditions=conditions, limits=limits) for name in ("worker-0", "worker-1")]
    said = words.partition(" preemption")[0]
    assert hindered(tmp_path, pending(*both), pending(*both)) == [
        f"worker-0, worker-1: waits for a node: 0/3 nodes are available: {said} Fix: {fix}"
    ]


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (
            "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
            "kubectl describe pvc says why the claims of compute.volumes are not bound: its class, or its size",
        ),
        (
            '0/3 nodes are available: persistentvolumeclaim "shared" not found.',
            "create the claim shared, or correct compute.volumes",
        ),
    ],
)
def test_a_volume_that_is_not_there_is_named(words: str, fix: str, tmp_path: Path) -> None:
    moment = pending(pod("worker-0", "Pending", conditions=unscheduled(words)))
    assert hindered(tmp_path, moment) == [f"worker-0: waits for its volume: {words} Fix: {fix}"]


def test_an_image_that_cannot_be_pulled_is_told_once_with_the_registrys_words(tmp_path: Path) -> None:
    image = "registry.example/parak8s:0.1.0"
    pull = f'Failed to pull image "{image}": rpc error: code = NotFound: manifest unknown'
    events = (event("Pod/ecg-worker-0", "Failed", pull), event("Pod/ecg-worker-0", "Failed", "Error", at=1))
    backing_off = pod("worker-0", "Pending", state=waits("ImagePullBackOff", f'Back-off pulling image "{image}"'))
    failing = pod("worker-0", "Pending", state=waits("ErrImagePull", "manifest unknown"))
    found = hindered(tmp_path, pending(backing_off, events=events), pending(failing), pending(backing_off))
    assert found == [
        f"worker-0: the image {image} cannot be pulled (ImagePullBackOff): {pull}; check compute.image; for a private "
        "registry, compute.image_pull_secrets"
    ]


@pytest.mark.parametrize(
    ("reason", "words", "told"),
    [
        (
            "CreateContainerConfigError",
            'secret "mlflow" not found',
            'cannot start: secret "mlflow" not found; create the Secret or the key in the namespace ml, or correct '
            "compute.secrets",
        ),
        (
            "CreateContainerConfigError",
            "couldn't find key password in Secret ml/mlflow",
            "cannot start: couldn't find key password in Secret ml/mlflow; create the Secret or the key in the "
            "namespace ml, or correct compute.secrets",
        ),
        (
            "CreateContainerConfigError",
            "container has runAsNonRoot and image will run as root",
            "cannot start: container has runAsNonRoot and image will run as root; the image runs as root, which the "
            "job forbids: give it a USER that is a number",
        ),
        (
            "ErrImageNeverPull",
            "Container image is not present with pull policy of Never",
            "the image registry.example/parak8s:0.1.0 is not on the node, and may not be pulled; load it onto the "
            "nodes, or change compute.image_pull_policy",
        ),
        ("CreateContainerError", "context deadline", "cannot start (CreateContainerError): context deadline"),
    ],
)
def test_a_container_that_cannot_start_says_why(reason: str, words: str, told: str, tmp_path: Path) -> None:
    moment = pending(pod("worker-1", "Pending", state=waits(reason, words)))
    assert hindered(tmp_path, moment) == [f"worker-1: {told}"]


@pytest.mark.parametrize(
    ("reason", "words", "told"),
    [
        (
            "FailedAttachVolume",
            'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) ecg-worker-0',
            'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) ecg-worker-0; its claim is for one '
            "node alone; give compute.volumes a claim with ReadWriteMany",
        ),
        (
            "FailedMount",
            'MountVolume.SetUp failed for volume "nfs": mount failed: exit status 32',
            'MountVolume.SetUp failed for volume "nfs": mount failed: exit status 32; check the claims of '
            "compute.volumes",
        ),
    ],
)
def test_a_volume_that_cannot_be_mounted_is_found_in_the_events(
    reason: str, words: str, told: str, tmp_path: Path
) -> None:
    creating = pod("worker-1", "Pending", state=waits("ContainerCreating"))
    moment = pending(creating, events=(event("Pod/ecg-worker-1", reason, words),))
    assert hindered(tmp_path, moment) == [f"worker-1: waits for its volume: {told}"]
    assert hindered(tmp_path, moment, forbidden=frozenset({"list events"})) == []


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (
            'pods "ecg-worker-1" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=2, used: '
            "requests.nvidia.com/gpu=2, limited: requests.nvidia.com/gpu=2",
            "lower compute.workers or what each asks for in compute, or ask for a larger quota",
        ),
        (
            'pods "ecg-worker-1" is forbidden: error looking up service account ml/trainer: serviceaccount "trainer" '
            "not found",
            "create the account trainer, or correct compute.service_account",
        ),
        (
            'pods "ecg-worker-1" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
            "the namespace does not allow pods like that: see its label pod-security.kubernetes.io/enforce",
        ),
        (
            'pods "ecg-worker-1" is forbidden: maximum memory usage per Container is 4Gi, but limit is 8Gi',
            "keep compute.cpus and compute.memory within the namespace's LimitRange",
        ),
    ],
)
def test_pods_that_may_not_be_made_are_found_in_the_events_of_the_job(words: str, fix: str, tmp_path: Path) -> None:
    refused = event("TFJob/ecg", "FailedCreatePod", f"Error creating: {words}")
    moment = pending(pod("worker-0"), events=(refused,))
    assert hindered(tmp_path, moment) == [f"the job: a pod could not be made: {words}; {fix}"]


def test_a_job_in_a_queue_says_what_it_waits_for(tmp_path: Path) -> None:
    job = copy.deepcopy(JOB)
    job["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "research"}
    job["spec"]["runPolicy"]["suspend"] = True
    words = "couldn't assign flavors to pod set worker: insufficient unused quota for nvidia.com/gpu in flavor a100"
    workload = {"status": {"conditions": [{"type": "QuotaReserved", "status": "False", "message": words}]}}
    moment = Moment(status("Suspended", "TFJob ecg is suspended."))
    assert hindered(tmp_path, moment, job=job, workloads=[workload])[:1] == [
        f"the job: waits in the queue research: {words}; kubectl describe workload says more"
    ]
    assert hindered(tmp_path, moment, job=job)[:1] == [
        "the job: waits in the queue research; kubectl describe workload says more"
    ]


def test_a_suspended_job_without_a_queue_says_how_it_goes_on(tmp_path: Path) -> None:
    assert hindered(tmp_path, Moment(status("Suspended", "TFJob ecg is suspended."))) == [
        "the job: suspended, and in no queue; it goes on after: kubectl patch tfjob ecg --type merge -p "
        """'{"spec": {"runPolicy": {"suspend": false}}}'"""
    ]


def test_a_job_that_nobody_takes_up_asks_for_the_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parak8s.cluster.jobs.story.SILENT_S", 0)
    assert hindered(tmp_path, Moment(), Moment()) == [
        "the job: nobody has taken it up for 0 s; does Kubeflow's Training Operator (version 1, with TFJob of "
        "kubeflow.org/v1) run?"
    ]


# Why a job failed


@pytest.mark.parametrize(
    ("dead", "told"),
    [
        (
            pod("worker-1", "Failed", state=ended(137, "OOMKilled"), limits={"memory": "8Gi"}),
            "took more memory than compute.memory allows (now 8Gi) and was killed (OOMKilled); raise compute.memory, "
            "or lower data.batch_size",
        ),
        (
            pod("worker-1", "Failed", state={}, reason="Evicted", message="The node was low on resource: memory."),
            "was evicted: The node was low on resource: memory; raise compute.memory (now nothing)",
        ),
        (
            pod(
                *("worker-1", "Failed"), state={}, reason="Evicted",
                message="The node was low on resource: ephemeral-storage.",
            ),
            "was evicted: The node was low on resource: ephemeral-storage; let it write to a volume of compute.volumes "
            "and not into the pod",
        ),
        (
            pod(
                *("worker-1", "Failed"), state=ended(143),
                conditions=({"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"},),
            ),
            "gave way to a pod of higher priority (preempted); it is started again if the job's restart policy says so",
        ),
        (
            pod("worker-1", "Failed", state=ended(143), reason="DeadlineExceeded", message="Pod was active"),
            "ran longer than compute.job.deadline_s allows",
        ),
        (
            pod(
                "worker-1", "Failed", state=ended(128, "StartError", 'exec: "parak8s": executable file not found')
            ),
            'could not start: exec: "parak8s": executable file not found; is ParaK8s in compute.image?',
        ),
        (
            pod("worker-1", "Failed", state={}, reason="NodeLost", message="Node a has been unresponsive"),
            "failed (NodeLost): Node a has been unresponsive",
        ),
        (
            pod("worker-1", "Failed", state=ended(200)),
            "ended with exit code 200 (another replica was lost or never came; it is started again if the job's "
            "restart policy says so): the last line",
        ),
        (pod("worker-1", "Failed", state=ended(1)), "ended with exit code 1: the last line"),
        (pod("worker-1", "Failed", state=ended(1, message="said last")), "ended with exit code 1: said last"),
    ],
)  # fmt: skip
def test_a_replica_that_failed_says_why(dead: dict[str, Any], told: str, tmp_path: Path) -> None:
    logs = {"ecg-worker-1": [["a line", "the last line", ""]]}
    with kubernetes_server(script=[RUNNING, failed(pod("worker-0", "Succeeded"), dead)], logs=logs) as server:
        outcome = watch(server, tmp_path, narrator := Told())
    assert outcome.reasons == ("TFJob ml/ecg has failed because 1 Worker replica(s) failed.", f"worker-1: {told}")
    assert f"failed worker-1: {told}" in narrator.lines


def test_the_sentence_of_parak8s_is_the_reason_rather_than_the_last_line(tmp_path: Path) -> None:
    logs = {"ecg-worker-0": [["Traceback", "parak8s: data.source: no such file https://a:b@c/d", "bye"]]}
    found = reasons(tmp_path, failed(pod("worker-0", "Failed")), logs=logs)
    assert found[1] == "worker-0: ended with exit code 1: data.source: no such file https://a:***@c/d"


def test_a_replica_whose_pod_is_gone_is_known_from_the_operators_events(tmp_path: Path) -> None:
    told = "Pod: ml.ecg-worker-1 exited with code 137"
    events = [event("TFJob/ecg", "ExitedWithCode", told, kind="Normal", at=at) for at in (0, 1)]
    moment = Moment(
        status("Failed", "Job ecg has failed because it has reached the specified backoff limit"), [], events
    )
    assert reasons(tmp_path, moment) == (
        "its replicas failed more often than runPolicy.backoffLimit (3) allows",
        "worker-1: ended with exit code 137",
    )


def test_a_restart_for_lack_of_memory_is_the_reason_of_a_later_end(tmp_path: Path) -> None:
    killed = pod("worker-1", restarts=1, last=ended(137, "OOMKilled"), limits={"memory": "8Gi"})
    words = "Job ecg has failed because it has reached the specified backoff limit"
    found = reasons(tmp_path, Moment(status("Running"), [pod("worker-0"), killed]), failed(message=words))
    assert found == (
        "its replicas failed more often than runPolicy.backoffLimit (3) allows",
        "worker-1: took more memory than compute.memory allows (now 8Gi) and was killed (OOMKilled); raise "
        "compute.memory, or lower data.batch_size",
    )


def test_a_deadline_that_passed_names_what_it_waited_for(tmp_path: Path) -> None:
    waits_for_node = pod("worker-0", "Pending", conditions=unscheduled("0/1 nodes are available: 1 Too many pods."))
    words = "Job ecg has failed because it was active longer than specified deadline"
    assert reasons(tmp_path, pending(waits_for_node, pod("worker-1")), failed(message=words)) == (
        "it took longer than runPolicy.activeDeadlineSeconds (3600) allows",
        "worker-0: waits for a node: 0/1 nodes are available: 1 Too many pods. Fix: wait, or ask for less in compute",
    )
