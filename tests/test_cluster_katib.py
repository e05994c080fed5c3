"""Searches on a cluster over real HTTP: created or resumed, followed to their end, explained, deleted."""

import copy
import threading
from pathlib import Path
from typing import Any

import pytest

from cluster_case import home_of_its_own  # noqa: F401
from katib_server import (
    COLLECTOR,
    EXPERIMENT,
    NOT_READY,
    Katib,
    KatibServer,
    done,
    failed,
    katib_server,
    of_algorithm,
    pod,
    status,
    suggestion,
    trial,
    with_spec,
)
from kubernetes_server import HANG, LOSE, Refused, ended, event, unscheduled, waits
from parak8s.cluster.api.faults import Forbidden, NoSuchKind, NotFound
from parak8s.cluster.faults import NotLoggedIn, Unavailable
from parak8s.cluster.patience import Patience
from parak8s.cluster.searches import Best, Outcome, Searches, Trial, connect, trials_of
from parak8s.errors import EnvironmentFault, InputError
from tfjobs_case import PATIENT, QUICK, Told, kubeconfig

A, B = trial("a", "Succeeded", 0.91), trial("b", "Succeeded", 0.93, lr="0.02")
RUNNING = Katib(status(), (trial("a"), trial("b", lr="0.02")), (pod("a"), pod("b")))
DONE = Katib(done(best=B), (A, B))


def connected(server: KatibServer, folder: Path, *, timeout_s: float = 10, **options: Any) -> Searches:
    environment = {"KUBECONFIG": str(kubeconfig(folder, server.uri))}
    return connect(environment=environment, mounts=folder, timeout_s=timeout_s, patience=QUICK, **options)


def watch(server: KatibServer, folder: Path, told: Told | None = None, **options: Any) -> Outcome:
    searches = connected(server, folder, timeout_s=options.pop("answer_s", 10))
    created = searches.create(options.pop("experiment", EXPERIMENT))
    options = {"poll_s": 0.01, "timeout_s": 30, "patience": PATIENT, **options}
    return searches.follow(created.name, told or Told(), uid=created.uid, **options)


def hindered(folder: Path, *moments: Katib, **options: Any) -> list[str]:
    """Return what is told to wait for while a search goes through moments, until it runs and ends."""
    told = Told()
    with katib_server(*moments, RUNNING, DONE, **options) as server:
        assert watch(server, folder, told).succeeded
    return [line.removeprefix("waiting: ") for line in told.lines if line.startswith("waiting")]


def lost(folder: Path, *moments: Katib, **options: Any) -> list[str]:
    """Return what is told of trials that fail while a search goes through moments, until it ends."""
    told = Told()
    with katib_server(*moments, **options) as server:
        watch(server, folder, told)
    return [line.removeprefix("failed ") for line in told.lines if line.startswith("failed")]


# The way to the cluster


def test_an_experiment_arrives_as_it_is(tmp_path: Path) -> None:
    before = copy.deepcopy(EXPERIMENT)
    with katib_server() as server:
        created = connected(server, tmp_path).create(EXPERIMENT)
        (request,) = server.sent("POST .*")
    sent = request.json
    mark = sent["metadata"].pop("annotations")
    assert list(mark) == ["parak8s/submission"]
    assert sent["metadata"].pop("namespace") == "ml"
    assert sent == before == EXPERIMENT
    assert request.path == "/apis/kubeflow.org/v1beta1/namespaces/ml/experiments"
    assert (created.name, created.namespace, created.resumed) == ("ecg", "ml", False)
    assert created.uid == server.found["ecg"]["metadata"]["uid"]


def test_a_cluster_without_katib_is_told_what_to_install(tmp_path: Path) -> None:
    with katib_server(installed=False) as server, pytest.raises(NoSuchKind) as refused:
        connected(server, tmp_path).create(EXPERIMENT)
    assert str(refused.value) == (
        f"Kubernetes at {server.uri} does not know Experiments (404): install Katib (with Experiment of "
        "kubeflow.org/v1beta1) there, or search here with --engine local"
    )


def test_an_unknown_user_is_told_to_log_in(tmp_path: Path) -> None:
    with katib_server(tokens={"s3cret"}) as server, pytest.raises(NotLoggedIn, match=r"does not know you \(401\)"):
        connected(server, tmp_path).create(EXPERIMENT)


def test_who_may_not_do_what_is_said(tmp_path: Path) -> None:
    with katib_server(forbidden=frozenset({"create experiments"})) as server, pytest.raises(Forbidden) as refused:
        connected(server, tmp_path).create(EXPERIMENT)
    assert str(refused.value) == (
        "system:serviceaccount:ml:default-editor may not create experiments.kubeflow.org in the namespace ml (403); "
        "ask for the role kubeflow-edit there, or give another --namespace or --context"
    )


@pytest.mark.parametrize("code", [400, 403, 422])
def test_what_katibs_webhook_refuses_is_said_in_one_line(code: int, tmp_path: Path) -> None:
    words = (
        'admission webhook "validator.experiment.katib.kubeflow.org" denied the request: [spec.maxFailedTrialCount: '
        "Invalid value: 9: should be less than or equal to spec.maxTrialCount,\n spec.algorithm: Required value]"
    )
    with katib_server() as server:
        server.will("POST ", Refused(code, "Forbidden", words))
        with pytest.raises(InputError) as refused:
            connected(server, tmp_path).create(EXPERIMENT)
    assert str(refused.value) == (
        f"Kubernetes at {server.uri} does not take it: admission webhook "
        '"validator.experiment.katib.kubeflow.org" denied the request: [spec.maxFailedTrialCount: Invalid value: 9: '
        "should be less than or equal to spec.maxTrialCount, spec.algorithm: Required value]"
    )


def test_an_answer_that_is_lost_makes_no_second_experiment(tmp_path: Path) -> None:
    with katib_server() as server:
        server.will("POST ", LOSE)
        created = connected(server, tmp_path).create(EXPERIMENT)
        assert server.found["ecg"]["metadata"]["uid"] == created.uid
        assert not created.resumed
        assert len(server.sent("POST .*")) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "TFJob"}, "expected an Experiment of kubeflow.org/v1beta1, got TFJob of kubeflow.org/v1beta1"),
        ({"metadata": {}}, "the Experiment has no metadata.name; give it one"),
        (
            {"metadata": {"name": "ecg", "namespace": "other"}},
            "the Experiment ecg is for the namespace other, and the cluster is asked about ml: give --namespace other",
        ),
    ],
)
def test_what_is_no_experiment_for_here_is_refused_before_it_is_sent(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with katib_server() as server, pytest.raises(InputError) as refused:
        connected(server, tmp_path).create({**EXPERIMENT, **change})
    assert str(refused.value) == message
    assert server.requests == []


# A name that is taken


TOO_MANY = "Experiment has failed because max failed count has reached"
TAKEN = (
    "the namespace ml has an Experiment ecg already ({state}): delete it with kubectl delete experiment ecg -n ml, or "
    "give the new one another name"
)


def again(folder: Path, now: Katib, first: dict[str, Any], second: dict[str, Any]) -> str:
    """Return why a second experiment of the same name is refused."""
    with katib_server(now) as server:
        searches = connected(server, folder)
        searches.create(first)
        with pytest.raises(InputError) as refused:
            searches.create(second)
        assert server.sent("PATCH .*") == []
    return str(refused.value)


def test_another_search_of_the_same_name_is_refused_with_the_fix(tmp_path: Path) -> None:
    other = with_spec(algorithm={"algorithmName": "random"}, maxTrialCount=40)
    assert again(tmp_path, RUNNING, EXPERIMENT, other) == TAKEN.format(state="Running")


@pytest.mark.parametrize("count", [4, 3])
def test_the_same_search_with_no_more_trials_is_refused_with_both_fixes(count: int, tmp_path: Path) -> None:
    now = Katib(done(best=B, trials=4))
    assert again(tmp_path, now, EXPERIMENT, with_spec(maxTrialCount=count)) == (
        f"{TAKEN.format(state='Succeeded')}; it is this very search, and goes on when search.trials is more than 4"
    )


@pytest.mark.parametrize(
    ("policy", "now"),
    [
        ("Never", Katib(done(best=B, trials=4))),
        ("LongRunning", Katib(done("Objective goal", "Goal", best=B, trials=2))),
        (
            "LongRunning",
            Katib(status("Failed", TOO_MANY, trials=3)),
        ),
    ],
)
def test_a_search_that_katib_cannot_resume_is_refused_with_the_rule(policy: str, now: Katib, tmp_path: Path) -> None:
    first, second = with_spec(resumePolicy=policy), with_spec(resumePolicy=policy, maxTrialCount=9)
    state = now.status["conditions"][-1]["type"]
    assert again(tmp_path, now, first, second) == (
        f"{TAKEN.format(state=state)}; it is this very search, but goes on only where it ended because of its number "
        f"of trials and its resumePolicy is LongRunning or FromVolume (now {policy})"
    )


@pytest.mark.parametrize("policy", ["LongRunning", "FromVolume"])
def test_a_search_that_made_all_its_trials_is_resumed_by_a_patch_of_three_counts(policy: str, tmp_path: Path) -> None:
    first, second = with_spec(resumePolicy=policy), with_spec(resumePolicy=policy, maxTrialCount=6)
    more = trial("c", "Succeeded", 0.95, lr="0.03")
    still_over = Katib(done(best=B, trials=4), (A, B))
    restarting = Katib(status("Restarting", "Experiment is restarted", best=B, trials=4), (A, B))
    resumed = [still_over, restarting, Katib(done(best=more, trials=6), (A, B, more))]
    with katib_server(still_over, resumed=resumed) as server:
        searches, told = connected(server, tmp_path), Told()
        before = searches.create(first)
        created = searches.create(second)
        (request,) = server.sent("PATCH .*")
        outcome = searches.follow("ecg", told, uid=created.uid, poll_s=0.01)
    assert created.resumed
    assert created.uid == before.uid
    assert request.json == {"spec": {"maxTrialCount": 6, "parallelTrialCount": 2, "maxFailedTrialCount": 1}}
    assert outcome.best is not None
    assert (outcome.succeeded, outcome.best.trial) == (True, "ecg-c")
    assert "said the search goes on with more trials" in told.lines


def test_a_search_that_runs_is_given_more_trials(tmp_path: Path) -> None:
    with katib_server(RUNNING) as server:
        searches = connected(server, tmp_path)
        searches.create(EXPERIMENT)
        assert searches.create(with_spec(maxTrialCount=8, parallelTrialCount=4)).resumed
        assert server.found["ecg"]["spec"]["maxTrialCount"] == 8


# Following


def test_trials_are_told_as_they_come_with_their_objective_the_best_so_far_and_counts(tmp_path: Path) -> None:
    story = [
        Katib(status("Created")),
        Katib(status(), (trial("a", "Created"),)),
        Katib(status(), (trial("a"), trial("b", lr="0.02")), (pod("a"), pod("b"))),
        Katib(status(best=A, trials=2), (A, trial("b", lr="0.02")), (pod("b"),)),
        Katib(status(best=A, trials=2), (A, trial("b", lr="0.02")), (pod("b"),)),
        DONE,
    ]
    told = Told()
    with katib_server(*story) as server:
        outcome = watch(server, tmp_path, told)
    assert told.lines == [
        "said the search runs",
        "said ecg-a is created: lr=0.01",
        "started ecg-a",
        "said ecg-b is created: lr=0.02",
        "started ecg-b",
        "finished ecg-a 90 sval_auc 0.91",
        "said the best so far is ecg-a: val_auc 0.91, lr=0.01",
        "said 1 of 4 trials are over; 1 run",
        "finished ecg-b 90 sval_auc 0.93",
        "said the best so far is ecg-b: val_auc 0.93, lr=0.02",
        "said 2 of 4 trials are over; 0 run",
    ]
    assert (outcome.name, outcome.state, outcome.succeeded, outcome.exit_code) == ("ecg", "Succeeded", True, 0)
    assert (outcome.reasons, outcome.reason) == ((), "")
    observed = {"val_auc": {"min": 0.5, "max": 0.93, "latest": 0.92}}
    assert outcome.best == Best("ecg-b", {"lr": "0.02"}, observed, 0.93)
    assert outcome.trials[1] == Trial(
        name="ecg-b",
        state="Succeeded",
        assignments={"lr": "0.02"},
        metrics=observed,
        objective=0.93,
        started="2026-11-22T10:00:00Z",
        ended="2026-11-22T10:01:30Z",
    )
    assert outcome.status["trials"] == 4


def test_a_trial_that_katib_stopped_early_counts(tmp_path: Path) -> None:
    told, stopped = Told(), trial("a", "EarlyStopped", 0.81)
    with katib_server(Katib(done(best=stopped), (stopped,))) as server:
        assert watch(server, tmp_path, told).succeeded
    assert "finished ecg-a 90 sstopped early, val_auc 0.81" in told.lines


def test_records_keep_their_order_and_what_has_no_number_is_none() -> None:
    bad = trial("a", "MetricsUnavailable", message="Metrics are not available")
    bad["status"]["observation"] = {"metrics": [{"name": "val_auc", "min": "unavailable", "latest": "nan"}]}
    records = trials_of([trial("c", ""), bad])
    assert [record.to_json() for record in records] == [
        {
            "name": "ecg-a",
            "state": "MetricsUnavailable",
            "assignments": {"lr": "0.01"},
            "metrics": {"val_auc": {"min": None, "max": None, "latest": None}},
            "objective": None,
            "started": "2026-11-22T10:00:00Z",
            "ended": "2026-11-22T10:01:30Z",
            "reason": "Metrics are not available",
        },
        {
            "name": "ecg-c",
            "state": "Pending",
            "assignments": {"lr": "0.01"},
            "metrics": {},
            "objective": None,
            "started": None,
            "ended": None,
            "reason": "",
        },
    ]


@pytest.mark.parametrize(
    ("objective", "value"),
    [
        ({"type": "maximize"}, 0.9),
        ({"type": "minimize"}, 0.5),
        ({"type": "maximize", "metricStrategies": [{"name": "val_auc", "value": "latest"}]}, 0.89),
    ],
)
def test_the_objective_is_taken_by_its_strategy(objective: dict[str, Any], value: float) -> None:
    found = trial("a", "Succeeded", 0.9, objective={"objectiveMetricName": "val_auc", **objective})
    assert trials_of([found])[0].objective == value


def test_outages_on_the_way_are_told_and_outlasted(tmp_path: Path) -> None:
    told = Told()
    with katib_server(RUNNING, RUNNING, RUNNING, DONE) as server:
        server.will("GET /apis/kubeflow.org/v1beta1/namespaces/ml/experiments", 500, 503, 429, LOSE, HANG)
        server.will("GET /apis/kubeflow.org/v1beta1/namespaces/ml/trials", 502)
        server.will("GET /api/v1/namespaces/ml/pods", 500)
        assert watch(server, tmp_path, told, answer_s=1).succeeded
    waited = [line for line in told.lines if line.startswith("waiting")]
    assert len(waited) >= 7  # a busy machine may need a second longer once more
    assert waited[0] == f"waiting: Kubernetes at {server.uri} answered 500: etcdserver: leader changed"


def test_a_server_that_is_gone_is_asked_for_a_while_and_then_given_up(tmp_path: Path) -> None:
    with katib_server() as server:
        searches = connected(server, tmp_path)
        searches.create(EXPERIMENT)
    patience = Patience(first_s=0.01, longest_s=0.01, total_s=0.2, unreachable=True)
    with pytest.raises(Unavailable, match="connection refused"):
        searches.follow("ecg", Told(), patience=patience)


def test_a_search_that_nobody_made_is_not_followed(tmp_path: Path) -> None:
    with katib_server() as server, pytest.raises(NotFound, match=r'experiments.kubeflow.org "ecg" not found'):
        connected(server, tmp_path).follow("ecg", Told())


def test_a_search_that_is_deleted_or_replaced_is_over(tmp_path: Path) -> None:
    with katib_server(RUNNING, Katib(status(best=A), (A,)), Katib(gone=True)) as server:
        outcome = watch(server, tmp_path)
    assert outcome.reason == "the Experiment ecg is Deleted: somebody deleted it"
    assert (outcome.succeeded, outcome.exit_code, outcome.best and outcome.best.trial) == (False, 1, "ecg-a")
    with katib_server(RUNNING) as server:
        searches = connected(server, tmp_path)
        searches.create(EXPERIMENT)
        assert searches.follow("ecg", Told(), uid="of-an-older-one").state == "Deleted"


def test_trials_of_an_older_search_of_that_name_are_left_out(tmp_path: Path) -> None:
    older = trial("c", "Succeeded", 0.99)
    older["metadata"]["ownerReferences"] = [{"kind": "Experiment", "uid": "older"}]
    with katib_server(Katib(done(best=B), (A, B, older))) as server:
        assert [each.name for each in watch(server, tmp_path).trials] == ["ecg-a", "ecg-b"]


def test_who_does_not_want_to_wait_longer_is_told_how_far_it_is(tmp_path: Path) -> None:
    stuck = Katib(
        status(), suggestion=NOT_READY, pods=(of_algorithm(state=waits("ImagePullBackOff", "no such image")),)
    )
    with katib_server(stuck) as server, pytest.raises(EnvironmentFault) as late:
        watch(server, tmp_path, timeout_s=0.1)
    assert str(late.value) == (
        "the Experiment ecg is still Running after 0.1 s; the algorithm tpe: its image "
        "docker.io/kubeflowkatib/suggestion-hyperopt:v0.17.0 cannot be pulled (ImagePullBackOff): no such image; "
        "whoever runs Katib names it in its ConfigMap katib-config; it goes on: kubectl get experiment ecg -n ml"
    )


# Why a trial failed


@pytest.mark.parametrize(
    ("dead", "told"),
    [
        (
            pod("a", "Failed", state=ended(137, "OOMKilled"), limits={"memory": "8Gi"}),
            "took more memory than compute.memory allows (now 8Gi) and was killed (OOMKilled); raise compute.memory, "
            "or lower data.batch_size",
        ),
        (
            pod("a", "Failed", state=ended(137), limits={"memory": "8Gi"}),
            "was killed (137), most often for lack of memory; raise compute.memory (now 8Gi)",
        ),
        (
            pod("a", "Failed", state=ended(127)),
            "its command is not there (127): the last line; is ParaK8s in compute.image?",
        ),
        (
            pod("a", "Failed", state=ended(128, "StartError", 'exec: "sh": executable file not found')),
            'could not start: exec: "sh": executable file not found; is ParaK8s in compute.image?',
        ),
        (pod("a", "Failed", state=ended(2)), "ended with exit code 2: the last line"),
        (pod("a", "Failed", state=ended(1, message="said last")), "ended with exit code 1: said last"),
        (
            pod("a", "Failed", state={}, reason="Evicted", message="The node was low on resource: memory."),
            "was evicted: The node was low on resource: memory; raise compute.memory (now nothing)",
        ),
    ],
)
def test_a_trial_that_failed_says_why_in_the_words_of_its_pod(dead: Any, told: str, tmp_path: Path) -> None:
    moments = Katib(status(), (trial("a"),), (dead,)), Katib(done(best=B), (failed("a"), B))
    texts = {"ecg-a-p0/training": ["a line", "the last line", ""]}
    assert lost(tmp_path, *moments, texts=texts) == [f"ecg-a: {told}"]


def test_what_a_collector_repeats_is_the_log_of_a_trial_whose_own_is_empty(tmp_path: Path) -> None:
    head = "I1122 10:00:00.123456      15 main.go:143]"
    lines = [
        f"{head} epoch 1 val_auc=0.9",
        f"{head} parak8s: data.source: no such file /data/x.csv",
        f"{head} ",
        "F1122 10:00:02.000000      15 main.go:425] Failed to wait for worker container: unable to find marked process",
    ]
    dead = Katib(status(), (trial("a"),), (pod("a", state=ended(1)),))
    texts = {"ecg-a-p0/training": [], f"ecg-a-p0/{COLLECTOR}": lines}
    assert lost(tmp_path, dead, Katib(done(best=B), (failed("a"), B)), texts=texts) == [
        "ecg-a: ended with exit code 1: data.source: no such file /data/x.csv"
    ]


@pytest.mark.parametrize(
    ("job", "why", "told"),
    [
        (
            "Job has reached the specified backoff limit",
            "BackoffLimitExceeded",
            "its job failed more often than backoffLimit (2) allows",
        ),
        (
            "Job was active longer than specified deadline",
            "DeadlineExceeded",
            "its job took longer than activeDeadlineSeconds (600) allows",
        ),
        ("TFJob ml/ecg-a has failed", "TFJobFailed", "its job failed (TFJobFailed): TFJob ml/ecg-a has failed"),
        ("", "", "its job failed: Katib does not say why"),
    ],
)
def test_a_trial_whose_pods_are_gone_says_why_in_the_words_of_its_job(
    job: str, why: str, told: str, tmp_path: Path
) -> None:
    assert lost(tmp_path, Katib(done(best=B), (failed("a", job, why), B))) == [f"ecg-a: {told}"]


def test_a_deadline_that_passed_names_what_the_trial_waited_for(tmp_path: Path) -> None:
    conditions = unscheduled("0/1 nodes are available: 1 Too many pods.")
    waiting = Katib(status(), (trial("a", "Created"),), (pod("a", "Pending", conditions=conditions),))
    late = failed("a", "Job was active longer than specified deadline", "DeadlineExceeded")
    assert lost(tmp_path, waiting, Katib(done(best=B), (late, B))) == [
        "ecg-a: its job took longer than activeDeadlineSeconds (600) allows: waits for a node: 0/1 nodes are "
        "available: 1 Too many pods. Fix: wait, or ask for less in compute"
    ]


def test_a_job_that_starts_its_pod_again_is_told_at_once(tmp_path: Path) -> None:
    died, anew = pod("a", "Failed", state=ended(1, message="no luck")), pod("a", attempt=1)
    moments = Katib(status(), (trial("a"),), (died,)), Katib(status(), (trial("a"),), (died, anew))
    assert hindered(tmp_path, *moments) == ["ecg-a: ended with exit code 1: no luck; its job starts it again"]


def test_a_replica_of_a_trial_with_many_is_named(tmp_path: Path) -> None:
    labels = {
        "training.kubeflow.org/job-name": "ecg-a",
        "training.kubeflow.org/replica-type": "worker",
        "training.kubeflow.org/replica-index": "1",
    }
    run = {"kind": "TFJob", "spec": {"runPolicy": {"backoffLimit": 3}}}
    conditions = unscheduled("0/3 nodes are available: 3 Insufficient cpu.")
    worker = pod("a", "Pending", conditions=conditions, labels=labels, limits={"cpu": "4"})
    assert hindered(tmp_path, Katib(status(), (trial("a", "Created", run=run),), (worker,))) == [
        "ecg-a worker-1: waits for a node: 0/3 nodes are available: 3 Insufficient cpu. Fix: lower compute.cpus (now 4 "
        "of cpu for each replica)"
    ]


# Trials without metrics


def bare(name: str) -> Any:
    return trial(name, "MetricsUnavailable", message="Metrics are not available", reason="MetricsUnavailable")


def test_trials_without_metrics_are_explained_once(tmp_path: Path) -> None:
    quiet = [bare(name) for name in "ab"]
    seen = Katib(status(), (trial("a"), trial("b")), (pod("a", "Succeeded"), pod("b", "Succeeded")))
    told = Told()
    with katib_server(seen, Katib(done(), (*quiet,))) as server:
        outcome = watch(server, tmp_path, told)
    why = (
        "ended without reporting val_auc: does it print val_auc=NUMBER on a line of its own, and is "
        "objectiveMetricName the name that it prints?"
    )
    assert [line for line in told.lines if line.startswith("failed")] == [
        f"failed ecg-a: {why}",
        "failed ecg-b: for the same reason as one before",
    ]
    assert not outcome.succeeded
    assert outcome.reason == f"the Experiment ecg is Succeeded: no trial has a val_auc; ecg-a, ecg-b: {why}"


def test_without_a_pod_the_namespaces_label_is_asked_for_too(tmp_path: Path) -> None:
    older = trial("a", "Running")
    older["status"]["conditions"] = [
        {"type": "Succeeded", "status": "False", "reason": "MetricsUnavailable", "message": "Metrics are not available"}
    ]
    assert lost(tmp_path, Katib(done(best=B), (older, B))) == [
        "ecg-a: ended without reporting val_auc: does it print val_auc=NUMBER on a line of its own, and is "
        "objectiveMetricName the name that it prints? Does the namespace have the label "
        "katib.kubeflow.org/metrics-collector-injection=enabled?"
    ]


def test_a_namespace_without_the_label_is_found_while_the_first_trial_runs(tmp_path: Path) -> None:
    pods = (pod("a", collector=False), pod("b", collector=False))
    alone = Katib(status(), (trial("a"), trial("b")), pods)
    assert hindered(tmp_path, alone, alone) == [
        "the search: ecg-a: nobody collects its metrics, since Katib put no collector into its pod: kubectl label "
        "namespace ml katib.kubeflow.org/metrics-collector-injection=enabled"
    ]
    assert lost(tmp_path, alone, Katib(done(best=B), (bare("a"), B)))[0] == (
        "ecg-a: ended, but Katib has no val_auc of it: nobody collects its metrics, since Katib put no collector into "
        "its pod: kubectl label namespace ml katib.kubeflow.org/metrics-collector-injection=enabled"
    )


def test_only_the_pod_that_leads_needs_a_collector(tmp_path: Path) -> None:
    labels = {"job-name": "ecg-a", "training.kubeflow.org/job-role": "worker"}
    leads: dict[str, Any] = {"primaryPodLabels": {"training.kubeflow.org/job-role": "master"}}
    follows = pod("a", collector=False, labels=labels)
    assert hindered(tmp_path, Katib(status(), (trial("a", **leads),), (follows,))) == []
    pushes: dict[str, Any] = {"metricsCollector": {"collector": {"kind": "Push"}}}
    assert hindered(tmp_path, Katib(status(), (trial("a", **pushes),), (pod("a", collector=False),))) == []


# What hinders trials


@pytest.mark.parametrize(
    ("waiting", "told"),
    [
        (
            pod("a", "Pending", conditions=unscheduled("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")),
            "waits for a node: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu. Fix: lower compute.gpus or "
            "compute.workers (now nothing of nvidia.com/gpu for each replica)",
        ),
        (
            pod("a", "Pending", state=waits("ErrImagePull", "manifest unknown")),
            "the image registry.example/parak8s:0.1.0 cannot be pulled (ErrImagePull): manifest unknown; check "
            "compute.image; for a private registry, compute.image_pull_secrets",
        ),
        (
            pod("a", "Pending", state=waits("CreateContainerConfigError", 'secret "mlflow" not found')),
            'cannot start: secret "mlflow" not found; create the Secret or the key in the namespace ml, or correct '
            "compute.secrets",
        ),
    ],
)
def test_a_trial_that_does_not_start_says_why_once(waiting: Any, told: str, tmp_path: Path) -> None:
    moment = Katib(status(), (trial("a", "Created"),), (waiting,))
    assert hindered(tmp_path, moment, moment) == [f"ecg-a: {told}"]


def test_a_quota_that_lets_no_pod_in_is_found_in_the_events_of_the_job(tmp_path: Path) -> None:
    words = 'pods "ecg-a-x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=2'
    refused = event("Job/ecg-a", "FailedCreate", f"Error creating: {words}")
    moment = Katib(status(), (trial("a", "Created"),), events=(refused,))
    assert hindered(tmp_path, moment) == [
        f"ecg-a: a pod could not be made: {words}; lower compute.workers or what each asks for in compute, or ask for "
        "a larger quota"
    ]


def test_a_job_that_katib_cannot_make_is_found_in_the_events_of_the_trial(tmp_path: Path) -> None:
    words = 'Failed to reconcile: no matches for kind "TFJob" in version "kubeflow.org/v1"'
    moment = Katib(
        status(),
        (trial("a", "Created", run={"kind": "TFJob"}),),
        events=(event("Trial/ecg-a", "ReconcileError", words),),
    )
    assert hindered(tmp_path, moment) == [f"ecg-a: its TFJob could not be made: {words}"]
    assert hindered(tmp_path, moment, forbidden=frozenset({"list events"})) == []


# What hinders the search


@pytest.mark.parametrize(
    ("waiting", "told"),
    [
        (
            of_algorithm(conditions=unscheduled("0/3 nodes are available: 3 Too many pods.")),
            "waits for a node: 0/3 nodes are available: 3 Too many pods; wait, or make room in the cluster",
        ),
        (
            of_algorithm(conditions=unscheduled("pod has unbound immediate PersistentVolumeClaims.")),
            "waits for its volume: pod has unbound immediate PersistentVolumeClaims; kubectl describe pvc ecg-tpe says "
            "why; resumePolicy FromVolume asks for it",
        ),
        (
            of_algorithm(state=waits("ErrImagePull", "manifest unknown")),
            "its image docker.io/kubeflowkatib/suggestion-hyperopt:v0.17.0 cannot be pulled (ErrImagePull): manifest "
            "unknown; whoever runs Katib names it in its ConfigMap katib-config",
        ),
        (
            of_algorithm("Running", state=ended(1)),
            "its service ended with exit code 1 and is started again; kubectl logs ecg-tpe-p0 says why",
        ),
        (
            of_algorithm("Running", state=ended(137, "OOMKilled")),
            "its service was killed for lack of memory and is started again; kubectl logs ecg-tpe-p0 says why",
        ),
        (
            of_algorithm(state=waits("CreateContainerError", "context deadline")),
            "its service cannot start (CreateContainerError): context deadline",
        ),
    ],
)
def test_an_algorithm_that_does_not_come_up_says_why_once(waiting: Any, told: str, tmp_path: Path) -> None:
    moment = Katib(status(), suggestion=NOT_READY, pods=(waiting,))
    assert hindered(tmp_path, moment, moment) == [f"the algorithm tpe: {told}"]


def test_an_algorithm_that_stays_silent_is_told_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parak8s.cluster.searches.algorithm.SLOW_S", 0)
    assert hindered(tmp_path, Katib(status(), suggestion=NOT_READY)) == [
        "the algorithm tpe: is not ready after 0 s; kubectl describe suggestion ecg -n ml says more"
    ]


def test_what_katib_warns_of_an_algorithm_is_repeated(tmp_path: Path) -> None:
    words = "rpc error: code = Unavailable desc = connection error"
    ready = suggestion(("DeploymentReady", "Deployment is ready", True), ("Running", "Suggestion is running", True))
    warned = (event("Suggestion/ecg", "ReconcileError", words),)
    assert hindered(tmp_path, Katib(status(), suggestion=ready, events=warned)) == [f"the algorithm tpe: {words}"]
    warned = (event("Experiment/ecg", "ReconcileError", "Failed to reconcile: quota"),)
    assert hindered(tmp_path, Katib(status(), events=warned)) == ["the search: Failed to reconcile: quota"]


def test_a_search_that_nobody_takes_up_asks_for_katib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parak8s.cluster.searches.hindrances.SILENT_S", 0)
    assert hindered(tmp_path, Katib(), Katib()) == [
        "the search: nobody has taken it up for 0 s; does Katib (with Experiment of kubeflow.org/v1beta1) run?"
    ]


# Why a search failed


def test_too_many_failures_end_a_search_with_each_reason_once(tmp_path: Path) -> None:
    seen = Katib(
        status(),
        (trial("a"), trial("b"), trial("c")),
        tuple(pod(name, "Failed", state=ended(137, "OOMKilled"), limits={"memory": "8Gi"}) for name in "ab"),
    )
    over = status("Failed", TOO_MANY, trials=4, trialsFailed=3)
    with katib_server(
        seen, Katib(over, (failed("a"), failed("b"), failed("c"), trial("d", "Succeeded", 0.9)))
    ) as server:
        outcome = watch(server, tmp_path)
    assert outcome.reason == (
        "the Experiment ecg is Failed: more trials failed than maxFailedTrialCount (1) allows: 3 of 4; ecg-a, ecg-b: "
        "took more memory than compute.memory allows (now 8Gi) and was killed (OOMKilled); raise compute.memory, or "
        "lower data.batch_size; ecg-c: its job failed more often than backoffLimit (2) allows"
    )
    assert [each.reason for each in outcome.trials if each.name == "ecg-c"] == [
        "its job failed more often than backoffLimit (2) allows"
    ]


def test_an_algorithm_that_does_not_take_the_search_ends_it_with_its_words(tmp_path: Path) -> None:
    refused = suggestion(("Failed", "Validation failed: [tpe] n_startup_trials should be greater than 0", True))
    with katib_server(Katib(status("Failed", "Suggestion has failed"), suggestion=refused)) as server:
        outcome = watch(server, tmp_path)
    assert outcome.reason == (
        "the Experiment ecg is Failed: the algorithm tpe does not take this search: [tpe] n_startup_trials should be "
        "greater than 0"
    )


# Deleting


def test_a_search_is_deleted_with_its_trials_and_waited_for(tmp_path: Path) -> None:
    with katib_server(RUNNING) as server:
        searches = connected(server, tmp_path)
        created = searches.create(EXPERIMENT)
        assert searches.get("ecg")["metadata"]["uid"] == created.uid
        assert [each.name for each in searches.trials("ecg")] == ["ecg-a", "ecg-b"]
        assert searches.delete(created.name, created.uid)
        assert server.found == {}
        (request,) = server.sent("DELETE .*")
    assert request.json == {"propagationPolicy": "Foreground", "preconditions": {"uid": created.uid}}


def test_deleting_what_is_gone_or_somebody_elses_does_nothing(tmp_path: Path) -> None:
    with katib_server(RUNNING) as server:
        searches = connected(server, tmp_path)
        assert not searches.delete("ecg")
        searches.create(EXPERIMENT)
        assert not searches.delete("ecg", "of-an-older-one")
        assert "ecg" in server.found


def test_trials_that_do_not_end_are_not_waited_for_without_end(tmp_path: Path) -> None:
    with katib_server(RUNNING, looks_at_the_end=-100) as server:
        searches = connected(server, tmp_path)
        searches.create(EXPERIMENT)
        with pytest.raises(EnvironmentFault) as late:
            searches.delete("ecg", wait_s=0.05)
    assert str(late.value) == (
        "the Experiment ecg is being deleted, but is still there after 0.05 s; kubectl get pods -n ml says which pods "
        "do not end"
    )


def test_ctrl_c_while_following_leaves_the_search_to_be_deleted_by_choice(tmp_path: Path) -> None:
    class Interrupted(Told):
        def started(self, step: str) -> None:
            raise KeyboardInterrupt

    threads = {*threading.enumerate()}
    with katib_server(RUNNING) as server:
        searches = connected(server, tmp_path)
        created = searches.create(EXPERIMENT)
        with pytest.raises(KeyboardInterrupt):
            searches.follow(created.name, Interrupted(), uid=created.uid)
        assert "ecg" in server.found
        assert searches.delete(created.name, created.uid)
    assert not [each for each in threading.enumerate() if each not in threads and not each.daemon]


def test_a_server_that_never_answers_ends_a_call_in_time(tmp_path: Path) -> None:
    with katib_server(RUNNING) as server:
        server.will("GET ", *[HANG] * 100)
        searches = connected(server, tmp_path, timeout_s=0.1)
        patience = Patience(first_s=0.01, longest_s=0.01, total_s=0.3)
        with pytest.raises(Unavailable, match="no answer in time"):
            searches.follow("ecg", Told(), uid="u", patience=patience)
