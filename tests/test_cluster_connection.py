"""Ways into Kubeflow Pipelines, over real HTTP: tokens, the login of Dex, open doors, and doors that stay shut."""

import subprocess
import traceback
from pathlib import Path
from typing import Any

import pytest

from cluster_case import QUICK, connected, home_of_its_own, open_server  # noqa: F401
from kfp_login import Dex
from kfp_server import HANG, WEB_PAGE, KfpServer, kfp_server
from parak8s.cluster import Target, connect
from parak8s.cluster.faults import NotLoggedIn, Unavailable, Unreachable
from parak8s.cluster.login import Credentials
from parak8s.cluster.patience import Patience
from parak8s.cluster.target import IN_CLUSTER
from parak8s.errors import EnvironmentFault, InputError
from servers import free_port

PASSWORD = "s3same Street&=+"
USER = "user@example.com"
ME = Credentials(USER, PASSWORD)


def pod(folder: Path, *, token: str | None = None) -> Path:
    account = folder / "kubernetes.io/serviceaccount/namespace"
    account.parent.mkdir(parents=True)
    account.write_text("team-a")
    if token is not None:
        file = folder / "kubeflow/pipelines/token"
        file.parent.mkdir(parents=True)
        file.write_text(token)
    return folder


def test_options_come_before_the_environment_before_the_pod(tmp_path: Path) -> None:
    mounts, file = pod(tmp_path / "mounts", token="pod"), tmp_path / "token"
    file.write_text("mine")
    environment = {
        "KF_PIPELINES_ENDPOINT": "http://from-the-environment:8888/",
        "KF_PIPELINES_SA_TOKEN_PATH": str(file),
        "PARAK8S_USERNAME": USER,
        "PARAK8S_PASSWORD": PASSWORD,
    }
    given = Target.find(
        "https://kf.example/pipeline", token_file=file, namespace="team-b", environment={}, mounts=mounts
    )
    assert given == Target("https://kf.example/pipeline", "team-b", file)
    assert Target.find(environment=environment, mounts=mounts) == Target(
        "http://from-the-environment:8888", "team-a", file
    )
    inside = Target.find(environment={}, mounts=mounts)
    assert inside == Target(IN_CLUSTER, "team-a", mounts / "kubeflow/pipelines/token", dashboard="/pipeline")


def test_outside_of_a_cluster_the_login_comes_before_no_credentials(tmp_path: Path) -> None:
    login = {"PARAK8S_USERNAME": USER, "PARAK8S_PASSWORD": PASSWORD}
    assert Target.find("http://kf.example", environment=login, mounts=tmp_path).credentials == ME
    assert Target.find("http://kf.example", environment={}, mounts=tmp_path) == Target("http://kf.example")


def test_the_namespace_of_kfps_own_context_is_used(home: Path, tmp_path: Path) -> None:
    context = home / ".config/kfp/context.json"
    context.parent.mkdir(parents=True)
    context.write_text('{"namespace": "team-c"}')
    assert Target.find("http://kf.example", mounts=pod(tmp_path / "mounts")).namespace == "team-c"


@pytest.mark.parametrize(
    ("host", "environment", "words"),
    [
        (None, {}, "kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80"),
        ("localhost:8080", {}, "write http://HOST or https://HOST"),
        ("https://me:s3same@kf.example", {}, "holds a password: set PARAK8S_USERNAME"),
        ("http://kf.example", {"PARAK8S_USERNAME": USER}, "PARAK8S_PASSWORD is not set"),
        ("http://kf.example", {"KF_PIPELINES_SA_TOKEN_PATH": "/no/token"}, "/no/token: no such token file"),
    ],
)
def test_a_target_that_cannot_be_is_refused(
    host: str | None, environment: dict[str, str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        Target.find(host, environment=environment, mounts=tmp_path)
    assert words in str(refused.value)
    assert "s3same" not in str(refused.value)


def test_an_address_copied_from_the_browser_is_understood(tmp_path: Path) -> None:
    copied = "http://localhost:8080/pipeline/#/runs/details/1234"
    assert Target.find(copied, environment={}, mounts=tmp_path).host == "http://localhost:8080/pipeline"


def test_links_lead_to_the_dashboard() -> None:
    assert Target("http://localhost:8080").page("runs/details/7") == "http://localhost:8080/#/runs/details/7"
    framed = Target("https://kf.example/pipeline", "team-a").page("runs/details/7")
    assert framed == "https://kf.example/_/pipeline/?ns=team-a#/runs/details/7"
    elsewhere = Target("http://ml-pipeline:8888", dashboard="https://kf.example").page("runs/details/7")
    assert elsewhere == "https://kf.example/#/runs/details/7"


def test_an_open_server_is_asked_once_and_nothing_is_printed_or_written(
    server: KfpServer,
    home: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    connected(server)
    assert [f"{each.method} {each.path}" for each in server.requests] == ["GET /healthz"]
    assert [*home.rglob("*")] == []
    assert capfd.readouterr() == ("", "")


def test_a_token_is_sent_and_read_again_when_its_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    with kfp_server(tokens={"first"}) as server:
        connection = connected(server, token_file=file)
        server.tokens = {"second"}
        file.write_text("second\n")
        connection.ask(connection.client.experiments.experiment_service_list_experiments)
    assert [each.headers["authorization"] for each in server.requests] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read: .*No such file"), ("\n", "holds no token"), ("<html>\nsecret</html>", "holds no token")],
)
def test_a_token_file_that_is_lost_or_broken_is_said(
    content: str | None, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    with kfp_server(tokens={"first"}) as server:
        connection = connected(server, token_file=file)
        file.unlink() if content is None else file.write_text(content)
        with pytest.raises(EnvironmentFault, match=words) as refused:
            connection.ask(connection.client.experiments.experiment_service_list_experiments)
    assert "secret" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_no_credentials_and_expired_ones_name_the_ways_in(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("expired-t0ken")
    with kfp_server(tokens={"another"}) as server:
        for token_file in (None, file):
            with pytest.raises(NotLoggedIn) as refused:
                connected(server, token_file=token_file)
            for words in ("(401)", "--token-file", "PARAK8S_USERNAME", "port-forward"):
                assert words in str(refused.value)
            shown = "".join(traceback.format_exception(refused.value))
            assert "expired-t0ken" not in shown
            assert "c00kie-secret" not in shown
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "login",
    [
        Dex("authservice", USER, PASSWORD),
        Dex("oauth2-proxy", USER, PASSWORD),
        Dex("oauth2-proxy", USER, PASSWORD, approval=True, connectors=True),
    ],
    ids=["authservice", "oauth2-proxy", "approval-and-connectors"],
)
def test_the_login_of_dex_leads_to_a_session(login: Dex) -> None:
    with kfp_server(login=login, multi_user=True) as server:
        connection = connected(server, credentials=ME, namespace="team-a")
        options: dict[str, Any] = {"namespace": "team-a"}
        connection.ask(connection.client.experiments.experiment_service_list_experiments, **options)
    assert login.logins == 1
    assert {each.path for each in server.requests} == {"/healthz", "/experiments"}
    assert all(f"{login.cookie}=" in each.headers["cookie"] for each in server.requests)


@pytest.mark.parametrize(
    "login",
    [Dex("authservice", USER, "another", invalid=200), Dex("oauth2-proxy", USER, "another")],
    ids=["authservice", "oauth2-proxy"],
)
def test_a_wrong_password_is_said_to_be_wrong_and_shows_up_nowhere(
    login: Dex, capfd: pytest.CaptureFixture[str]
) -> None:
    with kfp_server(login=login) as server, pytest.raises(NotLoggedIn) as refused:
        connected(server, credentials=ME)
    assert "Dex does not know user@example.com with this password" in str(refused.value)
    assert server.requests == []
    shown = "".join(traceback.format_exception(refused.value)) + repr(ME) + "".join(capfd.readouterr())
    assert PASSWORD not in shown


@pytest.mark.parametrize("proxy", ["authservice", "oauth2-proxy"])
def test_a_login_page_without_a_user_name_is_no_answer(proxy: str) -> None:
    with kfp_server(login=Dex(proxy, USER, PASSWORD)) as server, pytest.raises(EnvironmentFault) as refused:
        connected(server)
    assert "PARAK8S_USERNAME and PARAK8S_PASSWORD" in str(refused.value)


def test_a_session_that_ended_is_renewed() -> None:
    login = Dex("authservice", USER, PASSWORD)
    with kfp_server(login=login) as server:
        connection = connected(server, credentials=ME)
        login.sessions.clear()
        connection.ask(connection.client.experiments.experiment_service_list_experiments)
    assert login.logins == 2


def test_passwords_are_not_sent_where_nobody_asks_for_them(server: KfpServer, home: Path) -> None:
    (home / ".netrc").write_text("machine 127.0.0.1 login me password s3same\n")
    connected(server, credentials=ME)
    assert len(server.requests) == 2
    assert all("authorization" not in each.headers for each in server.requests)
    assert all(PASSWORD not in str(each) for each in server.requests)


def test_a_server_with_users_needs_a_namespace_and_one_without_gets_none() -> None:
    with kfp_server(multi_user=True) as server, pytest.raises(InputError, match="--namespace"):
        connected(server)
    with kfp_server() as server:
        assert connected(server, namespace="team-a").target.namespace is None


def test_a_web_page_is_no_answer(server: KfpServer) -> None:
    server.will("GET /healthz", WEB_PAGE)
    with pytest.raises(NotLoggedIn, match="answers with a web page: not logged in, or the address lacks its path"):
        connected(server)


def test_a_server_that_moved_is_not_followed(server: KfpServer) -> None:
    server.will("GET /healthz", "https://kf.example/pipeline/apis/v2beta1/healthz")
    with pytest.raises(InputError, match=r"has moved: give --host https://kf\.example/pipeline$"):
        connected(server)


def test_nobody_listening_is_said_at_once_with_the_port_to_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.delattr("time.sleep")
    with pytest.raises(Unreachable) as refused:
        connect(Target(f"http://127.0.0.1:{port}"), QUICK)
    assert str(refused.value) == (
        f"Kubeflow Pipelines at http://127.0.0.1:{port}: connection refused; is the port forwarded? "
        "kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80, then --host http://localhost:8080"
    )


def test_a_host_that_nobody_knows_is_said_at_once() -> None:
    with pytest.raises(Unreachable, match=r"http://kf\.invalid: no such host; check --host or KF_PIPELINES_ENDPOINT"):
        connect(Target("http://kf.invalid"), QUICK)


def test_a_server_that_hangs_is_asked_again(server: KfpServer) -> None:
    server.will("GET /healthz", HANG, HANG)
    connected(server, timeout_s=0.2)
    assert len(server.requests) == 3


def test_a_server_that_hangs_for_good_is_given_up(server: KfpServer) -> None:
    server.will("GET /healthz", *[HANG] * 50)
    patience = Patience(first_s=0.01, longest_s=0.01, total_s=0.5)
    with pytest.raises(Unavailable, match="no answer in time"):
        connected(server, timeout_s=0.1, patience=patience)
    assert 2 <= len(server.requests) < 50


@pytest.fixture(name="certificate")
def self_made_certificate(tmp_path: Path) -> Path:
    """Key and certificate of 127.0.0.1 in one file; its own authority."""
    file = tmp_path / "server.pem"
    command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout {file}"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = subprocess.run([*command.split(), *names], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + made.stdout)
    return file


def test_an_unknown_authority_is_named_and_can_be_given(certificate: Path) -> None:
    with kfp_server(certificate=certificate) as server:
        with pytest.raises(EnvironmentFault, match=r"no secure connection: .*self.signed certificate.*--ca-file"):
            connected(server)
        connected(server, ca_file=certificate)
        connected(server, ca_file=certificate, credentials=ME)


def test_the_password_is_not_sent_to_a_page_without_encryption(certificate: Path) -> None:
    login = Dex("authservice", USER, PASSWORD)
    with kfp_server(certificate=certificate) as server, kfp_server(login=login) as open_line:
        server.will("GET /healthz", f"{open_line.uri}/dex/auth/local/login?state=1")
        with pytest.raises(EnvironmentFault, match="is not encrypted; nothing was sent"):
            connected(server, ca_file=certificate, credentials=ME)
    assert login.logins == 0


def test_a_forwarded_port_is_not_asked_for_through_a_proxy(server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    connected(server, credentials=ME)


def test_another_host_is_asked_through_the_proxy(server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.uri)
    connect(Target("http://kf.invalid/pipeline"), QUICK)
    assert [each.headers["host"] for each in server.requests] == ["kf.invalid"]


@pytest.mark.parametrize("credentials", [None, ME], ids=["plain", "login"])
def test_https_where_only_http_is_spoken_is_said(credentials: Credentials | None, server: KfpServer) -> None:
    with pytest.raises(EnvironmentFault, match="it does not speak TLS; write http:// instead of https://"):
        connect(Target(server.uri.replace("http", "https"), credentials=credentials), QUICK)
