"""The experiment on real heartbeats, whole: many minutes, so it is marked slow."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data" / "ecg"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.is_dir(), reason="needs the MIT-BIH beats in ../shared/data/ecg"),
]


def write_csv(archive: Path, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write the beats in the text format of Kachuee et al.; return them."""
    with np.load(archive) as beats:
        inputs = (beats["X_num"] / beats["X_den"][:, None].astype("float64")).astype("float32")
        labels = beats["y"]
    with file.open("w") as text:
        for start in range(0, len(labels), 5000):
            rows = slice(start, start + 5000)
            np.savetxt(text, np.c_[inputs[rows], labels[rows]], fmt="%.18e", delimiter=",")
    return inputs, labels


def test_the_mitbih_experiment_beats_the_paper_on_beats_it_never_saw(tmp_path: Path) -> None:
    import tensorflow as tf
    from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

    source = tmp_path / "mitbih"
    source.mkdir()
    write_csv(SHARED / "mitbih_train.npz", source / "mitbih_train.csv")
    inputs, labels = write_csv(SHARED / "mitbih_test_dev.npz", source / "mitbih_test.csv")
    file, out = ROOT / "experiments" / "ecg-mitbih.yaml", tmp_path / "out"
    command = [sys.executable, "-m", "parak8s.cli", "run", str(file), "-s", f"data.source={source}", "-o", str(out)]
    subprocess.run(command, cwd=tmp_path, check=True)
    served = tf.saved_model.load(str(out / "model" / "saved_model" / "1")).signatures["serving_default"]
    answers = [served(inputs=tf.constant(part)) for part in np.array_split(inputs, 20)]
    probabilities = np.concatenate([answer["probabilities"].numpy() for answer in answers]).astype(np.float64)
    predicted = np.concatenate([answer["label"].numpy() for answer in answers])
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert accuracy_score(labels, predicted) >= 0.989
    assert f1_score(labels, predicted, average="macro") >= 0.94
    assert roc_auc_score(labels, probabilities, multi_class="ovr", average="macro") >= 0.995
