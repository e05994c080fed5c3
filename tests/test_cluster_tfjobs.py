"""TFJobs on a cluster over real HTTP: created once, followed to their end, explained in plain words, deleted."""

import copy
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import cluster_case
from cluster_case import home_of_its_own  # noqa: F401
from kubernetes_server import (
    EXPIRED,
    HANG,
    LOSE,
    KubernetesServer,
    Moment,
    Refused,
    ended,
    event,
    kubernetes_server,
    pod,
    status,
    unscheduled,
    waits,
)
from parak8s.cluster.api.faults import Forbidden, NoSuchKind, NotFound
from parak8s.cluster.faults import NotLoggedIn, Unavailable
from parak8s.cluster.jobs import Jobs, Outcome, connect
from parak8s.cluster.patience import Patience
from parak8s.errors import EnvironmentFault, InputError

QUICK = Patience(first_s=0.01, longest_s=0.02, total_s=5)
PATIENT = Patience(first_s=0.01, longest_s=0.01, total_s=5, server_errors=None, unreachable=True)
JOB: dict[str, Any] = {
    "apiVersion": "kubeflow.org/v1",
    "kind": "TFJob",
    "metadata": {"name": "ecg"},
    "spec": {
        "runPolicy": {"backoffLimit": 3, "activeDeadlineSeconds": 3600},
        "tfReplicaSpecs": {"Worker": {"replicas": 2, "template": {"spec": {"containers": [{"name": "tensorflow"}]}}}},
    },
}
RUNNING = Moment(status("Running"), [pod("worker-0"), pod("worker-1")])
DONE = Moment(
    status("Succeeded", Worker={"succeeded": 2}), [pod("worker-0", "Succeeded"), pod("worker-1", "Succeeded")]
)


@dataclass
class Told(cluster_case.Told):
    """A narrator that remembers, also what the leader says."""

    def said(self, line: str) -> None:
        self.lines.append(f"said {line}")


@pytest.fixture(name="server")
def a_cluster() -> Iterator[KubernetesServer]:
    with kubernetes_server(script=[RUNNING, DONE]) as running:
        yield running


def kubeconfig(folder: Path, uri: str, **user: Any) -> Path:
    """Write a kubeconfig with two contexts, of which ``here`` is the current one."""
    cluster = {"server": uri}
    path = folder / "kubeconfig"
    contexts = [
        {"name": "here", "context": {"cluster": "test", "user": "me", "namespace": "ml"}},
        {"name": "bare", "context": {"cluster": "test", "user": "me"}},
    ]
    content = {"current-context": "here", "contexts": contexts, "clusters": [{"name": "test", "cluster": cluster}]}
    path.write_text(yaml.safe_dump({**content, "users": [{"name": "me", "user": user}]}))
    return path


def connected(server: KubernetesServer, folder: Path, *, timeout_s: float = 10, **options: Any) -> Jobs:
    environment = {"KUBECONFIG": str(kubeconfig(folder, server.uri))}
    return connect(environment=environment, mounts=folder, timeout_s=timeout_s, patience=QUICK, **options)


def watch(server: KubernetesServer, folder: Path, told: Told | None = None, **options: Any) -> Outcome:
    jobs = connected(server, folder, timeout_s=options.pop("answer_s", 10))
    created = jobs.create(options.pop("job", JOB))
    options = {"poll_s": 0.05, "patience": PATIENT, **options}
    return jobs.follow(created.name, told or Told(), uid=created.uid, **options)


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


def pending(*pods: Any, events: tuple[Any, ...] = ()) -> Moment:
    return Moment(status("Created"), list(pods), list(events))


def failed(*pods: Any, message: str = "TFJob ml/ecg has failed because 1 Worker replica(s) failed.") -> Moment:
    return Moment(status("Failed", message), list(pods))


# The way to the cluster


def test_a_job_is_sent_as_it_is_to_the_namespace_of_the_context(server: KubernetesServer, tmp_path: Path) -> None:
    before = copy.deepcopy(JOB)
    created = connected(server, tmp_path).create(JOB)
    assert before == JOB
    assert (created.name, created.namespace) == ("ecg", "ml")
    (request,) = server.sent("POST .*")
    sent = request.json
    assert sent["spec"] == JOB["spec"]
    assert sent["metadata"]["namespace"] == "ml"
    assert server.jobs["ecg"]["metadata"]["uid"] == created.uid


def test_the_namespace_is_the_option_then_the_contexts_then_default(server: KubernetesServer, tmp_path: Path) -> None:
    assert connected(server, tmp_path).namespace == "ml"
    assert connected(server, tmp_path, namespace="other").namespace == "other"
    assert connected(server, tmp_path, context="bare").namespace == "default"


def test_a_pod_uses_its_own_account_and_reads_its_token_again(tmp_path: Path) -> None:
    account = tmp_path / "kubernetes.io/serviceaccount"
    account.mkdir(parents=True)
    names = "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 {names}"
    both = ["-keyout", str(tmp_path / "key.pem"), "-out", str(account / "ca.crt")]
    subprocess.run([*command.split(), *both], check=True, capture_output=True)
    certificate = tmp_path / "both.pem"
    certificate.write_text((tmp_path / "key.pem").read_text() + (account / "ca.crt").read_text())
    (account / "token").write_text("t0ken")
    (account / "namespace").write_text("ml\n")
    with kubernetes_server(certificate=certificate, tokens={"t0ken"}) as server:
        address = server.uri.removeprefix("https://").split(":")
        environment = {"KUBERNETES_SERVICE_HOST": address[0], "KUBERNETES_SERVICE_PORT": address[1]}
        jobs = connect(environment=environment, mounts=tmp_path, patience=QUICK)
        assert jobs.create(JOB).namespace == "ml"


def test_without_a_cluster_it_is_said_what_to_do(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        connect(environment={"HOME": str(home)}, mounts=tmp_path)
    assert str(refused.value) == (
        f"no cluster: there is no kubeconfig {home}/.kube/config; save the one that your cluster gives you there or "
        "name it in KUBECONFIG (kubectl get pods must work), or train here with --engine local"
    )


def test_an_unknown_context_is_refused_with_the_nearest_one(server: KubernetesServer, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        connected(server, tmp_path, context="her")
    file = tmp_path / "kubeconfig"
    assert (
        str(refused.value) == f"--context 'her': {file} has no such context; did you mean 'here'? allowed: bare, here"
    )


def test_a_login_program_that_fails_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    login = {"apiVersion": "client.authentication.k8s.io/v1", "command": "false", "interactiveMode": "Never"}
    path = kubeconfig(tmp_path, "http://127.0.0.1:1", exec=login)
    with pytest.raises(InputError, match=r"the login of the context here failed: exec: process returned 1"):
        connect(environment={"KUBECONFIG": str(path)}, mounts=tmp_path)
    assert capfd.readouterr().err == ""


def test_an_unknown_user_is_told_to_log_in(tmp_path: Path) -> None:
    with kubernetes_server(tokens={"s3cret"}) as server, pytest.raises(NotLoggedIn) as refused:
        connected(server, tmp_path).create(JOB)
    assert str(refused.value) == (
        f"Kubernetes at {server.uri} does not know you (401): no credentials, or expired ones; log in to the cluster "
        "again, kubectl get pods must work"
    )


def test_a_cluster_that_does_not_run_is_named(server: KubernetesServer, tmp_path: Path) -> None:
    with kubernetes_server() as gone:
        jobs = connected(gone, tmp_path)
    with pytest.raises(Unavailable) as refused:
        jobs.create(JOB)
    assert str(refused.value) == (
        f"Kubernetes at {gone.uri}: connection refused; does the cluster run, and is it the right --context? kubectl "
        "get pods must work"
    )


# Creating


def test_a_cluster_without_the_operator_is_told_what_to_install(tmp_path: Path) -> None:
    with kubernetes_server(installed=False) as server, pytest.raises(NoSuchKind) as refused:
        connected(server, tmp_path).create(JOB)
    assert str(refused.value) == (
        f"Kubernetes at {server.uri} does not know TFJobs (404): install Kubeflow's Training Operator (version 1, with "
        "TFJob of kubeflow.org/v1) there, or train here with --engine local"
    )


def test_who_may_not_do_what_is_said(tmp_path: Path) -> None:
    with kubernetes_server(forbidden=frozenset({"create tfjobs"})) as server, pytest.raises(Forbidden) as refused:
        connected(server, tmp_path).create(JOB)
    assert str(refused.value) == (
        "system:serviceaccount:ml:default-editor may not create tfjobs.kubeflow.org in the namespace ml (403); ask for "
        "the role kubeflow-edit there, or give another --namespace or --context"
    )


def test_a_name_that_is_taken_is_refused_with_the_fix(server: KubernetesServer, tmp_path: Path) -> None:
    jobs = connected(server, tmp_path)
    jobs.create(JOB)
    with pytest.raises(InputError) as refused:
        jobs.create(JOB)
    assert str(refused.value) == (
        "the namespace ml has a TFJob ecg already (Running): delete it with kubectl delete tfjob ecg -n ml, or give "
        "the new one another name"
    )


def test_an_answer_that_is_lost_makes_no_second_job(server: KubernetesServer, tmp_path: Path) -> None:
    server.will("POST ", LOSE)
    created = connected(server, tmp_path).create(JOB)
    assert server.jobs["ecg"]["metadata"]["uid"] == created.uid
    assert len(server.sent("POST .*")) == 2


def test_a_server_that_is_busy_for_a_moment_is_asked_again(server: KubernetesServer, tmp_path: Path) -> None:
    server.will("POST ", 500, 429, 503)
    assert connected(server, tmp_path).create(JOB).name == "ecg"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            Refused(422, "Invalid", 'TFJob.kubeflow.org "ecg" is invalid: spec.tfReplicaSpecs: Required value'),
            'does not take it: TFJob.kubeflow.org "ecg" is invalid: spec.tfReplicaSpecs: Required value',
        ),
        (
            Refused(403, "Forbidden", 'admission webhook "validator.tfjob" denied the request: name is too long'),
            'does not take it: admission webhook "validator.tfjob" denied the request: name is too long',
        ),
    ],
)
def test_a_value_that_the_server_does_not_take_is_the_users(
    answer: Refused, message: str, server: KubernetesServer, tmp_path: Path
) -> None:
    server.will("POST ", answer)
    with pytest.raises(InputError) as refused:
        connected(server, tmp_path).create(JOB)
    assert str(refused.value) == f"Kubernetes at {server.uri} {message}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "PyTorchJob"}, "expected a TFJob of kubeflow.org/v1, got PyTorchJob of kubeflow.org/v1"),
        ({"metadata": {}}, "the TFJob has no metadata.name; give it one"),
        (
            {"metadata": {"name": "ecg", "namespace": "other"}},
            "the TFJob ecg is for the namespace other, and the cluster is asked about ml: give --namespace other",
        ),
    ],
)
def test_what_is_no_job_for_here_is_refused_before_it_is_sent(
    change: dict[str, Any], message: str, server: KubernetesServer, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        connected(server, tmp_path).create({**JOB, **change})
    assert str(refused.value) == message
    assert server.requests == []


# Following


def test_replicas_are_told_once_and_the_leaders_lines_as_they_come(server: KubernetesServer, tmp_path: Path) -> None:
    told = Told()
    server.logs = {"ecg-worker-0": [["epoch 1", "", "10%\r50%\r100%", "see https://me:s3same@registry.example/x"]]}
    outcome = watch(server, tmp_path, told)
    assert [line for line in told.lines if not line.startswith("said")] == [
        "started worker-0",
        "started worker-1",
        "finished worker-0 12.5 s",
        "finished worker-1 12.5 s",
    ]
    assert [line for line in told.lines if line.startswith("said")] == [
        "said epoch 1",
        "said ",
        "said 100%",
        "said see https://me:***@registry.example/x",
    ]
    assert (outcome.state, outcome.succeeded, outcome.exit_code) == ("Succeeded", True, 0)
    assert (outcome.reasons, outcome.reason) == ((), "")
    assert outcome.status["replicaStatuses"] == {"Worker": {"succeeded": 2}}


def test_with_a_chief_it_leads(tmp_path: Path) -> None:
    logs = {"ecg-chief-0": [["I lead"]], "ecg-worker-0": [["I follow"]]}
    pods = [pod("chief-0"), pod("worker-0"), pod("ps-0")]
    script = [Moment(status("Running"), pods), Moment(status("Succeeded"), [pod("chief-0", "Succeeded")])]
    with kubernetes_server(script=script, logs=logs) as server:
        watch(server, tmp_path, told := Told())
    assert [line for line in told.lines if line.startswith("said")] == ["said I lead"]


def test_a_log_that_breaks_again_and_again_loses_no_line_and_repeats_none(tmp_path: Path) -> None:
    lines = [f"step {number}" for number in range(40)]
    with kubernetes_server(script=[*[RUNNING] * 8, DONE], logs={"ecg-worker-0": [lines]}) as server:
        server.cut_logs_after(3, 4, 9, 10, 30)
        watch(server, tmp_path, told := Told())
    assert [line for line in told.lines if line.startswith("said")] == [f"said {line}" for line in lines]


def test_the_log_goes_on_after_a_restart_in_the_same_pod_and_in_a_new_one(tmp_path: Path) -> None:
    again = pod("worker-0", restarts=1, last=ended(137))
    anew = pod("worker-0", uid="b", created="2026-11-22T10:05:00Z")
    running, name = status("Running"), "ecg-worker-0"
    script = [Moment(running, [each, pod("worker-1")], until_read=name) for each in (pod("worker-0"), again, anew)]
    logs = {"ecg-worker-0": [["first", "killed"], ["second"]]}
    told = Told()
    done = pod("worker-0", "Succeeded", uid="b")
    with kubernetes_server(script=[*script, Moment(status("Succeeded"), [done])], logs=logs) as server:
        watch(server, tmp_path, told)
    assert [line for line in told.lines if "worker-1" not in line] == [
        "started worker-0",
        "said first",
        "said killed",
        "failed worker-0: ended with exit code 137 (SIGKILL; it is started again if the job's restart policy says so): "
        "killed",
        "started worker-0, attempt 2",
        "said second",
        "started worker-0, attempt 3",
        "said first",
        "said killed",
        "finished worker-0 12.5 s",
    ]


def test_a_leader_that_runs_on_after_the_job_failed_is_not_waited_for(tmp_path: Path) -> None:
    logs = {"ecg-worker-0": [["the others are gone"]]}
    with kubernetes_server(script=[RUNNING, failed(pod("worker-0"))], logs=logs) as server:
        assert watch(server, tmp_path, told := Told()).state == "Failed"
    assert "said the others are gone" in told.lines


def test_a_log_that_may_not_be_read_is_said_and_the_job_followed_all_the_same(tmp_path: Path) -> None:
    with kubernetes_server(script=[RUNNING, DONE], forbidden=frozenset({"get pods/log"})) as server:
        assert watch(server, tmp_path, told := Told()).succeeded
    assert [line for line in told.lines if line.startswith("said")] == [
        "said the log of worker-0 cannot be read: system:serviceaccount:ml:default-editor may not get pods/log in the "
        "namespace ml (403); ask for the role kubeflow-edit there, or give another --namespace or --context"
    ]


def test_outages_on_the_way_are_told_and_outlasted(tmp_path: Path) -> None:
    with kubernetes_server(script=[RUNNING, RUNNING, DONE], logs={"ecg-worker-0": [["a", "b"]]}) as server:
        server.will("GET /apis/kubeflow.org", 500, 500, 500, 500, 503, 429, HANG, LOSE)
        server.will("GET /api/v1/namespaces/ml/pods", 502)
        server.will("GET /api/v1/namespaces/ml/pods/ecg-worker-0/log", 500, LOSE)
        told = Told()
        assert watch(server, tmp_path, told, answer_s=1).succeeded
    waited = [line for line in told.lines if line.startswith("waiting")]
    assert len(waited) >= 9  # a busy machine may need a second longer once more
    assert waited[0] == f"waiting: Kubernetes at {server.uri} answered 500: etcdserver: leader changed"
    assert [line for line in told.lines if line.startswith("said")] == ["said a", "said b"]


@pytest.mark.parametrize("answer", [EXPIRED, 410, 500, LOSE])
def test_a_watch_that_expires_or_breaks_is_renewed(answer: int | str, tmp_path: Path) -> None:
    with kubernetes_server(script=[RUNNING, RUNNING, DONE]) as server:
        server.will("WATCH ", answer)
        assert watch(server, tmp_path).succeeded
    assert len(server.sent("WATCH .*")) == 2


def test_who_may_not_watch_still_follows(tmp_path: Path) -> None:
    with kubernetes_server(script=[RUNNING, RUNNING, DONE], forbidden=frozenset({"watch tfjobs"})) as server:
        assert watch(server, tmp_path).succeeded


def test_a_server_that_is_gone_is_asked_for_a_while_and_then_given_up(tmp_path: Path) -> None:
    with kubernetes_server() as server:
        jobs = connected(server, tmp_path)
        jobs.create(JOB)
    patience = Patience(first_s=0.01, longest_s=0.01, total_s=0.2, unreachable=True)
    with pytest.raises(Unavailable, match="connection refused"):
        jobs.follow("ecg", told := Told(), patience=patience)
    assert len(told.lines) >= 2


def test_a_job_that_somebody_deletes_is_no_success(tmp_path: Path) -> None:
    with kubernetes_server(script=[RUNNING, Moment(gone=True)]) as server:
        outcome = watch(server, tmp_path)
    assert (outcome.state, outcome.exit_code) == ("Deleted", 1)
    assert outcome.reason == (
        "the TFJob ecg is Deleted: somebody deleted it, or it ended and its runPolicy.ttlSecondsAfterFinished is over"
    )


@pytest.mark.parametrize(("end", "code"), [("Succeeded", 0), ("Failed", 1)])
def test_a_job_that_is_deleted_as_soon_as_it_is_over_has_ended_as_it_did(end: str, code: int, tmp_path: Path) -> None:
    """With ``ttlSecondsAfterFinished: 0``."""
    with kubernetes_server(script=[RUNNING, Moment(status(end), gone=True)]) as server:
        outcome = watch(server, tmp_path)
    assert (outcome.state, outcome.exit_code) == (end, code)


def test_another_job_of_the_same_name_is_not_taken_for_ours(server: KubernetesServer, tmp_path: Path) -> None:
    jobs = connected(server, tmp_path)
    jobs.create(JOB)
    assert jobs.follow("ecg", Told(), uid="of-an-older-one", poll_s=0.05).state == "Deleted"


def test_a_job_that_is_not_there_is_said(server: KubernetesServer, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r'has no such thing \(404\): tfjobs.kubeflow.org "77" not found'):
        connected(server, tmp_path).follow("77", Told())


def test_watching_ends_in_time_and_the_job_goes_on(tmp_path: Path) -> None:
    words = "0/1 nodes are available: 1 Insufficient cpu."
    waits_for_node = pod("worker-0", "Pending", conditions=unscheduled(words), limits={"cpu": "4"})
    with kubernetes_server(script=[pending(waits_for_node, pod("worker-1"))]) as server:
        with pytest.raises(EnvironmentFault) as late:
            watch(server, tmp_path, timeout_s=0.2)
        assert "ecg" in server.jobs
    assert str(late.value) == (
        "the TFJob ecg is still Created after 0.2 s; worker-0: waits for a node: 0/1 nodes are available: 1 "
        "Insufficient cpu. Fix: lower compute.cpus (now 4 of cpu for each replica); it goes on: kubectl get tfjob ecg "
        "-n ml"
    )


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


# Deleting


def test_a_job_is_deleted_with_its_pods_and_waited_for(server: KubernetesServer, tmp_path: Path) -> None:
    jobs = connected(server, tmp_path)
    created = jobs.create(JOB)
    assert jobs.delete(created.name, created.uid)
    assert server.jobs == {}
    (request,) = server.sent("DELETE .*")
    assert request.json == {"propagationPolicy": "Foreground", "preconditions": {"uid": created.uid}}


def test_deleting_what_is_gone_or_somebody_elses_does_nothing(server: KubernetesServer, tmp_path: Path) -> None:
    jobs = connected(server, tmp_path)
    assert not jobs.delete("ecg")
    jobs.create(JOB)
    assert not jobs.delete("ecg", "of-an-older-one")
    assert "ecg" in server.jobs


def test_pods_that_do_not_end_are_named(server: KubernetesServer, tmp_path: Path) -> None:
    jobs = connected(server, tmp_path)
    jobs.create(JOB)
    server.looks_at_the_end = -100
    with pytest.raises(EnvironmentFault) as late:
        jobs.delete("ecg", wait_s=0.05)
    assert str(late.value) == (
        "the TFJob ecg is being deleted, but is still there after 0.05 s; kubectl get pods -n ml says which pods do "
        "not end"
    )


def test_pods_are_given_the_time_to_save_in_that_the_job_says(
    server: KubernetesServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, jobs = copy.deepcopy(JOB), connected(server, tmp_path)
    job["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1
    jobs.create(job)
    server.looks_at_the_end = -10_000
    monkeypatch.setattr("parak8s.cluster.api.objects.GONE_S", 0.25)
    with pytest.raises(EnvironmentFault, match=r"is still there after 1\.25 s"):
        jobs.delete("ecg")


def test_ctrl_c_while_following_leaves_the_job_to_be_deleted_by_choice(tmp_path: Path) -> None:
    class Interrupted(Told):
        def started(self, step: str) -> None:
            raise KeyboardInterrupt

    with kubernetes_server(script=[RUNNING]) as server:
        jobs = connected(server, tmp_path)
        created = jobs.create(JOB)
        with pytest.raises(KeyboardInterrupt):
            jobs.follow(created.name, Interrupted(), uid=created.uid)
        assert "ecg" in server.jobs
        assert jobs.delete(created.name, created.uid)
    readers = [thread for thread in threading.enumerate() if "_read" in thread.name]
    assert readers == []
