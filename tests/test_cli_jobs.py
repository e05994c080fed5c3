"""distribute at the terminal: a whole run with two workers here, and jobs on a cluster over real HTTP."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from cluster_case import home_of_its_own  # noqa: F401
from kubernetes_server import KubernetesServer, Moment, kubernetes_server, pod, status
from parak8s import cli_replica
from parak8s.layout import Layout
from terminal import Terminal

EXPERIMENT = """
name: small
seed: 3
data: {loader: ecg, source: "synthetic://ecg?beats=600", batch_size: 64}
model: {builder: deep_cnn, params: {filters: 4, blocks: 1, units: 8}}
training: {epochs: 2}
gate: {auc: ">= 1"}
compute: {workers: 2}
"""
ON_CLUSTER = ["-s", "compute.volumes=[{claim: runs, path: /mnt/runs}]", "-s", "compute.runs=/mnt/runs"]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "x.yaml").write_text(EXPERIMENT)
    return Terminal(monkeypatch, capsys)


LOADER = """
import dataclasses
import tensorflow as tf
from parak8s.data import loader

def read(source):
    examples = loader("ecg", {}).read(source)
    return dataclasses.replace(examples, inputs=tf.clip_by_value(examples.inputs, 0.0, 0.9).numpy())
"""


def test_two_workers_leave_what_run_leaves_and_prove_that_one_trains_the_same(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loader of one's own may use TensorFlow, which otherwise wants to hear of other workers before its first use."""
    (tmp_path / "tensorflow_loader.py").write_text(LOADER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    settings = ["-s", "data.loader=tensorflow_loader:read", "--workers", "2", "--certify"]
    code = terminal("distribute", "x.yaml", "--engine", "local", *settings, "-o", "out")
    assert code == 3, terminal.err  # no AUC is above 1: the gate says no, the job succeeds all the same
    made = {path.name for path in Path("out").iterdir() if not path.name.startswith(".")}
    assert made >= {"dataset", "training", "model", "evaluation", "gate", "registration", "report.html", "result.json"}
    job = json.loads(Path("out/tfjob.json").read_text())
    assert job["status"]["replicaStatuses"] == {"Worker": {"succeeded": 2}}
    assert sorted(path.name for path in Path("out/logs").iterdir()) == ["worker-0.log", "worker-1.log"]
    assert "the gate said no" in Path("out/logs/worker-0.log").read_text()
    certificate = json.loads(Path("out/training/certificate.json").read_text())
    assert certificate["replicas"] == {"worker": 2}
    assert certificate["passed"]
    together, alone = (
        np.array([epoch[loss][name] for epoch in certificate["epochs"] for loss in ("loss", "val_loss")])
        for name in ("together", "alone")
    )
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    assert len(together) == 4
    assert certificate["largest_loss_difference"] == pytest.approx((abs(together - alone) / together).max(), rel=1e-3)
    assert certificate["weights"]["relative"] < 1e-6
    assert "certificate: the losses of 2 epochs differ" in terminal.out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ecg", "xray"])
def test_two_workers_have_the_losses_of_one_in_the_shipped_experiments(terminal: Terminal, name: str) -> None:
    shipped = str(Path(__file__).parents[1] / "experiments" / f"{name}.yaml")
    settings = ["-s", "training.epochs=3", "-s", "gate={auc: '>= 0'}", "--workers", "2", "--certify"]
    assert terminal("distribute", shipped, "--engine", "local", *settings, "-o", "out") == 0, terminal.err
    epochs = json.loads(Path("out/training/certificate.json").read_text())["epochs"]
    assert len(epochs) == 3
    for loss in ("loss", "val_loss"):
        assert [each[loss]["together"] for each in epochs] == pytest.approx(
            [each[loss]["alone"] for each in epochs], rel=1e-5
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--certify", "--ps", "1"], "workers of parameter servers do not wait for each other"),
        (["--certify", "-s", "reproducibility=close"], "--certify needs reproducibility: strict"),
        (["--certify", "--workers", "1"], "--certify compares several workers with one"),
        (["--wait"], "go with --engine tfjob"),
        (["--engine", "tfjob"], "compute.volumes"),
        (["--workers", "2", "-s", "training.jit=true"], "XLA compiles for one device"),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(
    terminal: Terminal, tmp_path: Path, arguments: list[str], message: str
) -> None:
    assert terminal("distribute", "x.yaml", *arguments) == 2
    assert message in terminal.err
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_holds_something_else_is_left_alone(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert terminal("distribute", "x.yaml", "-o", "mine") == 2
    assert "holds 'thesis.txt' and no run" in terminal.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def on_cluster(terminal: Terminal, server: KubernetesServer, *arguments: str) -> int:
    cluster = {"name": "test", "cluster": {"server": server.uri}}
    context = {"name": "here", "context": {"cluster": "test", "user": "me", "namespace": "ml"}}
    content = {"current-context": "here", "contexts": [context], "clusters": [cluster], "users": [{"name": "me"}]}
    Path("kubeconfig").write_text(yaml.safe_dump(content | {"users": [{"name": "me", "user": {}}]}))
    terminal.monkeypatch.setenv("KUBECONFIG", str(Path("kubeconfig").absolute()))
    return terminal("distribute", "x.yaml", "--engine", "tfjob", "--name", "ecg", *ON_CLUSTER, *arguments)


RUNNING = Moment(status("Running"), [pod("worker-0"), pod("worker-1")])
DONE = Moment(
    status("Succeeded", Worker={"succeeded": 2}), [pod("worker-0", "Succeeded"), pod("worker-1", "Succeeded")]
)
FAILED = Moment(status("Failed", "TFJob ml/ecg has failed."), [pod("worker-0", "Failed"), pod("worker-1")])


def test_the_job_on_the_cluster_is_the_one_that_manifest_prints(terminal: Terminal) -> None:
    with kubernetes_server(script=[RUNNING, DONE]) as server:
        assert on_cluster(terminal, server) == 0, terminal.err
        (sent,) = server.sent("POST .*tfjobs")
    assert terminal.out.startswith("tfjob       ecg in the namespace ml\n")
    assert terminal("manifest", "tfjob", "x.yaml", *ON_CLUSTER) == 0
    printed = next(yaml.safe_load_all(terminal.out))
    assert sent.json["spec"]["runPolicy"] == printed["spec"]["runPolicy"]
    command = sent.json["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["command"]
    assert command[:2] == ["parak8s", "replica"]
    assert command[-2:] == ["--output", "/mnt/runs/ecg"]


@pytest.mark.parametrize(
    ("end", "said", "code"),
    [
        (DONE, [], 0),
        (DONE, ["the gate said no; its reasons are in gate/verdict.json"], 3),
        (
            DONE,
            ["many workers did not train what one trains; training/certificate.json has the losses side by side"],
            1,
        ),
        (FAILED, [], 1),
        (
            Moment(status("Succeeded", Worker={"succeeded": 2}), gone=True),
            ["the gate said no; its reasons are in gate/verdict.json"],
            3,
        ),
    ],
)
def test_with_wait_the_outcome_is_the_exit_code(terminal: Terminal, end: Moment, said: list[str], code: int) -> None:
    with kubernetes_server(script=[RUNNING, end]) as server:
        server.logs["ecg-worker-0"] = [["  epoch   1  loss 0.5", *said]]
        assert on_cluster(terminal, server, "--wait") == code, terminal.err
    assert "epoch   1" in terminal.out


@pytest.mark.parametrize(("gate", "certificate"), [(True, False), (False, True), (True, True)])
def test_the_leader_says_what_was_refused(
    gate: bool, certificate: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, passed in (("gate/verdict.json", gate), ("training/certificate.json", certificate)):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(json.dumps({"passed": passed}))
    cli_replica._tell_outcome(Layout(tmp_path), certify=True)
    refused = [] if gate else ["the gate said no; its reasons are in gate/verdict.json"]
    unlike = "many workers did not train what one trains; training/certificate.json has the losses side by side"
    assert capsys.readouterr().out.splitlines() == refused + ([] if certificate else [unlike])
    cli_replica._tell_outcome(Layout(tmp_path), certify=False)
    assert capsys.readouterr().out.splitlines() == refused
