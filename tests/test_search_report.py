"""What a search leaves for people: trials.csv, the leaderboard, and the page with its pictures."""

import csv
import dataclasses
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from parak8s.errors import EnvironmentFault
from parak8s.experiment.dimensions import Dimension
from parak8s.katib.results import Metric, Search, TrialRecord, leaderboard, write_report, write_trials_csv
from parak8s.katib.results.ending import counts, ending
from parak8s.katib.results.leaders import Failure, Row, board, failed_line, failures, short_names
from parak8s.katib.results.page import render
from parak8s.katib.results.pictures import panels
from parak8s.katib.results.study import shown_of

RATE, FILTERS, BATCH, OPTIMIZER = SPACE = (
    Dimension("training.optimizer.learning_rate", "double", 1e-4, 1e-1, distribution="logUniform"),
    Dimension("model.params.filters", "int", 8, 64, step=8),
    Dimension("data.batch_size", "discrete", choices=("32", "64", "128")),
    Dimension("training.optimizer.name", "categorical", choices=("adam", "sgd")),
)
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>"
ENDED = "Experiment has succeeded because max trial count has reached"


def trial(number: int, objective: float | None = 0.5, **changes: Any) -> TrialRecord:
    """Return a trial that took a minute."""
    record = TrialRecord(
        name=f"ecg-{number:04x}",
        number=number,
        state="Succeeded",
        assignments={RATE.name: "0.001", FILTERS.name: "16", BATCH.name: "64", OPTIMIZER.name: "adam"},
        metrics={},
        objective=objective,
        started=NOON,
        ended=NOON + timedelta(seconds=60),
    )
    return dataclasses.replace(record, **changes)


def search(trials: Sequence[TrialRecord], **changes: Any) -> Search:
    return dataclasses.replace(Search("ecg", "val_auc", True, None, "tpe", SPACE, trials, ENDED), **changes)


def invented(number: int, seed: int = 0) -> list[TrialRecord]:
    """Return trials whose objective depends on the learning rate alone, with a peak at 0.003, and a few failures."""
    draw = random.Random(seed)
    trials = []
    for i in range(number):
        exponent = draw.uniform(-4, -1)
        chosen = {RATE.name: repr(10**exponent), FILTERS.name: str(draw.randrange(8, 65, 8))}
        chosen |= {BATCH.name: draw.choice(BATCH.choices), OPTIMIZER.name: draw.choice(OPTIMIZER.choices)}
        value = 0.99 - 0.03 * (exponent + 2.5) ** 2 + draw.gauss(0, 0.001)
        failed = {"state": "Failed", "reason": f"ecg-{i:04x}: out of memory"} if i % 17 == 5 else {}
        trials.append(trial(i, None if failed else value, assignments=chosen, **failed))
    return trials


class Page(HTMLParser):
    """Collects the tags, the attributes and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def labels(self) -> list[str]:
        return [attributes.get("aria-label") or "" for _, attributes in self.tags if attributes.get("role") == "img"]


# records


def test_only_trials_that_ended_with_a_number_count_and_the_best_comes_first() -> None:
    trials = [
        trial(0, 0.7),
        trial(1, 0.9, state="EarlyStopped"),
        trial(2, 0.99, state="Killed"),
        trial(3, 0.99, state="Running", ended=None),
        trial(4, float("nan")),
        trial(5, float("inf")),
        trial(6, None, state="MetricsUnavailable"),
        trial(7, 0.9),
        trial(8, 0.8),
    ]
    assert [each.number for each in search(trials[::-1]).ranked()] == [1, 7, 8, 0]
    assert [each.number for each in search(trials, maximize=False).ranked()] == [0, 8, 1, 7]


@pytest.mark.parametrize("moment", ["yesterday", "2026-03-14T12:00:00", datetime(2026, 3, 14)])
def test_a_time_without_a_zone_is_refused(moment: Any) -> None:
    with pytest.raises(ValueError, match="expected a time with its zone"):
        trial(0, started=moment)


# trials.csv


def test_the_table_has_every_value_with_all_its_digits(tmp_path: Path) -> None:
    metrics = {"val_auc": Metric(0.25, 0.1 + 0.2, 0.29), "val_loss": Metric(0.5, 2.0, None)}
    berlin = datetime(2026, 3, 14, 13, 0, 0, tzinfo=timezone(timedelta(hours=1)))
    ended = trial(0, 0.1 + 0.2, metrics=metrics, started=berlin, ended="2026-03-14T12:00:01.5Z")
    failed = trial(1, None, state="Failed", ended=None, assignments={RATE.name: "1e-3"}, reason='said "no",\ntwice')
    write_trials_csv(tmp_path / "out" / "trials.csv", search([failed, ended]))
    assert (tmp_path / "out" / "trials.csv").read_bytes().decode() == (
        "name,state,training.optimizer.learning_rate,model.params.filters,data.batch_size,training.optimizer.name,"
        "val_auc,val_auc.min,val_auc.max,val_auc.latest,val_loss.min,val_loss.max,val_loss.latest,"
        "started,ended,seconds,reason\r\n"
        "ecg-0000,Succeeded,0.001,16,64,adam,"
        "0.30000000000000004,0.25,0.30000000000000004,0.29,0.5,2.0,,"
        "2026-03-14T12:00:00Z,2026-03-14T12:00:01Z,1.5,\r\n"
        "ecg-0001,Failed,1e-3,,,,"
        ",,,,,,,"
        '2026-03-14T12:00:00Z,,,"said ""no"",\ntwice"\r\n'
    )


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8), max_size=5))
def test_a_reader_of_csv_gets_every_text_back(reasons: list[str]) -> None:
    trials = [trial(i, None, state="Failed", reason=reason, name=f"t,{reason}") for i, reason in enumerate(reasons)]
    written = csv_of(search(trials))
    assert [(row["name"], row["reason"]) for row in written] == [(each.name, each.reason) for each in trials]


def csv_of(found: Search) -> list[dict[str, str]]:
    """Return the rows of trials.csv by their columns."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trials.csv"
        write_trials_csv(path, found)
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


def test_five_thousand_trials_are_written_in_a_moment() -> None:
    found = search(invented(5000))
    started = time.process_time()
    rows = csv_of(found)
    assert time.process_time() - started < 1
    assert len(rows) == 5000


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(EnvironmentFault):
        write_trials_csv(tmp_path / "file" / "trials.csv", search([]))
    assert (tmp_path / "file").read_text() == "old"


# the leaderboard


def test_names_are_as_short_as_they_can_be_and_never_the_same() -> None:
    paths = ["training.optimizer.name", "training.schedule.name", "model.params.filters", "name", "training.epochs"]
    assert short_names(paths) == {
        "training.optimizer.name": "optimizer.name",
        "training.schedule.name": "schedule.name",
        "model.params.filters": "filters",
        "name": "name",
        "training.epochs": "epochs",
    }


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join), unique=True, max_size=12))
def test_short_names_are_ends_of_their_paths_and_differ(paths: list[str]) -> None:
    names = short_names(paths)
    assert len(set(names.values())) == len(paths)
    assert all(f".{path}".endswith(f".{name}") for path, name in names.items())


def test_the_best_rows_are_rounded_for_people() -> None:
    rate = {RATE.name: "0.0016254547001655", FILTERS.name: "16", BATCH.name: "64", OPTIMIZER.name: "s" * 80}
    found = search([trial(0, 0.9), trial(1, 0.98765432, assignments=rate, state="EarlyStopped"), trial(2, 0.5)])
    assert board(found, 2).rows == (
        Row(1, "ecg-0001", "0.987654", ("0.00163", "16", "64", "s" * 59 + "…"), "1 min 0 s", "stopped early"),
        Row(2, "ecg-0000", "0.9", ("0.001", "16", "64", "adam"), "1 min 0 s", "succeeded"),
    )


def test_failures_are_grouped_by_their_reasons_the_name_of_the_trial_left_out() -> None:
    trials = [
        trial(0, None, state="Killed"),
        trial(1, None, state="Failed", reason="pod ecg-0001-worker-0:\n out of memory"),
        trial(2, 0.5),
        trial(3, None, state="Failed", reason="pod ecg-0003-worker-0: out of memory"),
    ]
    assert failures(search(trials)) == [
        Failure("failed", "pod …-worker-0: out of memory", ("ecg-0001", "ecg-0003")),
        Failure("killed", "no reason is known", ("ecg-0000",)),
    ]
    assert failed_line(search(trials)) == (
        "3 trials without a value: 2 failed: pod …-worker-0: out of memory; 1 killed: no reason is known"
    )
    assert failed_line(search([trial(0)])) == ""


def test_the_terminal_shows_the_best_trials_and_takes_no_markup_from_names() -> None:
    failed = trial(2, None, state="Failed", reason="[red]boom[/]")
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(leaderboard(search([trial(0, 0.9), trial(1, 0.95, name="[bold]x"), failed]), rows=1))
    shown = console.export_text()
    assert re.search(r"\[bold\]x\s+0.95\s+0.001\s+16\s+64\s+adam\s+1 min 0 s", shown)
    assert "1 trial without a value: 1 failed: [red]boom[/]" in shown
    assert "ecg-0000" not in shown


# how it ended


@pytest.mark.parametrize(
    ("status", "goal", "badge", "sentence"),
    [
        (
            "Experiment has succeeded because Objective goal has reached",
            0.9,
            "Goal reached",
            "A trial reached the goal, val_auc of 0.9 or more.",
        ),
        (ENDED, None, "Finished", "All 2 trials that were asked for have been tried."),
        (
            ENDED,
            0.99,
            "Finished",
            "All 2 trials that were asked for have been tried; the goal, val_auc of 0.99, was not reached.",
        ),
        (
            "Experiment has failed because max failed trial count has reached",
            None,
            "Gave up",
            "Too many trials failed; the search gave up after 2 trials.",
        ),
        ("Experiment is running", None, "Running", "The search goes on; 2 trials have been suggested so far."),
        (ENDED, 0.5, "Finished", "All 2 trials that were asked for have been tried."),
        (
            "Experiment has failed because the suggestion failed",
            None,
            "Failed",
            "Experiment has failed because the suggestion failed",
        ),
        ("Something new", None, "Ended", "Something new"),
    ],
)
def test_the_end_is_told_in_plain_words(status: str, goal: float | None, badge: str, sentence: str) -> None:
    told = ending(search([trial(0), trial(1)], status=status, goal=goal))
    assert (told.badge, told.sentence) == (badge, sentence)


def test_trials_are_counted_by_their_states() -> None:
    found = search([trial(0, state="Failed"), trial(1), trial(2), trial(3, state="EarlyStopped")])
    assert counts(found) == {"succeeded": 2, "stopped early": 1, "failed": 1}


# what Optuna is told


def test_the_study_keeps_scales_values_and_numbers() -> None:
    trials = [trial(0, 0.7), trial(1, None, state="Failed"), trial(2, 0.9)]
    study = shown_of(search(trials)).study
    assert [(each.number, each.state.name, each.value) for each in study.trials] == [
        (0, "COMPLETE", 0.7),
        (1, "FAIL", None),
        (2, "COMPLETE", 0.9),
    ]
    assert study.trials[2].params == {
        "learning_rate": 0.001,
        "filters": 16,
        "batch_size": 64.0,
        "optimizer.name": "adam",
    }
    kinds = {name: type(kind).__name__ for name, kind in study.trials[0].distributions.items()}
    assert kinds == {
        "learning_rate": "FloatDistribution",
        "filters": "IntDistribution",
        "batch_size": "FloatDistribution",
        "optimizer.name": "CategoricalDistribution",
    }
    logs = {name: getattr(kind, "log", None) for name, kind in study.trials[0].distributions.items()}
    assert logs == {"learning_rate": True, "filters": False, "batch_size": True, "optimizer.name": None}


def test_a_value_far_off_is_left_out_of_the_pictures_and_counted() -> None:
    shown = shown_of(search([*invented(30), trial(30, 1e9)], maximize=False))
    assert shown.far == 1
    assert [each.number for each in shown.drawn] == [i for i in range(30) if i not in (5, 22)]  # which failed
    page = render(search([*invented(30), trial(30, -1e9)]))
    assert "1 trial with a value far off is not drawn" in page


# the page


@pytest.fixture(scope="module")
def hundred() -> tuple[Search, str]:
    found = search(invented(100), goal=0.995)
    return found, render(found)


def test_the_page_shows_the_best_trial_with_its_parameters(hundred: tuple[Search, str]) -> None:
    found, text = hundred
    best = max((each for each in found.trials if each.objective), key=lambda each: each.objective or 0)
    page = Page(text)
    assert ("data", {"value": str(best.objective)}) in page.tags
    words = " ".join(page.words)
    assert best.name in words
    for path, value in best.assignments.items():
        assert path in words
        assert any(attributes.get("title") == value for tag, attributes in page.tags if tag == "dd")


def test_the_page_has_every_picture_with_words_for_those_who_cannot_see_it(hundred: tuple[Search, str]) -> None:
    labels = Page(hundred[1]).labels()
    best = hundred[0].ranked()[0]
    assert len(labels) == 3 + 4
    assert labels[0].startswith("val_auc of 94 trials in the order of suggestion: ")
    assert labels[0].endswith(f"at the best, {best.name}")
    assert labels[1].startswith("Importance: learning_rate ")  # on which alone the objective depends
    assert f"the best, {best.name}: learning_rate {best.assignments[RATE.name]}" in labels[2]
    against = [label.split(";")[0] for label in labels[3:]]
    assert sorted(against) == [
        f"val_auc against {name}" for name in ("batch_size", "filters", "learning_rate", "optimizer.name")
    ]


def test_the_pictures_name_parameters_and_words_as_people_do(hundred: tuple[Search, str]) -> None:
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", hundred[1])
    assert {"learning_rate", "optimizer.name", "adam", "sgd", "0.001", "128"} <= set(texts)
    assert not [text for text in texts if "mathdefault" in text or "'" in text or "nan" in text.lower()]


def test_the_lines_end_where_their_axes_say() -> None:
    """Optuna draws the lines between the values that were tried: one of the list that was not has no mark there."""
    small = [
        trial(i, 0.5 + i / 100, assignments={RATE.name: f"{i + 1}e-3", BATCH.name: "32" if i % 2 else "64"})
        for i in range(4)
    ]
    found = search(small, space=(RATE, BATCH))
    (lines,) = [panel for panel in panels(found)[0] if panel.title == "What good trials have in common"]
    (picture,) = lines.pictures
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", picture.svg)
    assert {"32", "64"} <= set(texts)
    assert "128" not in texts


def test_nothing_on_the_page_comes_from_elsewhere_or_runs(hundred: tuple[Search, str]) -> None:
    tags = Page(hundred[1]).tags
    assert not [tag for tag, _ in tags if tag in ("script", "iframe", "object", "embed", "base")]
    links = [value or "" for _, attributes in tags for key, value in attributes.items() if key in ("src", "href")]
    links += [value or "" for _, attributes in tags for key, value in attributes.items() if key == "xlink:href"]
    assert "trials.csv" in links
    assert all(link.startswith(("#", "data:")) for link in set(links) - {"trials.csv"})
    assert not [key for _, attributes in tags for key in attributes if key.startswith("on")]


def test_ids_differ_and_what_is_linked_exists(hundred: tuple[Search, str]) -> None:
    tags = Page(hundred[1]).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {(attributes.get("href") or attributes.get("xlink:href") or "") for _, attributes in tags}
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)


def test_the_same_search_gives_the_same_page(hundred: tuple[Search, str]) -> None:
    assert render(search(invented(100), goal=0.995)) == hundred[1]


def test_text_from_users_is_shown_and_never_run() -> None:
    space = (*SPACE, Dimension(f"x.{HOSTILE}$a$", "categorical", choices=(HOSTILE, "$\\frac$")))
    trials = [
        dataclasses.replace(
            each,
            name=f"{HOSTILE}-{each.number}",
            assignments={**each.assignments, space[-1].name: space[-1].choices[each.number % 2]},
            reason=each.reason and HOSTILE,
        )
        for each in invented(20)
    ]
    texts = {"name": HOSTILE, "objective": HOSTILE, "algorithm": HOSTILE, "status": HOSTILE}
    page = Page(render(search(trials, space=space, **texts)))
    assert "script" not in [tag for tag, _ in page.tags]
    assert page.words.count(HOSTILE) >= 6


def test_five_thousand_trials_make_a_small_page_with_the_best_hundred() -> None:
    found = search(invented(5000))
    text = render(found)
    assert len(text.encode()) < 1_000_000
    rows = re.findall(r'<tr><td>(\d+)</td><td class="text name">([^<]+)</td>', text)
    assert [name for _, name in rows] == [each.name for each in found.ranked()[:100]]
    assert "The best 100 of 4,706 trials with a value." in text


@pytest.mark.parametrize(
    ("trials", "changes", "drawn", "why"),
    [
        ([], {"status": "Experiment is running"}, [0, 0, 0, 0], "so far there is none"),
        (invented(1), {}, [0, 0, 0, 0], "so far there is one"),
        ([trial(i, None, state="Failed") for i in range(5)], {}, [0, 0, 0, 0], "so far there is none"),
        (invented(3), {}, [1, 0, 1, 4], "Told from 10 trials with a value on; so far there are 3."),
        (invented(20), {"space": SPACE[:1]}, [1, 0, 0, 1], "The search has a single parameter"),
        ([trial(i, 0.5 + i / 100) for i in range(20)], {}, [1, 0, 1, 4], "are all alike"),
        ([dataclasses.replace(each, objective=0.5) for each in invented(20)], {}, [1, 0, 1, 4], "are all alike"),
    ],
    ids=["none", "one", "all failed", "three", "one parameter", "one point", "one value"],
)
def test_a_picture_that_cannot_be_drawn_says_why(
    trials: list[TrialRecord], changes: dict[str, Any], drawn: list[int], why: str
) -> None:
    found = search(trials, **changes)
    made, _ = panels(found)
    assert [len(panel.pictures) for panel in made] == drawn
    assert any(why in panel.text for panel in made if not panel.pictures)
    assert why in render(found)


def test_forty_parameters_are_drawn_by_their_importance() -> None:
    draw = random.Random(0)
    space = tuple(Dimension(f"model.params.p{i}", "double", 0.0, 1.0) for i in range(40))
    points = [{each.name: repr(draw.random()) for each in space} for _ in range(80)]
    trials = [
        trial(i, -abs(float(point["model.params.p7"]) - 0.5), assignments=point) for i, point in enumerate(points)
    ]
    made, _ = panels(search(trials, space=space))
    assert [len(panel.pictures) for panel in made] == [1, 1, 1, 9]
    assert made[1].pictures[0].label.startswith("Importance: p7 ")
    assert made[3].text.endswith("Shown are the first 9 of 40 parameters, by importance.")


def test_the_page_is_whole_or_as_it_was(tmp_path: Path) -> None:
    write_report(tmp_path / "search" / "report.html", search(invented(2)))
    assert (tmp_path / "search" / "report.html").read_text().rstrip().endswith("</html>")
    assert [path.name for path in (tmp_path / "search").iterdir()] == ["report.html"]
    with pytest.raises(EnvironmentFault):
        write_report(tmp_path / "search" / "report.html" / "report.html", search([]))


def test_drawing_leaves_matplotlib_and_optuna_as_they_were() -> None:
    import matplotlib as mpl
    import optuna
    from matplotlib import pyplot

    with mpl.rc_context({"font.size": 7.5}):
        mine, before = pyplot.figure(), dict(mpl.rcParams)
        level = optuna.logging.get_verbosity()
        panels(search(invented(3)))
        assert dict(mpl.rcParams) == before
        assert pyplot.get_fignums() == [mine.number]
        assert optuna.logging.get_verbosity() == level
        pyplot.close(mine)


def test_the_report_needs_no_tensorflow() -> None:
    code = "import sys; from parak8s.katib.results import page, pictures, study; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
