"""TFJobs on a cluster over real HTTP: created once, followed to their end, deleted."""

import copy
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster_case import home_of_its_own  # noqa: F401
from kubernetes_server import (
    EXPIRED,
    HANG,
    LOSE,
    KubernetesServer,
    Moment,
    Refused,
    ended,
    kubernetes_server,
    pod,
    status,
    unscheduled,
)
from parak8s.cluster.api.faults import Forbidden, NoSuchKind, NotFound
from parak8s.cluster.faults import NotLoggedIn, Unavailable
from parak8s.cluster.jobs import connect
from parak8s.cluster.patience import Patience
from parak8s.errors import EnvironmentFault, InputError
from tfjobs_case import DONE, JOB, QUICK, RUNNING, Told, connected, failed, kubeconfig, pending, watch


@pytest.fixture(name="server")
def a_cluster() -> Iterator[KubernetesServer]:
    with kubernetes_server(script=[RUNNING, DONE]) as running:
        yield running


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
