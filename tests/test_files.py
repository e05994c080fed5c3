"""Files and folders are written whole or not at all."""

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from parak8s import files


def visible(folder: Path) -> list[str]:
    """Return the names in ``folder`` that do not begin with a dot."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def everything(folder: Path) -> list[str]:
    """Return all names in ``folder``."""
    return sorted(path.name for path in folder.iterdir())


def test_the_digest_of_a_file_is_that_of_hashlib(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "x").write_bytes(content)
    assert files.sha256_of(tmp_path / "x") == hashlib.sha256(content).hexdigest()
    (tmp_path / "empty").touch()
    assert files.sha256_of(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_text_is_written_as_utf_8_into_folders_that_need_not_be_there(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.txt"
    files.write_text(path, "Säule\n")
    assert path.read_bytes() == b"S\xc3\xa4ule\n"
    files.write_text(path, "new")
    assert path.read_text() == "new"
    assert [file.name for file in path.parent.iterdir()] == ["x.txt"]


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True, "é"], "b": {}}
    files.write_json(tmp_path / "x.json", value)
    assert files.read_json(tmp_path / "x.json") == value
    assert (tmp_path / "x.json").read_text(encoding="utf-8").startswith('{\n  "a": [')


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_refused_and_nothing_is_written(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", {"auc": number})
    assert list(tmp_path.iterdir()) == []


def test_a_text_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    files.write_text(tmp_path / "x.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        files.write_text(tmp_path / "x.txt", "new \ud800")
    assert (tmp_path / "x.txt").read_text() == "old"
    assert everything(tmp_path) == ["x.txt"]


def test_a_disk_that_fails_in_the_middle_leaves_the_old_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    files.write_text(tmp_path / "x.txt", "old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        files.write_text(tmp_path / "x.txt", "new")
    assert (tmp_path / "x.txt").read_text() == "old"
    assert everything(tmp_path) == ["x.txt"]


def test_a_folder_stands_there_when_it_is_complete_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "dataset"
    with files.folder(path) as partial:
        (partial / "x").write_text("1")
        assert not path.exists()
        assert partial.parent == path.parent  # on the same disk: renamed, not copied
    assert visible(path.parent) == ["dataset"]
    assert everything(path.parent) == ["dataset"]
    assert (path / "x").read_text() == "1"


def test_a_new_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with files.folder(tmp_path / "model") as partial:
            (partial / name).touch()
    assert everything(tmp_path / "model") == ["b"]
    assert everything(tmp_path) == ["model"]


def interrupted(path: Path, resume: str | None, name: str, error: type[BaseException] = ValueError) -> None:
    """Write ``name`` into the folder and fail before it is complete."""

    def act() -> None:
        with files.folder(path, resume=resume) as partial:
            (partial / name).touch()
            raise error

    with pytest.raises(error):
        act()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_in_the_middle_leaves_the_old_folder_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    with files.folder(tmp_path / "model") as partial:
        (partial / "old").touch()
    interrupted(tmp_path / "model", None, "new", error)
    assert everything(tmp_path / "model") == ["old"]
    assert everything(tmp_path) == ["model"]


def test_an_error_in_a_first_folder_leaves_nothing(tmp_path: Path) -> None:
    interrupted(tmp_path / "model", None, "x")
    assert everything(tmp_path) == []


def contents(path: Path, resume: str | None) -> list[str]:
    """Return what a block finds when it begins, and let it end."""
    with files.folder(path, resume=resume) as partial:
        return visible(partial)


def test_a_folder_that_resumes_begins_with_what_the_interrupted_one_left(tmp_path: Path) -> None:
    interrupted(tmp_path / "training", "key", "epoch-1")
    interrupted(tmp_path / "training", "key", "epoch-2")
    assert not (tmp_path / "training").exists()
    assert contents(tmp_path / "training", "key") == ["epoch-1", "epoch-2"]
    assert everything(tmp_path / "training") == ["epoch-1", "epoch-2"]
    assert everything(tmp_path) == ["training"]


def test_a_folder_does_not_resume_what_another_one_left(tmp_path: Path) -> None:
    interrupted(tmp_path / "training", "other key", "epoch-1")
    assert contents(tmp_path / "training", "key") == []
    interrupted(tmp_path / "training", "key", "epoch-1")
    assert contents(tmp_path / "training", None) == []


def test_a_folder_that_was_finished_is_not_resumed(tmp_path: Path) -> None:
    with files.folder(tmp_path / "training", resume="key") as partial:
        (partial / "epoch-1").touch()
    assert contents(tmp_path / "training", "key") == []


KILLED = """
import sys, time
from pathlib import Path
from parak8s import files

def hang():
    print("ready", flush=True)
    time.sleep(60)

path = Path(sys.argv[1])
ACT
"""

WRITE_TEXT = """
import os
os.fsync = lambda _: hang()
files.write_text(path / "x.txt", "new" * 10)
"""

FOLDER = """
with files.folder(path / "model", resume=RESUME) as partial:
    (partial / "new").write_text("half")
    hang()
"""


def kill_in_the_middle(act: str, folder: Path) -> None:
    """Run ``act`` in a process of its own and kill it with SIGKILL where it hangs."""
    code = KILLED.replace("ACT", textwrap.dedent(act))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)


def test_a_killed_process_leaves_the_old_text(tmp_path: Path) -> None:
    kill_in_the_middle(WRITE_TEXT, tmp_path)
    assert visible(tmp_path) == []
    files.write_text(tmp_path / "x.txt", "old")
    kill_in_the_middle(WRITE_TEXT, tmp_path)
    assert (tmp_path / "x.txt").read_text() == "old"
    files.write_text(tmp_path / "x.txt", "next")
    assert (tmp_path / "x.txt").read_text() == "next"


def test_a_killed_process_leaves_the_old_folder_and_the_next_one_begins_anew(tmp_path: Path) -> None:
    kill_in_the_middle(FOLDER.replace("RESUME", "None"), tmp_path)
    assert visible(tmp_path) == []
    assert contents(tmp_path / "model", None) == []
    kill_in_the_middle(FOLDER.replace("RESUME", "None"), tmp_path)
    assert visible(tmp_path / "model") == []
    assert contents(tmp_path / "model", None) == []
    assert everything(tmp_path) == ["model"]


def test_a_killed_process_leaves_what_the_next_one_resumes(tmp_path: Path) -> None:
    kill_in_the_middle(FOLDER.replace("RESUME", "'key'"), tmp_path)
    assert visible(tmp_path) == []
    assert contents(tmp_path / "model", "key") == ["new"]
    assert everything(tmp_path / "model") == ["new"]


def test_two_threads_never_leave_a_mixture(tmp_path: Path) -> None:
    texts = [json.dumps({"n": [n] * 20_000}) for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: files.write_text(tmp_path / str(n % 2), texts[n]), range(4)))
    assert {(tmp_path / name).read_text() for name in "01"} <= set(texts)
    assert everything(tmp_path) == ["0", "1"]


def test_whoever_reads_the_old_file_goes_on_reading_it_whole(tmp_path: Path) -> None:
    path, seen_before = tmp_path / "state.json", tmp_path / "seen_before"
    files.write_text(path, "old")
    seen_before.hardlink_to(path)  # what a reader with the file open holds: the same inode
    files.write_text(path, "new")
    assert (seen_before.read_text(), path.read_text()) == ("old", "new")
