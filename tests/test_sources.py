"""Sources: local ones in place, remote ones through the cache, all with a digest that coreutils can check."""

import errno
import functools
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from parak8s.data.downloads import cache_folder
from parak8s.data.remote import public
from parak8s.data.sources import Source, check_pinned, fetch
from parak8s.errors import EnvironmentFault, InputError

ABC = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""SHA-256 of ``abc``: FIPS 180-2, appendix B.1."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PARAK8S_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    file = tree(tmp_path, {"a.csv": "abc"}) / "a.csv"
    assert fetch(str(file)) == Source(str(file), file, (file,))
    assert fetch(str(file)).digest() == ABC


def test_a_file_url_with_escapes_is_used_in_place(tmp_path: Path) -> None:
    file = tree(tmp_path, {"a b%.csv": "abc"}) / "a b%.csv"
    assert fetch(file.as_uri()).root == file


@pytest.mark.skipif(not shutil.which("sha256sum") or not shutil.which("xargs"), reason="needs GNU coreutils")
def test_the_command_of_the_documentation_prints_the_digest_of_a_folder(tmp_path: Path) -> None:
    names = ["b.dat", "a/z.dat", "a.dat", "a-b/c", "Z", "ä", "back\\slash", "new\nline", ".hidden", ".git/config"]
    folder = tree(tmp_path / "data", dict.fromkeys(names, "abc"))
    (folder / "link").symlink_to(folder / "a", target_is_directory=True)
    documented = [line.strip() for line in (Source.digest.__doc__ or "").splitlines() if "xargs" in line]
    out = subprocess.run(documented[0], shell=True, cwd=folder, capture_output=True, text=True, check=True)
    assert fetch(str(folder)).digest() == "sha256:" + out.stdout.split()[0]


def test_the_digest_of_a_folder_is_that_of_its_sorted_lines(tmp_path: Path) -> None:
    folder = tree(tmp_path / "data", {"b": "abc", "a/c": "abc", ".hidden": "x"})
    lines = f"{ABC[7:]}  a/c\n{ABC[7:]}  b\n"
    assert fetch(str(folder)).digest() == "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


def test_a_synthetic_source_has_no_files() -> None:
    assert fetch("synthetic://ecg?beats=10") == Source("synthetic://ecg?beats=10", None, ())
    assert fetch("synthetic://ecg").digest() is None


def test_only_the_pinned_version_passes() -> None:
    check_pinned(ABC, None, "a.csv")
    check_pinned(ABC, ABC, "a.csv")
    other = "sha256:" + "0" * 64
    with pytest.raises(InputError, match=f"a.csv.*expected {other}, got {ABC}.*write the new digest"):
        check_pinned(ABC, other, "a.csv")


@pytest.mark.parametrize(
    ("url", "fragment"),
    [
        ("missing.csv", "missing.csv: no such file or folder"),
        ("file/below.csv", "a part of this path is a file"),
        ("loop", "loop: a loop of symbolic links"),
        ("ring", "leads back to a folder above"),
        ("nowhere", "nowhere: a link to gone, which does not exist"),
        ("empty", "empty: a folder without files"),
        ("pipe", "pipe: neither a file nor a folder"),
        ("x" * 300, "the name is too long"),
        ("~nobody-of-this-name/a", "no such user"),
        ("", "expected a path or a URL"),
        ("a\0b", "expected a path or a URL"),
        ("file://host/a.csv", "'host' would be a host"),
        ("htp://host/a.csv", "no protocol 'htp'; did you mean 'http'?"),
    ],
)
def test_a_wrong_source_gives_one_clear_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, fragment: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path, {"file": "abc", "ring/a": "abc"})
    Path("loop").symlink_to("loop")
    Path("ring/back").symlink_to("../ring", target_is_directory=True)
    Path("nowhere").symlink_to("gone")
    Path("empty").mkdir()
    os.mkfifo("pipe")
    with pytest.raises(InputError) as caught:
        fetch(url)
    assert fragment in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="root gives up its rights for a moment")
def test_a_file_without_permission_is_the_environments_fault(tmp_path: Path) -> None:
    file = tree(tmp_path, {"secret/a.csv": "abc"}) / "secret" / "a.csv"
    file.parent.chmod(0o700)
    os.seteuid(65534)
    try:
        with pytest.raises(EnvironmentFault, match="no permission to read") as caught:
            fetch(str(file))
    finally:
        os.seteuid(0)
    assert caught.value.exit_code == 1


def test_a_remote_file_comes_into_the_cache_once(
    memory: MemoryFileSystem, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/box/a.csv", b"abc")
    first = fetch("memory://box/a.csv")
    monkeypatch.setattr(memory, "get", lambda *_: pytest.fail("downloaded again"))
    assert fetch("memory://box/a.csv") == first
    assert first.digest() == ABC
    assert first.root is not None
    assert first.root.name == "a.csv"
    assert first.root.is_relative_to(cache)


def test_a_changed_remote_file_is_fetched_again(memory: MemoryFileSystem) -> None:
    memory.pipe("/box/a.csv", b"old")
    old = fetch("memory://box/a.csv")
    memory.pipe("/box/a.csv", b"abc")
    assert fetch("memory://box/a.csv").digest() == ABC
    assert old.root is not None
    assert old.root.read_bytes() == b"old"


def test_a_remote_folder_has_the_digest_of_the_same_folder_here(memory: MemoryFileSystem, tmp_path: Path) -> None:
    files = {"b.dat": "abc", "deep/er/a.dat": "xyz"}
    for name, text in files.items():
        memory.pipe(f"/box/{name}", text.encode())
    assert fetch("memory://box").digest() == fetch(str(tree(tmp_path / "here", files))).digest()


def test_a_missing_remote_file_is_bad_input(memory: MemoryFileSystem) -> None:
    with pytest.raises(InputError, match=r"memory://box/a.csv: no such file or folder"):
        fetch("memory://box/a.csv")


@pytest.mark.parametrize(
    ("error", "fragments"),
    [
        (OSError(errno.ENOSPC, "No space left"), ("No space left", "PARAK8S_CACHE")),
        (PermissionError("access denied"), ("access denied",)),
        (ConnectionResetError(errno.ECONNRESET, "reset by peer"), ("reset by peer",)),
        (KeyError("strange plug-in"), ("KeyError", "strange plug-in")),
    ],
)
def test_a_failed_download_is_the_environments_fault_and_leaves_nothing(
    memory: MemoryFileSystem, cache: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, fragments: tuple[str, ...]
) -> None:
    memory.pipe("/box/a.csv", b"abc")

    def fail(_: list[str], copies: list[str]) -> None:
        Path(copies[0]).parent.mkdir(parents=True, exist_ok=True)
        Path(copies[0]).write_bytes(b"a")
        raise error

    monkeypatch.setattr(memory, "get", fail)
    with pytest.raises(EnvironmentFault) as caught:
        fetch("memory://box/a.csv")
    assert all(fragment in str(caught.value) for fragment in fragments)
    assert list((cache / "sources").iterdir()) == []


def test_a_download_that_breaks_off_is_refused(
    memory: MemoryFileSystem, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/box/a.csv", b"abc")
    monkeypatch.setattr(memory, "get", lambda _, copies: Path(copies[0]).write_bytes(b"ab"))
    with pytest.raises(EnvironmentFault, match="2 bytes came, expected 3"):
        fetch("memory://box/a.csv")
    assert list((cache / "sources").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_the_environments_fault(
    memory: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/box/a.csv", b"abc")
    monkeypatch.setenv("PARAK8S_CACHE", str(tree(tmp_path, {"file": ""}) / "file"))
    with pytest.raises(EnvironmentFault, match=r"cannot write the cache.*set PARAK8S_CACHE"):
        fetch("memory://box/a.csv")


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [("s3://box/a", "s3fs", "s3"), ("gs://box/a", "gcsfs", "gs"), ("abfs://box/a", "adlfs", "abfs")],
)
def test_a_missing_plug_in_is_named(monkeypatch: pytest.MonkeyPatch, url: str, module: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, url.partition(":")[0], raising=False)
    with pytest.raises(EnvironmentFault) as caught:
        fetch(url)
    assert f"pip install 'parak8s[{extra}]'" in str(caught.value)


def test_messages_hold_no_password() -> None:
    with pytest.raises(InputError) as caught:
        fetch("nowhere://user:hunter2@host/a.csv?token=hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("abfs://runs@clinic.dfs.core.windows.net/ecg", "abfs://runs@clinic.dfs.core.windows.net/ecg"),
        ("abfs://runs:hunter2@clinic/ecg", "abfs://clinic/ecg"),
        ("s3://hunter2@clinic/ecg", "s3://clinic/ecg"),
        ("https://a:hunter2@host/x?sig=hunter2", "https://host/x"),
    ],
)
def test_the_name_before_a_host_is_a_secret_unless_it_is_a_containers(url: str, shown: str) -> None:
    assert public(url) == shown


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, with an ETag or without; ``/broken`` fails."""

    etag: str | None = None
    gets: list[str]

    def do_GET(self) -> None:
        self.gets.append(self.path)
        if self.path == "/broken":
            self.send_error(503, "on holiday")
            return
        super().do_GET()

    def do_HEAD(self) -> None:
        if self.path == "/broken":
            self.send_error(503, "on holiday")
            return
        super().do_HEAD()

    def send_header(self, keyword: str, value: str) -> None:
        if keyword == "Last-Modified":
            keyword, value = ("ETag", self.etag) if self.etag else ("X-Nothing", "0")
        super().send_header(keyword, value)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path, type[Handler]]]:
    pytest.importorskip("aiohttp", reason="the extra http")
    handler = type("ThisHandler", (Handler,), {"gets": []})
    (tmp_path / "site").mkdir()
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(tmp_path / "site"))
    ) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", tmp_path / "site", handler
        running.shutdown()
        thread.join()


def test_a_web_file_is_fetched_again_when_its_etag_changes(server: tuple[str, Path, type[Handler]]) -> None:
    url, site, handler = server
    handler.etag = '"1"'
    (site / "a b.csv").write_text("abc")
    assert fetch(f"{url}/a%20b.csv").digest() == ABC
    (site / "a b.csv").write_text("xyz")
    assert fetch(f"{url}/a%20b.csv").digest() == ABC
    assert len(handler.gets) == 1
    handler.etag = '"2"'
    source = fetch(f"{url}/a%20b.csv")
    assert source.root is not None
    assert source.root.name == "a b.csv"
    assert source.root.read_text() == "xyz"


def test_a_web_file_without_marks_of_change_is_always_fetched(
    server: tuple[str, Path, type[Handler]], cache: Path
) -> None:
    url, site, _ = server
    for text in ("abc", "xyz", "xyz"):
        (site / "a.csv").write_text(text)
        source = fetch(f"{url}/a.csv")
        assert source.root is not None
        assert source.root.read_text() == text
    assert len(list((cache / "sources").iterdir())) == 2


def test_a_web_folder_is_fetched_whole(server: tuple[str, Path, type[Handler]], tmp_path: Path) -> None:
    url, site, handler = server
    handler.etag = '"1"'
    tree(site / "data", {"mitbih_train.csv": "abc", "sub/ä.csv": "xyz"})
    assert fetch(f"{url}/data/").digest() == fetch(str(tmp_path / "site" / "data")).digest()


def test_web_errors_say_whose_turn_it_is(server: tuple[str, Path, type[Handler]]) -> None:
    url, _, _ = server
    with pytest.raises(InputError, match=r"gone\.csv: no such file or folder"):
        fetch(f"{url}/gone.csv?token=secret")
    with pytest.raises(InputError, match="gone/: no such folder, or one without files"):
        fetch(f"{url}/gone/")
    with pytest.raises(EnvironmentFault, match="503"):
        fetch(f"{url}/broken")
    with pytest.raises(EnvironmentFault, match="cannot be read"):
        fetch("http://127.0.0.1:9/a.csv")


def test_the_cache_stands_where_the_platform_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARAK8S_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    found: dict[str, Path] = {}
    for platform in ("linux", "darwin", "win32"):
        monkeypatch.setattr("sys.platform", platform)
        found[platform] = cache_folder()
    home = Path("~").expanduser()
    assert found == {
        "linux": Path("/xdg/parak8s"),
        "darwin": home / "Library/Caches/parak8s",
        "win32": Path("/local/parak8s"),
    }


def test_the_files_that_a_file_lists_are_part_of_its_version_wherever_they_lie(tmp_path: Path) -> None:
    tree(tmp_path, {"list/a.csv": "abc", "list/in/b": "abc", "beside/c": "abc"})
    source = fetch(str(tmp_path / "list" / "a.csv"))
    listed = [tmp_path / "list" / "in" / "b", tmp_path / "list" / ".." / "beside" / "c"]
    lines = "".join(f"{ABC[7:]}  {name}\n" for name in ("../beside/c", "a.csv", "in/b"))
    assert source.with_listed(listed).digest() == "sha256:" + hashlib.sha256(lines.encode()).hexdigest()
    assert source.digest() == ABC
