"""A folder in an object store that speaks S3: whole at every moment, written by one process at a time."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from object_store import BUCKET, Store, emptied, serving
from parak8s import snapshots
from parak8s.errors import EnvironmentFault, InputError
from parak8s.snapshots import Snapshots, StoreAway

RUN = f"{BUCKET}/runs/ecg"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving() as found:
        yield found


@pytest.fixture
def store(address: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    return emptied(address, monkeypatch)


def written(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def sent(folder: Path) -> Snapshots:
    there = Snapshots(RUN)
    there.claim()
    there.send(folder)
    return there


def fetched(folder: Path, name: str = "") -> dict[str, str]:
    Snapshots(RUN).fetch(folder, name)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_what_is_sent_is_fetched_and_lies_under_its_own_names(store: Store, tmp_path: Path) -> None:
    folder = written(tmp_path / "a", model__keras="m", empty="", training__checkpoints__checkpoint="c")
    written(folder, **{".lock": "process 7", ".result.json." + "0" * 32: "half"})
    (folder / ".training.partial").mkdir()
    (folder / ".training.partial/.resume").write_text("key")
    sent(folder)
    expected = {"model/keras": "m", "empty": "", "training/checkpoints/checkpoint": "c"}
    assert fetched(tmp_path / "b") == {**expected, ".training.partial/.resume": "key"}
    assert store.names(RUN) == sorted([*expected, ".training.partial/.resume", "index.json"])


def test_a_part_alone_is_fetched(store: Store, tmp_path: Path) -> None:
    there = sent(written(tmp_path / "a", dataset__a="1", dataset__b__c="2", dataset2__a="3"))
    assert fetched(tmp_path / "b", "dataset") == {"dataset/a": "1", "dataset/b/c": "2"}
    assert (there.holds("dataset"), there.holds("data"), there.holds("dataset/a")) == (True, False, True)
    assert not Snapshots(f"{BUCKET}/other").holds("dataset")


def test_what_changed_alone_is_sent_and_what_is_gone_is_deleted(store: Store, tmp_path: Path) -> None:
    folder = written(tmp_path / "a", same="s", changed="1", gone="g")
    there = sent(folder)
    first = store.files.info(f"{RUN}/same")["LastModified"], store.files.info(f"{RUN}/same")["ETag"]
    written(folder, changed="2")
    (folder / "gone").unlink()
    os.utime(folder / "same")  # touched, not changed
    there.send(folder)
    assert fetched(tmp_path / "b") == {"same": "s", "changed": "2"}
    assert store.names(RUN) == ["changed~2", "index.json", "same"]
    assert (store.files.info(f"{RUN}/same")["LastModified"], store.files.info(f"{RUN}/same")["ETag"]) == first
    there.send(folder, tidy=True)
    assert store.names(RUN) == ["changed", "index.json", "same"]
    assert fetched(tmp_path / "c") == {"same": "s", "changed": "2"}


def test_a_renamed_folder_is_there_under_its_new_name_alone(store: Store, tmp_path: Path) -> None:
    folder = written(tmp_path / "a", partial__x="1", partial__y="2")
    there = sent(folder)
    (folder / "partial").rename(folder / "training")
    there.send(folder)
    assert fetched(tmp_path / "b") == {"training/x": "1", "training/y": "2"}


@pytest.mark.parametrize("calls", range(6))
def test_whoever_is_killed_while_sending_leaves_the_old_or_the_new(
    calls: int, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request that changes the store is the last one, once."""
    old, new = {"a": "1", "b": "1", "old": "1"}, {"a": "2", "b": "2", "new": "2"}
    folder = written(tmp_path / "a", **old)
    there, left = sent(folder), [calls]

    class Killed(BaseException):
        pass

    def dying(name: str) -> Callable[..., Any]:
        act = getattr(there._fs, name)

        def acting(*given: Any, **settings: Any) -> Any:
            for one in zip(*given, strict=True) if name == "put" else [given]:
                if not left[0]:
                    raise Killed
                left[0] -= 1
                result = act(*([[each] for each in one] if name == "put" else one), **settings)
            return result

        return acting

    written(folder, **new)
    (folder / "old").unlink()
    with monkeypatch.context() as patch:
        for name in ("put", "pipe_file", "rm_file"):
            patch.setattr(there._fs, name, dying(name))
        with pytest.raises(Killed):
            there.send(folder)
    assert fetched(tmp_path / "b") == (old if calls < 4 else new)
    again = Snapshots(RUN)
    again.claim()
    again.fetch(tmp_path / "c")
    again.send(written(tmp_path / "c", **new))
    assert fetched(tmp_path / "d") == (old | new if calls < 4 else new)


def test_the_last_one_to_claim_writes_and_the_others_are_refused(store: Store, tmp_path: Path) -> None:
    folder = written(tmp_path / "a", x="1")
    first = sent(folder)
    second = Snapshots(RUN)
    second.claim()
    with pytest.raises(EnvironmentFault, match=r"^s3://clinic/runs/ecg: another process has begun to write here"):
        first.send(written(folder, x="2"))
    assert fetched(tmp_path / "b") == {"x": "1"}
    second.send(written(tmp_path / "b", x="3"))
    assert fetched(tmp_path / "c") == {"x": "3"}


def test_files_that_are_written_to_while_they_are_sent_come_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "a", events="1")
    there = Snapshots(RUN)
    there.claim()
    put = there._fs.put

    def writing(*given: Any) -> None:
        written(folder, events="1 and 2")
        put(*given)

    monkeypatch.setattr(there._fs, "put", writing)
    there.send(folder)
    assert fetched(tmp_path / "b") == {"events": "1 and 2"}
    monkeypatch.setattr(there._fs, "put", put)
    there.send(folder)
    assert json.loads(store.files.cat_file(f"{RUN}/index.json"))["files"] == {
        "events": {"object": "events~2", "sha256": "c761a01453b0f12c0d1ced55a91864bb1cc8e46dd9f7a2a05683a6ecc7f4e142"}
    }


def test_another_content_than_was_stored_is_not_taken(store: Store, tmp_path: Path) -> None:
    sent(written(tmp_path / "a", x="1"))
    store.files.pipe_file(f"{RUN}/x", b"2")
    with pytest.raises(StoreAway, match=r"^s3://clinic/runs/ecg/x: another content came than was stored") as lost:
        fetched(tmp_path / "b")
    assert lost.value.exit_code == 200


def test_an_object_that_is_deleted_meanwhile_is_worth_another_start(store: Store, tmp_path: Path) -> None:
    sent(written(tmp_path / "a", x="1"))
    store.files.rm_file(f"{RUN}/x")
    with pytest.raises(StoreAway, match=r"^s3://clinic/runs/ecg: changed while it was read"):
        fetched(tmp_path / "b")


def test_a_folder_of_somebody_else_stays_as_it_is(store: Store) -> None:
    store.files.pipe_file(f"{RUN}/thesis.tex", b"mine")
    with pytest.raises(InputError, match=r"^s3://clinic/runs/ecg: holds 'thesis.tex' and no run; choose another"):
        Snapshots(RUN).claim()
    assert store.names(RUN) == ["thesis.tex"]


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b'{"writer": "", "number": 0}', b'{"writer": "", "number": 0, "files": {"a": {"object": "a"}}}',
     b'{"writer": "", "number": 0, "files": {"../a": {"object": "a", "sha256": ""}}}'],
)  # fmt: skip
def test_an_index_of_something_else_is_refused(text: bytes, store: Store, tmp_path: Path) -> None:
    store.files.pipe_file(f"{RUN}/index.json", text)
    with pytest.raises(InputError, match=r"^s3://clinic/runs/ecg/index.json: not an index of ours"):
        Snapshots(RUN).fetch(tmp_path)


def test_a_bucket_that_is_missing_is_named(store: Store) -> None:
    with pytest.raises(InputError, match=r"^s3://nobody/runs: no such bucket; create it, or name another address$"):
        Snapshots("s3://nobody/runs").claim()


def test_a_store_that_is_away_is_asked_again_and_worth_another_start(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(snapshots, "PAUSES_S", (0, 0))
    there, asked = sent(written(tmp_path / "a", x="1")), []

    def away(*given: Any) -> bytes:
        asked.append(given)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(there._fs, "cat_file", away)
    with pytest.raises(StoreAway, match=r"^s3://clinic/runs/ecg: cannot be read: ConnectionRefusedError: "):
        there.fetch(tmp_path / "b")
    warnings = [record for record in caplog.records if record.name == "parak8s.snapshots"]
    assert (len(asked), len(warnings)) == (3, 2)


def test_no_permission_is_not_worth_another_start(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = sent(written(tmp_path / "a", x="1"))

    def refused(*given: Any) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(there._fs, "put", refused)
    with pytest.raises(EnvironmentFault, match=r"^s3://clinic/runs/ecg: cannot be written: PermissionError") as fault:
        there.send(written(tmp_path / "a", x="2"))
    assert fault.value.exit_code == 1


def test_what_is_deleted_is_gone_and_nothing_else(store: Store, tmp_path: Path) -> None:
    there = sent(written(tmp_path / "a", x="1", y__z="2"))
    store.files.pipe_file(f"{BUCKET}/runs/other", b"mine")
    there.delete()
    assert store.names() == ["runs/other"]
    there.delete()
