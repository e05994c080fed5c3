"""Kubernetes for tests: its REST API over real HTTP, as much as TFJobs need, with an operator that follows a script.

The standard library's server in a thread, as tests/kfp_server.py. kmock 0.8 was looked at: its lists ignore selectors,
its watches versions, and its plugin for pytest does not load without pytest-asyncio. What the real server and operator
say is taken from kubernetes 1.30 and kubeflow/training-operator 1.9 (pkg/controller.v1/common, tensorflow).
"""

import contextlib
import copy
import json
import re
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

EXPIRED, HANG, LOSE = "expired", "hang", "lose"
"""Instead of an answer: a watch that says 410 Gone; none; none although it was done."""
Json = dict[str, Any]
USER = "system:serviceaccount:ml:default-editor"


@dataclass(frozen=True)
class Request:
    """What was sent; a watch has the method WATCH."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body or "{}")


class Refused(Exception):  # noqa: N818
    """An answer that is an error, in the words of the real server."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": status}


@dataclass(frozen=True)
class Moment:
    """What an operator and the nodes have made of a job.

    Args:
        status: Of the job.
        pods: See :func:`pod`.
        events: See :func:`event`.
        gone: The job is no longer there; ``status`` is its last one.
        until_read: Pod whose log, as far as it is written, somebody reads before things go on.
    """

    status: Json = field(default_factory=dict)
    pods: list[Json] = field(default_factory=list)
    events: list[Json] = field(default_factory=list)
    gone: bool = False
    until_read: str = ""


@dataclass
class KubernetesServer:
    """A cluster with one namespace, ``ml``.

    Args:
        script: What every new job goes through: the next moment with each look at it, and the last one for ever.
        logs: Pod -> the logs of its containers, one for each restart; each a list of lines.
        installed: Whether the cluster knows TFJobs.
        forbidden: ``verb resource`` that the user may not.
        tokens: Who shows none of these is not let in; None lets everybody in.
        workloads: What Kueue has; None without Kueue.
        certificate: PEM file with key and certificate: the server speaks TLS.
        on_create: Does what the replicas of a new job do.
    """

    script: list[Moment] = field(default_factory=lambda: [Moment(status("Succeeded"))])
    logs: dict[str, list[list[str]]] = field(default_factory=dict)
    installed: bool = True
    forbidden: frozenset[str] = frozenset()
    tokens: set[str] | None = None
    workloads: list[Json] | None = None
    certificate: Path | None = None
    on_create: Callable[[Json], None] = lambda _: None
    requests: list[Request] = field(default_factory=list)
    jobs: dict[str, Json] = field(default_factory=dict)
    looks: int = 0
    looks_at_the_end: int = 0
    read: set[str] = field(default_factory=set)
    cuts: list[int] = field(default_factory=list)
    uri: str = ""
    _planned: list[tuple[str, int | str | Refused]] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def will(self, request: str, *answers: int | str | Refused) -> None:
        """Answer the next requests whose ``METHOD /path`` begins like this otherwise."""
        self._planned += [(request, answer) for answer in answers]

    def cut_logs_after(self, *lines: int) -> None:
        """Break the next connections that follow a log after so many lines, in the middle of the next one."""
        self.cuts += lines

    def sent(self, pattern: str) -> list[Request]:
        """Return the requests whose ``METHOD /path`` is this pattern."""
        return [each for each in self.requests if re.fullmatch(pattern, f"{each.method} {each.path}")]

    @property
    def now(self) -> Moment:
        return self.script[min(max(self.looks - 1, 0), len(self.script) - 1)]

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def start(self) -> ThreadingHTTPServer:
        """Listen on a free port of the loopback interface."""
        handler = type("Handler", (_Handler,), {"kubernetes": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        self.uri = f"{'https' if self.certificate else 'http'}://127.0.0.1:{server.server_port}"
        return server

    def stop(self) -> None:
        """Answer nobody any more, also on connections that are open."""
        self._stopped.set()

    def wait_for_the_end(self) -> None:
        self._stopped.wait()

    def planned(self, request: Request) -> int | str | Refused | None:
        for index, (pattern, answer) in enumerate(self._planned):
            if f"{request.method} {request.path}".startswith(pattern):
                del self._planned[index]
                return answer
        return None

    def answer(self, request: Request) -> Json:
        """Do what is asked for, one request after the other."""
        with self._lock:
            token = request.headers.get("authorization", "")
            if self.tokens is not None and token.lower().removeprefix("bearer ") not in self.tokens:
                raise Refused(401, "Unauthorized", "Unauthorized")
            for pattern, (verb, resource, act) in self.routes().items():
                if found := re.fullmatch(pattern, f"{request.method} {request.path}"):
                    self._allow(verb, resource)
                    done: Json = act(self, request, *found.groups())
                    return done
            raise AssertionError(f"not emulated: {request.method} {request.path}")

    def routes(self) -> "dict[str, tuple[str, str, Callable[..., Any]]]":
        """Return what is emulated: pattern -> verb and resource, for permissions, and what answers."""
        return _ROUTES

    def _allow(self, verb: str, resource: str) -> None:
        kind, _, group = resource.partition(".")
        if (group == "kubeflow.org" and not self.installed) or (group == "kueue.x-k8s.io" and self.workloads is None):
            raise LookupError("404 page not found")
        if f"{verb} {kind}" in self.forbidden:
            words = f'{kind} is forbidden: User "{USER}" cannot {verb} resource "{kind}" in API group "{group}"'
            raise Refused(403, "Forbidden", f'{words} in the namespace "ml"')

    # What the server does

    def create_job(self, request: Request) -> Json:
        body: Json = request.json
        name = body["metadata"]["name"]
        if name in self.jobs:
            raise Refused(409, "AlreadyExists", f'tfjobs.kubeflow.org "{name}" already exists')
        body["metadata"] |= {"uid": str(uuid.uuid4()), "resourceVersion": "1"}
        self.jobs[name] = body
        self.on_create(body)
        return body

    def get_job(self, _: Request, name: str) -> Json:
        job = self._job(name)
        if not self.looks or self.now.until_read in ("", *self.read):
            self.looks += 1
            self.read.clear()
        ending = job["metadata"].get("deletionTimestamp")
        self.looks_at_the_end += bool(ending)
        if self.now.gone or (ending and self.looks_at_the_end > 1):  # the first look finds its pods still ending
            self.jobs.pop(name)
        return {**job, "status": self.now.status} if name in self.jobs else self._job(name)

    def delete_job(self, request: Request, name: str) -> Json:
        job = self._job(name)
        wanted = request.json.get("preconditions", {}).get("uid", job["metadata"]["uid"])
        if wanted != job["metadata"]["uid"]:
            words = f"the UID in the precondition ({wanted}) does not match the UID in record"
            raise Refused(409, "Conflict", f'Operation cannot be fulfilled on tfjobs.kubeflow.org "{name}": {words}')
        if request.json.get("propagationPolicy") == "Foreground":
            job["metadata"]["deletionTimestamp"] = "2026-11-22T11:00:00Z"
            self.looks_at_the_end = min(self.looks_at_the_end, 0)
        else:
            self.jobs.pop(name)
        return job

    def list_pods(self, request: Request) -> Json:
        key, _, value = request.query["labelSelector"].partition("=")
        pods = [_owned(each, self.jobs) for each in self.now.pods]
        return {"items": [each for each in pods if each["metadata"]["labels"][key] == value]}

    def list_events(self, request: Request) -> Json:
        wanted = dict(part.split("=") for part in request.query["fieldSelector"].split(","))
        assert wanted.pop("involvedObject.uid")
        about = {"kind": wanted["involvedObject.kind"], "name": wanted["involvedObject.name"]}
        return {"items": [each for each in self.now.events if each["involvedObject"] == about]}

    def list_workloads(self, request: Request) -> Json:
        assert request.query["labelSelector"].startswith("kueue.x-k8s.io/job-uid=")
        return {"items": self.workloads}

    def log(self, request: Request, name: str) -> Iterator[str]:
        """Yield the lines of a log; a log that is followed ends when the container does."""
        found = self._pod(name)
        containers = found["status"].get("containerStatuses") or []
        assert request.query["container"] == "tensorflow"
        state = containers[0]["state"] if containers else {}
        if "running" not in state and "terminated" not in state:
            words = f'container "tensorflow" in pod "{name}" is waiting to start: ContainerCreating'
            raise Refused(400, "BadRequest", words)
        attempt = containers[0]["restartCount"] - (request.query.get("previous") == "True")
        lines = self.logs.get(name, [[]])[attempt]
        lines = lines[-int(request.query["tailLines"]) :] if "tailLines" in request.query else lines
        return self._told(request, name, found["metadata"]["uid"], attempt, lines)

    def _told(self, request: Request, name: str, uid: str, attempt: int, lines: list[str]) -> Iterator[str]:
        for number, line in enumerate(lines):
            # two lines share every stamp, and the fraction is written without zeros at its end, as Go does
            stamp = f"2026-11-22T10:{attempt:02}:{number // 2:02}.5Z " if "timestamps" in request.query else ""
            yield f"{stamp}{line}\n"
        if "follow" in request.query:
            self.read.add(name)
        while "follow" in request.query and not self.stopped and self._runs(name, uid, attempt):
            time.sleep(0.005)

    def _runs(self, name: str, uid: str, attempt: int) -> bool:
        with self._lock, contextlib.suppress(Refused):
            found = self._pod(name)
            (container,) = found["status"].get("containerStatuses") or [{"state": {}, "restartCount": 0}]
            here = (found["metadata"]["uid"], container["restartCount"]) == (uid, attempt)
            return here and "running" in container["state"] and bool(self.jobs)
        return False

    def _pod(self, name: str) -> Json:
        for found in self.now.pods:
            if found["metadata"]["name"] == name and self.jobs:
                return found
        raise Refused(404, "NotFound", f'pods "{name}" not found')

    def _job(self, name: str) -> Json:
        if name not in self.jobs:
            raise Refused(404, "NotFound", f'tfjobs.kubeflow.org "{name}" not found')
        return self.jobs[name]


_NAMESPACED = "/namespaces/ml/"
_TFJOBS = "/apis/kubeflow.org/v1/namespaces/ml/tfjobs"
_ROUTES: dict[str, tuple[str, str, Callable[..., Any]]] = {
    f"POST {_TFJOBS}": ("create", "tfjobs.kubeflow.org", KubernetesServer.create_job),
    f"GET {_TFJOBS}/([^/]+)": ("get", "tfjobs.kubeflow.org", KubernetesServer.get_job),
    f"DELETE {_TFJOBS}/([^/]+)": ("delete", "tfjobs.kubeflow.org", KubernetesServer.delete_job),
    f"WATCH {_TFJOBS}": ("watch", "tfjobs.kubeflow.org", lambda *_: None),
    "GET /api/v1/namespaces/ml/pods": ("list", "pods", KubernetesServer.list_pods),
    "GET /api/v1/namespaces/ml/pods/([^/]+)/log": ("get", "pods/log", KubernetesServer.log),
    "GET /api/v1/namespaces/ml/events": ("list", "events", KubernetesServer.list_events),
    "GET /apis/kueue.x-k8s.io/v1beta1/namespaces/ml/workloads": (
        *("list", "workloads.kueue.x-k8s.io"),
        KubernetesServer.list_workloads,
    ),
}


@contextlib.contextmanager
def kubernetes_server(**options: Any) -> Iterator[KubernetesServer]:
    """Run a server; the arguments are those of :class:`KubernetesServer`."""
    with running(KubernetesServer(**options)) as server:
        yield server


S = TypeVar("S", bound=KubernetesServer)


@contextlib.contextmanager
def running(server: S) -> Iterator[S]:
    """Run a server until the end of the block."""
    listener = server.start()
    try:
        yield server
    finally:
        server.stop()
        listener.shutdown()
        listener.server_close()


class _Handler(BaseHTTPRequestHandler):
    kubernetes: KubernetesServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client that was killed
            super().handle()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def _serve(self) -> None:
        if self.kubernetes.stopped:
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        request = Request("WATCH" if "watch" in query else self.command, parts.path, query, headers, body)
        self.kubernetes.requests.append(request)
        planned = self.kubernetes.planned(request)
        if planned == HANG:
            self.kubernetes.wait_for_the_end()
        elif planned == EXPIRED:
            gone = Refused(410, "Expired", "too old resource version: 1 (9)")
            self._stream(iter([json.dumps({"type": "ERROR", "object": gone.body}) + "\n"]))
        elif isinstance(planned, Refused):
            self._send(planned.status, json.dumps(planned.body))
        elif isinstance(planned, int):
            self._send(planned, json.dumps(Refused(planned, "ServerError", "etcdserver: leader changed").body))
        else:
            self._done(request, lost=planned == LOSE)

    def _done(self, request: Request, *, lost: bool) -> None:
        try:
            answer: Any = self.kubernetes.answer(request)
        except Refused as refused:
            self._send(refused.status, json.dumps(refused.body))
            return
        except LookupError as error:
            self._send(404, f"{error.args[0]}\n", "text/plain")
            return
        if lost:
            self._hang_up()
        elif request.method == "WATCH":
            self._stream(self._changes(request))
        elif request.path.endswith("/log"):
            self._stream(answer, cut="follow" in request.query)
        else:
            self._send(200, json.dumps(answer))

    def _changes(self, request: Request) -> Iterator[str]:
        """Yield the change of the job, at once when the script goes on, else nothing until the time is over."""
        assert request.query["resourceVersion"] == "1"
        until = time.monotonic() + int(request.query["timeoutSeconds"])
        while not self.kubernetes.stopped and time.monotonic() < until:
            if self.kubernetes.looks < len(self.kubernetes.script):
                name = request.query["fieldSelector"].removeprefix("metadata.name=")
                job = self.kubernetes.jobs.get(name, {"metadata": {"name": name}})
                coming = self.kubernetes.script[self.kubernetes.looks]
                change = {"type": "DELETED" if coming.gone else "MODIFIED", "object": job | {"status": coming.status}}
                yield json.dumps(change) + "\n"
                return
            time.sleep(0.005)

    def _stream(self, lines: Iterator[str], *, cut: bool = False) -> None:
        limit = self.kubernetes.cuts.pop(0) if cut and self.kubernetes.cuts else None
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(OSError):
            for number, line in enumerate(lines):
                content = line.encode()
                if number == limit:
                    self._chunk(content[: len(content) // 2])
                    self._hang_up()
                    return
                self._chunk(content)
            self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _send(self, status: int, body: str, kind: str = "application/json") -> None:
        content = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


# What an operator and the nodes write


def status(kind: str, message: str = "", **replicas: Json) -> Json:
    """Return the status of a job with its conditions up to ``kind``."""
    order = ["Created", "Running", kind] if kind in ("Succeeded", "Failed", "Restarting") else ["Created", kind]
    conditions = [
        {
            "type": each,
            "status": "True" if each in (kind, "Created") else "False",
            "reason": f"TFJob{each}",
            "message": message if each == kind else f"TFJob ml/ecg is {each.lower()}.",
        }
        for each in dict.fromkeys(order)
    ]
    return {"conditions": conditions, "replicaStatuses": replicas}


def pod(
    replica: str,
    phase: str = "Running",
    *,
    state: Json | None = None,
    last: Json | None = None,
    restarts: int = 0,
    uid: str = "a",
    job: str = "ecg",
    conditions: tuple[Json, ...] = (),
    limits: Json | None = None,
    created: str = "2026-11-22T10:00:00Z",
    **more: Any,
) -> Json:
    """Return a pod of the replica, such as ``worker-0``; its container's state follows from the phase if not given."""
    kind, _, index = replica.rpartition("-")
    states: dict[str, Json] = {
        "Running": {"running": {"startedAt": "2026-11-22T10:00:01Z"}},
        "Succeeded": {"terminated": _ended(0, "Completed")},
        "Failed": {"terminated": _ended(1, "Error")},
    }
    state = states.get(phase, {}) if state is None else state
    container = {"name": "tensorflow", "restartCount": restarts, "state": state, "lastState": last or {}}
    labels = {"training.kubeflow.org/job-name": job, "training.kubeflow.org/replica-type": kind}
    spec = {"name": "tensorflow", "image": "registry.example/parak8s:0.1.0", "resources": {"limits": limits or {}}}
    spec["command"] = ["parak8s", "replica", "name: ecg"]
    return {
        "metadata": {
            "name": f"{job}-{replica}",
            "uid": f"{replica}-{uid}",
            "labels": {**labels, "training.kubeflow.org/replica-index": index},
            "creationTimestamp": created,
        },
        "spec": {"containers": [{"name": "istio-proxy"}, spec]},
        "status": {
            "phase": phase,
            "conditions": list(conditions),
            "containerStatuses": [container] if state else [],
            **more,
        },
    }


def _ended(code: int, reason: str, message: str = "") -> Json:
    moments = {"startedAt": "2026-11-22T10:00:01Z", "finishedAt": "2026-11-22T10:00:13.500Z"}
    return {"exitCode": code, "reason": reason, "message": message, **moments}


def ended(code: int, reason: str = "Error", message: str = "", at: str = "") -> Json:
    """Return the state of a container that ended."""
    return {"terminated": _ended(code, reason, message) | ({"finishedAt": at} if at else {})}


def waits(reason: str, message: str = "") -> Json:
    """Return the state of a container that waits."""
    return {"waiting": {"reason": reason, "message": message}}


def unscheduled(message: str, reason: str = "Unschedulable") -> tuple[Json, ...]:
    """Return the conditions of a pod for which the scheduler finds no node."""
    return ({"type": "PodScheduled", "status": "False", "reason": reason, "message": message},)


def event(about: str, reason: str, message: str, *, kind: str = "Warning", at: int = 0) -> Json:
    """Return an event about a pod, ``Pod/ecg-worker-0``, or the job, ``TFJob/ecg``."""
    what, _, name = about.partition("/")
    moment = f"2026-11-22T10:00:{at:02}Z"
    return {
        "type": kind, "reason": reason, "message": message, "lastTimestamp": moment,
        "involvedObject": {"kind": what, "name": name},
    }  # fmt: skip


def _owned(found: Json, jobs: dict[str, Json]) -> Json:
    """Return a pod with its owner, unless it names another one."""
    found = copy.deepcopy(found)
    job = jobs.get(found["metadata"]["labels"]["training.kubeflow.org/job-name"])
    if job is not None:
        owner = {"kind": "TFJob", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
        found["metadata"].setdefault("ownerReferences", [owner])
    return found
