"""Following runs on Kubeflow Pipelines over real HTTP: tasks as they come, failures, outages, time."""

from pathlib import Path

import pytest

from cluster_case import QUICK, Told, compiled_package, connected, home_of_its_own  # noqa: F401
from kfp_server import HANG, LOSE, KfpServer, Moment, kfp_server
from parak8s.cluster import Outcome, follow
from parak8s.cluster.faults import NotLoggedIn, Unavailable
from parak8s.cluster.patience import Patience
from parak8s.errors import EnvironmentFault
from test_cluster_submission import send

PATIENT = Patience(first_s=0.01, longest_s=0.01, total_s=5, server_errors=None, unreachable=True)
GOOD: list[Moment] = [
    ("PENDING", {}),
    ("RUNNING", {"ingest": "RUNNING"}),
    ("RUNNING", {"ingest": "SUCCEEDED", "train": "PENDING"}),
    ("RUNNING", {"ingest": "SUCCEEDED", "train": "RUNNING"}),
    ("SUCCEEDED", {"ingest": "SUCCEEDED", "train": "SUCCEEDED", "condition-1": "SKIPPED", "report": "SKIPPED"}),
]


def watch(
    server: KfpServer, package: Path, told: Told, *, timeout_s: float = 5, limit_s: float | None = None
) -> Outcome:
    connection = connected(server, timeout_s=timeout_s)
    run_id = send(connection, package).run_id
    return follow(connection, run_id, told, poll_s=0.01, timeout_s=limit_s, patience=PATIENT)


def test_every_task_is_told_once_and_the_servers_helpers_are_not(package: Path) -> None:
    told = Told()
    with kfp_server(script=GOOD) as server:
        outcome = watch(server, package, told)
    assert told.lines == [
        "started ingest",
        "finished ingest 12.5 s",
        "started train",
        "finished train 12.5 s",
        "skipped report",
    ]
    assert outcome.state == "SUCCEEDED"
    assert outcome.tasks == {"ingest": "SUCCEEDED", "train": "SUCCEEDED", "report": "SKIPPED"}
    assert (outcome.exit_code, outcome.reason) == (0, "")


def test_a_task_that_was_reused_is_told_as_such(package: Path) -> None:
    told = Told()
    with kfp_server(script=[("SUCCEEDED", {"ingest": "CACHED", "train": "SUCCEEDED"})]) as server:
        outcome = watch(server, package, told)
    assert told.lines == ["finished ingest reused", "started train", "finished train 12.5 s"]
    assert outcome.tasks == {"ingest": "CACHED", "train": "SUCCEEDED"}


def test_a_failure_names_the_task_and_the_servers_words(package: Path) -> None:
    told = Told()
    words = "OOMKilled (exit code 137) of https://me:s3same@registry.example/parak8s"
    script: list[Moment] = [
        ("RUNNING", {"ingest": "SUCCEEDED", "train": "RUNNING"}),
        ("FAILED: workflow failed", {"ingest": "SUCCEEDED", "train": f"FAILED: {words}", "condition-1": "FAILED"}),
    ]
    with kfp_server(script=script) as server:
        outcome = watch(server, package, told)
    shown = "OOMKilled (exit code 137) of https://me:***@registry.example/parak8s"
    assert told.lines[-1] == f"failed train: {shown}"
    assert outcome.failures == {"train": shown}
    assert outcome.exit_code == 1
    assert outcome.reason == f"the run is FAILED: failed in train: {shown}; workflow failed"


def test_a_task_whose_inputs_could_not_be_found_is_named(package: Path) -> None:
    with kfp_server(script=[("FAILED", {"ingest": "SUCCEEDED", "train-driver": "FAILED: no such input"})]) as server:
        outcome = watch(server, package, told := Told())
    assert told.lines[-1] == "failed train: no such input"
    assert outcome.failures == {"train": "no such input"}


@pytest.mark.parametrize("state", ["CANCELED", "SKIPPED"])
def test_a_run_that_was_stopped_is_no_success(state: str, package: Path) -> None:
    with kfp_server(script=[("CANCELING", {"train": "RUNNING"}), (state, {"train": "CANCELED"})]) as server:
        outcome = watch(server, package, told := Told())
    assert told.lines == ["started train", "failed train: canceled"]
    assert (outcome.exit_code, outcome.reason) == (1, f"the run is {state}")


def test_outages_on_the_way_are_told_and_outlasted(package: Path) -> None:
    told = Told()
    with kfp_server(script=GOOD) as server:
        server.will("GET /runs/", 500, 500, 500, 500, 500, 503, HANG, LOSE, 502)
        outcome = watch(server, package, told, timeout_s=0.2)
    assert outcome.state == "SUCCEEDED"
    waited = [line for line in told.lines if line.startswith("waiting")]
    assert len(waited) == 9
    assert waited[0].endswith("answered 500: InternalServerError: the database is away")
    assert [line for line in told.lines if "ingest" in line] == ["started ingest", "finished ingest 12.5 s"]


def test_a_server_that_is_gone_is_asked_for_a_while_and_then_given_up(package: Path) -> None:
    with kfp_server(script=GOOD) as server:
        connection = connected(server)
        run_id = send(connection, package).run_id
    patience = Patience(first_s=0.01, longest_s=0.01, total_s=0.2, unreachable=True)
    with pytest.raises(Unavailable, match="connection refused"):
        follow(connection, run_id, told := Told(), poll_s=0.01, patience=patience)
    assert len(told.lines) >= 2


def test_credentials_that_expire_while_watching_are_no_outage(package: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    with kfp_server(script=GOOD, tokens={"first"}) as server:
        connection = connected(server, token_file=token)
        run_id = send(connection, package).run_id
        server.tokens = {"second"}
        with pytest.raises(NotLoggedIn):
            follow(connection, run_id, Told(), poll_s=0.01)
        token.write_text("second")
        assert follow(connection, run_id, Told(), poll_s=0.01).state == "SUCCEEDED"


def test_watching_ends_in_time_and_the_run_goes_on(package: Path) -> None:
    with kfp_server(script=[("RUNNING", {})]) as server, pytest.raises(EnvironmentFault) as ended:
        watch(server, package, Told(), limit_s=0.05)
    link = f"{server.uri}/#/runs/details/{server.runs[0]['run_id']}"
    assert str(ended.value) == f"the run is still RUNNING after 0.05 s; it goes on: {link}"


def test_a_run_that_is_not_there_is_said(package: Path) -> None:
    with (
        kfp_server() as server,
        pytest.raises(EnvironmentFault, match=r"has no such thing \(404\): .*Run 77 not found"),
    ):
        follow(connected(server), "77", Told())


def test_a_task_in_a_loop_counts_as_its_worst_iteration(package: Path) -> None:
    script: list[Moment] = [("FAILED", {"train/0": "SUCCEEDED", "train/1": "FAILED", "train/2": "CACHED"})]
    with kfp_server(script=script) as server:
        outcome = watch(server, package, told := Told())
    assert outcome.tasks == {"train": "FAILED"}
    assert sorted(told.lines) == [
        "failed train: failed",
        "finished train 12.5 s",
        "finished train reused",
        "started train",
        "started train",
    ]
