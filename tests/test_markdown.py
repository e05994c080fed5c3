"""Pages of the dashboard as a parser of Markdown reads them, whatever names and messages hold."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from parak8s.components import markdown
from parak8s.components.pictures import outcome_page
from parak8s.components.ranking import Ranked, page
from parak8s.training.progress import Record

PARSER = MarkdownIt("commonmark").enable("table")
LINE = st.text("ab`~ .:", min_size=1).map(str.strip).filter(bool)


def record(epoch: int) -> Record:
    return Record.from_json(
        {"epoch": epoch, "loss": 1.0, "accuracy": 0.5, "val_loss": 0.25, "val_accuracy": 0.5, "val_auc": None,
         "val_f1": 0.5, "learning_rate": 0.1, "seconds": 1.0, "timestamp_ms": 1}
    )  # fmt: skip


def codes(text: str) -> list[str]:
    """Return the content of every piece of code."""
    tokens = [part for token in PARSER.parse(text) for part in (token, *(token.children or ()))]
    return [token.content for token in tokens if token.type in ("code_inline", "fence")]


def test_a_leaderboard_keeps_its_columns_whatever_the_points_are_called() -> None:
    overrides = ["model.params.x='a|b'", "model.params.x='``'"]
    found = [Ranked(name, line, Path(), record(3)) for name, line in zip(["a|b", "c"], overrides, strict=True)]
    text = page("x", "val_loss", found)
    cells: list[Any] = [token.content for token in PARSER.parse(text) if token.type == "inline"][6:]
    assert cells[:5] == ["1", "a|b", "0.25", "3", "`model.params.x='a|b'`"]
    assert cells[5:9] == ["2", "c", "0.25", "3"]
    assert codes(text) == overrides


def test_backticks_of_overrides_and_errors_stay_inside_their_code() -> None:
    error = "first\n```\n# no heading\n````\nlast"
    text = outcome_page("name: x", "a='`b`'", "FAILED", error)
    assert codes(text) == ["a='`b`'", f"{error}\n"]
    assert [token.tag for token in PARSER.parse(text) if token.type == "heading_open"] == ["h1"]


@given(LINE)
def test_code_in_a_line_is_shown_as_it_is(text: str) -> None:
    assert codes(f"x {markdown.code(text)} y") == [text]


@given(st.lists(LINE, min_size=1))
def test_lines_of_code_are_shown_as_they_are(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert codes(f"x\n\n{markdown.block(text)}\n\ny") == [f"{text}\n"]


@pytest.mark.parametrize(("text", "written"), [("a|b", "a\\|b"), ("a\nb", "a b"), ("plain", "plain")])
def test_a_cell_is_one_line_and_one_column(text: str, written: str) -> None:
    assert markdown.cell(text) == written
