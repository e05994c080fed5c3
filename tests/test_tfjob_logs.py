"""What replicas write: kept to the last byte, shown in whole lines."""

import hashlib
import io
import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from parak8s.tfjobs.local import run
from parak8s.tfjobs.local.logs import Lines
from parak8s.tfjobs.local.terminal import Terminal
from tfjob_case import Heard, python, tfjob


def test_every_byte_is_kept_behind_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "worker-0.log").write_bytes(b"from before, no end")
    write = "import sys\nfor _ in range(10): sys.stdout.buffer.write(bytes(range(256)) * 512)\nprint('end', end='')"
    heard = Heard()
    run(tfjob({"Worker": python(write)}), logs=tmp_path, narrator=heard)
    kept = (tmp_path / "worker-0.log").read_bytes()
    assert kept.startswith(b"from before, no end\n=== worker-0, start 1, process ")
    written = bytes(range(256)) * 512 * 10
    begin = kept.index(b" ===\n") + 5
    assert hashlib.sha256(kept[begin : begin + len(written)]).digest() == hashlib.sha256(written).digest()
    assert kept[begin + len(written) :].startswith(b"end\n=== worker-0 ended with exit code 0, ")
    lines = heard.lines("worker-0")
    assert all(line.isprintable() for line in lines)
    assert lines[-1].endswith("end")


def test_what_all_replicas_write_at_once_is_told_in_whole_lines(tmp_path: Path) -> None:
    write = (
        "import os, sys, json\n"
        "me = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
        "for n in range(2000):\n"
        "    sys.stdout.write(f'{me} '); sys.stdout.flush(); sys.stderr.write(f'line {n}\\n')\n"
    )
    heard = Heard()
    run(tfjob({"Worker": python(write, count=3)}, success="AllWorkers"), logs=tmp_path, narrator=heard)
    for index in range(3):
        lines = heard.lines(f"worker-{index}")
        assert lines == [f"{index} line {n}" for n in range(2000)]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"no end", ["no end"]),
        (b"\n\n", ["", ""]),
        (b"windows\r\n", ["windows"]),
        (b"10 %\r20 %\r30 %\n", ["30 %"]),
        (b"10 %\r20 %\r", ["20 %"]),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07bell\x07\n", ["red bell\N{REPLACEMENT CHARACTER}"]),
        (b"a\tb\n", ["a    b"]),
        ("Grüße \U0001f600\n".encode(), ["Grüße \U0001f600"]),
        (b"\xff\xfe\n", ["\N{REPLACEMENT CHARACTER}" * 2]),
        (b"x" * 20000 + b"\n", ["x" * 8192, "x" * 8192, "x" * 3616]),
        (b"x" + "ü".encode() * 4096 + b"\n", ["x" + "ü" * 4095, "ü"]),
    ],
)
def test_lines_are_what_a_terminal_can_show(data: bytes, lines: list[str]) -> None:
    cut = Lines()
    assert [*cut.feed(data), *cut.end()] == lines


@given(st.text(alphabet="ab\r\n\tü\x1b[", max_size=60), st.lists(st.integers(0, 80), max_size=5))
def test_lines_are_the_same_in_whatever_pieces_they_come(text: str, cuts: list[int]) -> None:
    data = text.encode()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    whole, pieces = Lines(), Lines()
    fed = [line for a, b in itertools.pairwise(places) for line in pieces.feed(data[a:b])]
    assert [*fed, *pieces.end()] == [*whole.feed(data), *whole.end()]


def test_the_terminal_shows_each_line_behind_the_name_of_its_replica() -> None:
    screen = io.StringIO()
    terminal = Terminal(Console(file=screen, width=20, color_system="standard", force_terminal=True, highlight=False))
    terminal.opened(["chief-0", "worker-0"])
    terminal.began("chief-0", 1, 4711)
    terminal.said("chief-0", "[bold]epoch 1 of 20, far beyond the width")
    terminal.said("worker-0", "done")
    terminal.ended("worker-0", 137, "starts again")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue()).splitlines()
    assert plain == [
        "chief-0 runs as process 4711",
        "chief-0  | [bold]epoch 1 of 20, far beyond the width",
        "worker-0 | done",
        "worker-0 ended with exit code 137: starts again",
    ]
    assert "\x1b[36mchief-0  | " in screen.getvalue()
    assert "\x1b[35mworker-0 | " in screen.getvalue()
