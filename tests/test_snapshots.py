"""A folder in an object store that speaks S3: whole at every moment, written by one process at a time."""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from object_store import BUCKET, Store, emptied, serving
from parak8s import snapshots, stores
from parak8s.errors import EnvironmentFault, InputError
from parak8s.snapshots import Snapshots
from parak8s.stores import StoreAway

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


def objects(store: Store) -> dict[str, str]:
    """Return the content of all objects at the address but the index, by name without its writer."""
    found = [name for name in store.names(RUN) if name != "index.json"]
    return {name.partition("~")[0]: store.files.cat_file(f"{RUN}/{name}").decode() for name in found}


def fetched(folder: Path, name: str = "") -> dict[str, str]:
    Snapshots(RUN).fetch(folder, name)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_what_is_sent_is_fetched_and_lies_under_its_own_names_when_it_is_tidy(store: Store, tmp_path: Path) -> None:
    folder = written(tmp_path / "a", model__keras="m", empty="", training__checkpoints__checkpoint="c")
    written(folder, **{".lock": "process 7", ".result.json." + "0" * 32: "half"})
    (folder / ".training.partial").mkdir()
    (folder / ".training.partial/.resume").write_text("k")
    there = sent(folder)
    expected = {
        "model/keras": "m",
        "empty": "",
        "training/checkpoints/checkpoint": "c",
        ".training.partial/.resume": "k",
    }
    assert fetched(tmp_path / "b") == objects(store) == expected
    there.tidy()
    assert store.names(RUN) == sorted([*expected, "index.json"])
    assert fetched(tmp_path / "c") == objects(store) == expected


def test_a_part_alone_is_fetched(store: Store, tmp_path: Path) -> None:
    there = sent(written(tmp_path / "a", dataset__a="1", dataset__b__c="2", dataset2__a="3"))
    assert fetched(tmp_path / "b", "dataset") == {"dataset/a": "1", "dataset/b/c": "2"}
    assert (there.holds("dataset"), there.holds("data"), there.holds("dataset/a")) == (True, False, True)
    assert not Snapshots(f"{BUCKET}/other").holds("dataset")


def test_what_changed_alone_is_sent_and_what_is_gone_is_deleted(store: Store, tmp_path: Path) -> None:
    folder = written(tmp_path / "a", same="s", changed="1", gone="g")
    there = sent(folder)
    before = set(store.names(RUN))
    written(folder, changed="2")
    (folder / "gone").unlink()
    os.utime(folder / "same")  # touched, not changed
    there.send(folder)
    assert fetched(tmp_path / "b") == objects(store) == {"same": "s", "changed": "2"}
    assert {name.partition("~")[0] for name in before & set(store.names(RUN))} == {"same", "index.json"}
    there.tidy()
    written(folder, changed="3")
    there.send(folder)
    assert fetched(tmp_path / "c") == objects(store) == {"same": "s", "changed": "3"}


def test_a_renamed_folder_is_there_under_its_new_name_alone_and_not_sent_again(store: Store, tmp_path: Path) -> None:
    folder = written(tmp_path / "a", partial__x="1", partial__y="2")
    there = sent(folder)
    before = store.names(RUN)
    (folder / "partial").rename(folder / "training")
    there.send(folder)
    assert store.names(RUN) == before
    assert fetched(tmp_path / "b") == {"training/x": "1", "training/y": "2"}
    there.tidy()
    assert fetched(tmp_path / "c") == objects(store) == {"training/x": "1", "training/y": "2"}


def test_files_of_the_same_content_are_all_there(store: Store, tmp_path: Path) -> None:
    folder = written(tmp_path / "a", one="1")
    there = sent(folder)
    there.send(written(folder, two="1", three="1"))
    (folder / "one").unlink()
    there.send(folder)
    there.tidy()
    assert fetched(tmp_path / "b") == {"two": "1", "three": "1"}


def test_many_files_go_in_portions(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "PORTION_BYTES", 10)
    texts = {"a": "4444", "b": "55555", "c": "4444x", "d": "1" * 30, "e": "1"}
    there = Snapshots(RUN)
    there.claim()
    put, sizes = there.store._fs.put, list[int]()

    def counted(local: list[str], remote: list[str]) -> None:
        sizes.append(sum(Path(name).stat().st_size for name in local))
        put(local, remote)

    monkeypatch.setattr(there.store._fs, "put", counted)
    there.send(written(tmp_path / "a", **texts))
    assert sizes == [9, 5, 30, 1]
    assert fetched(tmp_path / "b") == texts


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
        act = getattr(there.store._fs, name)

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
            patch.setattr(there.store._fs, name, dying(name))
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
    put = there.store._fs.put

    def writing(*given: Any) -> None:
        written(folder, events="1 and 2")
        put(*given)

    monkeypatch.setattr(there.store._fs, "put", writing)
    there.send(folder)
    assert fetched(tmp_path / "b") == {"events": "1 and 2"}
    monkeypatch.setattr(there.store._fs, "put", put)
    there.send(folder)
    index = json.loads(store.files.cat_file(f"{RUN}/index.json"))
    assert index["files"]["events"]["sha256"] == "c761a01453b0f12c0d1ced55a91864bb1cc8e46dd9f7a2a05683a6ecc7f4e142"


def of(store: Store, name: str) -> str:
    """Return the address of the object of a file."""
    (found,) = [each for each in store.names(RUN) if each.partition("~")[0] == name]
    return f"{RUN}/{found}"


def test_what_is_not_as_it_was_stored_is_not_taken_and_starts_nobody_again(store: Store, tmp_path: Path) -> None:
    sent(written(tmp_path / "a", x="1"))
    place = of(store, "x")
    store.files.pipe_file(place, b"2")
    with pytest.raises(
        EnvironmentFault, match=r"ecg: x~.* is not what was stored; bring it back from a backup"
    ) as lost:
        fetched(tmp_path / "b")
    assert lost.value.exit_code == 1
    store.files.rm_file(place)
    with pytest.raises(EnvironmentFault, match=r"ecg: an object that its index names is gone; bring it back") as lost:
        fetched(tmp_path / "b")
    assert lost.value.exit_code == 1
    store.files.rm(RUN, recursive=True)
    sent(written(tmp_path / "a", x="3"))
    assert fetched(tmp_path / "c") == {"x": "3"}


def test_who_reads_while_another_one_writes_is_worth_another_start(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = sent(written(tmp_path / "a", x="1")), Snapshots(RUN)
    get = reader.store._fs.get

    def slowly(*given: Any) -> None:
        writer.send(written(tmp_path / "a", x="2"))
        get(*given)

    with monkeypatch.context() as patch:
        patch.setattr(reader.store._fs, "get", slowly)
        with pytest.raises(StoreAway, match="another process wrote here while it was read") as lost:
            reader.fetch(tmp_path / "b")
    assert lost.value.exit_code == 200
    reader.fetch(tmp_path / "b")
    writer.send(written(tmp_path / "a", x="3"))
    with pytest.raises(StoreAway, match="another process has written here since it was read"):
        reader.claim()


def test_two_who_write_at_once_spoil_nothing_and_the_earlier_one_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later one claims and sends while the earlier one is in the middle of sending."""
    first, second = sent(written(tmp_path / "a", x="1")), Snapshots(RUN)
    put = first.store._fs.put

    def overtaken(*given: Any) -> None:
        put(*given)
        monkeypatch.setattr(first.store._fs, "put", put)
        second.fetch(tmp_path / "b")
        second.claim()
        second.send(written(tmp_path / "b", x="second"))

    monkeypatch.setattr(first.store._fs, "put", overtaken)
    with pytest.raises(EnvironmentFault, match="another process has begun to write here"):
        first.send(written(tmp_path / "a", x="first"))
    assert fetched(tmp_path / "c") == {"x": "second"}
    second.send(written(tmp_path / "b", x="third"))
    second.tidy()
    assert fetched(tmp_path / "d") == {"x": "third"}
    assert store.names(RUN) == ["index.json", "x"]  # nothing is left of the first


def test_who_tidies_up_leaves_what_another_one_has_begun_to_write(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = sent(written(tmp_path / "a", x="1")), Snapshots(RUN)
    copy, put = first.store._fs.copy, first.store._fs.put

    def overtaken(*given: Any) -> None:
        copy(*given)
        second.fetch(tmp_path / "b")
        second.claim()

    def tidied_before_the_index(*given: Any) -> None:
        put(*given)
        with pytest.raises(EnvironmentFault, match="another process has begun to write here"):
            first.tidy()

    with monkeypatch.context() as patch:
        patch.setattr(first.store._fs, "copy", overtaken)
        with pytest.raises(EnvironmentFault, match="another process has begun to write here"):
            first.tidy()
        patch.setattr(first.store._fs, "put", tidied_before_the_index)
        second.send(written(tmp_path / "b", x="2"))
    assert fetched(tmp_path / "c") == {"x": "2"}


def test_who_tidies_up_leaves_the_runs_below_alone(store: Store, tmp_path: Path) -> None:
    above = Snapshots(f"{BUCKET}/runs")
    above.claim()
    above.send(written(tmp_path / "above", x="1"))
    sent(written(tmp_path / "a", y="2"))
    above.tidy()
    assert fetched(tmp_path / "b") == {"y": "2"}
    assert [name for name in store.names(f"{BUCKET}/runs") if not name.startswith("ecg/")] == ["index.json", "x"]


def test_an_object_that_a_file_of_another_name_is_kept_in_is_not_overwritten(store: Store, tmp_path: Path) -> None:
    folder = written(tmp_path / "a", x="old")
    there = sent(folder)
    there.tidy()
    there.send(written(folder, x="new", y="old"))  # y is where x was
    there.tidy()
    assert fetched(tmp_path / "b") == {"x": "new", "y": "old"}


def test_what_was_fetched_is_fetched_again_where_it_has_changed_here_or_there(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = sent(written(tmp_path / "a", same="1", there="1", here="1")), Snapshots(RUN)
    folder, got = tmp_path / "b", list[str]()
    reader.fetch(folder)
    writer.send(written(tmp_path / "a", there="2"))
    written(folder, here="spoilt")
    get = reader.store._fs.get

    def counted(remote: list[str], local: list[str]) -> None:
        got.extend(Path(name).name for name in local)
        get(remote, local)

    monkeypatch.setattr(reader.store._fs, "get", counted)
    reader.fetch(folder)
    assert sorted(got) == ["here", "there"]
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"same": "1", "there": "2", "here": "1"}


def test_a_file_that_is_forgotten_is_gone(store: Store, tmp_path: Path) -> None:
    there = sent(written(tmp_path / "a", x="1", y="2"))
    there.forget("x")
    there.forget("nothing")
    assert fetched(tmp_path / "b") == objects(store) == {"y": "2"}


def test_a_store_that_takes_connections_and_is_silent_is_asked_three_times_for_an_object(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
    hasty = {"config_kwargs": stores.OPTIONS["s3"]["config_kwargs"] | {"read_timeout": 0.2}}
    monkeypatch.setattr(stores, "OPTIONS", {"s3": hasty})
    monkeypatch.setattr(stores, "PATIENCE_S", 0.0)
    with pytest.raises(StoreAway, match=r"^s3://clinic/silent: cannot be read: "):
        Snapshots(f"{BUCKET}/silent").claim()
    silent.setblocking(False)
    asked = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            silent.accept()
            asked += 1
    assert asked == 3


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
    monkeypatch.setattr(stores, "PAUSES_S", (0, 0))
    there, asked = sent(written(tmp_path / "a", x="1")), []

    def away(*given: Any) -> bytes:
        asked.append(given)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(there.store._fs, "cat_file", away)
    with pytest.raises(StoreAway, match=r"^s3://clinic/runs/ecg: cannot be read: ConnectionRefusedError: "):
        there.fetch(tmp_path / "b")
    warnings = [record for record in caplog.records if record.name == "parak8s.stores"]
    assert (len(asked), len(warnings)) == (3, 2)


class StatusError(Exception):
    """As plug-ins of other stores have them."""

    def __init__(self, **facts: int) -> None:
        super().__init__("no")
        self.__dict__.update(facts)


class NoCredentialsError(Exception):
    """Called as botocore's."""


@pytest.mark.parametrize(
    "error",
    [PermissionError("Access Denied"), NoCredentialsError(), StatusError(status_code=404), StatusError(code=403),
     OSError("Forbidden: https://storage")],
)  # fmt: skip
def test_what_another_attempt_would_meet_again_is_not_tried_again_and_starts_nobody_again(
    error: Exception, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, tried = sent(written(tmp_path / "a", x="1")), []

    def refused(*given: Any) -> None:
        tried.append(given)
        raise error

    monkeypatch.setattr(there.store._fs, "put", refused)
    with pytest.raises(EnvironmentFault, match=r"^s3://clinic/runs/ecg: cannot be written: ") as fault:
        there.send(written(tmp_path / "a", x="2"))
    assert (fault.value.exit_code, len(tried)) == (1, 1)


def test_a_store_that_loses_a_part_of_what_is_sent_is_worth_another_start(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = sent(written(tmp_path / "a", x="1"))

    def lost(*given: Any) -> None:
        raise FileNotFoundError("NoSuchUpload")

    monkeypatch.setattr(there.store._fs, "put", lost)
    with pytest.raises(StoreAway, match=r"^s3://clinic/runs/ecg: it has lost a part of what was sent"):
        there.send(written(tmp_path / "a", x="2"))


def test_nobody_waits_longer_than_the_patience_lasts(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "PATIENCE_S", 0.5)
    there, tried = sent(written(tmp_path / "a", x="1")), []

    def away(*given: Any) -> None:
        tried.append(given)
        raise TimeoutError

    monkeypatch.setattr(there.store._fs, "cat_file", away)
    with pytest.raises(StoreAway):
        there.fetch(tmp_path / "b")
    assert len(tried) == 1


def test_a_folder_that_a_console_made_is_empty(store: Store, tmp_path: Path) -> None:
    store.files.pipe_file(f"{RUN}/", b"")
    sent(written(tmp_path / "a", x="1"))
    assert fetched(tmp_path / "b") == {"x": "1"}


def test_what_is_deleted_is_gone_and_nothing_else(store: Store, tmp_path: Path) -> None:
    there = sent(written(tmp_path / "a", x="1", y__z="2"))
    store.files.pipe_file(f"{BUCKET}/runs/other", b"mine")
    there.delete()
    assert store.names() == ["runs/other"]
    there.delete()
