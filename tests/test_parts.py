"""The part of an experiment that a step reads: it changes exactly when something changes that the step depends on."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from parak8s import loading
from parak8s.experiment import Experiment
from parak8s.parts import parts

TEXT = """
name: beats
seed: 3
data: {loader: ecg, source: "synthetic://ecg?beats=600"}
model: {builder: deep_cnn, params: {filters: 4}}
training: {epochs: 4}
evaluation: {metrics: [auc]}
gate: {auc: ">= 0.9", "f1/V": ">= 0.5"}
"""
DIGEST, OTHER = "sha256:" + "0" * 64, "sha256:" + "1" * 64
ALL, FROM_TRAIN = {"ingest", "train", "calibrate", "evaluate"}, {"train", "calibrate", "evaluate"}


def experiment(*overrides: str, text: str = TEXT) -> Experiment:
    return loading.parse(text, "x.yaml", overrides)


def changed_by(*overrides: str) -> set[str]:
    before, after = parts(experiment(), DIGEST), parts(experiment(*overrides), DIGEST)
    assert set(before) == set(after) == ALL
    return {step for step in before if before[step] != after[step]}


@pytest.mark.parametrize(
    ("override", "steps"),
    [
        ("data.split.by=patient", ALL),
        ("data.options.normalize=minmax", ALL),
        ("seed=4", FROM_TRAIN),
        ("data.batch_size=64", FROM_TRAIN),
        ("model.params.filters=8", FROM_TRAIN),
        ("training.optimizer.learning_rate=0.01", FROM_TRAIN),
        ("reproducibility=close", FROM_TRAIN),
        ("training.tensorboard=true", {"train"}),  # it writes more, but the same numbers
        ("evaluation.calibration=isotonic", {"calibrate", "evaluate"}),
        ("evaluation.bootstrap.samples=500", {"evaluate"}),
        ("gate.f1/N='>= 0.9'", {"ingest"}),  # which says at once that there is no such class
        ("gate.auc='>= 0.95'", set()),
        ("gate.f1/V='>= 0.6'", set()),
        ("name=other", set()),
        ("registry.alias=candidate", set()),
        ("tracking.experiment=other", set()),
        ("compute.gpus=1", set()),
        ("serving.replicas=3", set()),
        ("schedule.cron='0 3 * * *'", set()),
        ("seed=3", set()),
        ("training.epochs=4", set()),
    ],
)
def test_a_value_changes_the_parts_of_the_steps_that_depend_on_it_and_no_others(override: str, steps: set[str]) -> None:
    assert changed_by(override) == steps


def test_other_data_changes_every_part() -> None:
    before, after = parts(experiment(), DIGEST), parts(experiment(), OTHER)
    assert {step for step in before if before[step] != after[step]} == ALL


def test_the_same_data_somewhere_else_is_read_anew_but_trained_on_no_more() -> None:
    assert changed_by("data.source='synthetic://ecg?beats=600&seed=9'") == {"ingest"}


def test_a_default_written_out_is_the_same_part() -> None:
    written = TEXT.replace("training: {epochs: 4}", "training: {epochs: 4, label_smoothing: 0.0, jit: false}")
    assert parts(experiment(text=written), DIGEST) == parts(experiment(), DIGEST)


def test_each_part_is_an_experiment_file_that_gives_the_same_parts_again() -> None:
    for step, part in parts(experiment(), DIGEST).items():
        assert parts(experiment(text=part), DIGEST)[step] == part, step


def test_a_change_in_the_users_own_code_changes_every_part(tmp_path: Path) -> None:
    own = TEXT.replace("builder: deep_cnn, params: {filters: 4}", "builder: 'mine:tiny'")
    code = f"from parak8s import loading, parts; print(parts.parts(loading.parse({own!r}, 'x'), {DIGEST!r}))"
    told = []
    for number in (1, 2):
        (tmp_path / "mine.py").write_text(f"def tiny(input_shape, classes):\n    return {number}\n")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        told.append(ast.literal_eval(done.stdout))
    assert {step for step in ALL if told[0][step] != told[1][step]} == ALL
