"""Kubeflow Pipelines for tests: its REST API v2beta1 over real HTTP, as much of it as kfp.Client uses.

The standard library's server in a thread: kfp.Client is synchronous, so a server in an event loop of the test's own
would need a thread all the same, and what is emulated here is a state (versions, runs that go on), not single answers.
What the real server does is taken from kubeflow/pipelines 2.x, backend/src/apiserver/server.
"""

import contextlib
import json
import re
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

from kfp_login import PAGE, Asked, Dex, cookies_of

API = "/apis/v2beta1"
HANG, LOSE, WEB_PAGE = "hang", "lose", "page"
"""Instead of an answer: none; none although it was done; a page for people."""
MAX_PARAMETER_BYTES = 10_000
NEVER = "1970-01-01T00:00:00Z"
Json = dict[str, Any]
Moment = tuple[str, dict[str, str]]
"""State of a run, and of its tasks: name -> state, or ``FAILED: the error's words``, or CACHED.

Tasks of one name in a loop are ``name/0``, ``name/1`` and so on.
"""


@dataclass(frozen=True)
class Request:
    """What was sent."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Refused(Exception):  # noqa: N818
    """An answer that is an error, in the words of the real server."""

    def __init__(self, status: int, message: str, code: int = 3) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": message, "code": code, "message": message, "details": []}


@dataclass
class KfpServer:
    """A server with an empty database.

    Args:
        multi_user: Whether everything belongs to a namespace.
        tokens: Who shows none of these is not let in; None lets everybody in.
        forbidden: Namespaces in which the user may do nothing.
        login: Stands in front.
        script: What every new run goes through: the next moment with each look, and the last one for ever.
        certificate: PEM file with key and certificate: the server speaks TLS.
    """

    multi_user: bool = False
    tokens: set[str] | None = None
    forbidden: frozenset[str] = frozenset()
    login: Dex | None = None
    script: list[Moment] = field(default_factory=lambda: [("SUCCEEDED", {})])
    certificate: Path | None = None
    requests: list[Request] = field(default_factory=list)
    experiments: list[Json] = field(default_factory=list)
    pipelines: list[Json] = field(default_factory=list)
    versions: list[Json] = field(default_factory=list)
    packages: dict[str, bytes] = field(default_factory=dict)
    runs: list[Json] = field(default_factory=list)
    recurring_runs: list[Json] = field(default_factory=list)
    looks: dict[str, int] = field(default_factory=dict)
    uri: str = ""
    _planned: list[tuple[str, int | str]] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def will(self, request: str, *answers: int | str) -> None:
        """Answer the next requests whose ``METHOD /path`` begins like this otherwise.

        Args:
            request: Begin of ``METHOD /path``.
            answers: For each request a status, an address that it is sent on to, or :data:`HANG` and so on.
        """
        self._planned += [(request, answer) for answer in answers]

    def sent(self, pattern: str) -> list[Request]:
        """Return the requests whose ``METHOD /path`` is this pattern."""
        return [each for each in self.requests if re.fullmatch(pattern, f"{each.method} {each.path}")]

    def start(self) -> ThreadingHTTPServer:
        """Listen on a free port of the loopback interface."""
        handler = type("Handler", (_Handler,), {"kfp": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        self.uri = f"{'https' if self.certificate else 'http'}://127.0.0.1:{server.server_port}"
        return server

    def planned(self, request: Request) -> int | str | None:
        for index, (pattern, answer) in enumerate(self._planned):
            if f"{request.method} {request.path}".startswith(pattern):
                del self._planned[index]
                return answer
        return None

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def stop(self) -> None:
        """Answer nobody any more, also on connections that are open."""
        self._stopped.set()

    def wait_for_the_end(self) -> None:
        self._stopped.wait()

    def answer(self, request: Request) -> Json:
        """Do what is asked for, one request after the other."""
        with self._lock:
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            if self.tokens is not None and token not in self.tokens:
                raise Refused(401, "Unauthenticated: Request header error: there is no user identity header", 16)
            for pattern, act in _ROUTES.items():
                if found := re.fullmatch(pattern, f"{request.method} {request.path}"):
                    return act(self, request, *found.groups())
            raise Refused(404, "Not Found", 5)

    # What the server does

    def healthz(self, _: Request) -> Json:
        return {"multi_user": self.multi_user, "pipeline_store": "database"}

    def list_experiments(self, request: Request) -> Json:
        return _page("experiments", self._visible(self.experiments, request), request)

    def create_experiment(self, request: Request) -> Json:
        body = {"storage_state": "AVAILABLE", **request.json}
        self._allow(body.get("namespace"), "create", "experiments")
        _refuse_twin(self.experiments, body, "namespace")
        return _kept(self.experiments, body, "experiment_id")

    def list_pipelines(self, request: Request) -> Json:
        return _page("pipelines", self._visible(self.pipelines, request), request)

    def create_pipeline(self, request: Request) -> Json:
        body = {"name": request.json["display_name"], **request.json}
        _refuse_twin(self.pipelines, body, "namespace")
        return _kept(self.pipelines, body, "pipeline_id")

    def list_versions(self, request: Request, pipeline_id: str) -> Json:
        return _page(
            "pipeline_versions", [each for each in self.versions if each["pipeline_id"] == pipeline_id], request
        )

    def upload_version(self, request: Request) -> Json:
        content = _uploaded(request)
        if "pipelineInfo" not in (next(yaml.safe_load_all(content)) or {}):
            raise Refused(400, "Failed to create a pipeline version: unknown template format")
        body = {"pipeline_id": request.query["pipelineid"], "display_name": request.query["name"]}
        _refuse_twin(self.versions, body, "pipeline_id")
        version = _kept(self.versions, body, "pipeline_version_id")
        self.packages[version["pipeline_version_id"]] = content
        return version

    def list_runs(self, request: Request) -> Json:
        wanted = request.query.get("experiment_id")
        return _page("runs", [run for run in self.runs if wanted in (None, run["experiment_id"])], request)

    def create_run(self, request: Request) -> Json:
        self._check(request.json, "runs")
        return _kept(self.runs, {**request.json, "state": "PENDING"}, "run_id")

    def get_run(self, _request: Request, run_id: str) -> Json:
        run = next((run for run in self.runs if run["run_id"] == run_id), None)
        if run is None:
            raise Refused(404, f"Failed to get a run: ResourceNotFoundError: Run {run_id} not found", 5)
        look = self.looks.get(run_id, 0)
        self.looks[run_id] = look + 1
        state, tasks = self.script[min(look, len(self.script) - 1)]
        state, _, error = state.partition(": ")
        run |= {"state": state, "run_details": {"task_details": _nodes(tasks)}}
        return run | ({"error": {"code": 13, "message": error}} if error else {})

    def list_recurring_runs(self, request: Request) -> Json:
        return _page("recurringRuns", self._visible(self.recurring_runs, request), request)

    def create_recurring_run(self, request: Request) -> Json:
        body = request.json
        experiment = self._check(body, "jobs")
        if not 1 <= int(body["max_concurrency"]) <= 10:
            raise Refused(
                400, "InvalidInputError: Max concurrency of a recurring run must be at least 1 and at most 10"
            )
        body |= {"status": f"{body['mode']}D", "namespace": experiment.get("namespace")}
        return _kept(self.recurring_runs, body, "recurring_run_id")

    def delete_recurring_run(self, _: Request, recurring_run_id: str) -> Json:
        self.recurring_runs[:] = [each for each in self.recurring_runs if each["recurring_run_id"] != recurring_run_id]
        return {}

    def _visible(self, things: list[Json], request: Request) -> list[Json]:
        if not self.multi_user:
            return things
        namespace = request.query.get("namespace")
        self._allow(namespace, "list", "experiments")
        return [each for each in things if each.get("namespace") == namespace]

    def _allow(self, namespace: str | None, verb: str, resource: str) -> None:
        if self.multi_user and not namespace:
            raise Refused(400, "InvalidInputError: An experiment cannot have an empty namespace in multi-user mode")
        if namespace in self.forbidden:
            attributes = (
                f"Namespace:{namespace},Verb:{verb},Group:pipelines.kubeflow.org,Version:v1beta1,Resource:{resource}"
            )
            raise Refused(
                403,
                "Failed to authorize: PermissionDenied: User 'eve@example.com' is not authorized with reason:  "
                f"(request: &ResourceAttributes{{{attributes},Subresource:,Name:,}})",
                7,
            )

    def _check(self, body: Json, resource: str) -> Json:
        experiment = next((each for each in self.experiments if each["experiment_id"] == body["experiment_id"]), None)
        if experiment is None:
            raise Refused(404, f"ResourceNotFoundError: Experiment {body['experiment_id']} not found", 5)
        self._allow(experiment.get("namespace"), "create", resource)
        version = body["pipeline_version_reference"]["pipeline_version_id"]
        if version not in self.packages:
            raise Refused(404, f"ResourceNotFoundError: PipelineVersion {version} not found", 5)
        inputs = yaml.safe_load(self.packages[version].split(b"\n---")[0])["root"].get("inputDefinitions", {})
        parameters = body["runtime_config"].get("parameters", {})
        if unknown := sorted(set(parameters) - set(inputs.get("parameters", {}))):
            message = f"Failed to verify parameters: Invalid input error: Unrecognized input parameter: {unknown[0]}"
            raise Refused(500, f"Failed to create a new run: InternalServerError: {message}", 13)
        counted = json.dumps(parameters, ensure_ascii=False, separators=(",", ":"))
        counted = re.sub("[<>&\u2028\u2029]", r"\\uXXXX", counted)
        if len(counted.encode()) > MAX_PARAMETER_BYTES:
            raise Refused(
                400, f"InvalidInputError: The input parameter length exceed maximum size of {MAX_PARAMETER_BYTES}"
            )
        return experiment


_ROUTES: dict[str, Callable[..., Json]] = {
    "GET /healthz": KfpServer.healthz,
    "GET /experiments": KfpServer.list_experiments,
    "POST /experiments": KfpServer.create_experiment,
    "GET /pipelines": KfpServer.list_pipelines,
    "POST /pipelines": KfpServer.create_pipeline,
    "POST /pipelines/upload_version": KfpServer.upload_version,
    "GET /pipelines/([^/]+)/versions": KfpServer.list_versions,
    "GET /runs": KfpServer.list_runs,
    "POST /runs": KfpServer.create_run,
    "GET /runs/([^/]+)": KfpServer.get_run,
    "GET /recurringruns": KfpServer.list_recurring_runs,
    "POST /recurringruns": KfpServer.create_recurring_run,
    "DELETE /recurringruns/([^/]+)": KfpServer.delete_recurring_run,
}


@contextlib.contextmanager
def kfp_server(**options: Any) -> Iterator[KfpServer]:
    """Run a server; the arguments are those of :class:`KfpServer`."""
    server = KfpServer(**options)
    listener = server.start()
    try:
        yield server
    finally:
        server.stop()
        listener.shutdown()
        listener.server_close()


class _Handler(BaseHTTPRequestHandler):
    kfp: KfpServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def _serve(self) -> None:
        if self.kfp.stopped:
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.kfp.login and not self._logged_in(headers, body):
            return
        parts = urlsplit(self.path)
        if API not in parts.path:
            self._send(200, "<html><title>Kubeflow</title></html>", ("Content-Type", PAGE))
            return
        request = Request(self.command, parts.path.partition(API)[2], dict(parse_qsl(parts.query)), headers, body)
        self.kfp.requests.append(request)
        self._answer(request)

    def _logged_in(self, headers: dict[str, str], body: bytes) -> bool:
        assert self.kfp.login is not None
        asked = Asked(
            self.command, self.path, cookies_of(headers.get("cookie")), dict(parse_qsl(body.decode("latin-1")))
        )
        if self.kfp.login.lets_in(asked):
            return True
        reply = self.kfp.login.reply(asked)
        self._send(reply.status, reply.body, ("Content-Type", PAGE), *reply.headers)
        return False

    def _answer(self, request: Request) -> None:
        planned = self.kfp.planned(request)
        if planned == HANG:
            self.kfp.wait_for_the_end()
        elif isinstance(planned, str) and planned.startswith("http"):
            self._send(301, "", ("Location", planned))
        elif planned == WEB_PAGE:
            self._send(200, "<html><title>Log in</title></html>", ("Content-Type", PAGE))
        elif isinstance(planned, int) and planned in (502, 503, 504):  # the gateway says so, not Kubeflow Pipelines
            self._send(planned, "upstream connect error", ("Content-Type", "text/plain"))
        elif isinstance(planned, int):
            self._send(planned, json.dumps(Refused(planned, "InternalServerError: the database is away", 13).body))
        else:
            self._done(request, lost=planned == LOSE)

    def _done(self, request: Request, *, lost: bool) -> None:
        try:
            status, body = 200, self.kfp.answer(request)
        except Refused as refused:
            status, body = refused.status, refused.body
        if lost:
            self.close_connection = True
            self.connection.close()
        else:
            self._send(status, json.dumps(body))

    def _send(self, status: int, body: str, *headers: tuple[str, str]) -> None:
        content = body.encode()
        self.send_response(status)
        standard = {"Content-Type": "application/json", "Set-Cookie": "gateway=c00kie-secret"}
        for name, value in (standard | dict(headers)).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _kept(things: list[Json], body: Json, key: str) -> Json:
    thing = {**body, key: str(uuid.uuid4()), "created_at": "2026-11-22T10:00:00Z"}
    things.append(thing)
    return thing


def _refuse_twin(things: list[Json], body: Json, scope: str) -> None:
    if any((each["display_name"], each.get(scope)) == (body["display_name"], body.get(scope)) for each in things):
        raise Refused(409, f"AlreadyExistError: The name {body['display_name']} already exist", 6)


def _page(field_name: str, things: list[Json], request: Request) -> Json:
    for predicate in json.loads(request.query.get("filter", "{}")).get("predicates", []):
        assert predicate["operation"] == 1  # EQUALS
        things = [each for each in things if each.get(predicate["key"]) == predicate["stringValue"]]
    first, size = int(request.query.get("page_token") or 0), int(request.query.get("page_size") or 10)
    following = str(first + size) if first + size < len(things) else ""
    return {field_name: things[first : first + size], "total_size": len(things), "next_page_token": following}


def _uploaded(request: Request) -> bytes:
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    for part in BytesParser().parsebytes(head + request.body).walk():
        if part.get_param("name", header="Content-Disposition") == "uploadfile":
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            return content
    raise Refused(400, "Failed to read pipeline from file")


def _nodes(tasks: dict[str, str]) -> list[Json]:
    """Return the nodes of a workflow as the real server lists them: drivers and executors too, in no useful order."""
    nodes = [
        _node("ecg-x7k2p", "RUNNING", pod="ecg-x7k2p"),
        _node("root-driver", "SUCCEEDED"),
        _node("root", "RUNNING"),
    ]
    for number, (name, told) in enumerate(tasks.items()):
        label, (state, _, error) = name.partition("/")[0], told.partition(": ")
        if re.fullmatch(r"condition-\d+", name):
            nodes.append(_node(name, state, number))
            continue
        outer, inner = {"CACHED": ("SUCCEEDED", "SKIPPED")}.get(state, (state, state))
        pod = f"ecg-x7k2p-{name}"
        nodes += [
            _node("executor", inner, number, pod=f"{pod}-executor", error=error),
            _node(f"{label}-driver", "SUCCEEDED", number, pod=f"{pod}-driver"),
            _node(label, outer, number, pod=pod, child=f"{pod}-executor"),
        ]
    return nodes[::-1]


def _node(name: str, state: str, number: int = 0, *, pod: str = "", child: str = "", error: str = "") -> Json:
    over = state not in ("PENDING", "RUNNING")
    status = {"state": state} | ({"error": {"code": 2, "message": error}} if error else {})
    return {
        "task_id": str(uuid.uuid5(uuid.NAMESPACE_OID, pod or name)),
        "display_name": name,
        "pod_name": pod or f"ecg-x7k2p-{name}",
        "state": state,
        "create_time": "2026-11-22T09:59:00Z",
        "start_time": f"2026-11-22T10:00:{number:02}Z",
        "end_time": f"2026-11-22T10:00:{number + 12:02}.500Z" if over else NEVER,
        "child_tasks": [{"pod_name": child}] if child else [],
        "state_history": [status],
    }
