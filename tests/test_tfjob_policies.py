"""The rules by which the laptop engine decides, without processes: policies, conditions, ports."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from parak8s.errors import EnvironmentFault
from parak8s.tfjobs.local import addresses, policy
from parak8s.tfjobs.local.policy import Next
from parak8s.tfjobs.local.reading import read
from parak8s.tfjobs.local.status import Counts, Status
from tfjob_case import replicas, tfjob


@pytest.mark.parametrize(
    ("restart_policy", "code", "following"),
    [
        ("Never", 0, Next.SUCCEEDED),
        ("Never", 1, Next.FAILED),
        ("Never", 137, Next.FAILED),
        ("OnFailure", 0, Next.SUCCEEDED),
        ("OnFailure", 1, Next.IN_PLACE),
        ("OnFailure", 143, Next.IN_PLACE),
        ("Always", 0, Next.IN_PLACE),
        ("Always", 2, Next.IN_PLACE),
        ("ExitCode", 0, Next.SUCCEEDED),
        ("ExitCode", 1, Next.FAILED),
        ("ExitCode", 127, Next.FAILED),
        ("ExitCode", 128, Next.ANEW),
        ("ExitCode", 200, Next.ANEW),
        ("ExitCode", 255, Next.ANEW),
    ],
)
def test_restart_policies(restart_policy: str, code: int, following: Next) -> None:
    assert policy.next_of(restart_policy, code) is following


@pytest.mark.parametrize(
    ("limit", "restarts", "failed", "past"),
    [
        (None, 1000, True, False),
        (0, 0, False, False),
        (0, 0, True, True),
        (0, 1, False, True),
        (1, 0, True, False),
        (1, 1, False, True),
        (3, 2, False, False),
        (3, 3, False, True),
    ],
)
def test_the_backoff_limit_counts_restarts_of_all_replicas(
    limit: int | None, restarts: int, failed: bool, past: bool
) -> None:
    assert (policy.past_backoff_limit(limit, restarts, failed) is not None) is past


def test_pauses_grow_to_ten_seconds() -> None:
    assert [policy.pause_s(ends) for ends in (1, 2, 3, 4, 8, 9, 1000)] == [0, 0.1, 0.2, 0.4, 6.4, 10, 10]


TWO = {"Worker": replicas("true", count=2)}
LED = {"Chief": replicas("true"), "Worker": replicas("true", count=2)}
LED_WITH_EXIT_CODE = {"Chief": replicas("true"), "Worker": replicas("true", policy="ExitCode")}
GOES_ON, DONE = None, "TFJob {namespace}/{name} successfully completed."


@pytest.mark.parametrize(
    ("types", "success", "counts", "first", "message"),
    [
        (TWO, "", {"Worker": Counts(2)}, False, GOES_ON),
        (TWO, "", {"Worker": Counts(1, 1)}, False, GOES_ON),
        (TWO, "", {"Worker": Counts(1, 1)}, True, DONE),
        (TWO, "AllWorkers", {"Worker": Counts(1, 1)}, True, GOES_ON),
        (TWO, "AllWorkers", {"Worker": Counts(0, 2)}, True, DONE),
        (
            TWO,
            "",
            {"Worker": Counts(1, 0, 1)},
            False,
            "TFJob {namespace}/{name} has failed because 1 Worker replica(s) failed.",
        ),
        (LED, "", {"Chief": Counts(1), "Worker": Counts(0, 2)}, True, GOES_ON),
        (LED, "", {"Chief": Counts(0, 1), "Worker": Counts(2)}, False, DONE),
        (LED, "AllWorkers", {"Chief": Counts(0, 1), "Worker": Counts(2)}, False, DONE),
        (
            LED,
            "",
            {"Chief": Counts(1), "Worker": Counts(0, 1, 1)},
            True,
            "TFJob {namespace}/{name} has failed because 1 Worker replica(s) failed.",
        ),
        (
            LED_WITH_EXIT_CODE,
            "",
            {"Chief": Counts(1), "Worker": Counts(0, 0, 1)},
            False,
            'job "{name}" is failing because "Worker" replica(s) failed.',
        ),
    ],
)
def test_when_a_job_is_over(
    types: dict[str, Any], success: str, counts: dict[str, Counts], first: bool, message: str | None
) -> None:
    end = policy.verdict(read(tfjob(types, success=success)), counts, first)
    assert (end.message if end else None) == message


def test_dynamic_workers_may_fail_until_nobody_is_left() -> None:
    values = tfjob(TWO)
    values["spec"]["enableDynamicWorker"] = True
    assert policy.verdict(read(values), {"Worker": Counts(1, 0, 1)}, False) is None
    end = policy.verdict(read(values), {"Worker": Counts(0, 0, 2)}, False)
    assert end is not None
    assert end.message == "TFJob {namespace}/{name} has failed because no replica is left."


def test_conditions_follow_the_operators_rules() -> None:
    def at(second: int) -> datetime:
        return datetime(2026, 11, 22, 10, 0, second, tzinfo=UTC)

    status = Status().having("Created", "c", at(0)).having("Running", "r", at(1)).having("Running", "r", at(2))
    assert [(c.type, c.updated) for c in status.conditions] == [("Created", at(0)), ("Running", at(1))]
    status = status.having("Restarting", "x", at(3))
    assert [c.type for c in status.conditions] == ["Created", "Restarting"]
    status = status.having("Running", "r", at(4)).having("Succeeded", "s", at(5))
    assert status.to_json() == {
        "conditions": [
            {
                "type": "Created",
                "status": "True",
                "reason": "TFJobCreated",
                "message": "c",
                "lastUpdateTime": "2026-11-22T10:00:00Z",
                "lastTransitionTime": "2026-11-22T10:00:00Z",
            },
            {
                "type": "Running",
                "status": "False",
                "reason": "TFJobRunning",
                "message": "r",
                "lastUpdateTime": "2026-11-22T10:00:04Z",
                "lastTransitionTime": "2026-11-22T10:00:04Z",
            },
            {
                "type": "Succeeded",
                "status": "True",
                "reason": "TFJobSucceeded",
                "message": "s",
                "lastUpdateTime": "2026-11-22T10:00:05Z",
                "lastTransitionTime": "2026-11-22T10:00:05Z",
            },
        ],
        "replicaStatuses": {},
    }
    failed = status.having("Failed", "f", at(6))
    assert failed.having("Running", "r", at(7)) is failed


def test_engines_side_by_side_never_share_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    def ports(count: int) -> Any:
        return addresses.reserved(read(tfjob({"Worker": replicas("true", count=count)})))

    with ports(3) as found:
        known = [int(address.partition(":")[2]) for address in found["worker"]]
    monkeypatch.setattr(addresses, "_candidates", lambda: known)
    with ports(2) as first:
        with ports(1) as second:
            both = [address.partition(":") for address in (*first["worker"], *second["worker"])]
            assert sorted(int(port) for _, _, port in both) == sorted(known)
            assert {host for host, _, _ in both} == {"127.0.0.1"}
        with pytest.raises(EnvironmentFault, match="no free port"), ports(2):
            pass


def test_ports_are_none_that_the_system_hands_out_by_itself() -> None:
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    with addresses.reserved(read(tfjob({"Worker": replicas("true", count=50)}))) as found:
        ports = [int(address.partition(":")[2]) for address in found["worker"]]
    assert len(set(ports)) == 50
    assert [port for port in ports if low <= port <= high] == []
