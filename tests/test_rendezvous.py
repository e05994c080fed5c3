"""Replicas meet before they train: who is there, who is missing, and what happens when somebody dies."""

import json
import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from parak8s import rendezvous
from parak8s.errors import InputError
from parak8s.loading import parse
from parak8s.rendezvous import Meeting, PeerLost, attend, wait_for
from parak8s.replica import join
from parak8s.team import Team
from parak8s.workplace import Workplace

SMALL = 'name: x\ndata: {loader: ecg, source: "synthetic://ecg"}\nmodel: {builder: deep_cnn}\n'


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def team(role: str, index: int, workers: int = 2, port: int | None = None) -> Team:
    addresses = (f"127.0.0.1:{port or free_port()}", *(f"127.0.0.1:{free_port()}" for _ in range(workers - 1)))
    return Team({"worker": addresses}, role, index)


def told(config: dict[str, Any]) -> Team | None:
    return Team.from_environment({"TF_CONFIG": json.dumps(config)})


def test_the_team_is_what_tf_config_says() -> None:
    cluster = {"chief": ["c:2222"], "worker": ["w0:2222", "w1:2222"], "ps": ["p:2222"]}
    found = told({"cluster": cluster, "task": {"type": "worker", "index": 1}, "environment": "cloud"})
    assert found is not None
    assert (found.name, found.leader, found.leads, found.coordinated, found.in_step) == (
        "worker-1", "chief-0", False, True, 1,
    )  # fmt: skip
    assert dict(found.addresses())["ps-0"] == "p:2222"


def test_without_a_chief_the_first_worker_leads_and_all_work_in_step() -> None:
    found = told({"cluster": {"worker": ["a:1", "b:2", "c:3"]}, "task": {"type": "worker", "index": 0}})
    assert found is not None
    assert (found.leads, found.coordinated, found.in_step) == (True, False, 3)


def test_a_master_of_old_is_a_chief() -> None:
    found = told({"cluster": {"master": ["a:1"], "worker": ["b:2"]}, "task": {"type": "master", "index": 0}})
    assert found is not None
    assert (found.name, found.leads, found.in_step) == ("chief-0", True, 2)


@pytest.mark.parametrize("environment", [{}, {"TF_CONFIG": ""}, {"TF_CONFIG": " "}])
def test_without_tf_config_one_is_alone(environment: dict[str, str]) -> None:
    assert Team.from_environment(environment) is None


def test_a_single_replica_is_alone_but_its_evaluator_is_not() -> None:
    cluster = {"worker": ["a:1"]}
    assert told({"cluster": cluster, "task": {"type": "worker", "index": 0}}) is None
    evaluator = told({"cluster": cluster, "task": {"type": "evaluator", "index": 0}})
    assert evaluator is not None
    assert not evaluator.leads


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected cluster"),
        ("[]", "expected cluster"),
        ('{"cluster": {}}', "expected cluster"),
        (
            '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}}',
            "worker-2 is not in the cluster, which has 2",
        ),
        ('{"cluster": {"wroker": ["a:1"]}, "task": {"type": "wroker", "index": 0}}', "did you mean 'worker'"),
        (
            '{"cluster": {"worker": ["a:1"], "ps": ["b:2"]}, "task": {"type": "worker", "index": 0}}',
            "parameter servers need a chief",
        ),
    ],
)
def test_a_tf_config_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Team.from_environment({"TF_CONFIG": text})


def test_all_begin_with_what_the_leader_says() -> None:
    leader = team("worker", 0, workers=4)
    members = [Team(leader.cluster, "worker", index) for index in (1, 2, 3)]
    with Meeting(leader) as meeting, ThreadPoolExecutor() as pool:
        waiting = [pool.submit(attend, member, 20.0) for member in members]
        meeting.begin({"epochs": 3}, within_s=20)
        assert [each.result() for each in waiting] == [{"begin": True, "epochs": 3}] * 3
        port = int(leader.address_of("worker-0").rpartition(":")[2])
        with socket.create_server(("", port)):  # TensorFlow's server can stand there now
            pass


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_they_meet_where_there_is_ipv6_alone() -> None:
    cluster = {"worker": (f"[::1]:{free_port()}", f"[::1]:{free_port()}")}
    with Meeting(Team(cluster, "worker", 0)) as meeting, ThreadPoolExecutor() as pool:
        waiting = pool.submit(attend, Team(cluster, "worker", 1), 20.0)
        wait_for({"worker-0": cluster["worker"][0]}, 20)
        meeting.begin({}, within_s=20)
        assert waiting.result() == {"begin": True}


def test_members_may_come_before_their_leader() -> None:
    leader = team("worker", 0)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(attend, Team(leader.cluster, "worker", 1), 20.0)
        with Meeting(leader) as meeting:
            meeting.begin({}, within_s=20)
        assert waiting.result() == {"begin": True}


def test_who_is_not_needed_is_sent_home() -> None:
    leader = team("worker", 0)
    with ThreadPoolExecutor() as pool:
        with Meeting(leader) as meeting:
            waiting = pool.submit(attend, Team(leader.cluster, "worker", 1), 20.0)
            with meeting._changed:
                meeting._changed.wait_for(lambda: meeting._present, 20)
        assert waiting.result() == {"begin": False}


def test_the_message_says_who_is_missing_and_the_exit_code_is_retried() -> None:
    leader = team("worker", 0, workers=4)
    come = threading.Event()
    with Meeting(leader) as meeting, ThreadPoolExecutor() as pool:
        waiting = pool.submit(attend, Team(leader.cluster, "worker", 2), 1.0)
        with meeting._changed:
            meeting._changed.wait_for(lambda: meeting._present, 20)
        with pytest.raises(PeerLost, match=r"^worker-1, worker-3 did not come within 0.3 s") as caught:
            meeting.begin({}, within_s=0.3)
        assert caught.value.exit_code >= 128
        meeting._close()
        with pytest.raises(PeerLost, match=r"worker-0 cannot be reached at 127\.0\.0\.1:"):
            waiting.result()
        come.set()


def test_a_member_that_died_is_missing_again() -> None:
    leader = team("worker", 0)
    with Meeting(leader) as meeting:
        host, _, port = leader.address_of("worker-0").rpartition(":")
        with socket.create_connection((host, int(port))) as dies:
            dies.sendall(b'{"name": "worker-1"}\n')
            with meeting._changed:
                assert meeting._changed.wait_for(lambda: meeting._present, 20)
        with pytest.raises(PeerLost, match="worker-1 did not come"):
            meeting.begin({}, within_s=0.5)


def test_a_leader_that_dies_while_it_prepares_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    leader = team("worker", 0)
    with ThreadPoolExecutor() as pool:
        first = Meeting(leader).__enter__()
        waiting = pool.submit(attend, Team(leader.cluster, "worker", 1), 20.0)
        with first._changed:
            assert first._changed.wait_for(lambda: first._present, 20)
        first._close()  # what the kernel does for a process that is killed
        with Meeting(leader) as second:
            second.begin({"epochs": 1}, within_s=20)
        assert waiting.result() == {"begin": True, "epochs": 1}


def test_a_leader_may_prepare_as_long_as_it_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "BEAT_S", 0.05)
    leader = team("worker", 0)
    with Meeting(leader) as meeting, ThreadPoolExecutor() as pool:
        waiting = pool.submit(attend, Team(leader.cluster, "worker", 1), 2.0)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=5)
        meeting.begin({"epochs": 1}, within_s=20)
        assert waiting.result() == {"begin": True, "epochs": 1}


def test_a_leader_that_hangs_while_it_prepares_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "SILENT_S", 0.2)
    leader = team("worker", 0)
    _, _, port = leader.address_of("worker-0").rpartition(":")
    with socket.create_server(("", int(port))), pytest.raises(PeerLost, match="worker-0 cannot be reached") as caught:
        attend(Team(leader.cluster, "worker", 1), 1.0)  # the kernel of a process that was stopped answers, too
    assert caught.value.exit_code == 200


NETWORK_GONE = """
import os, subprocess, threading, time
from parak8s import rendezvous
from parak8s.team import Team

rendezvous.BEAT_S, rendezvous.SILENT_S = 0.5, 3.0
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
team = Team({"worker": ("127.0.0.1:2222", "127.0.0.1:2223")}, "worker", 0)
with rendezvous.Meeting(team) as meeting:
    threading.Thread(target=rendezvous.attend, args=(Team(team.cluster, "worker", 1), 600.0), daemon=True).start()
    with meeting._changed:
        assert meeting._changed.wait_for(meeting._complete, 20)
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
    until = time.monotonic() + 60
    while meeting._complete() and time.monotonic() < until:
        time.sleep(0.1)
    print("present" if meeting._complete() else "noticed", flush=True)
    os._exit(0)
"""
IN_A_NETWORK_OF_ITS_OWN = ["unshare", "--net", "--map-root-user"]


def may_have_a_network() -> bool:
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    return subprocess.run([*IN_A_NETWORK_OF_ITS_OWN, "ip", "link"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_have_a_network(), reason="needs unshare, ip, and the right to a network of its own")
def test_a_member_whose_machine_is_gone_is_missed_although_signs_of_life_are_sent_to_it() -> None:
    command = [*IN_A_NETWORK_OF_ITS_OWN, sys.executable, "-c", NETWORK_GONE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "noticed\n"), done.stderr


@pytest.mark.parametrize("noise", [b"", b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b'{"name"', b"\xff\xfe\n"])
def test_a_stranger_at_the_door_is_not_let_in(noise: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "TALK_S", 0.5)
    leader = team("worker", 0)
    with Meeting(leader) as meeting:
        host, _, port = leader.address_of("worker-0").rpartition(":")
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(noise)
            with pytest.raises(PeerLost, match="worker-1 did not come"):
                meeting.begin({}, within_s=0.5)


def test_servers_are_waited_for_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = f"127.0.0.1:{server.getsockname()[1]}"
        wait_for({"ps-0": there}, within_s=5)
        with pytest.raises(PeerLost, match=r"^worker-1 did not come within 0.3 s"):
            wait_for({"ps-0": there, "worker-1": f"127.0.0.1:{free_port()}"}, within_s=0.3)


def test_who_died_at_the_very_end_does_not_wait_for_a_leader_that_is_done(tmp_path: Path) -> None:
    experiment, training = parse(SMALL, "x", ["compute.job.rendezvous_s=1"]), tmp_path / "training"
    with pytest.raises(PeerLost, match="worker-0 cannot be reached"):
        join(team("worker", 1), experiment, Workplace(tmp_path))
    training.mkdir()
    join(team("worker", 1), experiment, Workplace(tmp_path))


def test_an_evaluator_has_nothing_to_do_and_meets_nobody(tmp_path: Path) -> None:
    evaluator = Team({"worker": (f"127.0.0.1:{free_port()}",)}, "evaluator", 0)
    join(evaluator, parse(SMALL, "x", ["compute.job.rendezvous_s=1"]), Workplace(tmp_path))
    assert not list(tmp_path.iterdir())


def test_evaluators_are_not_waited_for() -> None:
    cluster = {"worker": ["a:1", "b:2"], "evaluator": ["e:3"]}
    leader = told({"cluster": cluster, "task": {"type": "worker", "index": 0}})
    assert leader is not None
    assert Meeting(leader).expected == {"worker-1"}
