"""The laptop engine of Katib with real processes: Experiments that others wrote, faults, kills, restarts."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from parak8s.errors import InputError
from parak8s.katib import local
from parak8s.katib.local import runs
from parak8s.katib.local.trials import Trial
from search_case import PARABOLA, events, experiment, holding, job, python


def failed(done: dict[str, Any], directory: Path) -> list[str]:
    assert done["status"]["trials"] == len(events(directory, "ended"))
    return [event["message"] for event in events(directory, "ended") if event["state"] != "Succeeded"]


def test_a_search_of_somebody_elses_runs_to_its_end_and_says_so_in_katibs_words(tmp_path: Path) -> None:
    done = local.run(experiment(algorithm="grid", maxTrialCount=9), tmp_path / "q")
    assert holding(done) == {"Created": "ExperimentCreated", "Succeeded": "ExperimentMaxTrialsReached"}
    status = done["status"]
    assert (status["trials"], status["trialsSucceeded"]) == (9, 9)
    assert sorted(status["succeededTrialList"]) == sorted(
        event["name"] for event in events(tmp_path / "q", "suggested")
    )
    best = status["currentOptimalTrial"]
    assert best["parameterAssignments"] == [{"name": "x", "value": "0.0"}]
    assert best["observation"]["metrics"] == [{"name": "y", "min": "1.1", "max": "1.3", "latest": "1.3"}]
    assert {"startTime", "completionTime", "lastReconcileTime"} <= status.keys()
    assert "y=1.3" in (tmp_path / "q" / "logs" / f"{best['bestTrialName']}.log").read_text()


def test_a_goal_ends_the_search(tmp_path: Path) -> None:
    done = local.run(
        experiment(algorithm="grid", maxTrialCount=9, objective={"goal": 1.2}, parallelTrialCount=1), tmp_path
    )
    assert holding(done)["Succeeded"] == "ExperimentGoalReached"
    assert [event["value"] for event in events(tmp_path, "ended")] == pytest.approx([0.3, 0.7375, 1.05, 1.2375])


def test_a_grid_that_is_walked_through_ends_the_search(tmp_path: Path) -> None:
    done = local.run(experiment(algorithm="grid", maxTrialCount=None), tmp_path)
    assert holding(done)["Succeeded"] == "ExperimentSuggestionEndReached"
    assert done["status"]["trialsSucceeded"] == 9


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("raise ValueError('no such layer')", "exit code 1: ValueError: no such layer"),
        ("import os, signal; print('y=1', flush=True); os.kill(os.getpid(), signal.SIGKILL)",
         "exit code 137 (SIGKILL): killed; most often the memory ran out"),
        ("print('y=nan')", "Metrics are not available: y was printed, but never as a number (nan and inf are none)"),
        ("print('z=1')", "Metrics are not available: no line says y=VALUE"),
        ("import time; print('y=1', flush=True); time.sleep(600)", "ran longer than 1 s (activeDeadlineSeconds)"),
    ],
)  # fmt: skip
def test_a_trial_that_goes_wrong_fails_with_its_reason_and_holds_up_no_search(
    code: str, message: str, tmp_path: Path
) -> None:
    wrong = f"x = float('${{trialParameters.x}}')\nif x > 0:\n    print(f'y={{x}}')\nelse:\n    {code}"
    done = local.run(experiment(python(wrong, activeDeadlineSeconds=1), algorithm="grid", maxTrialCount=9), tmp_path)
    assert failed(done, tmp_path) == [message] * 5
    assert done["status"]["trialsSucceeded"] == 4
    assert done["status"]["currentOptimalTrial"]["parameterAssignments"] == [{"name": "x", "value": "1.0"}]


def test_a_deaf_trial_is_killed_when_its_grace_is_over(tmp_path: Path) -> None:
    deaf = python("import signal, time; signal.signal(15, signal.SIG_IGN); print('${trialParameters.x}', flush=True)\n"
                  "time.sleep(600)", activeDeadlineSeconds=1)  # fmt: skip
    deaf["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1
    done = local.run(experiment(deaf, maxTrialCount=2), tmp_path)
    assert failed(done, tmp_path) == ["ran longer than 1 s (activeDeadlineSeconds)"] * 2


def test_as_many_failed_trials_as_are_not_borne_fail_the_search(tmp_path: Path) -> None:
    wrong = python("raise SystemExit('${trialParameters.x}')")
    done = local.run(experiment(wrong, maxTrialCount=50, maxFailedTrialCount=2, parallelTrialCount=1), tmp_path)
    assert holding(done)["Failed"] == "ExperimentFailed"
    assert done["status"]["trialsFailed"] == 2
    assert "currentOptimalTrial" not in done["status"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trial": job(["no-such-program", "${trialParameters.x}"])}, "this machine has no such program"),
        ({"algorithm": "tpee"}, "did you mean 'tpe'"),
        ({"settings": {"random_sate": "1"}}, "random_sate"),
        ({"algorithm": "cmaes", "parameters": [
            {"name": "x", "parameterType": "categorical", "feasibleSpace": {"list": ["1", "2"]}}]}, "cmaes"),
        ({"algorithm": "grid", "parameters": [
            {"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}]}, "step"),
        ({"parameters": [{"name": "x", "parameterType": "double", "feasibleSpace": {"min": "2", "max": "1"}}]},
         "min must not be above max"),
        ({"parameters": [{"name": "x", "parameterType": "double",
                          "feasibleSpace": {"min": "0", "max": "1", "distribution": "logUniform"}}]},
         "must be above 0 for logUniform"),
        ({"parameters": []}, "spec.parameters: missing"),
        ({"parallelTrialCount": 9}, "spec.parallelTrialCount: must be at most maxTrialCount (4), got 9"),
        ({"objective": {"type": "best"}}, "expected minimize or maximize"),
        ({"references": {"y": "y"}}, "no such parameter; allowed: x"),
        ({"trial": python("print('y=1')")}, "${trialParameters.x} stands nowhere in trialSpec"),
        ({"trial": python("print('${trialParameters.x}${trialParameters.z}')")}, "not in trialParameters"),
        ({"trial": {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob"}}, "a laptop runs a Job"),
        ({"earlyStopping": {"algorithmName": "hyperband"}}, "expected medianstop"),
        ({"metricsCollectorSpec": {"collector": {"kind": "TensorFlowEvent"}}}, "a laptop reads metrics of StdOut"),
        ({"metricsCollectorSpec": {"source": {"filter": {"metricsFormat": ["(["]}}}}, "no regular expression"),
        ({"maxTrials": 3}, "did you mean 'maxTrialCount'"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_before_anything_starts(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        local.run(experiment(**change), tmp_path / "q")
    assert message in str(refused.value)
    assert not (tmp_path / "q" / "experiment.json").exists()


def test_values_names_and_labels_stand_where_the_template_wants_them(tmp_path: Path) -> None:
    said = "print('y=1'); print('said', '${trialParameters.x}', '${trialParameters.n}', '${trialParameters.kind}')"
    references = {"n": "${trialSpec.Name}", "kind": "${trialSpec.Kind}"}
    local.run(
        experiment(python(said), algorithm="grid", maxTrialCount=1, parallelTrialCount=1, references=references),
        tmp_path,
    )
    (event,) = events(tmp_path, "suggested")
    assert f"said -1.0 {event['name']} Job" in (tmp_path / "logs" / f"{event['name']}.log").read_text()


def test_metrics_are_read_from_a_file_of_each_trials_own(tmp_path: Path) -> None:
    code = "open('/var/log/katib/m.json', 'a').write('{\"y\": \"${trialParameters.x}\"}\\n')"
    collector = {
        "collector": {"kind": "File"},
        "source": {"fileSystemPath": {"path": "/var/log/katib/m.json", "format": "JSON"}},
    }
    done = local.run(
        experiment(python(code), algorithm="grid", maxTrialCount=9, metricsCollectorSpec=collector), tmp_path
    )
    assert [event["value"] for event in events(tmp_path, "ended")] == [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1]
    assert holding(done)["Succeeded"] == "ExperimentMaxTrialsReached"


def test_medianstop_ends_trials_that_are_worse_than_the_median(tmp_path: Path) -> None:
    code = "import time\nfor _ in range(40):\n    print('y=${trialParameters.x}', flush=True); time.sleep(0.05)"
    stopping = {
        "algorithmName": "medianstop",
        "algorithmSettings": [{"name": "min_trials_required", "value": "3"}, {"name": "start_step", "value": "2"}],
    }
    space = [{"name": "x", "parameterType": "double", "feasibleSpace": {"min": "1", "max": "5", "step": "1"}}]
    local.run(
        experiment(
            python(code), algorithm="grid", objective={"type": "minimize"}, maxTrialCount=5, parallelTrialCount=1,
            earlyStopping=stopping, parameters=space,
        ),
        tmp_path,
    )  # fmt: skip
    ended = events(tmp_path, "ended")
    assert [event["state"] for event in ended] == ["Succeeded"] * 3 + ["EarlyStopped"] * 2
    assert [event["value"] for event in ended] == [1, 2, 3, 4, 5]


def test_a_tfjob_is_a_trial_too_and_its_leader_is_heard(tmp_path: Path) -> None:
    code = (
        "import json, os\n"
        "index = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
        "print(f'y={index + ${trialParameters.x}}')"
    )
    pod = {"spec": {"containers": [{"name": "tensorflow", "image": "i", "command": ["python3", "-c", code]}]}}
    trial = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "spec": {"tfReplicaSpecs": {"Worker": {"replicas": 2, "restartPolicy": "Never", "template": pod}}},
    }
    done = local.run(experiment(trial, algorithm="grid", maxTrialCount=2, parallelTrialCount=1), tmp_path)
    assert [event["value"] for event in events(tmp_path, "ended")] == [-1.0, -0.75]
    name = done["status"]["currentOptimalTrial"]["bestTrialName"]
    assert "y=0.25" in (tmp_path / "trials" / name / "logs" / "worker-1.log").read_text()


def assignments(directory: Path) -> list[str]:
    return [event["assignments"]["x"] for event in events(directory, "suggested")]


@pytest.mark.parametrize("algorithm", ["random", "tpe"])
def test_the_same_seed_gives_the_same_search_whichever_trial_ends_first(algorithm: str, tmp_path: Path) -> None:
    uneven = PARABOLA + "\nimport random, time; time.sleep(random.random() / 4)"  # another time in every run
    space = [{"name": "x", "parameterType": "double", "feasibleSpace": {"min": "-1", "max": "1"}}]
    wanted = experiment(
        python(uneven), algorithm=algorithm, settings={"random_state": "7"}, maxTrialCount=16, parallelTrialCount=3,
        parameters=space,
    )  # fmt: skip
    for name in ("one", "two"):
        local.run(wanted, tmp_path / name)
    assert assignments(tmp_path / "one") == assignments(tmp_path / "two")
    values = [[event["value"] for event in events(tmp_path / name, "ended")] for name in ("one", "two")]
    assert values[0] == values[1]


def test_a_killed_search_goes_on_and_ends_as_one_that_was_not(tmp_path: Path) -> None:
    slow = PARABOLA + "\nimport time; time.sleep(0.2)"
    space = [{"name": "x", "parameterType": "double", "feasibleSpace": {"min": "-1", "max": "1"}}]
    wanted = experiment(
        python(slow), algorithm="multivariate-tpe", settings={"random_state": "7", "n_startup_trials": "2"},
        maxTrialCount=14, parameters=space,
    )  # fmt: skip
    local.run(wanted, tmp_path / "whole")
    (tmp_path / "q.yaml").write_text(yaml.safe_dump(wanted))
    command = [sys.executable, "-m", "parak8s.cli", "tune", "q.yaml", "-o", "killed"]
    journal = tmp_path / "killed" / ".state" / "trials.jsonl"
    for enough in (3, 8):
        search = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while not (journal.is_file() and journal.read_text().count("Succeeded") >= enough):
            assert time.monotonic() < deadline
            assert search.poll() is None
            time.sleep(0.02)
        os.kill(search.pid, signal.SIGKILL)
        search.wait()
    with journal.open("a") as torn:
        torn.write('{"event": "ended", "num')  # the line that it was writing
    subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert assignments(tmp_path / "killed") == assignments(tmp_path / "whole")
    values = [[event["value"] for event in events(tmp_path / name, "ended")] for name in ("killed", "whole")]
    assert values[0] == values[1]
    assert len(values[0]) == 14


def test_a_search_that_has_ended_goes_on_when_more_trials_are_wanted(tmp_path: Path) -> None:
    wanted = experiment(resumePolicy="LongRunning", settings={"random_state": "1"}, parallelTrialCount=1)
    local.run(wanted, tmp_path / "q")
    again = local.run(wanted, tmp_path / "q")
    assert again["status"]["trials"] == 4
    wanted["spec"]["maxTrialCount"] = 6
    more = local.run(wanted, tmp_path / "q")
    assert more["status"]["trials"] == 6
    assert holding(more)["Succeeded"] == "ExperimentMaxTrialsReached"
    whole = local.run({**wanted, "spec": {**wanted["spec"]}}, tmp_path / "whole")
    assert assignments(tmp_path / "q") == assignments(tmp_path / "whole")
    assert whole["status"]["trials"] == 6


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"resumePolicy": "Never", "maxTrialCount": 6}, "resumePolicy LongRunning or FromVolume"),
        ({"maxTrialCount": 3, "parallelTrialCount": 1}, "must be above the 4 trials that there are, got 3"),
        ({"algorithm": {"algorithmName": "sobol"}}, "holds another search (algorithm)"),
    ],
)
def test_what_katib_does_not_go_on_with_is_refused(spec: dict[str, Any], message: str, tmp_path: Path) -> None:
    policy = spec.get("resumePolicy", "LongRunning")
    local.run(experiment(resumePolicy=policy), tmp_path)
    changed = experiment(resumePolicy=policy)
    changed["spec"] |= spec
    with pytest.raises(InputError) as refused:
        local.run(changed, tmp_path)
    assert message in str(refused.value)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"holds 'thesis\.txt'"):
        local.run(experiment(), tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["thesis.txt"]


class Heard(local.Quiet):
    """Notes which trials ran side by side."""

    def __init__(self) -> None:
        self.now: set[str] = set()
        self.most = 0

    def began(self, trial: Trial) -> None:
        self.now.add(trial.name)
        self.most = max(self.most, len(self.now))

    def ended(self, trial: Trial) -> None:
        self.now.remove(trial.name)


def test_no_more_trials_run_at_a_time_than_this_machine_is_told(tmp_path: Path) -> None:
    heard = Heard()
    local.run(experiment(maxTrialCount=6, parallelTrialCount=6), tmp_path, parallel=3, narrator=heard)
    assert heard.most == 3


def test_population_based_training_hands_on_the_checkpoints_of_the_parent(tmp_path: Path) -> None:
    code = (
        "import os; x = float('${trialParameters.x}'); os.makedirs('/opt/katib/data', exist_ok=True)\n"
        "p = '/opt/katib/data/steps'; n = int(open(p).read()) if os.path.exists(p) else 0\n"
        "open(p, 'w').write(str(n + 1)); print(f'y={n + x}')"
    )
    settings = {
        "n_population": "5", "truncation_threshold": "0.4", "suggestion_trial_dir": "/opt/katib/data",
        "random_state": "1",
    }  # fmt: skip
    wanted = experiment(python(code), algorithm="pbt", settings=settings, maxTrialCount=15, resumePolicy="FromVolume")
    local.run(wanted, tmp_path)
    suggested, ended = events(tmp_path, "suggested"), events(tmp_path, "ended")
    generation = [int(event["labels"]["pbt.suggestion.katib.kubeflow.org/generation"]) for event in suggested]
    assert generation == [0] * 5 + [1] * 5 + [2] * 5
    steps = [(tmp_path / "checkpoints" / event["name"] / "steps").read_text() for event in suggested]
    assert steps == ["1"] * 5 + ["2"] * 5 + ["3"] * 5
    assert [
        round(event["value"] - float(by["assignments"]["x"])) for event, by in zip(ended, suggested, strict=True)
    ] == generation


def test_each_of_the_trials_that_run_together_has_gpus_of_its_own(tmp_path: Path) -> None:
    said = python(
        "import os, time; print('y=1 ${trialParameters.x} sees', os.environ['CUDA_VISIBLE_DEVICES']); time.sleep(1)"
    )
    (container,) = said["spec"]["template"]["spec"]["containers"]
    container["resources"] = {"limits": {"nvidia.com/gpu": 2}}
    wanted, here = experiment(said, maxTrialCount=2), {**os.environ, "CUDA_VISIBLE_DEVICES": "4,5,6,7"}
    local.run(wanted, tmp_path, environment=here)
    logs = "".join(path.read_text() for path in (tmp_path / "logs").glob("q-*.log"))
    assert sorted(re.findall("sees (.*)", logs)) == ["4,5", "6,7"]
    with pytest.raises(InputError, match="asks for 6 GPUs in all"):
        local.run(wanted, tmp_path / "more", environment=here, parallel=3)


WORKER = """
import json, os, signal, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect(sys.argv[1])
for request in line.makefile():
    arguments = json.loads(request)['arguments']
    x = float(arguments[-1].partition('=')[2])
    if x < -0.6:
        os.kill(os.getpid(), signal.SIGKILL)
    print(f'y={x}', flush=True)
    line.sendall(json.dumps({'code': 0, 'memory': 1}).encode() + b'\\n')
"""


def test_a_warm_worker_that_is_killed_costs_its_trial_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker speaks the protocol of parak8s.trial_worker, without TensorFlow."""
    monkeypatch.setattr(runs, "WORKER", (sys.executable, "-c", WORKER))
    own = job(["parak8s", "step", "trial", "-s", "x=${trialParameters.x}"])
    done = local.run(experiment(own, algorithm="grid", maxTrialCount=9), tmp_path)
    assert failed(done, tmp_path) == ["exit code 137 (SIGKILL): killed; most often the memory ran out"] * 2
    assert [event["value"] for event in events(tmp_path, "ended")][2:] == [-0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0]


def test_trials_that_cannot_even_begin_count_as_failed_ones(tmp_path: Path) -> None:
    space = [{"name": "x", "parameterType": "categorical", "feasibleSpace": {"list": ["echo", *map(str, range(99))]}}]
    wanted = experiment(
        job(["${trialParameters.x}", "y=1"]),
        algorithm="grid",
        maxTrialCount=100,
        maxFailedTrialCount=2,
        parameters=space,
    )
    done = local.run(wanted, tmp_path)
    assert holding(done)["Failed"] == "ExperimentFailed"
    assert (done["status"]["trials"], done["status"]["trialsFailed"]) == (3, 2)


def test_a_checkpoint_with_a_link_that_leads_nowhere_is_handed_on_as_it_is(tmp_path: Path) -> None:
    link = "'/opt/katib/data/l'"
    code = f"import os; os.path.lexists({link}) or os.symlink('/nowhere', {link}); print('y=${{trialParameters.x}}')"
    settings = {"n_population": "5", "truncation_threshold": "0.4", "suggestion_trial_dir": "/opt/katib/data"}
    wanted = experiment(python(code), algorithm="pbt", settings=settings, maxTrialCount=10, resumePolicy="FromVolume")
    done = local.run(wanted, tmp_path)
    assert done["status"]["trialsSucceeded"] == 10


def test_a_path_that_only_begins_like_one_of_the_pods_stays(tmp_path: Path) -> None:
    said = python("print('y=1'); print('/var/log/katib/metrics.log2', '/opt/katib/data', ${trialParameters.x})")
    collector = {"collector": {"kind": "StdOut"}}
    local.run(experiment(said, maxTrialCount=1, parallelTrialCount=1, metricsCollectorSpec=collector), tmp_path)
    (log,) = (tmp_path / "logs").glob("q-*.log")
    assert "/var/log/katib/metrics.log2 /opt/katib/data" in log.read_text()


@pytest.mark.parametrize("left", ["", '{"kind": "Exp', "[]"])
def test_a_status_that_was_cut_off_is_written_anew_from_the_journal(left: str, tmp_path: Path) -> None:
    wanted = experiment(settings={"random_state": "1"})
    before = local.run(wanted, tmp_path)
    (tmp_path / "experiment.json").write_text(left)
    after = local.run(wanted, tmp_path)
    assert after["status"]["succeededTrialList"] == before["status"]["succeededTrialList"]
    assert len(events(tmp_path, "ended")) == 4


def test_a_broken_line_in_the_middle_of_the_journal_is_named(tmp_path: Path) -> None:
    local.run(experiment(resumePolicy="LongRunning"), tmp_path)
    journal = tmp_path / ".state" / "trials.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    lines[3] = lines[3][:20] + "\n"
    journal.write_text("".join(lines))
    with pytest.raises(InputError, match=r"line 4 is broken .* cut the file off before it"):
        local.run(experiment(resumePolicy="LongRunning", maxTrialCount=6), tmp_path)
    journal.write_text("".join(lines[:3]))
    done = local.run(experiment(resumePolicy="LongRunning", maxTrialCount=6), tmp_path)
    assert done["status"]["trialsSucceeded"] == 6
