"""The X-ray experiment through the same doors as the first one, small: from the file to the report."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parak8s import files, loading
from parak8s.data import prepared
from parak8s.errors import InputError
from parak8s.layout import Layout
from parak8s.steps.gate import against
from parak8s.steps.ingest import identify, ingest
from parak8s.tracking.registry import Champion
from xray_files import encoded, smooth, write

ROOT = Path(__file__).parents[1]
FILE = ROOT / "experiments" / "xray.yaml"


def test_the_experiment_runs_from_the_file_to_a_report_with_images(tmp_path: Path) -> None:
    settings = (
        "data.source=synthetic://xray?images=160",
        "data.options.size=32",
        "model.params={filters: 4, blocks: 2}",
        "training.epochs=1",
        "training.schedule={name: constant}",
        "evaluation.bootstrap.samples=100",
        "evaluation.operating_point={sensitivity: 0.8}",
        "gate={categorical_accuracy: '>= 0.1', specificity: '>= 0'}",
    )
    command = [sys.executable, "-m", "parak8s.cli", "run", str(FILE), "-o", "out", *(f"-s{text}" for text in settings)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = files.read_json(tmp_path / "out" / "result.json")
    assert 0 < result["metrics"]["auc"] <= 1
    manifest = prepared.verify(tmp_path / "out" / "dataset")
    assert (manifest.input_shape, manifest.input_dtype, manifest.classes) == (
        (32, 32, 1),
        "uint8",
        ("NORMAL", "PNEUMONIA"),
    )
    patients = [
        set(np.load(tmp_path / "out" / "dataset" / split / "patients.npy").tolist()) for split in manifest.splits
    ]
    assert sum(map(len, patients)) == len(set().union(*patients))
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count('src="data:image/png;base64,') >= 18
    assert "Grad-CAM" in page
    assert (tmp_path / "out" / "model" / "saved_model" / "1" / "saved_model.pb").is_file()
    chosen = files.read_json(tmp_path / "out" / "model" / "operating_point.json")
    assert chosen["sensitivity"] >= 0.8
    with np.load(tmp_path / "out" / "evaluation" / "predictions.npz") as predictions:
        ill, called = predictions["labels"] == 1, predictions["probabilities"][:, 1] >= chosen["threshold"]
    assert result["metrics"]["sensitivity"] == pytest.approx(called[ill].mean())
    assert result["metrics"]["specificity"] == pytest.approx((~called)[~ill].mean())
    with np.load(tmp_path / "out" / "evaluation" / "examples.npz") as examples:
        assert examples["attention"].shape[1:] == (16, 16)
    told = subprocess.run(
        [*command[:3], "show", "out"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert f"threshold.value {chosen['threshold']}" in " ".join(told.split())
    a_model_is_not_worse_than_itself_at_its_operating_point(Layout(tmp_path / "out"))


def a_model_is_not_worse_than_itself_at_its_operating_point(layout: Layout) -> None:
    """Compare the model of a finished run with itself: the rule gives both the same threshold."""
    experiment = loading.load(layout.experiment, ["evaluation.metrics=[sensitivity, specificity]"])

    class Registry:
        def download(self, champion: Champion, folder: Path) -> Path:
            return layout.model / "model.keras"

    champion = Champion("xray-cnn", "champion", "1", "run", {})
    tracker: Any = Registry()
    compared = against(champion, experiment, layout.dataset, layout.evaluation, tracker)
    same = {"value": 0.0, "low": 0.0, "high": 0.0}
    assert {name: each.to_json() for name, each in compared.differences.items()} == {
        "sensitivity": same,
        "specificity": same,
    }


def test_images_that_are_skipped_are_counted_in_the_manifest_the_run_and_the_report(tmp_path: Path) -> None:
    file = table(tmp_path, part=60)
    for name in ("3.png", "8.png"):
        (tmp_path / "data" / name).write_bytes(b"no image")
    overrides = [
        "data.options.on_bad=skip", "model.params={filters: 2, blocks: 1}", "training.epochs=1",
        "evaluation.bootstrap.samples=100",
    ]  # fmt: skip
    command = [sys.executable, "-m", "parak8s.cli", "run", str(file), "-o", "out", *(f"-s{text}" for text in overrides)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert prepared.read_manifest(tmp_path / "out" / "dataset").about["bad images left out"] == 2
    assert "2 classes; bad images left out: 2" in done.stdout
    assert "Bad images left out</dt><dd>2<" in (tmp_path / "out" / "report.html").read_text()


def table(folder: Path, digest: str = "null", part: int = 60) -> Path:
    """Write an experiment over a CSV file in another folder; return it."""
    images = {f"data/{row}.png": encoded(smooth(seed=row)) for row in range(part)}
    rows = "".join(f"{row}.png,{'AB'[row % 2]}\n" for row in range(part))
    write(folder, images | {"data/list.csv": f"path,label\n{rows}".encode()})
    (folder / "x.yaml").write_text(
        "name: x\nmodel: {builder: xray_cnn}\n"
        f"data: {{loader: xray, source: '{folder}/data/list.csv', digest: {digest}, options: {{size: 32}}}}\n"
    )
    return folder / "x.yaml"


def test_a_table_is_pinned_together_with_its_images(tmp_path: Path) -> None:
    digest = identify(loading.load(table(tmp_path)))[1]
    (tmp_path / "dataset").mkdir()
    manifest = ingest(loading.load(table(tmp_path, digest)), tmp_path / "dataset")
    assert manifest.digest == digest
    assert sum(split["examples"] for split in manifest.splits.values()) == 60
    (tmp_path / "data" / "7.png").write_bytes(encoded(smooth(seed=777)))
    with pytest.raises(InputError, match=r"not the version that data\.digest pins"):
        identify(loading.load(tmp_path / "x.yaml"))


def test_the_demo_is_not_for_clinical_use_and_does_not_mirror_hearts() -> None:
    experiment = loading.load(FILE)
    assert experiment.data.source.startswith("synthetic://xray")
    assert experiment.data.options["augment"]["flip"] is False
    assert experiment.data.split.by == "patient"


@pytest.mark.parametrize("name", ["xray.yaml", "xray-kermany.yaml", "xray-pneumoniamnist.yaml"])
def test_every_x_ray_experiment_is_valid(name: str) -> None:
    assert loading.load(ROOT / "experiments" / name).model.builder == "xray_cnn"
