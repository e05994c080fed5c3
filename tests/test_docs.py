"""What the documents tell users to write works as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from parak8s import files

ROOT = Path(__file__).parents[1]


def test_the_documented_loader_and_builder_run(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "experiment.md").read_text(), re.DOTALL)
    (tmp_path / "my_code.py").write_text(code)
    draw = np.random.default_rng(0)
    np.savetxt(tmp_path / "table.csv", draw.random((400, 6)), delimiter=",")
    (tmp_path / "mine.yaml").write_text(
        """
name: mine
data: {loader: "my_code:clinic", source: table.csv, options: {threshold: 0.7}}
model: {builder: "my_code:tiny", params: {units: 16}}
training: {epochs: 1}
evaluation: {bootstrap: {samples: 100}}
"""
    )
    command = [sys.executable, "-m", "parak8s.cli", "run", "mine.yaml", "-o", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = files.read_json(tmp_path / "out" / "result.json")
    assert 0 <= result["metrics"]["auc"] <= 1


def test_the_experiment_reference_names_every_section_and_training_key() -> None:
    from parak8s.experiment import Data, Experiment, Training

    text = (ROOT / "docs" / "experiment.md").read_text()
    names = [
        *(f"`{name}" for name in Experiment.model_fields),
        *(f"`data.{name}" for name in Data.model_fields),
        *(f"`training.{name}" for name in Training.model_fields),
    ]
    assert [name for name in names if name not in text and f"{name}." not in text] == []
