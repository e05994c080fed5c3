"""tune at the terminal: a whole search of ours here, one of somebody else's on a cluster over real HTTP."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from cluster_case import home_of_its_own  # noqa: F401
from katib_server import EXPERIMENT as FOREIGN
from katib_server import Katib, KatibServer, done, katib_server, status, trial
from parak8s.loading import load
from parak8s.tracking.trials import TrialRun, conclude_search
from parak8s.tuning.here import place
from parak8s.tuning.wanted import Wanted
from search_case import events, experiment, job, python
from terminal import Terminal

EXPERIMENT = """
# A small search.
name: small
seed: 3
data: {loader: ecg, source: "synthetic://ecg?beats=900", batch_size: 64}   # few beats
model: {builder: deep_cnn, params: {filters: 4, blocks: 1, units: 8}}
training: {epochs: 2}
search:
  objective: {metric: val_auc, additional: [val_loss]}
  algorithm: random
  trials: 20
  parallel: 2
  parameters:
    training.optimizer.learning_rate: {min: 1.0e-4, max: 1.0e-2, log: true}
    model.params.filters: {values: [2, 4]}
"""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "x.yaml").write_text(EXPERIMENT)
    return Terminal(monkeypatch, capsys)


def history(folder: Path) -> list[dict[str, Any]]:
    """Return the epochs of a training without what differs from one machine's mood to the next."""
    epochs = json.loads((folder / "training" / "history.json").read_text())["epochs"]
    return [
        {name: value for name, value in epoch.items() if name not in ("seconds", "timestamp_ms")} for epoch in epochs
    ]


def test_a_search_leaves_its_trials_its_page_its_best_point_and_a_model_made_from_it(
    terminal: Terminal, tmp_path: Path
) -> None:
    assert terminal("tune", "x.yaml", "--trials", "3", "-o", "out", "--promote") == 0, terminal.err
    out = Path("out")
    assert {path.name for path in out.iterdir()} >= {
        "experiment.json",
        "trials.csv",
        "report.html",
        "best.yaml",
        "logs",
    }
    suggested, ended = events(out, "suggested"), events(out, "ended")
    assert [event["state"] for event in ended] == ["Succeeded"] * 3
    best = max(zip(ended, suggested, strict=True), key=lambda pair: pair[0]["value"])[1]
    text = (out / "best.yaml").read_text()
    assert "# A small search." in text
    assert "# few beats" in text
    point = yaml.safe_load(text)
    rate, filters = (best["assignments"][path] for path in ("training.optimizer.learning_rate", "model.params.filters"))
    assert point["training"]["optimizer"]["learning_rate"] == float(rate)
    assert point["model"]["params"]["filters"] == int(filters)
    assert Path("x-best.yaml").read_text() == text
    assert list(Path("runs/small").glob("*/result.json"))
    check_mlflow(tmp_path, [event["name"] for event in suggested])
    check_a_cold_process(out, best)


def check_mlflow(folder: Path, names: list[str]) -> None:
    """Every trial is a nested run of the search's, with its point, its epochs and a model of its name."""
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    kept = client.get_experiment_by_name("small")
    assert kept is not None
    runs = {run.info.run_name: run for run in client.search_runs([kept.experiment_id])}
    parent = runs["small"]
    assert parent.info.status == "FINISHED"
    assert "best_val_auc" in parent.data.metrics
    for name in names:
        run = runs[name]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.info.status == "FINISHED"
        assert set(run.data.params) == {"training.optimizer.learning_rate", "model.params.filters"}
        assert [metric.step for metric in client.get_metric_history(run.info.run_id, "val_auc")] == [1, 2]
        assert [file.path for file in client.list_artifacts(run.info.run_id, "model")] == [f"model/{name}.keras"]


def check_a_cold_process(out: Path, best: dict[str, Any]) -> None:
    """A process of its own trains the same bits as a warm worker, and prints what Katib reads."""
    settings = [word for path, value in best["assignments"].items() for word in ("-s", f"{path}={value}")]
    command = [sys.executable, "-m", "parak8s.cli", "step", "trial", "--name", "cold", "--search", "small", *settings]
    environment = {**os.environ, "PARAK8S_EXPERIMENT": EXPERIMENT, "PARAK8S_TRIALS": str(Path("cold").absolute())}
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()
    assert history(Path("cold/cold")) == history(out / "trials" / best["name"])
    values = [line.partition(" ")[2] for line in said]
    expected = [f"{name}={epoch[name]!r}" for epoch in history(Path("cold/cold")) for name in ("val_auc", "val_loss")]
    assert values == expected


def foreign(**spec: Any) -> None:
    Path("q.yaml").write_text(yaml.safe_dump(experiment(**spec)))


def test_an_experiment_of_somebody_elses_is_searched_too(terminal: Terminal) -> None:
    foreign(algorithm="grid", resumePolicy="LongRunning")
    assert terminal("tune", "q.yaml", "--trials", "3", "--parallel", "1") == 0, terminal.err
    (directory,) = Path("runs/q").iterdir()
    assert (directory / "report.html").is_file()
    assert not (directory / "best.yaml").exists()
    assert terminal("tune", "q.yaml", "--trials", "5") == 0, terminal.err
    assert "goes on after 3 trials" in terminal.out
    assert len(events(directory, "ended")) == 5


@pytest.mark.parametrize(
    ("trial_code", "message"),
    [
        ("print('${trialParameters.x}')", "no trial of q has a value of y; the last one: Metrics are not available"),
        ("raise SystemExit('out of ${trialParameters.x} beans')", "beans"),
    ],
)
def test_a_search_that_comes_to_nothing_says_why(terminal: Terminal, trial_code: str, message: str) -> None:
    foreign(trial=python(trial_code))
    assert terminal("tune", "q.yaml", "-o", "out") == 1
    assert message in terminal.err
    assert len(Path("out/trials.csv").read_text().splitlines()) == 5


def test_a_program_that_is_not_there_is_named_and_nothing_stands_in_the_way_of_the_next_try(terminal: Terminal) -> None:
    foreign(trial=job(["no-such-program", "${trialParameters.x}"]))
    assert terminal("tune", "q.yaml", "-o", "out") == 2
    assert "this machine has no such program" in terminal.err
    assert not Path("out").exists()
    foreign()
    assert terminal("tune", "q.yaml", "-o", "out") == 0, terminal.err


def test_more_trials_are_another_stretch_of_the_same_search(terminal: Terminal) -> None:
    few, more = (Wanted.read(Path("x.yaml"), [], trials=trials) for trials in (1, 30))
    assert few.object["spec"]["maxTrialCount"] == 1
    assert few.object["spec"]["parallelTrialCount"] == 1
    assert more.object["spec"]["maxTrialCount"] == 30
    assert place(few) == place(more)


def test_a_file_of_ones_own_is_not_written_over(terminal: Terminal) -> None:
    Path("x-best.yaml").write_text(EXPERIMENT)
    assert terminal("tune", "x.yaml", "--promote") == 2
    assert "would write over x-best.yaml" in terminal.err
    assert Path("x-best.yaml").read_text() == EXPERIMENT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": None}, "metadata is missing"),
        ({"metadata": {"generateName": "q-"}}, "metadata.name is missing"),
        ({"spec": "hi"}, "spec is missing, or no mapping"),
        (experiment(objective={"goal": math.nan}), "expected a finite number"),
    ],
)  # fmt: skip
def test_an_object_that_is_none_is_refused_with_what_is_wrong(
    terminal: Terminal, change: dict[str, Any], message: str
) -> None:
    Path("q.yaml").write_text(yaml.safe_dump({**experiment(), **change}))
    assert terminal("tune", "q.yaml") == 2
    assert message in terminal.err


def test_the_search_ends_the_runs_of_trials_that_were_killed_with_it(terminal: Terminal, tmp_path: Path) -> None:
    point = load(Path("x.yaml"))
    killed = TrialRun(point, "small-a", "small", {"training.epochs": "2"}, tmp_path / "a")
    other = TrialRun(point, "other-a", "other", {}, tmp_path / "b")
    conclude_search(point, "small", {"training.epochs": "2"}, 0.5, [], succeeded=False)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    states = {str(run_id): client.get_run(str(run_id)).info.status for run_id in (killed.run_id, other.run_id)}
    assert states == {killed.run_id: "KILLED", other.run_id: "RUNNING"}
    parent = client.get_run(str(killed.run_id)).data.tags["mlflow.parentRunId"]
    assert client.get_run(parent).info.status == "FAILED"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.yaml", "--wait"], "go with --engine katib"),
        (["x.yaml", "--engine", "katib", "--delete-on-stop"], "--delete-on-stop goes with --wait"),
        (["x.yaml", "--engine", "katib", "--promote"], "compile FILE --tune"),
        (["q.yaml", "-s", "training.epochs=2"], "-s goes with an experiment file"),
        (["q.yaml", "--promote"], "is no experiment file"),
        (["x.yaml", "-s", "search=null"], "search"),
        (["x.yaml", "-s", "search.algorithm=tree"], "allowed: bayesianoptimization, cmaes, grid"),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(terminal: Terminal, arguments: list[str], message: str) -> None:
    foreign()
    assert terminal("tune", *arguments) == 2
    assert message in terminal.err
    assert not Path("runs").exists()


def on_cluster(terminal: Terminal, server: KatibServer, *arguments: str) -> int:
    cluster = {"name": "test", "cluster": {"server": server.uri}}
    context = {"name": "here", "context": {"cluster": "test", "user": "me", "namespace": "ml"}}
    content = {
        "current-context": "here",
        "contexts": [context],
        "clusters": [cluster],
        "users": [{"name": "me", "user": {}}],
    }
    Path("kubeconfig").write_text(yaml.safe_dump(content))
    terminal.monkeypatch.setenv("KUBECONFIG", str(Path("kubeconfig").absolute()))
    Path("f.yaml").write_text(yaml.safe_dump(FOREIGN))
    return terminal("tune", "f.yaml", "--engine", "katib", *arguments)


A, B = trial("a", "Succeeded", 0.91), trial("b", "Succeeded", 0.93, lr="0.02")


def test_a_search_on_a_cluster_is_followed_and_leaves_the_same(terminal: Terminal) -> None:
    story = (Katib(status(), (trial("a"),)), Katib(done(best=B), (A, B)))
    with katib_server(*story) as server:
        assert on_cluster(terminal, server, "--wait", "-o", "out", "--parallel", "3") == 0, terminal.err
        (sent,) = server.sent("POST .*experiments")
    assert sent.json["spec"]["parallelTrialCount"] == 3
    assert "experiment  ecg in the namespace ml" in terminal.out
    rows = Path("out/trials.csv").read_text().splitlines()
    assert rows[0].startswith("name,state,lr,val_auc")
    assert len(rows) == 3
    assert Path("out/report.html").is_file()


def test_without_wait_the_search_is_left_to_katib(terminal: Terminal) -> None:
    with katib_server() as server:
        assert on_cluster(terminal, server) == 0, terminal.err
    assert "kubectl get experiment ecg -n ml --watch" in terminal.out
    assert not Path("runs").exists()
