"""Submitting to Kubeflow Pipelines over real HTTP: versions, runs, limits, lost answers, refusals."""

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster_case import SPEC, compiled_package, connected, home_of_its_own, open_server  # noqa: F401
from kfp_server import HANG, LOSE, KfpServer, kfp_server
from parak8s.cluster import Connection, Submitted, parameters_bytes, submit
from parak8s.cluster.faults import ServerError, Unavailable
from parak8s.cluster.patience import Patience
from parak8s.errors import EnvironmentFault, InputError

ARGUMENTS = {"experiment": "name: ecg\ngate: {auc: '>= 0.95'}\n", "overrides": "training.epochs=2"}


def send(connection: Connection, package: Path, **changes: Any) -> Submitted:
    options: dict[str, Any] = {
        "pipeline_name": "ecg",
        "run_name": "ecg 0123456789abcdef",
        "experiment_name": "ecg",
        "arguments": ARGUMENTS,
    }
    return submit(connection, package, **(options | changes))


def test_a_submission_uploads_the_package_and_runs_it(server: KfpServer, package: Path) -> None:
    done = send(connected(server), package, service_account="editor", description="fingerprint 0123")
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    assert [each["display_name"] for each in server.experiments] == ["ecg"]
    assert [each["display_name"] for each in server.pipelines] == ["ecg"]
    assert [each["display_name"] for each in server.versions] == [f"sha256-{digest[:16]}"]
    assert [*server.packages.values()] == [package.read_bytes()]
    (run,) = server.runs
    assert run["runtime_config"] == {"parameters": ARGUMENTS}
    assert run["experiment_id"] == done.experiment_id == server.experiments[0]["experiment_id"]
    assert run["pipeline_version_reference"] == {
        "pipeline_id": server.pipelines[0]["pipeline_id"],
        "pipeline_version_id": server.versions[0]["pipeline_version_id"],
    }
    assert (run["display_name"], run["service_account"]) == ("ecg 0123456789abcdef", "editor")
    assert run["description"].startswith("fingerprint 0123\n")
    assert done.run_id == run["run_id"]
    assert done.link == f"{server.uri}/#/runs/details/{run['run_id']}"


def test_the_same_package_stays_one_version_and_a_changed_one_becomes_another(server: KfpServer, package: Path) -> None:
    connection = connected(server)
    first, again = send(connection, package), send(connection, package)
    assert first.version == again.version
    assert first.run_id != again.run_id
    package.write_text(package.read_text() + "# changed\n")
    changed = send(connection, package)
    assert changed.version != first.version
    assert (len(server.experiments), len(server.pipelines), len(server.versions), len(server.runs)) == (1, 1, 2, 3)


def test_without_caching_no_task_is_reused_not_even_inside_a_condition(server: KfpServer, package: Path) -> None:
    connection = connected(server)
    send(connection, package)
    send(connection, package, enable_caching=False)
    cached, fresh = ([*yaml.safe_load_all(each)] for each in server.packages.values())
    assert cached[0] == SPEC
    assert fresh[0]["root"]["dag"]["tasks"]["ingest"] == {"cachingOptions": {}}
    assert fresh[0]["components"]["comp-condition-1"]["dag"]["tasks"]["train"] == {"cachingOptions": {}}
    assert fresh[1] == cached[1]


def test_in_a_namespace_everything_is_made_there(package: Path) -> None:
    with kfp_server(multi_user=True) as server:
        connection = connected(server, namespace="team-a")
        done = send(connection, package)
        send(connected(server, namespace="team-b"), package)
    assert [each["namespace"] for each in server.experiments] == ["team-a", "team-b"]
    assert [each["namespace"] for each in server.pipelines] == ["team-a", "team-b"]
    assert done.experiment_id == server.experiments[0]["experiment_id"]


def test_nothing_is_printed(server: KfpServer, package: Path, capfd: pytest.CaptureFixture[str]) -> None:
    server.will("POST /runs", 503)
    send(connected(server), package)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "size"),
    # Counted by Go itself: json.Marshal of map[string]*structpb.Value, google.golang.org/protobuf 1.34.2.
    [
        ({}, 2),
        ({"a": "b"}, 9),
        ({"gate": ">= 0.95 & < 1"}, 39),
        ({"text": 'é漢😀\n\t"\\\x01\x7f\u2028'}, 41),
    ],
)
def test_parameters_are_counted_as_the_server_counts_them(arguments: dict[str, str], size: int) -> None:
    assert parameters_bytes(arguments) == size


def test_counting_needs_no_kfp() -> None:
    code = "import sys, parak8s.cluster.limits; print('kfp' in sys.modules, 'requests' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out == "False False\n"


def test_too_large_arguments_are_refused_before_anything_is_sent(server: KfpServer, package: Path) -> None:
    connection = connected(server)
    largest = {"experiment": "x" * (10_000 - len('{"experiment":""}'))}
    send(connection, package, arguments=largest)
    before = len(server.requests)
    with pytest.raises(InputError) as refused:
        send(connection, package, arguments={**largest, "overrides": ""})
    assert len(server.requests) == before
    assert "take 10,015 bytes, 9,983 of them experiment; Kubeflow Pipelines takes 10,000 at most" in str(refused.value)


@pytest.mark.parametrize(
    "request_line", ["POST /runs", "POST /experiments", "POST /pipelines", "POST /pipelines/upload"]
)
@pytest.mark.parametrize("answers", [[503, 502, 504, 503, 503], [500, 500], [HANG], [LOSE, 503]], ids=str)
def test_outages_are_outlasted_and_nothing_is_made_twice(
    answers: list[int | str], request_line: str, server: KfpServer, package: Path
) -> None:
    connection = connected(server, timeout_s=0.3)
    server.will(request_line, *answers)
    done = send(connection, package)
    assert (len(server.experiments), len(server.pipelines), len(server.versions)) == (1, 1, 1)
    assert [run["run_id"] for run in server.runs] == [done.run_id]


def test_a_run_whose_answer_was_lost_is_found_among_many_of_its_name(server: KfpServer, package: Path) -> None:
    connection = connected(server)
    others = {send(connection, package).run_id for _ in range(12)}
    server.will("POST /runs", LOSE)
    found = send(connection, package)
    assert len(server.runs) == 13
    assert found.run_id not in others


def test_many_who_submit_at_once_share_the_experiment_and_the_version(server: KfpServer, package: Path) -> None:
    connections = [connected(server) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        done = [*pool.map(lambda connection: send(connection, package), connections)]
    assert (len(server.experiments), len(server.pipelines), len(server.versions)) == (1, 1, 1)
    assert len({each.run_id for each in done}) == len(server.runs) == 6


def test_an_outage_without_end_is_said_in_the_servers_words(server: KfpServer, package: Path) -> None:
    connection = connected(server, patience=Patience(first_s=0.01, longest_s=0.01, total_s=0.3))
    server.will("POST /runs", *[500] * 9)
    with pytest.raises(ServerError, match="answered 500: InternalServerError: the database is away"):
        send(connection, package)
    assert len(server.sent("POST /runs")) == 3
    server.will("GET /experiments", *[503] * 1000)
    with pytest.raises(Unavailable, match="answered 503: upstream connect error"):
        send(connection, package)


def test_what_the_server_does_not_take_is_said_in_its_words_at_once(server: KfpServer, package: Path) -> None:
    connection = connected(server)
    with pytest.raises(InputError, match=r"does not take it: .*Unrecognized input parameter: learning_rate"):
        send(connection, package, arguments={"learning_rate": "1"})
    assert len(server.sent("POST /runs")) == 1


def test_who_may_not_do_what_in_which_namespace_is_said(package: Path) -> None:
    with kfp_server(multi_user=True, forbidden=frozenset({"team-b"})) as server:
        connection = connected(server, namespace="team-b")
        with pytest.raises(EnvironmentFault) as refused:
            send(connection, package)
    assert str(refused.value) == (
        f"Kubeflow Pipelines at {server.uri}: eve@example.com may not list experiments in the namespace team-b (403); "
        "ask for the role of a contributor there, or give another --namespace"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file; parak8s compile writes one"),
        ("name: ecg\n", "it has no pipelineInfo"),
        ("a: [", "is no compiled pipeline"),
        ("", "it has no pipelineInfo"),
    ],
)
def test_a_file_that_is_no_package_is_refused(
    content: str | None, words: str, server: KfpServer, tmp_path: Path
) -> None:
    package = tmp_path / "other.yaml"
    if content is not None:
        package.write_text(content)
    with pytest.raises(InputError, match=words):
        send(connected(server), package)
    assert server.experiments == []


def test_an_archived_experiment_is_refused(server: KfpServer, package: Path) -> None:
    connection = connected(server)
    send(connection, package)
    server.experiments[0]["storage_state"] = "ARCHIVED"
    with pytest.raises(InputError, match="'ecg' is archived: restore it in the dashboard, or take another name"):
        send(connection, package)
