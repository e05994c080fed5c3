"""The report of a run: what stands on the page, what never may, and that it is whole or absent."""

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from parak8s.errors import EnvironmentFault, InputError
from parak8s.report import images, write_report
from parak8s.report.curves import line_style

CLASSES = ("N", "S", "V", "F", "Q")
COUNTS = (828, 26, 66, 8, 72)
FINGERPRINT = "0123456789abcdef"
VOID = {"meta", "link", "br", "img", "input", "hr"}
HOSTILE = "<script>alert(1)</script>"

EXPERIMENT = """\
name: ecg-demo
seed: 7
data:
  loader: ecg
  source: {source}
  split: {{by: hash, train: 0.7, validation: 0.1, calibration: 0.1, test: 0.1}}
model:
  builder: deep_cnn
  params: {{filters: 32, blocks: 5}}
training:
  epochs: 12
evaluation:
  metrics: [auc, f1]
gate:
  auc: ">= 0.95"
tracking:
  uri: postgresql+psycopg2://tracker:hunter2@db.example/mlflow
"""


def beats(labels: NDArray[np.int32], random: np.random.Generator) -> NDArray[np.float32]:
    """Return (n, 187) beats: Gaussians for the waves, wide and early for class 2, without P wave for class 1."""
    t = np.arange(187) * 1000 / 120
    waves = []
    for label in labels:
        width = {2: 40, 3: 28, 4: 34}.get(int(label), 12)
        end = random.integers(95, 150)
        wave = np.exp(-0.5 * ((t - 5) / width) ** 2) - 0.18 * np.exp(-0.5 * ((t - 5 - 2.4 * width) / width) ** 2)
        wave += 0.25 * np.exp(-0.5 * ((t - 290 - width) / 48) ** 2) + 0.01 * random.standard_normal(187)
        if label != 1:
            wave += 0.13 * np.exp(-0.5 * ((t - t[end] + 120) / 25) ** 2)
        wave = (wave - wave.min()) / np.ptp(wave)
        waves.append(np.where(np.arange(187) < end, wave, 0))
    return np.array(waves, np.float32)


def predictions(random: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Return labels (n,), calibrated and overconfident probabilities (n, 5) of a good but not perfect model."""
    labels = np.repeat(np.arange(5), COUNTS).astype(np.int32)
    logits = random.normal(0, 2.0, (len(labels), 5)) + np.array([1.5, 0, 0, -0.5, 0])
    logits[np.arange(len(labels)), labels] += 5.5
    both = [np.exp(logits * scale) for scale in (1.0, 1.9)]
    calibrated, uncalibrated = (each / each.sum(axis=1, keepdims=True) for each in both)
    return labels, calibrated.astype(np.float32), uncalibrated.astype(np.float32)


def reading(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01234, "high": value + 0.00321}


def metrics(labels: NDArray[np.int32], probabilities: NDArray[np.float32], classes: tuple[str, ...]) -> dict[str, Any]:
    """Return a metrics.json whose values are recognisable rather than true: the page must take them from there."""
    matrix = np.zeros((len(classes), len(classes)), int)
    np.add.at(matrix, (labels, probabilities.argmax(axis=1)), 1)
    values = {"categorical_accuracy": 0.961234567, "auc": 0.987654321, "precision": 0.90123, "recall": 0.88321}
    values |= {"f1": 0.891827364, "ece": 0.012345, "brier": 0.076543}
    for number, label in enumerate(classes):
        values |= {f"{name}/{label}": 0.9 + number / 100 + 0.00123 for name in ("auc", "precision", "recall", "f1")}
    return {
        "examples": len(labels),
        "classes": list(classes),
        "metrics": {name: reading(value) for name, value in values.items()},
        "uncalibrated": {"ece": 0.0456789, "brier": 0.0998877},
        "confusion_matrix": matrix.tolist(),
        "confidence": 0.95,
        "bootstrap_samples": 1000,
        "resampled": "examples",
    }


def epochs(number: int) -> list[dict[str, float]]:
    fall = [float(np.exp(-epoch / 3)) for epoch in range(number)]
    return [
        {
            "epoch": i + 1, "loss": 0.05 + f, "accuracy": 0.98 - 0.3 * f, "val_loss": 0.12 + 0.9 * f + 0.004 * i,
            "val_accuracy": 0.965 - 0.28 * f, "val_auc": 0.99 - 0.2 * f, "val_f1": 0.9 - 0.5 * f,
            "learning_rate": 1e-3, "seconds": 6.5, "timestamp_ms": 1_767_225_600_000 + 6_500 * i,
        }
        for i, f in enumerate(fall)
    ]  # fmt: skip


def examples(
    labels: NDArray[np.int32], probabilities: NDArray[np.float32], shape: tuple[int, ...], random: np.random.Generator
) -> dict[str, NDArray[Any]]:
    wrong = random.permutation(np.flatnonzero(probabilities.argmax(axis=1) != labels))[:14]
    right = [np.flatnonzero((probabilities.argmax(axis=1) == labels) & (labels == k))[:2] for k in range(5)]
    index = np.concatenate([wrong, *right])
    if shape[0] == 187:
        inputs = beats(labels[index], random).reshape(-1, *shape)
    else:
        inputs = random.integers(0, 256, (len(index), *shape)).astype(np.uint8)
    place = np.arange(187 if shape in ((187,), (187, 1)) else 0) / 186
    attention = 0.8 * np.exp(-0.5 * ((place - 0.04) / 0.04) ** 2) - 0.25 * np.exp(-0.5 * ((place - 0.35) / 0.05) ** 2)
    return {
        "index": index, "inputs": inputs, "labels": labels[index], "probabilities": probabilities[index],
        "attention": (attention * random.uniform(0.2, 1, (len(index), 1))).astype(np.float32),
    }  # fmt: skip


def put(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")


def change(path: Path, **values: Any) -> None:
    put(path, json.loads(path.read_text(encoding="utf-8")) | values)


def store(path: Path, **arrays: Any) -> None:
    np.savez(path, **arrays)


def make_run(
    directory: Path, *, classes: tuple[str, ...] = CLASSES, source: str = "synthetic://ecg?beats=10000&seed=7",
    shape: tuple[int, ...] = (187,),
) -> Path:  # fmt: skip
    """Write a run directory as the steps leave it, without arrays of the dataset and models."""
    random = np.random.default_rng(3)
    labels, calibrated, uncalibrated = predictions(random)
    put(directory / "evaluation/metrics.json", metrics(labels, calibrated, classes))
    store(directory / "evaluation/predictions.npz", labels=labels, probabilities=calibrated, uncalibrated=uncalibrated)
    arrays = examples(labels, calibrated, shape, random)
    store(directory / "evaluation/examples.npz", **arrays)
    (directory / "experiment.yaml").write_text(EXPERIMENT.format(source=json.dumps(source)), encoding="utf-8")
    put(directory / "environment.json", {
        "python": "3.11.9", "platform": "Linux-6.1-x86_64", "cpus": 2, "gpus": [], "code": "sha256:" + "c0de" * 16,
        "packages": {"parak8s": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.0", "mlflow": "3.17.0", "wfdb": None},
        "git": {"commit": "4b825dc642cb6eb9a060e54bf8d69288fbee4904", "dirty": True},
    })  # fmt: skip
    shares = {"train": 7, "validation": 1, "calibration": 1, "test": 1}
    put(directory / "dataset/manifest.json", {
        "digest": "sha256:" + "da7a" * 16, "source": source, "loader": "ecg", "classes": list(classes),
        "input_shape": list(shape), "input_dtype": "float32",
        "axis": ["time", "ms", 1000 / 120] if shape == (187,) else None,
        "about": {"Sampling rate": "120 Hz", "Licence": "ODC-By 1.0"},
        "split": {"by": "hash", "train": 0.7, "validation": 0.1, "calibration": 0.1, "test": 0.1},
        "splits": {
            name: {"examples": sum(COUNTS) * n, "per_class": [count * n for count in COUNTS], "patients": None}
            for name, n in shares.items()
        },
        "files": {},
    })  # fmt: skip
    put(directory / "training/history.json", {
        "epochs": epochs(12), "kept_epoch": 9, "stopped_early": True, "parameters": 53_957,
    })  # fmt: skip
    put(directory / "model/calibration.json", {"method": "temperature", "temperature": 1.87, "examples": 1000})
    put(directory / "gate/verdict.json", {"passed": True, "checks": [
        {"check": "auc >= 0.95", "value": "0.9877", "passed": True, "reason": "auc is 0.9877, at least 0.95"},
    ]})  # fmt: skip
    put(directory / "registration/mlflow.json", {
        "tracking_uri": "postgresql+psycopg2://tracker:hunter2@db.example/mlflow", "run_id": "77aa88bb",
        "experiment_id": "1", "model_name": "ecg-demo", "model_version": "4", "alias": "champion",
    })  # fmt: skip
    put(directory / "run.json", {"fingerprint": FINGERPRINT})
    return directory


class Page(HTMLParser):
    """Reads a page: tags with attributes, text, and whether every tag is closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += " "
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.text += " "

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def values(self, *names: str) -> Iterator[str]:
        """Yield the values of these attributes."""
        return (value for _, attributes in self.tags for name in names if (value := attributes.get(name)) is not None)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run without examples, whose drawings take longest, to be changed."""
    run = make_run(tmp_path / "run")
    (run / "evaluation/examples.npz").unlink()
    return run


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Return the page of an untouched run."""
    return Page(write_report(make_run(tmp_path_factory.mktemp("whole") / "run")))


def test_the_page_is_well_formed_and_every_id_is_unique_and_every_link_leads_somewhere(page: Page) -> None:
    ids = list(page.values("id"))
    assert page.open == []
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in page.values("href") if link.startswith("#")} <= set(ids)
    assert set(page.values("aria-labelledby")) <= set(ids)


def test_the_page_needs_nothing_but_itself_and_runs_no_script(page: Page) -> None:
    targets = [*page.values("src", "href", "xlink:href", "data", "action", "poster", "srcset")]
    targets += re.findall(r"url\(([^)]*)\)", page.source)
    assert [target for target in targets if not target.startswith(("#", "data:"))] == []
    assert "@import" not in page.source
    assert page.named("script") == []
    assert [name for _, attributes in page.tags for name in attributes if name.startswith("on")] == []


def test_every_picture_has_a_text_and_every_heading_its_place(page: Page) -> None:
    assert all(
        attributes.get("aria-label") for _, attributes in page.tags if attributes.get("role") in ("img", "region")
    )
    assert all(svg.get("aria-hidden") == "true" for svg in page.named("svg"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_the_page_stays_below_one_and_a_half_megabytes(page: Page) -> None:
    assert len(page.source.encode()) < 1_500_000


def test_metric_values_stand_on_the_page_digit_for_digit(run: Path) -> None:
    shown = {data["value"] for data in Page(write_report(run)).named("data")}
    stored = json.loads((run / "evaluation/metrics.json").read_text())["metrics"]
    assert {str(metric["value"]) for metric in stored.values()} <= shown


def test_the_metrics_that_count_come_first_with_their_intervals(page: Page) -> None:
    assert [data["value"] for data in page.named("data")][:2] == ["0.987654321", "0.891827364"]
    assert "0.9877 0.9753 – 0.9909" in page.text
    assert "its 95 % interval" in page.text


def test_the_headline_says_what_was_run_for_how_long_and_under_which_fingerprint(page: Page) -> None:
    text = page.text
    for said in ("ecg-demo", "Passed the gate", "1,000 examples", "1 min 18 s", "2026-01-01 00:01 UTC", FINGERPRINT):
        assert said in text


def test_a_refused_verdict_shows_its_reasons(run: Path) -> None:
    reason = "f1 is 0.8918 (95 % interval 0.88 to 0.895), below the required 0.93"
    check = {"check": "f1 >= 0.93", "value": "0.8918", "passed": False, "reason": reason}
    put(run / "gate/verdict.json", {"passed": False, "checks": [check]})
    text = Page(write_report(run)).text
    assert "Refused by the gate" in text
    assert "Passed the gate" not in text
    assert reason in text
    assert "The gate refused this model" in text
    assert text.index(reason) < text.index("Results on the test split")


def test_the_confusion_matrix_gives_counts_and_shares_of_each_row(run: Path) -> None:
    matrix = [[828, 0, 0, 0, 0], [13, 13, 0, 0, 0], [1, 0, 65, 0, 0], [0, 0, 6, 2, 0], [0, 0, 0, 0, 72]]
    change(run / "evaluation/metrics.json", confusion_matrix=matrix)
    text = Page(write_report(run)).text
    assert "S 26 13 50.0 % 13 50.0 % 0 – 0 – 0 –" in text
    assert "F 8 0 – 0 – 6 75.0 % 2 25.0 % 0 –" in text
    assert "980 of 1,000 test examples were classified correctly" in text
    assert "Most frequent mistakes 13 of 26 S taken for N (50.0 %) 6 of 8 F taken for V (75.0 %)" in text


def test_areas_under_precision_recall_curves_are_those_of_scikit_learn(run: Path) -> None:
    from sklearn.metrics import average_precision_score

    text = Page(write_report(run)).text
    with np.load(run / "evaluation/predictions.npz") as stored:
        expected = [average_precision_score(stored["labels"] == k, stored["probabilities"][:, k]) for k in range(5)]
    for label, area, share in zip(CLASSES, expected, ("82.8 %", "2.6 %", "6.6 %", "0.8 %", "7.2 %"), strict=True):
        assert re.search(rf"\b{label} 0\.9\d+ {area:.4f} {share}", text)


def test_the_corner_of_the_roc_is_enlarged_only_where_no_curve_runs_below_it(run: Path) -> None:
    assert "upper left corner" in Page(write_report(run)).text
    with np.load(run / "evaluation/predictions.npz") as stored:
        arrays = dict(stored)
    arrays["probabilities"] = np.roll(arrays["probabilities"], 1, axis=0)[::-1]
    store(run / "evaluation/predictions.npz", **arrays)
    assert "upper left corner" not in Page(write_report(run)).text


def test_calibration_error_and_brier_score_stand_before_and_after(page: Page) -> None:
    text = page.text
    assert "Calibration error (ECE) 0.0457 0.0123" in text
    assert "Brier score 0.0999 0.0765" in text
    assert "temperature 1.87, fitted on 1,000 examples" in text


def test_mistakes_come_worst_first_and_right_examples_take_every_class(page: Page) -> None:
    text = page.text
    wrong, right = text.split("Mistakes, the most confident first")[1].split("How it was trained")[0].split(" Right ")
    shares = [float(share) for share in re.findall(r"\(ms\) [NSVFQ] ([\d.]+) % ·", wrong)]
    assert len(shares) == 9
    assert shares == sorted(shares, reverse=True)
    assert re.findall(r"([NSVFQ]) test row", right) == ["N", "S", "V", "F", "Q", "N", "S", "V", "F"]


def test_attention_is_told_in_words_with_its_place_in_milliseconds(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    with np.load(run / "evaluation/examples.npz") as stored:
        arrays = dict(stored)
    arrays["attention"] = np.zeros_like(arrays["attention"])
    arrays["attention"][:, 12:24] = 0.5
    store(run / "evaluation/examples.npz", **arrays)
    text = Page(write_report(run)).text
    assert "Largest fall: 0.50, around 100–200 ms." in text
    assert "falls by 0.50" in text


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (300, 260, 3)])
def test_images_are_shown_as_pictures(tmp_path: Path, shape: tuple[int, ...]) -> None:
    page = Page(write_report(make_run(tmp_path / "run", shape=shape)))
    images = page.named("img")
    assert len(images) > 10
    assert all(str(image["src"]).startswith("data:image/png;base64,") and image["alt"] for image in images)
    assert "occlusion" not in page.text
    assert len(page.source) < 1_500_000


def with_maps(run: Path) -> NDArray[np.float32]:
    """Give every example of a run of images a map of its own, strongest at the lower left; return the first."""
    with np.load(run / "evaluation/examples.npz") as stored:
        arrays = dict(stored)
    maps = np.random.default_rng(0).uniform(0, 0.3, (len(arrays["index"]), 7, 7)).astype(np.float32)
    maps[:, 5:, :2] = 2
    store(run / "evaluation/examples.npz", **arrays | {"attention": maps})
    return np.asarray(maps[0])


def test_images_with_a_map_are_shown_twice_with_a_legend_and_the_place_in_words(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", shape=(32, 32, 1))
    plain = Page(write_report(run))
    assert "Grad-CAM" not in plain.text
    with_maps(run)
    page = Page(write_report(run))
    assert len(page.named("img")) == 2 * len(plain.named("img"))
    assert "Grad-CAM; Selvaraju et al. 2017" in page.text
    assert page.text.count("Strongest: lower left.") == len(plain.named("img"))
    overlays = [str(image["alt"]) for image in page.named("img")][1::2]
    assert all("evidence for" in alt and alt.endswith("Strongest: lower left.") for alt in overlays)


def test_an_overlay_is_coloured_where_the_attention_is_and_grey_where_there_is_none() -> None:
    grey = np.full((40, 40), 0.5)
    attention = np.zeros((4, 4))
    attention[1, 2] = 3.0
    shown = images.overlaid(grey, attention)
    saturation = np.ptp(shown, axis=-1)
    assert shown.shape == (40, 40, 3)
    assert max(saturation[30:].max(), saturation[:, :10].max()) < 1e-3
    assert saturation[10:20, 20:30].mean() > 0.2
    np.testing.assert_allclose(images.overlaid(grey, np.zeros((4, 4))), 0.5)
    np.testing.assert_allclose(images.overlaid(grey, 7 * attention), shown, atol=1e-6)


@pytest.mark.parametrize(
    ("place", "words"),
    [((0, 0), "Strongest: upper left."), ((3, 3), "Strongest: centre."), ((6, 3), "Strongest: lower centre.")],
)
def test_the_strongest_place_of_a_map_is_told_in_words(place: tuple[int, int], words: str) -> None:
    attention = np.zeros((7, 7))
    assert images.in_words(attention) == "No part of the image speaks for it."
    attention[place] = 1
    assert images.in_words(attention) == words


def test_an_operating_point_is_told_with_its_threshold_its_rates_and_its_outcome(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    labels = np.repeat([0, 1], [60, 40]).astype(np.int32)
    scores = np.where(np.arange(100) % 10 == 0, 0.9 - 0.8 * labels, 0.1 + 0.8 * labels).astype(np.float32)
    probabilities = np.stack([1 - scores, scores], axis=1)
    measured = metrics(labels, probabilities, ("well", "ill"))
    measured["metrics"] |= {"sensitivity": reading(0.912345), "specificity": reading(0.934567)}
    point = {"wanted": {"specificity": 0.95}, "positive": "ill", "threshold": 0.4375, "examples": 80}
    measured["operating_point"] = point | {"sensitivity": 0.9876, "specificity": 0.9543}
    put(run / "evaluation/metrics.json", measured)
    (run / "evaluation/examples.npz").unlink()
    store(run / "evaluation/predictions.npz", labels=labels, probabilities=probabilities, uncalibrated=probabilities)
    change(run / "dataset/manifest.json", classes=["well", "ill"])
    page = Page(write_report(run))
    assert "ill is called where its probability is 0.4375 or more" in page.text
    assert "with a specificity of 95.0 % or more on the validation split, the one with the largest sens" in page.text
    assert "Of 40 test examples of ill, 36 are found and 4 missed; of 60 of well, 6 are called ill." in page.text
    assert "Sensitivity 0.9876 0.9123 0.9000 – 0.9156" in page.text
    assert any("operating point: 0.9123 found, 0.0654 called falsely" in label for label in page.values("aria-label"))


def test_a_signal_with_a_channel_axis_and_no_attention_is_a_trace(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", shape=(187, 1))
    with np.load(run / "evaluation/examples.npz") as stored:
        arrays = dict(stored) | {"attention": np.empty((len(stored["index"]), 0), np.float32)}
    store(run / "evaluation/examples.npz", **arrays)
    page = Page(write_report(run))
    assert "sample" in page.text.split("test row")[1]
    assert "occlusion" not in page.text
    assert "Largest fall" not in page.source


def test_inputs_that_are_neither_signals_nor_images_are_left_out(tmp_path: Path) -> None:
    text = Page(write_report(make_run(tmp_path / "run", shape=(4, 3, 2, 2)))).text
    assert "Mistakes, the most confident first" not in text


def test_synthetic_data_is_called_unfit_for_clinical_use(page: Page) -> None:
    text = page.text
    assert "Synthetic data: not for clinical use." in text
    assert "which patient an example is from" not in text


def manifest_with_patients(run: Path, by: str) -> None:
    splits = {name: {"examples": 1000, "per_class": list(COUNTS), "patients": 4} for name in ("train", "test")}
    change(run / "dataset/manifest.json", source="https://example.org/mitbih", split={"by": by}, splits=splits)


def test_a_split_that_ignores_patients_is_called_optimistic(run: Path) -> None:
    manifest_with_patients(run, "hash")
    assert "the same patients are in the train split too, so the figures are optimistic" in Page(write_report(run)).text


def test_patients_in_both_splits_are_counted_where_they_are_known(run: Path) -> None:
    manifest_with_patients(run, "hash")
    for split, patients in (("train", [100, 101, 102, 103]), ("test", [103, 102, 102, 200, 201])):
        (run / "dataset" / split).mkdir()
        np.save(run / "dataset" / split / "patients.npy", np.array(patients))
    assert "2 of the 4 patients of the test split are in the train split too" in Page(write_report(run)).text


def test_a_split_by_patient_is_said_to_be_one(run: Path) -> None:
    manifest_with_patients(run, "patient")
    text = Page(write_report(run)).text
    assert "no patient of the test split was seen in training" in text
    assert "optimistic" not in text
    assert "Synthetic" not in text


def test_unknown_patients_are_called_a_possible_optimism(run: Path) -> None:
    change(run / "dataset/manifest.json", source="/data/mitbih_train.csv")
    assert "the same patients may be in the train and the test split" in Page(write_report(run)).text


def test_classes_with_few_examples_and_the_weakest_class_are_named(page: Page) -> None:
    text = page.text
    assert "Few test examples, so uncertain figures: S (26), F (8)." in text
    assert "Lowest recall: N (9.9 % missed)." in text


def test_uncommitted_code_is_admitted(page: Page) -> None:
    assert "4b825dc642cb6eb9a060e54bf8d69288fbee4904 (with uncommitted changes)" in page.text


def test_provenance_and_data_card_give_digests_versions_and_licence(page: Page) -> None:
    text = page.text
    for said in ("sha256:" + "da7a" * 16, "sha256:" + "c0de" * 16, "77aa88bb", "ecg-demo version 4", "champion"):
        assert said in text
    for said in ("ODC-By 1.0", "tensorflow 2.21.0", "Python 3.11.9", "time, 8.33333 ms a step", "builder: deep_cnn"):
        assert said in text


def test_a_run_without_gate_registration_and_examples_says_so_or_leaves_them_out(run: Path) -> None:
    for name in ("gate/verdict.json", "registration/mlflow.json", "run.json"):
        (run / name).unlink()
    text = Page(write_report(run)).text
    assert "Not gated yet" in text
    assert "The gate has not been asked yet." in text
    for absent in ("MLflow run", "Registered", "Fingerprint", "the model looked at"):
        assert absent not in text


def test_an_uncalibrated_model_is_shown_with_one_reliability_curve(run: Path) -> None:
    change(run / "model/calibration.json", method="none", temperature=None)
    page = Page(write_report(run))
    assert "The probabilities are not calibrated" in page.text
    assert "Calibration error (ECE) 0.0123" in page.text
    assert ">before<" not in page.source


def test_metrics_that_are_not_defined_are_dashes(run: Path) -> None:
    stored = json.loads((run / "evaluation/metrics.json").read_text())["metrics"]
    undefined = {"auc/F": {"value": None, "low": None, "high": None}}
    change(run / "evaluation/metrics.json", metrics=stored | undefined)
    page = Page(write_report(run))
    assert re.search(r"F 8 0\.9312 .{15,20} 0\.9312 .{15,20} 0\.9312 .{15,20} – ", page.text)
    assert "nan" not in re.sub(r'src="[^"]*"', "", page.source).lower().split()


def test_a_class_that_the_test_split_lacks_does_not_spoil_the_page(run: Path) -> None:
    with np.load(run / "evaluation/predictions.npz") as stored:
        arrays = {name: array[stored["labels"] != 3] for name, array in stored.items()}
    store(run / "evaluation/predictions.npz", **arrays)
    matrix = json.loads((run / "evaluation/metrics.json").read_text())["confusion_matrix"]
    change(
        run / "evaluation/metrics.json", confusion_matrix=[[0] * 5 if k == 3 else row for k, row in enumerate(matrix)]
    )
    assert re.search(r"\bF 0\.9\d+ – 0 %", Page(write_report(run)).text)


def test_one_epoch_makes_a_page(run: Path) -> None:
    change(run / "training/history.json", epochs=epochs(1), kept_epoch=1)
    assert "at the kept epoch 1: training 1.05" in write_report(run).read_text(encoding="utf-8")


def test_class_names_that_look_like_formulas_or_markup_are_shown_as_they_are(tmp_path: Path) -> None:
    names = ("$x_", r"\frac{1}{", "a&b", "N" * 60, "é ü 心")
    assert "\\frac{1}{" in Page(write_report(make_run(tmp_path / "run", classes=names))).text


def test_forty_classes_have_forty_different_lines() -> None:
    assert len({line_style(index) for index in range(40)}) == 40


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    source = 'https://example.org/"><img src=x onerror=alert(2)>'
    run = make_run(tmp_path / "run", classes=(HOSTILE, "S", "V", '" onmouseover="x', "Q"), source=source)
    change(run / "dataset/manifest.json", about={HOSTILE: HOSTILE}, axis=[HOSTILE, HOSTILE, 1.0])
    put(run / "gate/verdict.json", {"passed": False, "checks": [
        {"check": HOSTILE, "value": HOSTILE, "passed": False, "reason": HOSTILE},
    ]})  # fmt: skip
    put(run / "run.json", {"fingerprint": HOSTILE})
    page = Page(write_report(run))
    assert page.open == []
    assert page.named("script") == []
    assert page.named("img") == []
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert HOSTILE in page.text
    assert source in page.text


def test_no_password_reaches_the_page(tmp_path: Path) -> None:
    page = write_report(
        make_run(tmp_path / "run", source="s3://reader:hunter2@bucket/beats.csv?X-Amz-Signature=abcdef123")
    )
    text = page.read_text(encoding="utf-8")
    assert "hunter2" not in text
    assert "abcdef123" not in text
    assert "postgresql+psycopg2://tracker:***@db.example/mlflow" in text


def test_the_same_run_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    code = "import sys, pathlib; from parak8s.report import write_report; write_report(pathlib.Path(sys.argv[1]))"
    run = make_run(tmp_path / "run")
    first = write_report(run).read_bytes()
    paths = os.pathsep.join(filter(None, sys.path))
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code, str(run)], check=True, env=environment)
    assert (run / "report.html").read_bytes() == first


def test_the_users_matplotlib_settings_neither_change_the_page_nor_are_changed(run: Path) -> None:
    import matplotlib as mpl

    first = write_report(run).read_bytes()
    with mpl.rc_context({"font.size": 31, "axes.grid": True, "svg.fonttype": "path", "axes.facecolor": "red"}):
        before = dict(mpl.rcParams)
        assert write_report(run).read_bytes() == first
        assert dict(mpl.rcParams) == before


def test_writing_imports_neither_tensorflow_nor_pyplot(run: Path) -> None:
    code = (
        "import sys, pathlib; import parak8s.report; early = {'matplotlib', 'jinja2'} & sys.modules.keys();"
        "parak8s.report.write_report(pathlib.Path(sys.argv[1]));"
        "print(sorted(early | {'tensorflow', 'mlflow', 'matplotlib.pyplot'} & sys.modules.keys()))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code, str(run)], check=True, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("evaluation/metrics.json", None, "no such file; give 'parak8s run' again"),
        ("evaluation/predictions.npz", None, "no such file; give 'parak8s run' again"),
        ("training/history.json", b"{", "not JSON"),
        ("training/history.json", b"[]", "expected a JSON object, got list"),
        ("environment.json", b"\xff\xfe{}", "not UTF-8 text"),
        ("evaluation/examples.npz", b"PK\x03\x04 cut short", "not a NumPy archive"),
        ("evaluation/predictions.npz", b"", "not a NumPy archive"),
    ],
)
def test_a_missing_or_damaged_file_is_named_and_leaves_no_report(
    run: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes(content)
    before = sorted(run.iterdir())
    with pytest.raises(InputError, match=re.escape(name) + ".*" + re.escape(message)):
        write_report(run)
    assert sorted(run.iterdir()) == before


def test_a_failed_write_leaves_the_old_report_and_nothing_else(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = write_report(run).read_bytes()
    names = sorted(run.iterdir())
    change(run / "training/history.json", kept_epoch=3)

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        write_report(run)
    assert (run / "report.html").read_bytes() == old
    assert sorted(run.iterdir()) == names
