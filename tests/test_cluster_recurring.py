"""Recurring runs on Kubeflow Pipelines over real HTTP: made, replaced, refused."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cluster_case import compiled_package, connected, home_of_its_own, open_server  # noqa: F401
from kfp_server import LOSE, KfpServer
from parak8s.cluster import Connection, Scheduled, schedule
from parak8s.errors import EnvironmentFault, InputError

ARGUMENTS = {"experiment": "name: ecg\n"}


def plan(connection: Connection, package: Path, **changes: Any) -> Scheduled:
    options: dict[str, Any] = {
        "name": "ecg nightly",
        "pipeline_name": "ecg",
        "experiment_name": "ecg",
        "arguments": ARGUMENTS,
    }
    if "interval_s" not in changes:
        options["cron"] = "30 2 * * *"
    return schedule(connection, package, **(options | changes))


def test_a_recurring_run_is_made_from_the_packages_version(server: KfpServer, package: Path) -> None:
    start, end = datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 12, 1, tzinfo=UTC)
    done = plan(connected(server), package, start=start, end=end, max_concurrency=2, service_account="editor")
    (made,) = server.recurring_runs
    assert made["trigger"] == {
        "cron_schedule": {
            "cron": "0 30 2 * * *",
            "start_time": "2026-12-01T00:00:00+00:00",
            "end_time": "2027-12-01T00:00:00+00:00",
        }
    }
    assert (made["mode"], made["max_concurrency"], made["no_catchup"]) == ("ENABLE", "2", True)
    assert (made["runtime_config"], made["service_account"]) == ({"parameters": ARGUMENTS}, "editor")
    version = server.versions[0]["pipeline_version_id"]
    assert made["pipeline_version_reference"]["pipeline_version_id"] == version
    assert done.link == f"{server.uri}/#/recurringrun/details/{done.recurring_run_id}"
    assert done.replaced == ()


def test_an_interval_catching_up_and_switched_off(server: KfpServer, package: Path) -> None:
    plan(connected(server), package, interval_s=3600, catch_up=True, enabled=False)
    (made,) = server.recurring_runs
    assert made["trigger"] == {"periodic_schedule": {"interval_second": "3600"}}
    assert (made["mode"], made["no_catchup"]) == ("DISABLE", False)


def test_the_same_command_again_leaves_one_and_the_old_one_goes_last(server: KfpServer, package: Path) -> None:
    connection = connected(server)
    first = plan(connection, package)
    other = plan(connection, package, name="ecg weekly")
    second = plan(connection, package, cron="@daily")
    assert second.replaced == (first.recurring_run_id,)
    left = {each["recurring_run_id"]: each["trigger"] for each in server.recurring_runs}
    assert left.keys() == {other.recurring_run_id, second.recurring_run_id}
    assert left[second.recurring_run_id] == {"cron_schedule": {"cron": "@daily"}}
    changes = [
        each.method for each in server.requests if each.path.startswith("/recurringruns") and each.method != "GET"
    ]
    assert changes == ["POST", "POST", "POST", "DELETE"]


def test_a_lost_answer_makes_no_second_one(server: KfpServer, package: Path) -> None:
    connection = connected(server)
    server.will("POST /recurringruns", LOSE, 503)
    done = plan(connection, package)
    assert [each["recurring_run_id"] for each in server.recurring_runs] == [done.recurring_run_id]


def test_an_old_one_that_could_not_be_deleted_goes_with_the_next_command(server: KfpServer, package: Path) -> None:
    connection = connected(server)
    plan(connection, package)
    server.will("DELETE /recurringruns/", *[500] * 3)
    with pytest.raises(EnvironmentFault, match="the new recurring run is there, but so is the old one"):
        plan(connection, package)
    assert len(server.recurring_runs) == 2
    assert len(plan(connection, package).replaced) == 2
    assert len(server.recurring_runs) == 1


def test_a_recurring_run_of_somebody_else_is_left_alone(server: KfpServer, package: Path) -> None:
    connection = connected(server)
    plan(connection, package)
    server.recurring_runs[0]["description"] = "made in the dashboard"
    with pytest.raises(InputError, match="'ecg nightly' exists that parak8s did not make"):
        plan(connection, package)
    assert len(server.recurring_runs) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cron": None}, "either cron or interval_s"),
        ({"interval_s": 60, "cron": "0 0 * * *"}, "either cron or interval_s"),
        ({"interval_s": 0}, "the shortest is 1 second"),
        ({"cron": "daily"}, "expected five fields as in crontab"),
        ({"max_concurrency": 11}, "takes 1 to 10"),
        ({"start": datetime(2026, 12, 1)}, "has no time zone: write 2026-12-01T00:00:00Z"),
        (
            {"start": datetime(2027, 1, 1, tzinfo=UTC), "end": datetime(2026, 1, 1, tzinfo=UTC)},
            "is not after start",
        ),
        ({"arguments": {"experiment": "x" * 10_000}}, "takes 10,000 at most"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_before_anything_is_sent(
    changes: dict[str, Any], words: str, server: KfpServer, package: Path
) -> None:
    connection = connected(server)
    with pytest.raises(InputError, match=words):
        plan(connection, package, **changes)
    assert len(server.requests) == 1
