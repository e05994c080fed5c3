"""The fingerprint: what changes it, what leaves it, and that it is the same everywhere."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import parak8s
from parak8s import loading, provenance
from parak8s.experiment import Experiment, flatten
from parak8s.provenance import fingerprint, identity

BASE = """
name: point
seed: 7
data: {loader: ecg, source: "synthetic://ecg?beats=100", options: {normalize: zscore}}
model: {builder: deep_cnn, params: {filters: 16}}
training: {epochs: 4, optimizer: {name: adamw, learning_rate: 1.0e-3}, class_weight: balanced}
"""
DATA = "sha256:" + "0" * 64
PACKAGES = Path(parak8s.__file__).parent


def experiment(**sections: Any) -> Experiment:
    """Return the base experiment with top-level values replaced."""
    values = loading.parse(BASE, "base").canonical() | sections
    return loading.parse(json.dumps(values), "changed")


def changed(path: str, value: Any) -> Experiment:
    """Return the base experiment with the value at a dotted path replaced."""
    values = loading.parse(BASE, "base").canonical()
    *outer, last = path.split(".")
    place = values
    for key in outer:
        place = place[key]
    place[last] = value
    return loading.parse(json.dumps(values), "changed")


INSIDE = {
    "seed": 8,
    "reproducibility": "close",
    "data.split": {"by": "hash", "train": 0.6, "validation": 0.2, "calibration": 0.1, "test": 0.1},
    "data.batch_size": 128,
    "data.options.form": "npz",
    "data.options.protocol": "de_chazal",
    "data.options.normalize": "minmax",
    "data.options.augment.stretch": 0.1,
    "data.options.augment.scale": 0.1,
    "data.options.augment.noise": 0.1,
    "model.params.filters": 17,
    "model.params.growth": 8,
    "model.params.blocks": 4,
    "model.params.kernel": 7,
    "model.params.units": 32,
    "model.params.dropout": 0.1,
    "training.epochs": 5,
    "training.optimizer.name": "adam",
    "training.optimizer.learning_rate": 0.002,
    "training.optimizer.weight_decay": 0.1,
    "training.optimizer": {"name": "sgd", "momentum": 0.9},
    "training.schedule.name": "cosine",
    "training.schedule.warmup_epochs": 1,
    "training.schedule.final": 0.1,
    "training.class_weight": None,
    "training.label_smoothing": 0.1,
    "training.clip_norm": 1,
    "training.scaling.factor": 2,
    "training.scaling.learning_rate": "sqrt",
    "training.virtual_batch_size": 64,
    "training.early_stopping": {"monitor": "val_loss"},
    "training.keep_best": "val_f1",
    "training.precision": "mixed_bfloat16",
    "training.jit": True,
    "training.fine_tune": {"layers": 3},
    "evaluation.metrics": ["f1"],
    "evaluation.operating_point": {"specificity": 0.95},
    "evaluation.calibration": "isotonic",
    "evaluation.bootstrap.samples": 500,
    "evaluation.bootstrap.confidence": 0.9,
}
OUTSIDE = {
    "name": "other",
    "gate": {"auc": ">= 0.9", "champion": "not_worse"},
    "tracking": {"uri": "sqlite:///elsewhere.db", "experiment": "x", "artifacts": "y"},
    "registry": {"name": "other", "alias": "candidate"},
    "compute": {"image": "host/x:1", "gpus": 1, "cpus": 8, "memory": "1Gi", "workers": 4, "parameter_servers": 1},
    "schedule": {"cron": "0 30 2 * * *"},
    "search": {"objective": {"metric": "val_auc"}, "parameters": {"training.epochs": {"values": [1, 2]}}},
    "serving": {"replicas": 3},
    "data.source": "/data/ecg.csv",
    "data.digest": "sha256:" + "1" * 64,
    "training.steps_per_call": 1,
    "training.tensorboard": True,
}


def test_every_path_of_the_file_is_known_to_change_the_fingerprint_or_not() -> None:
    tried = [*INSIDE, *OUTSIDE]
    paths = flatten(experiment().canonical())
    assert {path for path in paths if not any(f"{path}.".startswith(f"{name}.") for name in tried)} == {
        "data.loader",  # tried below, with loaders and builders of the user's own
        "model.builder",
    }


@pytest.mark.parametrize("path", INSIDE)
def test_what_the_numbers_depend_on_changes_the_fingerprint(path: str) -> None:
    assert fingerprint(changed(path, INSIDE[path]), DATA) != fingerprint(experiment(), DATA)


@pytest.mark.parametrize("path", OUTSIDE)
def test_where_it_runs_and_who_keeps_it_leave_the_fingerprint(path: str) -> None:
    assert fingerprint(changed(path, OUTSIDE[path]), DATA) == fingerprint(experiment(), DATA)


def test_each_change_gives_a_fingerprint_of_its_own() -> None:
    found = {fingerprint(changed(path, value), DATA) for path, value in INSIDE.items()}
    assert len(found) == len(INSIDE)


def test_other_data_is_another_point() -> None:
    assert fingerprint(experiment(), DATA) != fingerprint(experiment(), "sha256:" + "0" * 63 + "1")


def test_a_fingerprint_is_sixteen_hexadecimal_digits() -> None:
    found = fingerprint(experiment(), DATA)
    assert len(found) == 16
    int(found, 16)


def test_spelling_the_defaults_out_leaves_the_fingerprint() -> None:
    short = loading.parse(BASE, "short")
    spelled = loading.parse(json.dumps(short.canonical()), "spelled")
    assert spelled == short
    for text in ("epochs: 4, jit: false", "epochs: 4, schedule: {warmup_epochs: 0}", "epochs: 4, label_smoothing: 0"):
        other = loading.parse(BASE.replace("epochs: 4", text), "other")
        assert fingerprint(other, DATA) == fingerprint(short, DATA)
    for text in ("filters: 16, blocks: 5", "filters: 16, dropout: 0"):
        other = loading.parse(BASE.replace("filters: 16", text), "other")
        assert fingerprint(other, DATA) == fingerprint(short, DATA)
    assert fingerprint(loading.parse(BASE.replace(", options: {normalize: zscore}", ""), "x"), DATA) == fingerprint(
        short, DATA
    )


def shuffled(value: Any, order: Any) -> Any:
    if isinstance(value, dict):
        keys = order.draw(st.permutations(sorted(value)))
        return {key: shuffled(value[key], order) for key in keys}
    return value


@given(st.data())
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_the_order_of_keys_leaves_the_fingerprint(order: st.DataObject) -> None:
    values = experiment().canonical()
    other = loading.parse(json.dumps(shuffled(values, order)), "shuffled")
    assert fingerprint(other, DATA) == fingerprint(experiment(), DATA)


NUMBERS_AND_TEXT = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
JSON = st.recursive(
    NUMBERS_AND_TEXT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@given(JSON, JSON)
@settings(deadline=None)
def test_digests_are_equal_exactly_when_the_values_are(first: Any, second: Any) -> None:
    same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (provenance.digest(first) == provenance.digest(second)) == same


def run_python(code: str, *, path: Path, cwd: Path) -> str:
    """Run ``code`` in a fresh process whose only ParaK8s is the one at ``path``; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(path), "PYTHONHASHSEED": "random"}
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()


FINGERPRINT = f"""
from parak8s import loading, provenance
print(provenance.fingerprint(loading.parse({BASE!r}, "base"), {DATA!r}))
"""


def test_a_fresh_process_gives_the_same_fingerprint(tmp_path: Path) -> None:
    expected = fingerprint(experiment(), DATA)
    assert run_python(FINGERPRINT, path=PACKAGES.parent, cwd=tmp_path) == expected


def wheel_layout(site: Path) -> Path:
    """Copy the package as a wheel lays it out: one folder ``parak8s`` without links."""
    shutil.copytree(PACKAGES, site / "parak8s", ignore=shutil.ignore_patterns("__pycache__"))
    assert not any(path.is_symlink() for path in (site / "parak8s").rglob("*"))
    return site


def test_an_installed_wheel_gives_the_fingerprint_of_the_checkout(tmp_path: Path) -> None:
    site = wheel_layout(tmp_path / "site")
    where = run_python("import parak8s; print(parak8s.__file__)", path=site, cwd=tmp_path)
    assert where == str(site / "parak8s" / "__init__.py")
    assert run_python(FINGERPRINT, path=site, cwd=tmp_path) == fingerprint(experiment(), DATA)


@pytest.mark.parametrize("module", ["__init__.py", "data/ecg/beats.py", "models/deep_cnn.py", "steps/train.py"])
def test_any_change_of_the_source_changes_the_code_digest(tmp_path: Path, module: str) -> None:
    site = wheel_layout(tmp_path / "site")
    with (site / "parak8s" / module).open("a") as file:
        file.write("# changed\n")
    digest = run_python("from parak8s import provenance; print(provenance.code_digest())", path=site, cwd=tmp_path)
    assert digest.startswith("sha256:")
    assert digest != provenance.code_digest()


def test_a_source_file_under_another_name_changes_the_code_digest(tmp_path: Path) -> None:
    site = wheel_layout(tmp_path / "site")
    (site / "parak8s" / "data" / "more.py").write_text("")
    digest = run_python("from parak8s import provenance; print(provenance.code_digest())", path=site, cwd=tmp_path)
    assert digest != provenance.code_digest()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder on sys.path for modules of the user's own; the cache of digests begins empty."""
    monkeypatch.syspath_prepend(str(tmp_path))
    provenance.code_digest.cache_clear()
    return tmp_path


def own_fingerprint(loader: str) -> str:
    """Return the fingerprint with a loader of the user's own, as a new process would give it."""
    provenance.code_digest.cache_clear()
    values = experiment().canonical()
    values["data"] |= {"loader": loader, "options": {}}
    return fingerprint(loading.parse(json.dumps(values), "own"), DATA)


def test_a_change_of_the_users_module_changes_the_fingerprint(own: Path) -> None:
    (own / "own_loader_a.py").write_text("def read(source): return 1\n")
    before = own_fingerprint("own_loader_a:read")
    assert own_fingerprint("own_loader_a:read") == before
    (own / "own_loader_a.py").write_text("def read(source): return 2\n")
    assert own_fingerprint("own_loader_a:read") != before


def test_a_change_anywhere_in_the_users_package_changes_the_fingerprint(own: Path) -> None:
    (own / "own_package" / "inner").mkdir(parents=True)
    for name in ("__init__.py", "helpers.py", "inner/__init__.py"):
        (own / "own_package" / name).write_text("")
    (own / "own_package" / "inner" / "loaders.py").write_text("def read(source): ...\n")
    before = own_fingerprint("own_package.inner.loaders:read")
    (own / "own_package" / "helpers.py").write_text("SIZE = 3\n")
    assert own_fingerprint("own_package.inner.loaders:read") != before


def test_code_that_the_experiment_does_not_name_leaves_the_fingerprint(own: Path) -> None:
    (own / "own_loader_b.py").write_text("def read(source): ...\n")
    before = own_fingerprint("own_loader_b:read")
    (own / "own_other.py").write_text("x = 1\n")
    assert own_fingerprint("own_loader_b:read") == before


def test_the_identity_leaves_out_what_stands_outside() -> None:
    assert not [path for path in identity(experiment()) if path.startswith(("name", "gate", "tracking", "registry"))]
    assert "data.source" not in identity(experiment())
    assert identity(experiment())["training.epochs"] == 4


def git(folder: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=x", "-c", "user.email=x@y", "-c", "core.hooksPath=/dev/null")
    command = ["git", "-C", str(folder), *settings, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_is_that_of_the_checkout_and_dirty_says_whether_it_was_changed(tmp_path: Path) -> None:
    assert provenance.git_state(tmp_path) == {"commit": None, "dirty": None}
    package = tmp_path / "src"
    package.mkdir()
    (package / "a.py").write_text("")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "x")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.git_state(package) == {"commit": commit, "dirty": False}
    (package / "a.py").write_text("x = 1\n")
    assert provenance.git_state(package) == {"commit": commit, "dirty": True}


def test_a_package_installed_inside_a_checkout_does_not_take_its_commit(tmp_path: Path) -> None:
    installed = tmp_path / ".venv" / "site-packages" / "parak8s"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    (tmp_path / "own.py").write_text("")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "own.py")
    git(tmp_path, "commit", "--quiet", "--message", "x")
    assert provenance.git_state(installed) == {"commit": None, "dirty": None}


def test_the_environment_names_what_the_run_stands_on() -> None:
    found = provenance.environment(experiment())
    json.dumps(found, allow_nan=False)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["code"] == provenance.code_digest()
    assert found["packages"]["parak8s"] == parak8s.__version__
    assert found["cpus"] == os.cpu_count()
    assert isinstance(found["gpus"], list)
    assert set(found["git"]) == {"commit", "dirty"}


def test_a_change_of_a_data_file_or_of_a_module_beside_the_users_changes_the_fingerprint(own: Path) -> None:
    (own / "own_with_data").mkdir()
    (own / "own_with_data" / "__init__.py").write_text("import own_beside\n\ndef read(source): ...\n")
    (own / "own_with_data" / "names.csv").write_text("a,b\n")
    (own / "own_beside.py").write_text("SIZE = 1\n")
    prints = [own_fingerprint("own_with_data:read")]
    (own / "own_with_data" / "names.csv").write_text("a,c\n")
    prints.append(own_fingerprint("own_with_data:read"))
    (own / "own_beside.py").write_text("SIZE = 2\n")
    prints.append(own_fingerprint("own_with_data:read"))
    (own / "own_unrelated.py").write_text("")
    assert len(set(prints)) == 3
    assert own_fingerprint("own_with_data:read") == prints[-1]
