"""plan, compile, submit and manifest as the terminal shows them; submit speaks to a server over real HTTP."""

from pathlib import Path

import pytest
import yaml

from cluster_case import home_of_its_own, open_server  # noqa: F401
from kfp_server import KfpServer
from terminal import Terminal

MINIMAL = """
name: small
data: {loader: ecg, source: "synthetic://ecg?beats=600"}
model: {builder: deep_cnn, params: {filters: 4, blocks: 1, units: 8}}
training: {epochs: 1}
"""
POINTS = "slow: {training.optimizer.learning_rate: 1.0e-4}\nfast: {training.optimizer.learning_rate: 1.0e-2}\n"
DONE = dict.fromkeys(("configure", "ingest", "train", "calibrate", "evaluate", "gate", "report"), "SUCCEEDED")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(MINIMAL)
    (tmp_path / "points.yaml").write_text(POINTS)
    return Terminal(monkeypatch, capsys)


def test_plan_tells_each_task_what_it_takes_and_what_would_be_reused(terminal: Terminal) -> None:
    assert terminal("plan", "x.yaml", "-s", "compute.gpus=1") == 0
    rows = {line.split()[0]: line.split() for line in terminal.out.splitlines()[2:-3]}
    assert list(rows) == [
        "configure", "ingest", "train", "calibrate", "evaluate", "gate", "report", "register", "record", "outcome",
    ]  # fmt: skip
    assert rows["train"] == ["train", "1", "4", "8Gi", "1", "reused", "if", "unchanged", "would", "run"]
    assert rows["register"] == ["register", "1", "4", "8Gi", "0", "runs", "always", "would", "run"]
    assert [line.split()[0] for line in terminal.out.splitlines()[-2:]] == ["pipeline", "parameters"]
    assert terminal.out.splitlines()[-1].endswith("bytes of 10,000")


def test_compile_writes_one_file_and_says_how_large_it_is(terminal: Terminal, tmp_path: Path) -> None:
    assert terminal("compile", "x.yaml") == 0
    size = (tmp_path / "small.yaml").stat().st_size
    assert terminal.out == f"pipeline    small.yaml ({size:,} bytes)\n"
    assert terminal("compile", "x.yaml", "--points", "points.yaml", "-o", "sweep.yaml") == 0
    specification = next(yaml.safe_load_all((tmp_path / "sweep.yaml").read_text()))
    parameters = specification["root"]["inputDefinitions"]["parameters"]
    assert set(parameters) == {"experiment", "overrides", "points", "monitor"}


def test_what_is_wrong_with_the_file_is_said_before_anything_is_written(terminal: Terminal, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    for command in ("plan", "compile", "submit"):
        assert terminal(command, "x.yaml", "-s", "training.epochs=0") == 2
        assert "training.epochs" in terminal.err
    assert sorted(tmp_path.iterdir()) == before


def test_submit_prints_the_link_and_leaves(terminal: Terminal, server: KfpServer) -> None:
    assert terminal("submit", "x.yaml", "--host", server.uri, "-s", "training.epochs=2") == 0
    (run,) = server.runs
    assert terminal.out == f"run         {run['run_id']}\nlink        {server.uri}/#/runs/details/{run['run_id']}\n"
    assert run["runtime_config"]["parameters"] == {"experiment": MINIMAL, "overrides": "training.epochs=2"}
    assert run["display_name"].startswith("small 20")


def test_the_exit_code_of_a_followed_run_is_its_outcome(terminal: Terminal, server: KfpServer) -> None:
    server.script = [("RUNNING", {"ingest": "RUNNING"}), ("SUCCEEDED", {**DONE, "register": "SUCCEEDED"})]
    assert terminal("submit", "x.yaml", "--host", server.uri, "--wait") == 0
    server.script = [("SUCCEEDED", {**DONE, "record": "SUCCEEDED"})]
    assert terminal("submit", "x.yaml", "--host", server.uri, "--wait") == 3
    assert "the gate said no" in terminal.out
    server.script = [("FAILED", {"configure": "SUCCEEDED", "ingest": "FAILED: no such file"})]
    assert terminal("submit", "x.yaml", "--host", server.uri, "--wait") == 1
    assert "no such file" in terminal.err


def test_a_sweep_is_submitted_as_one_run_with_its_points(terminal: Terminal, server: KfpServer) -> None:
    assert terminal("submit", "x.yaml", "--points", "points.yaml", "--host", server.uri) == 0
    (run,) = server.runs
    assert run["runtime_config"]["parameters"]["points"] == POINTS
    assert [each["display_name"] for each in server.pipelines] == ["small-sweep"]


def test_recurring_needs_a_schedule_and_creates_one_recurring_run(terminal: Terminal, server: KfpServer) -> None:
    assert terminal("submit", "x.yaml", "--host", server.uri, "--recurring") == 2
    assert "schedule: {cron: '30 2 * * *'}" in terminal.err
    assert not server.requests
    night = ("-s", "schedule.cron='30 2 * * *'")
    assert terminal("submit", "x.yaml", "--host", server.uri, "--recurring", *night) == 0
    assert terminal("submit", "x.yaml", "--host", server.uri, "--recurring", *night) == 0
    (recurring,) = server.recurring_runs
    assert recurring["trigger"]["cron_schedule"]["cron"] == "0 30 2 * * *"
    assert not server.runs


def test_no_cache_compiles_caching_out_of_every_task(terminal: Terminal, server: KfpServer) -> None:
    assert terminal("submit", "x.yaml", "--host", server.uri, "--no-cache") == 0
    assert b"enableCache: true" not in next(iter(server.packages.values()))


def test_without_a_host_the_message_says_how_to_give_one(terminal: Terminal) -> None:
    assert terminal("submit", "x.yaml") == 2
    assert "--host" in terminal.err
    assert "KF_PIPELINES_ENDPOINT" in terminal.err


def test_manifest_pipeline_prints_two_kubernetes_objects(terminal: Terminal) -> None:
    assert terminal("manifest", "pipeline", "x.yaml", "--namespace", "team") == 0
    first, second = yaml.safe_load_all(terminal.out)
    assert (first["kind"], second["kind"]) == ("Pipeline", "PipelineVersion")
    assert {each["apiVersion"] for each in (first, second)} == {"pipelines.kubeflow.org/v2beta1"}
    assert {each["metadata"]["namespace"] for each in (first, second)} == {"team"}


@pytest.mark.parametrize("command", [["manifest", "pipeline"], ["submit", "--host", "http://localhost:1"]])
def test_a_namespace_that_kubernetes_does_not_know_is_refused_with_what_to_write(
    terminal: Terminal, command: list[str]
) -> None:
    assert terminal(*command, "x.yaml", "--namespace", "My Team") == 2
    assert "--namespace 'My Team': expected lower-case letters, digits and inner hyphens" in terminal.err
