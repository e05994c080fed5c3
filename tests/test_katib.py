"""Experiments of Katib: whole objects as they are written, Katib's own rules restated, and what is refused before."""

import json
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from parak8s import __version__, katib, loading
from parak8s.errors import InputError
from parak8s.experiment import Experiment, documents, space
from parak8s.katib.building import katib_experiment
from parak8s.katib.objects import Job
from parak8s.katib.parameters import trial_parameters
from parak8s.katib.trials import canonical
from parak8s.provenance import fingerprint
from parak8s.tfjobs.building import cluster_tfjob
from terminal import Terminal

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
SHIPPED = Path(katib.__file__).parent
MINIMAL = "name: x\nseed: 7\ndata: {loader: ecg, source: 'synthetic://ecg?beats=300'}\nmodel: {builder: deep_cnn}\n"
SEARCH = f"""{MINIMAL}
search:
  objective: {{metric: val_auc, goal: 0.99, additional: [val_loss]}}
  algorithm: tpe
  settings: {{gamma: 0.3}}
  trials: 12
  parallel: 2
  max_failed: 3
  early_stopping: {{}}
  parameters:
    training.optimizer.learning_rate: {{min: 1.0e-4, max: 1.0e-2, log: true}}
    model.params.units: {{values: [16, 32]}}
    model.params.blocks: {{min: 2, max: 4}}
    model.params.dropout: {{min: 0, max: 0.5, step: 0.1}}
    training.schedule.name: {{values: [constant, cosine]}}
"""
SHARED = ("compute.volumes=[{claim: runs, path: /mnt/runs}]", "compute.runs=/mnt/runs")
PBT = (
    "search.algorithm=pbt", "search.settings={n_population: 5, truncation_threshold: 0.2}", "search.resume=FromVolume",
    "search.early_stopping=null",
    "search.parameters={model.params.dropout: {min: 0, max: 0.5, step: 0.1}, model.params.units: {values: [8, 16]}}",
)  # fmt: skip


def experiment(*overrides: str, text: str = SEARCH) -> Experiment:
    return loading.parse(text, "x.yaml", overrides)


def build(*overrides: str, text: str = SEARCH, **where: Any) -> Any:
    return katib_experiment(experiment(*overrides, text=text), **where)


def trial(built: Any) -> Any:
    return built["spec"]["trialTemplate"]["trialSpec"]


def pod(built: Any) -> Any:
    spec = trial(built)["spec"]
    return (spec if "template" in spec else spec["tfReplicaSpecs"]["Worker"])["template"]["spec"]


def container(built: Any) -> Any:
    (found,) = pod(built)["containers"]
    return found


def variables(built: Any) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container(built)["env"]}


LABELS = {"app.kubernetes.io/name": "parak8s", "app.kubernetes.io/instance": "x"}
POINT = [
    "parak8s", "step", "trial", "--name", "${trialParameters.trialName}", "--search", "x",
    "-s", "training.optimizer.learning_rate=${trialParameters.learningRate}",
    "-s", "model.params.units=${trialParameters.units}",
    "-s", "model.params.blocks=${trialParameters.blocks}",
    "-s", "model.params.dropout=${trialParameters.dropout}",
    "-s", "training.schedule.name=${trialParameters.name}",
]  # fmt: skip
JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"labels": LABELS},
    "spec": {
        "backoffLimit": 0,
        "activeDeadlineSeconds": 86400,
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        },
        "template": {
            "metadata": {
                "labels": {**LABELS, "sidecar.istio.io/inject": "false"},
                "annotations": {"sidecar.istio.io/inject": "false"},
            },
            "spec": {
                "containers": [{
                    "name": "training",
                    "image": f"parak8s:{__version__}",
                    "command": POINT,
                    "env": [
                        {"name": "HOME", "value": "/tmp"},
                        {"name": "KERAS_HOME", "value": "/tmp/keras"},
                        {"name": "MPLCONFIGDIR", "value": "/tmp/matplotlib"},
                        {"name": "PYTHONUNBUFFERED", "value": "1"},
                        {"name": "USER", "value": "parak8s"},
                        {"name": "PARAK8S_EXPERIMENT", "value": "TEXT"},
                    ],
                    "resources": {"requests": {"cpu": "4", "memory": "8Gi"}, "limits": {"cpu": "4", "memory": "8Gi"}},
                    "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                }],
                "volumes": [{"name": "scratch", "emptyDir": {}}],
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 1000,
                    "runAsGroup": 1000,
                    "fsGroup": 1000,
                    "fsGroupChangePolicy": "OnRootMismatch",
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": 120,
                "restartPolicy": "Never",
            },
        },
    },
}  # fmt: skip
SPEC = {
    "objective": {
        "type": "maximize",
        "goal": 0.99,
        "objectiveMetricName": "val_auc",
        "additionalMetricNames": ["val_loss"],
        "metricStrategies": [{"name": "val_auc", "value": "max"}, {"name": "val_loss", "value": "min"}],
    },
    "algorithm": {
        "algorithmName": "tpe",
        "algorithmSettings": [{"name": "random_state", "value": "7"}, {"name": "gamma", "value": "0.3"}],
    },
    "earlyStopping": {
        "algorithmName": "medianstop",
        "algorithmSettings": [{"name": "min_trials_required", "value": "3"}, {"name": "start_step", "value": "4"}],
    },
    "parallelTrialCount": 2,
    "maxTrialCount": 12,
    "maxFailedTrialCount": 3,
    "resumePolicy": "LongRunning",
    "parameters": [
        {
            "name": "training.optimizer.learning_rate",
            "parameterType": "double",
            "feasibleSpace": {"min": "0.0001", "max": "0.01", "distribution": "logUniform"},
        },
        {"name": "model.params.units", "parameterType": "discrete", "feasibleSpace": {"list": ["16", "32"]}},
        {"name": "model.params.blocks", "parameterType": "int", "feasibleSpace": {"min": "2", "max": "4"}},
        {
            "name": "model.params.dropout",
            "parameterType": "double",
            "feasibleSpace": {"min": "0.0", "max": "0.5", "step": "0.1"},
        },
        {
            "name": "training.schedule.name",
            "parameterType": "categorical",
            "feasibleSpace": {"list": ["constant", "cosine"]},
        },
    ],
    "metricsCollectorSpec": {"collector": {"kind": "StdOut"}},
}
NAMES = [
    {"name": "trialName", "description": "Name of the trial", "reference": "${trialSpec.Name}"},
    *(
        {"name": name, "description": f"Value of {path}", "reference": path}
        for name, path in {
            "learningRate": "training.optimizer.learning_rate",
            "units": "model.params.units",
            "blocks": "model.params.blocks",
            "dropout": "model.params.dropout",
            "name": "training.schedule.name",
        }.items()
    ),
]


def with_text(golden: Any, text: str) -> Any:
    """Return a golden object with the text of the experiment."""
    return json.loads(json.dumps(golden).replace('"TEXT"', json.dumps(text)))


def test_a_search_of_one_worker_is_this_object() -> None:
    built = build(namespace="ml")
    text = variables(built)["PARAK8S_EXPERIMENT"]
    template = {
        "retain": False,
        "primaryContainerName": "training",
        "successCondition": 'status.conditions.#(type=="Complete")#|#(status=="True")#',
        "failureCondition": 'status.conditions.#(type=="Failed")#|#(status=="True")#',
        "trialParameters": NAMES,
        "trialSpec": with_text(JOB, text),
    }
    assert built == {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "x", "namespace": "ml", "labels": LABELS},
        "spec": {**SPEC, "trialTemplate": template},
    }


def test_a_search_of_several_workers_makes_tfjobs_with_the_pods_of_a_training() -> None:
    wanted = (*SHARED, "compute.workers=2", "compute.parameter_servers=1", "search.trial_deadline_s=600")
    built = build(*wanted)
    template = built["spec"]["trialTemplate"]
    assert {key: value for key, value in template.items() if key not in ("trialSpec", "trialParameters")} == {
        "retain": False,
        "primaryContainerName": "tensorflow",
        "primaryPodLabels": {"training.kubeflow.org/job-role": "master"},
        "successCondition": 'status.conditions.#(type=="Succeeded")#|#(status=="True")#',
        "failureCondition": 'status.conditions.#(type=="Failed")#|#(status=="True")#',
    }
    expected = cluster_tfjob(experiment(*wanted))
    expected["metadata"] = {"labels": LABELS}
    expected["spec"]["runPolicy"]["activeDeadlineSeconds"] = 600
    for role in expected["spec"]["tfReplicaSpecs"].values():
        (each,) = role["template"]["spec"]["containers"]
        each["command"] = POINT
        text = {"name": "PARAK8S_EXPERIMENT", "value": variables(built)["PARAK8S_EXPERIMENT"]}
        each["env"].append(text)
    assert template["trialSpec"] == expected
    assert set(expected["spec"]["tfReplicaSpecs"]) == {"Chief", "Worker", "PS"}


def test_a_trial_gets_the_experiment_with_all_defaults_and_of_the_search_what_it_prints() -> None:
    text = variables(build("training.epochs=3"))["PARAK8S_EXPERIMENT"]
    point, whole = loading.parse(text, "trial"), experiment("training.epochs=3")
    assert point.model_copy(update={"search": None}) == whole.model_copy(update={"search": None})
    assert point.search
    assert whole.search
    assert (point.search.objective, point.search.parameters) == (whole.search.objective, whole.search.parameters)


@pytest.mark.parametrize("more", ["search.trials=19", "search.parallel=1", "search.max_failed=7"])
def test_a_search_with_other_numbers_has_the_same_trials_so_that_katib_goes_on_with_it(more: str) -> None:
    assert build(more)["spec"]["trialTemplate"] == build()["spec"]["trialTemplate"]


def test_every_key_of_compute_reaches_the_trial() -> None:
    built = build(
        "compute.gpus=1", "compute.shared_memory=1024Mi", "compute.node_selector={accelerator: a100}",
        "compute.tolerations=[{key: gpu, operator: Exists}]", "compute.image=registry.example/mine:1",
        "compute.image_pull_secrets=[pull]", "compute.volumes=[{claim: data, path: /mnt/data}]",
        "compute.secrets=[{name: s3, env: {AWS_SECRET_ACCESS_KEY: secretkey}}]",
        "compute.env={PRICE: '5 $(USD)', HOME: /mnt/data, EMPTY: ''}",
        "compute.service_account=trainer", "compute.job={user: 2000, grace_s: 30, priority_class: high, queue: team}",
    )  # fmt: skip
    spec, inner = pod(built), container(built)
    assert trial(built)["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert trial(built)["spec"]["suspend"] is True
    assert inner["image"] == "registry.example/mine:1"
    assert inner["resources"]["limits"] == {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"}
    assert inner["env"][-4:] == [
        {"name": "PRICE", "value": "5 $$(USD)"},
        {"name": "HOME", "value": "/mnt/data"},
        {"name": "EMPTY"},
        {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "secretkey"}}},
    ]
    assert spec["volumes"] == [
        {"name": "scratch", "emptyDir": {}},
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {"name": "volume-0", "persistentVolumeClaim": {"claimName": "data"}},
    ]
    assert spec["nodeSelector"] == {"accelerator": "a100"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert (spec["serviceAccountName"], spec["priorityClassName"]) == ("trainer", "high")
    assert (spec["terminationGracePeriodSeconds"], spec["securityContext"]["runAsUser"]) == (30, 2000)
    assert is_valid_for_katib(built)


@pytest.mark.parametrize(
    ("quantity", "written"),
    [("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("2000M", "2G"), ("1048576", "1048576"), ("3Gi", "3Gi"), ("1K", "1k")],
)
def test_a_size_is_written_as_kubernetes_writes_it_again(quantity: str, written: str) -> None:
    assert canonical(quantity) == written


def test_population_based_training_hands_checkpoints_on_in_the_folder_that_katib_mounts() -> None:
    built = build(*PBT)
    settings = {each["name"]: each["value"] for each in built["spec"]["algorithm"]["algorithmSettings"]}
    assert settings == {
        "random_state": "7",
        "suggestion_trial_dir": "/opt/katib/data",
        "n_population": "5",
        "truncation_threshold": "0.2",
    }
    assert built["spec"]["resumePolicy"] == "FromVolume"
    command = container(built)["command"]
    assert command[command.index("--checkpoint") + 1] == "/opt/katib/data"
    moved = build(*PBT, "search.settings.suggestion_trial_dir=/mnt/here")
    assert container(moved)["command"][7:9] == ["--checkpoint", "/mnt/here"]
    assert "--checkpoint" not in container(build())["command"]


def test_a_laptop_needs_neither_an_image_nor_a_volume_nor_a_queue() -> None:
    built = build("compute.workers=2", "compute.job.queue=team", on_cluster=False)
    assert "kueue.x-k8s.io/queue-name" not in trial(built)["metadata"]["labels"]
    assert "suspend" not in trial(built)["spec"]["runPolicy"]
    assert list(variables(built)) == ["PARAK8S_EXPERIMENT"]
    single = build("compute.job.queue=team", "compute.job.suspend=true", on_cluster=False)
    assert "suspend" not in trial(single)["spec"]


def test_the_seed_of_a_search_is_that_of_the_file_unless_given() -> None:
    settings = build("search.settings={random_state: 3}")["spec"]["algorithm"]["algorithmSettings"]
    assert settings == [{"name": "random_state", "value": "3"}]
    named = build("seed=11", "search.settings={}")["spec"]["algorithm"]["algorithmSettings"]
    assert named == [{"name": "random_state", "value": "11"}]


def test_the_same_experiment_gives_the_same_object() -> None:
    assert json.dumps(build()) == json.dumps(build())


def test_a_search_leaves_the_fingerprint() -> None:
    data = "sha256:" + "0" * 64
    assert fingerprint(experiment(), data) == fingerprint(experiment(text=MINIMAL), data)


# Names of trial parameters


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["training.optimizer.learning_rate", "training.epochs"], ["learningRate", "epochs"]),
        (
            ["training.optimizer.learning_rate", "training.fine_tune.learning_rate", "seed"],
            ["optimizerLearningRate", "fineTuneLearningRate", "seed"],
        ),
        (["a.b.c", "x.b.c", "c"], ["aBC", "xBC", "c"]),
        (["model.params.trial_name"], ["paramsTrialName"]),
        (["a.b_c", "a.bC"], ["aBC", "aBC2"]),
        (["trial_name"], ["trialName2"]),
    ],
)
def test_a_trial_parameter_is_named_after_the_end_of_its_path(paths: list[str], names: list[str]) -> None:
    assert [each.name for each in trial_parameters(paths)] == ["trialName", *names]


@given(st.lists(st.from_regex(r"[a-c]{1,2}(\.[a-c]_?[a-c]?){0,2}", fullmatch=True), min_size=1, unique=True))
def test_no_two_trial_parameters_have_one_name(paths: list[str]) -> None:
    names = [each.name for each in trial_parameters(paths)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[A-Za-z0-9]+", name) for name in names)


# Katib's own models and rules


@cache
def katib_models() -> Any:
    from kubeflow.katib import ApiClient

    return ApiClient()


@cache
def kubernetes_models() -> Any:
    from kubernetes.client import ApiClient

    return ApiClient()


def through(client: Any, built: Any, kind: str) -> Any:
    """Return an object as it comes out of a client's models: without what they lack."""
    return client.sanitize_for_serialization(client.deserialize(SimpleNamespace(data=json.dumps(built)), kind))


def is_read_whole(built: Any) -> bool:
    try:
        if through(katib_models(), built, "V1beta1Experiment") != built:
            return False
        job = trial(built)
        return job["kind"] != "Job" or bool(through(kubernetes_models(), job, "V1Job") == job)
    except ValueError:  # a field that must be there is not
        return False


OBJECTS = {
    "one worker": ("compute.gpus=1", "compute.shared_memory=2Gi", "compute.job.queue=team"),
    "several": (*SHARED, "compute.workers=3", "compute.parameter_servers=1", "compute.job.gang={}"),
    "population": PBT,
}


@pytest.mark.parametrize("name", OBJECTS)
def test_every_field_is_known_to_the_models_of_katib_and_kubernetes(name: str) -> None:
    assert is_read_whole(build(*OBJECTS[name], namespace="ml"))


def test_a_misspelt_field_anywhere_would_be_found() -> None:
    built = build("compute.job.queue=team", namespace="ml")
    keys = set(re.findall(r'"([a-z][A-Za-z]+)":', json.dumps(built)))
    assert {"metricStrategies", "feasibleSpace", "podFailurePolicy", "onPodConditions", "trialParameters"} <= keys
    for key in keys - {"cpu", "memory"}:  # keys of the user's own kind: any resource may stand there
        misspelt = json.loads(json.dumps(built).replace(f'"{key}":', f'"{key}s":'))
        assert not is_read_whole(misspelt), key


PLACEHOLDER = re.compile(r"\$\{trialParameters\.(.+?)\}")


def broken_rules(built: Any) -> list[str]:
    """Return what Katib's validating webhook would say.

    Source: kubeflow/katib, pkg/webhook/v1beta1/experiment/validator/validator.go, told anew.
    """
    spec, template = built["spec"], built["spec"]["trialTemplate"]
    objective, counts = spec["objective"], ("maxTrialCount", "parallelTrialCount")
    rules = {
        "name": re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", built["metadata"]["name"]),
        "counts above 0": all(spec[count] > 0 for count in counts),
        "parallel at most all": spec["parallelTrialCount"] <= spec["maxTrialCount"],
        "failed at most all": 0 <= spec.get("maxFailedTrialCount", 0) <= spec["maxTrialCount"],
        "type": objective["type"] in ("minimize", "maximize"),
        "metric": objective["objectiveMetricName"]
        and objective["objectiveMetricName"] not in objective.get("additionalMetricNames", []),
        "algorithm": spec["algorithm"]["algorithmName"],
        "resume": spec["resumePolicy"] in ("Never", "LongRunning", "FromVolume"),
        "conditions": template["successCondition"] and template["failureCondition"],
        "container": template["primaryContainerName"],
        "collector": spec["metricsCollectorSpec"]["collector"]["kind"] == "StdOut",
        "parameters": spec["parameters"] and all(keeps_rules(each) for each in spec["parameters"]),
        **template_rules(template, [each["name"] for each in spec["parameters"]]),
    }
    return [name for name, kept in rules.items() if not kept]


def keeps_rules(parameter: Any) -> bool:
    inner = parameter["feasibleSpace"]
    if not all(isinstance(value, str) for value in [*inner.get("list", []), *(inner[k] for k in inner if k != "list")]):
        return False
    if parameter["parameterType"] in ("double", "int"):
        return {"min", "max"} <= set(inner) <= {"min", "max", "step", "distribution"}
    return parameter["parameterType"] in ("discrete", "categorical") and set(inner) == {"list"}


def template_rules(template: Any, parameters: list[str]) -> dict[str, Any]:
    spec, names = template["trialSpec"], [each["name"] for each in template["trialParameters"]]
    references = [each["reference"] for each in template["trialParameters"]]
    used = set(PLACEHOLDER.findall(json.dumps(spec)))
    return {
        "names once": len(set(names)) == len(names) and not re.search("[{}]", "".join(names)),
        "references once": len(set(references)) == len(references),
        "references exist": all(each in parameters or each == "${trialSpec.Name}" for each in references),
        "used": used == set(names),
        "no name": not {"name", "namespace"} & set(spec["metadata"]),
        "kind": spec["apiVersion"] and spec["kind"],
        "is a job as Kubernetes writes it": spec["kind"] != "Job" or Job.model_validate_json(json.dumps(spec)),
    }


def is_valid_for_katib(built: Any) -> bool:
    return broken_rules(built) == []


@pytest.mark.parametrize("name", OBJECTS)
def test_katib_would_take_the_object(name: str) -> None:
    assert broken_rules(build(*OBJECTS[name])) == []


def test_the_restated_rules_find_what_is_broken() -> None:
    built = build()
    built["metadata"]["name"] = "2x"
    built["spec"]["parallelTrialCount"] = 13
    built["spec"]["parameters"][1]["feasibleSpace"]["min"] = "1"
    built["spec"]["trialTemplate"]["trialParameters"][1]["name"] = "rate"
    trial(built)["metadata"]["name"] = "x"
    assert broken_rules(built) == ["name", "parallel at most all", "parameters", "used", "no name"]


def substituted(built: Any, values: dict[str, str]) -> Any:
    """Return the job that Katib makes of the template: each placeholder in its JSON is replaced by text."""
    text = json.dumps(trial(built))
    for each in built["spec"]["trialTemplate"]["trialParameters"]:
        value = values.get(each["reference"], "x-3f2a9b1c")
        text = text.replace(f"${{trialParameters.{each['name']}}}", value)
    return json.loads(text)


@given(
    st.fixed_dictionaries({
        "training.optimizer.learning_rate": st.floats(1e-4, 1e-2),
        "model.params.units": st.sampled_from([16, 32]),
        "model.params.blocks": st.integers(2, 4),
        "model.params.dropout": st.floats(0, 0.5),
        "training.schedule.name": st.sampled_from(["constant", "cosine"]),
    })
)  # fmt: skip
def test_a_shell_takes_the_command_of_a_trial_as_it_is_and_the_trial_gets_its_point(point: dict[str, Any]) -> None:
    written = {path: str(value) for path, value in point.items()}
    job = substituted(golden(), written)
    words = job["spec"]["template"]["spec"]["containers"][0]["command"]
    assert shlex.split(" ".join(words)) == words
    assert words[4] == "x-3f2a9b1c"
    overrides = [words[place + 1] for place, word in enumerate(words) if word == "-s"]
    assert dict(space.parse_override(override) for override in overrides) == point
    assert Job.model_validate_json(json.dumps({**job, "metadata": {"labels": LABELS}}))


@cache
def golden() -> Any:
    return build()


# What is refused


LISTED = "search.parameters={{data.options.form: {{values: [auto, {}]}}}}"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("search=null",), r"^there is no section search, so nothing is searched; write search: \{objective:"),
        (("name=2x",), r"^an Experiment cannot be named '2x': expected lower-case letters, .* a letter first"),
        ((f"name={'a' * 41}",), r"too long for an Experiment: it has 41 letters, and at most 40 leave room"),
        ((*PBT, f"name={'a' * 21}"), r"it has 21 letters, and at most 20 leave room"),
        (
            (*PBT, *SHARED, "compute.workers=11", f"name={'a' * 18}"),
            r"it has 18 letters, and at most 16 leave room",
        ),
        (("compute.env.DB_PASSWORD=hunter2",), r"^compute.env.DB_PASSWORD holds a password .* an Experiment shows its"),
        (("compute.env.PARAK8S_EXPERIMENT=x",), r"PARAK8S_EXPERIMENT holds the text of the experiment in each trial"),
        (("compute.env.TF_CONFIG=x",), r"TF_CONFIG is set by the training operator"),
        (
            ("compute.volumes=[{claim: c, path: /var/log}]",),
            r"^compute.volumes: Katib mounts /var/log/katib into each trial; mount the claim elsewhere",
        ),
        (
            (*PBT, "compute.volumes=[{claim: c, path: /opt/katib/data/x}]"),
            r"^compute.volumes: Katib mounts /opt/katib/data into each trial",
        ),
        (("data.source=s3://${trialParameters.bucket}",), r"holds \$\{trialParameters. where Katib would put a value"),
        (("compute.workers=2",), r"^2 replicas must share one folder, and /tmp/runs/x lies on none of compute.volumes"),
        (
            ("compute.workers=2", "compute.runs=s3://clinic/runs"),
            r"^compute.runs: trials of several replicas need a folder on one of compute.volumes, got s3://clinic/runs",
        ),
        (("tracking.uri=sqlite:///mlflow.db",), r"^tracking.uri sqlite:///mlflow.db: a file that is lost with its pod"),
        ((f"data.source={'x ' * 65_536}x",), r"the experiment has 1[34]\d,\d{3} bytes .* above the 131,071"),
    ],
)  # fmt: skip
def test_what_a_cluster_cannot_do_is_refused_with_what_to_write(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(*overrides)


def test_a_text_just_short_enough_for_a_variable_is_taken() -> None:
    short = variables(build("data.source=é"))["PARAK8S_EXPERIMENT"]
    spare = 131_071 - len(f"PARAK8S_EXPERIMENT={short}".encode())
    path = "x/" * (spare // 2) + "x" * (spare % 2)
    assert build(f"data.source=é{path}")
    with pytest.raises(InputError, match=r"has 131,072 bytes"):
        build(f"data.source=é{path}x")


def test_an_object_that_etcd_does_not_take_is_refused() -> None:
    costly = (*SHARED, "compute.parameter_servers=1", f"compute.env.V={'$' * 128_000}")
    with pytest.raises(InputError, match=r"the Experiment has 1,5\d\d,\d{3} bytes, above the 1,500,000"):
        build(*costly)


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``of_mine:net`` a builder of the user's own, with a setting that takes any text."""
    code = "def net(input_shape, classes, *, word: str = 'a', größe: int = 4):\n    pass\n"
    (tmp_path / "of_mine.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "of_mine", raising=False)


OWN = SEARCH.replace("deep_cnn", "'of_mine:net'").partition("  parameters:")[0] + "  parameters: {PARAMETERS}\n"


def test_code_of_the_users_own_must_be_in_an_image_on_a_cluster_alone(own_module: None) -> None:
    text = OWN.replace("PARAMETERS", "training.epochs: {min: 1, max: 3}")
    with pytest.raises(
        InputError, match=r"^of_mine: code of your own must be in the image of a trial; .*compute.image"
    ):
        build(text=text)
    assert container(build("compute.image=mine:1", text=text))["image"] == "mine:1"
    assert build(text=text, on_cluster=False)


@pytest.mark.parametrize(
    ("value", "shown"),
    [("a b", "a b"), ("a;b", "a;b"), ("$HOME", r"\$HOME"), ("1e3", '"1e3"'), ("it's", "it's"), ("", '""'), ("*", '"')],
)
def test_a_value_that_a_shell_would_read_is_refused(own_module: None, value: str, shown: str) -> None:
    text = OWN.replace("PARAMETERS", f"model.params.word: {{values: [fine, {json.dumps(value)}]}}")
    message = rf"^search.parameters.model.params.word: a trial is started by a shell, which would not take {shown}"
    with pytest.raises(InputError, match=message):
        build("compute.image=mine:1", text=text)


def test_a_name_that_a_shell_would_read_is_refused(own_module: None) -> None:
    text = OWN.replace("PARAMETERS", "model.params.größe: {values: [1, 2]}")
    with pytest.raises(InputError, match=r"would not take model.params.größe=\S+ as it is; use letters, digits"):
        build("compute.image=mine:1", text=text)


def test_values_of_many_kinds_pass_the_shell(own_module: None) -> None:
    values = "[a, A-b_c.d, 'x:y', 'a/b', 'a,b', 'a+b', 'a@b', 'a%b', 'a=b']"
    built = build(
        "compute.image=mine:1", text=OWN.replace("PARAMETERS", f"model.params.word: {{values: {values}}}")
    )  # fmt: skip
    choices = built["spec"]["parameters"][0]["feasibleSpace"]["list"]
    assert shlex.split(" ".join(choices)) == choices
    assert [space.parse_override(f"x={choice}")[1] for choice in choices] == choices


# The command, and what is shipped


def test_building_an_experiment_loads_neither_tensorflow_nor_a_client() -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom parak8s import loading\n"
        "from parak8s.katib.building import katib_experiment\n"
        f"katib_experiment(loading.load(Path({str(EXPERIMENTS / 'ecg.yaml')!r})))\n"
        "print({'tensorflow', 'keras', 'mlflow', 'kfp', 'kubernetes', 'kubeflow', 'optuna'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(SEARCH)
    return Terminal(monkeypatch, capsys)


def test_the_command_prints_the_object_as_yaml(terminal: Terminal) -> None:
    assert terminal("manifest", "katib", "x.yaml", "-s", "search.trials=30", "--name", "y", "--namespace", "ml") == 0
    assert terminal.out.startswith("# The Experiment y, made from its experiment file by: parak8s manifest katib\n")
    assert yaml.safe_load(terminal.out) == build("search.trials=30", name="y", namespace="ml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search=null", "parak8s: there is no section search"),
        ("name=2x", "parak8s: an Experiment cannot be named '2x'"),
        ("search.parallel=13", "parak8s: x.yaml: 1 mistake\n  -s search.parallel=13: search.parallel: must be at most"),
        ("search.settings.gamma=2", "parak8s: x.yaml: 1 mistake\n  -s search.settings.gamma=2: search.settings.gamma:"),
    ],
)
def test_the_command_says_in_one_sentence_what_is_wrong(terminal: Terminal, override: str, message: str) -> None:
    assert terminal("manifest", "katib", "x.yaml", "-s", override) == 2
    assert terminal.out == ""
    assert terminal.err.startswith(message)


@pytest.mark.parametrize("name", ["ecg", "xray", "ecg-hundred"])
def test_the_shipped_objects_are_fresh_and_katib_would_take_them(name: str) -> None:
    shipped = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text(encoding="utf-8"))
    assert shipped == katib_experiment(loading.load(EXPERIMENTS / f"{name}.yaml")), "give: make compile"
    assert broken_rules(shipped) == []
    assert is_read_whole(shipped)
    assert "namespace" not in shipped["metadata"]  # the form of the dashboard puts in its own


@pytest.mark.parametrize("name", ["ecg", "xray", "ecg-hundred"])
def test_a_reader_of_newer_yaml_finds_text_where_text_was_meant(name: str) -> None:
    text = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")
    assert documents.parse(text, name).data == yaml.safe_load(text)  # 1e-05 is a number for Kubernetes, not for PyYAML


def test_a_hundred_trials_are_shipped() -> None:
    assert {path.stem for path in SHIPPED.glob("*.yaml")} == {"ecg", "xray", "ecg-hundred"}
    assert yaml.safe_load((SHIPPED / "ecg-hundred.yaml").read_text())["spec"]["maxTrialCount"] == 100
