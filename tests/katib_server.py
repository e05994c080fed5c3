"""Katib for tests: the REST API of tests/kubernetes_server.py with experiments, trials and suggestions, after a script.

What the real controllers and webhooks say is taken from kubeflow/katib (pkg/controller.v1beta1, pkg/webhook/v1beta1).
"""

import contextlib
import copy
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubernetes_server import Json, KubernetesServer, Refused, Request, running

EXPERIMENT: Json = {
    "apiVersion": "kubeflow.org/v1beta1",
    "kind": "Experiment",
    "metadata": {"name": "ecg", "labels": {"team": "heart"}},
    "spec": {
        "objective": {"type": "maximize", "goal": 0.99, "objectiveMetricName": "val_auc"},
        "algorithm": {"algorithmName": "tpe"},
        "parameters": [
            {"name": "lr", "parameterType": "double", "feasibleSpace": {"min": "0.001", "max": "0.1"}},
        ],
        "maxTrialCount": 4,
        "parallelTrialCount": 2,
        "maxFailedTrialCount": 1,
        "resumePolicy": "LongRunning",
        "trialTemplate": {
            "primaryContainerName": "training",
            "trialParameters": [{"name": "lr", "reference": "lr"}],
            "trialSpec": {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": {}}}},
        },
    },
}
COLLECTOR = "metrics-logger-and-collector"


@dataclass(frozen=True)
class Katib:
    """What Katib and the nodes have made of an experiment.

    Args:
        status: Of the experiment, see :func:`status`.
        trials: See :func:`trial`.
        pods: See :func:`pod`.
        events: See :func:`kubernetes_server.event`.
        suggestion: Its object, see :func:`suggestion`; None before there is one.
        gone: The experiment is no longer there.
    """

    status: Json = field(default_factory=dict)
    trials: tuple[Json, ...] = ()
    pods: tuple[Json, ...] = ()
    events: tuple[Json, ...] = ()
    suggestion: Json | None = None
    gone: bool = False


@dataclass
class KatibServer(KubernetesServer):
    """A cluster with one namespace, ``ml``, and Katib.

    Args:
        story: What every experiment goes through: the next moment with each look at it, and the last one for ever.
        texts: ``pod/container`` -> lines of its log.
        found: Experiments that are there.
        resumed: What an experiment goes through after its ``spec`` was changed; None for the same as before.
    """

    story: list[Katib] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    found: dict[str, Json] = field(default_factory=dict)
    resumed: list[Katib] | None = None

    @property
    def here(self) -> Katib:
        return self.story[min(max(self.looks - 1, 0), len(self.story) - 1)] if self.story else Katib()

    def routes(self) -> dict[str, tuple[str, str, Callable[..., Any]]]:
        return _ROUTES

    def make(self, request: Request) -> Json:
        body: Json = request.json
        name = body["metadata"]["name"]
        if name in self.found:
            raise Refused(409, "AlreadyExists", f'experiments.kubeflow.org "{name}" already exists')
        body["metadata"] |= {"uid": str(uuid.uuid4()), "resourceVersion": "1"}
        self.found[name] = with_defaults(body)
        self.on_create(body)
        return body

    def see(self, _: Request, name: str) -> Json:
        there = self._there(name)
        ending = there["metadata"].get("deletionTimestamp")
        self.looks += 1
        self.looks_at_the_end += bool(ending)
        if self.here.gone or (ending and self.looks_at_the_end > 1):
            self.found.pop(name)
        return {**self._there(name), "status": self.here.status}

    def change(self, request: Request, name: str) -> Json:
        assert request.headers["content-type"] == "application/merge-patch+json"
        there = self._there(name)
        assert set(request.json["spec"]) <= {"maxTrialCount", "parallelTrialCount", "maxFailedTrialCount"}
        there["spec"] |= request.json["spec"]
        if self.resumed is not None:
            self.story, self.looks = self.resumed, 0
        return there

    def remove(self, request: Request, name: str) -> Json:
        there = self._there(name)
        wanted = request.json.get("preconditions", {}).get("uid", there["metadata"]["uid"])
        if wanted != there["metadata"]["uid"]:
            raise Refused(409, "Conflict", f"the UID in the precondition ({wanted}) does not match the UID in record")
        assert request.json["propagationPolicy"] == "Foreground"
        there["metadata"]["deletionTimestamp"] = "2026-11-22T11:00:00Z"
        return there

    def trials(self, request: Request) -> Json:
        assert request.query["labelSelector"].removeprefix("katib.kubeflow.org/experiment=") in self.found
        owners = [{"kind": "Experiment", "uid": each["metadata"]["uid"]} for each in self.found.values()]
        trials = copy.deepcopy(self.here.trials)
        for each in trials:
            each["metadata"].setdefault("ownerReferences", owners)
        return {"items": list(trials)}

    def suggested(self, _: Request, name: str) -> Json:
        if self.here.suggestion is None:
            raise Refused(404, "NotFound", f'suggestions.kubeflow.org "{name}" not found')
        return self.here.suggestion

    def list_pods(self, request: Request) -> Json:
        selector = request.query["labelSelector"]
        key, names = re.split(" in |=", selector, maxsplit=1)
        wanted = names.strip("()").split(",")
        return {"items": [each for each in self.here.pods if each["metadata"]["labels"].get(key) in wanted]}

    def list_events(self, request: Request) -> Json:
        wanted = dict(part.split("=") for part in request.query["fieldSelector"].split(","))
        about = {"kind": wanted["involvedObject.kind"], "name": wanted["involvedObject.name"]}
        return {"items": [each for each in self.here.events if each["involvedObject"] == about]}

    def log(self, request: Request, name: str) -> Iterator[str]:
        assert int(request.query["tailLines"]) > 0
        lines = self.texts.get(f"{name}/{request.query['container']}")
        if lines is None:
            raise Refused(404, "NotFound", f'pods "{name}" not found')
        return iter([f"{line}\n" for line in lines])

    def _there(self, name: str) -> Json:
        if name not in self.found:
            raise Refused(404, "NotFound", f'experiments.kubeflow.org "{name}" not found')
        return self.found[name]


_KATIB = "/apis/kubeflow.org/v1beta1/namespaces/ml"
_ROUTES: dict[str, tuple[str, str, Callable[..., Any]]] = {
    f"POST {_KATIB}/experiments": ("create", "experiments.kubeflow.org", KatibServer.make),
    f"GET {_KATIB}/experiments/([^/]+)": ("get", "experiments.kubeflow.org", KatibServer.see),
    f"PATCH {_KATIB}/experiments/([^/]+)": ("patch", "experiments.kubeflow.org", KatibServer.change),
    f"DELETE {_KATIB}/experiments/([^/]+)": ("delete", "experiments.kubeflow.org", KatibServer.remove),
    f"GET {_KATIB}/trials": ("list", "trials.kubeflow.org", KatibServer.trials),
    f"GET {_KATIB}/suggestions/([^/]+)": ("get", "suggestions.kubeflow.org", KatibServer.suggested),
    "GET /api/v1/namespaces/ml/pods": ("list", "pods", KatibServer.list_pods),
    "GET /api/v1/namespaces/ml/pods/([^/]+)/log": ("get", "pods/log", KatibServer.log),
    "GET /api/v1/namespaces/ml/events": ("list", "events", KatibServer.list_events),
}


@contextlib.contextmanager
def katib_server(*story: Katib, **options: Any) -> Iterator[KatibServer]:
    """Run a server; the arguments are those of :class:`KatibServer`."""
    with running(KatibServer(story=list(story), **options)) as server:
        yield server


def with_defaults(experiment: Json) -> Json:
    """Return an experiment with what Katib's webhook fills in."""
    found = copy.deepcopy(experiment)
    spec = found["spec"]
    spec.setdefault("resumePolicy", "Never")
    name = spec["objective"]["objectiveMetricName"]
    which = "max" if spec["objective"]["type"] == "maximize" else "min"
    spec["objective"].setdefault("metricStrategies", [{"name": name, "value": which}])
    spec["metricsCollectorSpec"] = {"collector": {"kind": "StdOut"}, **(spec.get("metricsCollectorSpec") or {})}
    spec["trialTemplate"] |= {"failureCondition": 'status.conditions.#(type=="Failed")#|#(status=="True")#'}
    return found


def with_spec(**changes: Any) -> Json:
    """Return :data:`EXPERIMENT` with other values in its ``spec``."""
    found = copy.deepcopy(EXPERIMENT)
    found["spec"] |= changes
    return found


def _condition(kind: str, message: str, reason: str, holds: bool = True) -> Json:
    return {"type": kind, "status": "True" if holds else "False", "reason": reason, "message": message}


def status(kind: str = "Running", message: str = "", reason: str = "", best: Json | None = None, **counts: Any) -> Json:
    """Return the status of an experiment.

    Args:
        kind: Its last condition.
        message: Of that.
        reason: Of that.
        best: A trial of :func:`trial`: the best one.
        counts: ``trials`` and others.
    """
    conditions = [_condition("Created", "Experiment is created", "ExperimentCreated")]
    if kind in ("Succeeded", "Failed"):
        conditions.append(_condition("Running", "Experiment is running", "ExperimentRunning", holds=False))
    if kind != "Created":
        conditions.append(_condition(kind, message, reason or f"Experiment{kind}"))
    optimal: Json = {"bestTrialName": "", "parameterAssignments": None, "observation": {}}
    if best is not None:
        optimal = {
            "bestTrialName": best["metadata"]["name"],
            "parameterAssignments": best["spec"]["parameterAssignments"],
            "observation": best["status"]["observation"],
        }
    return {"conditions": conditions, "currentOptimalTrial": optimal, **counts}


def done(message: str = "max trial count", reason: str = "MaxTrials", **more: Any) -> Json:
    """Return the status of an experiment that succeeded."""
    words = f"Experiment has succeeded because {message} has reached"
    return status("Succeeded", words, f"Experiment{reason}Reached", **{"trials": 4, **more})


def trial(
    name: str,
    state: str = "Running",
    value: float | None = None,
    *,
    lr: str = "0.01",
    message: str = "",
    reason: str = "",
    run: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Json:
    """Return a trial, ``ecg-NAME`` with a letter as NAME; with no state it is not taken up yet."""
    conditions = [_condition("Created", "Trial is created", "TrialCreated")] if state else []
    if state not in ("", "Created"):
        conditions.append(_condition("Running", "Trial is running", "TrialRunning", holds=state == "Running"))
    if state not in ("", "Created", "Running"):
        conditions.append(_condition(state, message, reason or f"Trial{state}"))
    observation = None
    if value is not None:
        texts = {"latest": str(value - 0.01), "max": str(value), "min": "0.5"}
        observation = {"metrics": [{"name": "val_auc", **texts}]}
    over = state not in ("", "Created", "Running")
    objective = {"type": "maximize", "objectiveMetricName": "val_auc"}
    strategy = {"metricStrategies": [{"name": "val_auc", "value": "max"}]}
    return {
        "metadata": {
            "name": f"ecg-{name}",
            "namespace": "ml",
            "creationTimestamp": f"2026-11-22T10:00:{ord(name) - 87}Z",
        },
        "spec": {
            "objective": objective | strategy,
            "parameterAssignments": [{"name": "lr", "value": lr}],
            "primaryContainerName": "training",
            "metricsCollector": {"collector": {"kind": "StdOut"}},
            "runSpec": {"kind": "Job", "spec": {"backoffLimit": 2, "activeDeadlineSeconds": 600}, **(run or {})},
            **spec,
        },
        "status": {
            "conditions": conditions,
            "observation": observation,
            "startTime": "2026-11-22T10:00:00Z" if state else None,
            "completionTime": "2026-11-22T10:01:30Z" if over else None,
        },
    }


BACKOFF = "Job has reached the specified backoff limit"


def failed(name: str, job: str = BACKOFF, why: str = "BackoffLimitExceeded") -> Json:
    """Return a trial whose job failed."""
    return trial(
        name, "Failed", message=f"Trial has failed. Job message: {job}", reason=f"TrialFailed. Job reason: {why}"
    )


def pod(
    name: str,
    phase: str = "Running",
    *,
    state: Json | None = None,
    conditions: tuple[Json, ...] = (),
    limits: Json | None = None,
    collector: bool = True,
    attempt: int = 0,
    container: str = "training",
    labels: Json | None = None,
    **more: Any,
) -> Json:
    """Return the pod of the trial ``ecg-NAME``; its container's state follows from the phase if not given."""
    states: dict[str, Json] = {
        "Running": {"running": {"startedAt": "2026-11-22T10:00:01Z"}},
        "Succeeded": {"terminated": {"exitCode": 0, "reason": "Completed"}},
        "Failed": {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": "2026-11-22T10:00:13Z"}},
    }
    state = states.get(phase, {}) if state is None else state
    command = ["sh", "-c", "parak8s step trial 1>/var/log/katib/metrics.log 2>&1"]
    spec = {"name": container, "image": "registry.example/parak8s:0.1.0", "command": command}
    containers: list[Json] = [spec | {"resources": {"limits": limits or {}}}]
    containers += [{"name": COLLECTOR, "image": "katib/collector"}] if collector else []
    statuses = [{"name": COLLECTOR, "restartCount": 0, "state": states["Running"]}] if state and collector else []
    statuses += [{"name": container, "restartCount": 0, "state": state, "lastState": {}}] if state else []
    return {
        "metadata": {
            "name": f"ecg-{name}-p{attempt}",
            "namespace": "ml",
            "uid": f"{name}-{attempt}",
            "labels": {"job-name": f"ecg-{name}"} if labels is None else labels,
            "creationTimestamp": f"2026-11-22T10:0{attempt}:00Z",
        },
        "spec": {"containers": containers},
        "status": {"phase": phase, "conditions": list(conditions), "containerStatuses": statuses, **more},
    }


def suggestion(*conditions: tuple[str, str, bool]) -> Json:
    """Return a suggestion with conditions: kind, message, whether it holds."""
    made = [_condition(kind, message, f"Suggestion{kind}", holds) for kind, message, holds in conditions]
    return {"metadata": {"name": "ecg", "uid": "s"}, "spec": {"requests": 2}, "status": {"conditions": made}}


NOT_READY = suggestion(
    ("Created", "Suggestion is created", True), ("DeploymentReady", "Deployment is not ready", False)
)


def of_algorithm(phase: str = "Pending", **options: Any) -> Json:
    """Return the pod that suggests trials."""
    labels = {"katib.kubeflow.org/deployment": "ecg-tpe", "katib.kubeflow.org/experiment": "ecg"}
    found = pod("tpe", phase, collector=False, container="suggestion", labels=labels, **options)
    found["spec"]["containers"][0]["image"] = "docker.io/kubeflowkatib/suggestion-hyperopt:v0.17.0"
    return found
