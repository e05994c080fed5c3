"""The section search: what each algorithm takes, and what is refused before any trial, with what to write instead."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parak8s import loading
from parak8s.errors import ExperimentError
from parak8s.experiment import Experiment, documents, space
from parak8s.experiment.algorithms import ALGORITHMS, Algorithm, budgets, check, completed, surprises
from parak8s.experiment.dimensions import Dimension
from parak8s.experiment.search import written
from terminal import Terminal

MINIMAL = "name: x\nseed: 7\ndata: {loader: ecg, source: 'synthetic://ecg?beats=300'}\nmodel: {builder: deep_cnn}\n"
RATE = "training.optimizer.learning_rate: {min: 1e-4, max: 1e-2, log: true}"
EPOCHS = "training.epochs: {min: 1, max: 27}"
DROPOUT = "model.params.dropout: {min: 0, max: 0.5, step: 0.1}"


def search(*parameters: str, **keys: str) -> str:
    """Return the override that gives a section ``search``."""
    rest = "".join(f", {key}: {value}" for key, value in keys.items() if key != "objective")
    objective = keys.get("objective", "{metric: val_auc}")
    return f"search={{objective: {objective}{rest}, parameters: {{{', '.join(parameters or (RATE,))}}}}}"


def load(*overrides: str) -> Experiment:
    return loading.parse(MINIMAL, "x.yaml", overrides)


def refusal(*overrides: str) -> list[str]:
    with pytest.raises(ExperimentError) as refused:
        load(*overrides)
    return [f"{mistake.path}: {mistake.message}" for mistake in refused.value.mistakes]


def test_the_section_has_these_defaults() -> None:
    assert load(search()).canonical()["search"] == {
        "objective": {"metric": "val_auc", "type": "maximize", "goal": None, "additional": []},
        "algorithm": "random",
        "settings": {},
        "trials": 20,
        "parallel": 1,
        "max_failed": None,
        "resume": "LongRunning",
        "early_stopping": None,
        "trial_deadline_s": 86400,
        "parameters": {
            "training.optimizer.learning_rate": {
                "min": 1e-4, "max": 1e-2, "step": None, "log": True, "distribution": None, "values": None,
            }
        },
    }  # fmt: skip
    stopping = load(search(early_stopping="{}")).search
    assert stopping is not None
    assert stopping.early_stopping is not None
    assert stopping.early_stopping.model_dump() == {
        "algorithm": "medianstop",
        "min_trials_required": 3,
        "start_step": 4,
    }


PBT = {"algorithm": "pbt", "resume": "FromVolume"}
COMPLETE = [
    ((RATE, EPOCHS), {"algorithm": "random", "settings": "{random_state: 3}"}),
    ((DROPOUT, "model.params.blocks: {min: 2, max: 4}"), {"algorithm": "grid", "trials": "18"}),
    ((RATE,), {"algorithm": "tpe", "settings": "{gamma: 0.2, prior_weight: 2, n_EI_candidates: 30}"}),
    ((RATE,), {"algorithm": "tpe", "settings": "{gamma: '0.2', n_EI_candidates: '30'}"}),
    ((RATE,), {"algorithm": "multivariate-tpe", "settings": "{n_startup_trials: 0, n_ei_candidates: 0}"}),
    ((RATE, EPOCHS), {"algorithm": "cmaes", "settings": "{sigma: 0.0, restart_strategy: bipop}"}),
    ((RATE, "model.params.units: {values: [8, 16]}"), {"algorithm": "sobol", "settings": "{random_state: 0}"}),
    (
        (RATE,),
        {
            "algorithm": "bayesianoptimization",
            "settings": "{base_estimator: ET, n_initial_points: 5, acq_func: EI, acq_optimizer: sampling}",
        },
    ),
    (
        (RATE, EPOCHS),
        {"algorithm": "hyperband", "settings": "{r_l: 9, resource_name: training.epochs}", "parallel": "9"},
    ),
    (
        (RATE, EPOCHS),
        {"algorithm": "hyperband", "settings": "{r_l: 16, resource_name: training.epochs, eta: 4}", "parallel": "16"},
    ),
    (
        (DROPOUT, "model.params.units: {values: [8, 16]}"),
        {**PBT, "settings": "{n_population: 5, truncation_threshold: 0.25, resample_probability: 0.5}"},
    ),
]


@pytest.mark.parametrize(("parameters", "keys"), COMPLETE, ids=[keys["algorithm"] for _, keys in COMPLETE])
def test_each_algorithm_takes_its_settings(parameters: tuple[str, ...], keys: dict[str, str]) -> None:
    found = load(search(*parameters, **keys))
    assert found.search is not None
    assert found.search.algorithm == keys["algorithm"]
    assert loading.parse(documents.dump(found.canonical()), "again") == found


def test_the_examples_leave_out_no_algorithm() -> None:
    assert {keys["algorithm"] for _, keys in COMPLETE} == set(ALGORITHMS) == set(get_args(Algorithm))


WHOLE = "a whole number from"
BROKEN: list[tuple[tuple[str, ...], dict[str, str], str]] = [
    ((RATE,), {"algorithm": "tep"}, "search.algorithm: got 'tep'; did you mean 'tpe'?"),
    ((RATE,), {"parallel": "21"}, "search.parallel: must be at most trials (20), got 21"),
    ((RATE,), {"max_failed": "21"}, "search.max_failed: must be at most trials (20), got 21"),
    ((RATE,), {"trial_deadline_s": "0"}, "search.trial_deadline_s: must be at least 1, got 0"),
    ((RATE,), {"resume": "Always"}, "search.resume: got 'Always'; allowed: FromVolume, LongRunning, Never"),
    (
        (RATE,),
        {"early_stopping": "{algorithm: median}"},
        "search.early_stopping.algorithm: got 'median'; did you mean 'medianstop'?",
    ),
    (
        (RATE,),
        {"objective": "{metric: val_auc, additional: [val_auc]}"},
        "search.objective.additional: val_auc is the objective itself; take it away here",
    ),
    (
        (RATE,),
        {"objective": "{metric: val_auc, additional: [loss, loss]}"},
        "search.objective.additional: each value once, got loss, loss",
    ),
    (
        (RATE,),
        {"objective": "{metric: val_auc, additional: [val_acc]}"},
        "search.objective.additional.0: got 'val_acc'; did you mean 'val_auc'?",
    ),
    (
        ("training.epochs: {min: 2, max: 4, log: true, distribution: normal}",),
        {},
        "search.parameters.training.epochs.distribution: log: true is distribution: logUniform, got normal too; take",
    ),
    (
        ("training.epochs: {values: [2, 4], distribution: normal}",),
        {},
        "search.parameters.training.epochs.distribution: is for a range, got normal with values; take it away",
    ),
    (
        ("training.epochs: {values: [2, 4, 2]}",),
        {},
        "search.parameters.training.epochs.values: 2 is there twice; keep one",
    ),
    (
        ("training.label_smoothing: {min: 0, max: 0.5, distribution: logNormal}",),
        {},
        "search.parameters.training.label_smoothing.min: must be above 0 for a logarithmic range, got 0",
    ),
    (
        ("training.epochs: {min: 2, max: 9, step: 1.5}",),
        {},
        "search.parameters.training.epochs.step: must be a whole number, as the values are, got 1.5",
    ),
    (
        ("training.epochs: {min: 2, max: 9, distribution: normal}",),
        {"algorithm": "sobol"},
        "search.parameters.training.epochs.distribution: sobol has no normal distribution; take uniform or logUniform, "
        "or one of the algorithms random and tpe",
    ),
    (
        ("training.epochs: {values: [2]}",),
        {"settings": "{gamma: 0.2}"},
        "search.settings.gamma: no setting of random; allowed: random_state",
    ),
    (
        (RATE,),
        {"algorithm": "tpe", "settings": "{n_ei_candidate: 3}"},
        "search.settings.n_ei_candidate: no setting of tpe; did you mean 'n_EI_candidates'?",
    ),
    (
        (RATE,),
        {"algorithm": "tpe", "settings": "{gamma: 1}"},
        "search.settings.gamma: expected a number above 0 and below 1, got '1'",
    ),
    (
        (RATE,),
        {"algorithm": "tpe", "settings": "{gamma: nan}"},
        "search.settings.gamma: expected a number above 0 and below 1, got 'nan'",
    ),
    (
        (RATE,),
        {"algorithm": "tpe", "settings": "{prior_weight: 0}"},
        "search.settings.prior_weight: expected a number above 0, got '0'",
    ),
    (
        (RATE,),
        {"algorithm": "tpe", "settings": "{n_EI_candidates: 2.0}"},
        f"search.settings.n_EI_candidates: expected {WHOLE} 1 on, got '2.0'",
    ),
    (
        (RATE,),
        {"settings": "{random_state: -1}"},
        f"search.settings.random_state: expected {WHOLE} 0 to 4294967295, got '-1'",
    ),
    ((RATE,), {"settings": "{random_state: true}"}, "search.settings.random_state: expected text, a whole number or"),
    (
        (RATE,),
        {"algorithm": "multivariate-tpe", "settings": "{n_startup_trials: -1}"},
        f"search.settings.n_startup_trials: expected {WHOLE} 0 on, got '-1'",
    ),
    ((RATE,), {"algorithm": "cmaes"}, "search: cmaes needs at least two parameters, got 1; search another one, or"),
    (
        (RATE, "model.params.units: {values: [8, 16]}"),
        {"algorithm": "cmaes"},
        "search: cmaes searches ranges alone: give min and max for model.params.units, or take tpe",
    ),
    (
        (RATE, EPOCHS),
        {"algorithm": "cmaes", "settings": "{restart_strategy: ipob}"},
        "search.settings.restart_strategy: got 'ipob'; did you mean 'ipop'?",
    ),
    (
        (RATE, EPOCHS),
        {"algorithm": "cmaes", "settings": "{sigma: -0.1}"},
        "search.settings.sigma: expected a number from 0 on, got '-0.1'",
    ),
    (
        (RATE,),
        {"algorithm": "bayesianoptimization", "settings": "{acq_func: ei}"},
        "search.settings.acq_func: got 'ei'; did you mean 'EI'?",
    ),
    (
        (DROPOUT,),
        {"algorithm": "grid"},
        "search.trials: must be at most the 6 points of the grid, got 20",
    ),
    (
        ("model.params.dropout: {min: 0, max: 0.5, step: 0.2}",),
        {"algorithm": "grid", "trials": "3"},
        "search.parameters.model.params.dropout.step: 0.2 does not divide the range from 0 to 0.5, whose end would be "
        "no point of it; write max: 0.4",
    ),
    (
        (RATE, EPOCHS),
        {"algorithm": "hyperband"},
        "search.settings.r_l: missing; hyperband needs it: write a number from 1 on, such as 27",
    ),
    (
        (RATE, EPOCHS),
        {"algorithm": "hyperband", "settings": "{r_l: 9, resource_name: training.epoch}"},
        "search.settings.resource_name: must be one of the parameters, got 'training.epoch'; did you mean "
        "'training.epochs'?",
    ),
    (
        (RATE, EPOCHS),
        {"algorithm": "hyperband", "settings": "{r_l: 9, resource_name: training.optimizer.learning_rate}"},
        "search.settings.resource_name: must be a range of whole numbers, got training.optimizer.learning_rate",
    ),
    (
        (RATE, EPOCHS),
        {"algorithm": "hyperband", "settings": "{r_l: 9, resource_name: training.epochs}", "parallel": "8"},
        "search.parallel: must be at least 9 for hyperband with r_l 9 and eta 3, got 8",
    ),
    (
        (RATE, EPOCHS),
        {"algorithm": "hyperband", "settings": "{r_l: 9, resource_name: training.epochs, eta: 1}"},
        "search.settings.eta: expected a number from 2 on, got '1'",
    ),
    (
        (RATE, "data.batch_size: {min: 8, max: 64}", "training.schedule.warmup_epochs: {values: [0, 1]}", EPOCHS),
        {"algorithm": "hyperband", "early_stopping": "{}"},
        "search.early_stopping: hyperband stops trials itself, and waits for ever for one that others stop; write null",
    ),
    (
        (DROPOUT,),
        {"algorithm": "pbt", "settings": "{n_population: 5, truncation_threshold: 0.2}"},
        "search.resume: pbt keeps the checkpoints of its trials on a volume: write FromVolume, got LongRunning",
    ),
    (
        (DROPOUT,),
        {**PBT, "settings": "{n_population: 4, truncation_threshold: 0.2}"},
        f"search.settings.n_population: expected {WHOLE} 5 on, got '4'",
    ),
    (
        (DROPOUT,),
        {**PBT, "settings": "{n_population: 5}"},
        "search.settings.truncation_threshold: missing; pbt needs it: write a number from 0 to 1",
    ),
    (
        (DROPOUT,),
        {**PBT, "settings": "{n_population: 5, truncation_threshold: 0.2, suggestion_trial_dir: 'a b'}"},
        "search.settings.suggestion_trial_dir: expected an absolute path without blanks, such as /opt/katib/data, got",
    ),
    (
        (RATE,),
        {**PBT, "settings": "{n_population: 5, truncation_threshold: 0.2}"},
        "search.parameters.training.optimizer.learning_rate.step: missing; pbt begins at points of a range: write how",
    ),
    (
        ("model.params.units: {min: 16, max: 64, step: 16}",),
        {**PBT, "settings": "{n_population: 5, truncation_threshold: 0.2}"},
        "search.parameters.model.params.units: pbt writes a whole number at an end of its range as 64.0, which no key "
        "for whole numbers takes; write values: [16, 32, 48, 64]",
    ),
]


@pytest.mark.parametrize(("parameters", "keys", "message"), BROKEN, ids=[message[:60] for *_, message in BROKEN])
def test_a_search_that_no_engine_can_run_is_refused_with_what_to_write(
    parameters: tuple[str, ...], keys: dict[str, str], message: str
) -> None:
    found = refusal(search(*parameters, **keys))
    assert any(each.startswith(message) for each in found), found


def test_mistakes_of_several_settings_are_told_together() -> None:
    found = refusal(search(algorithm="tpe", settings="{gamma: 2, prior_weight: -1, sigma: 1}"))
    assert [each.partition(":")[0] for each in found] == [
        "search.settings.gamma",
        "search.settings.prior_weight",
        "search.settings.sigma",
    ]


def test_a_budget_that_the_file_does_not_take_is_refused() -> None:
    keys = {"algorithm": "hyperband", "settings": "{r_l: 9, resource_name: training.epochs}", "parallel": "9"}
    found = refusal("training.schedule.warmup_epochs=2", search("training.epochs: {min: 3, max: 9}", **keys))
    message = "training.schedule.warmup_epochs: must be below training.epochs (1), got 2"
    assert found == ["search.settings.r_l: gives training.epochs 1: must be below training.epochs (1), got 2"], message


def test_a_mistake_has_its_line(tmp_path: Path) -> None:
    text = f"{MINIMAL}search:\n  objective: {{metric: val_auc}}\n  algorithm: tpe\n  settings:\n    gamma: 3\n"
    (tmp_path / "x.yaml").write_text(f"{text}  parameters:\n    {RATE}\n")
    with pytest.raises(ExperimentError, match=r"line 9: search.settings.gamma: expected a number above 0 and below 1"):
        loading.load(tmp_path / "x.yaml")


def test_the_command_line_refuses_a_search_with_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "x.yaml").write_text(MINIMAL)
    terminal = Terminal(monkeypatch, capsys)
    assert terminal("validate", str(tmp_path / "x.yaml"), "-s", search(DROPOUT, algorithm="grid")) == 2
    assert "search.trials: must be at most the 6 points of the grid, got 20" in terminal.err
    assert terminal("validate", str(tmp_path / "x.yaml"), "-s", search()) == 0


def test_a_point_of_the_space_need_not_fit_to_the_ends_of_the_other_ranges() -> None:
    section = search("training.epochs: {min: 2, max: 9}", "training.schedule.warmup_epochs: {values: [0, 5]}")
    assert load("training.epochs=9", section)
    assert load(section, "training.epochs=2", "training.schedule.warmup_epochs=0").training.epochs == 2
    (refused,) = refusal(section, "training.epochs=2")  # no point: the warm-up is still searched
    assert refused.startswith("search.parameters.training.schedule.warmup_epochs: with 5: training.schedule.warmup_epo")


# What the algorithms are told


def test_axes_say_what_is_searched_in_the_words_of_katib() -> None:
    given = load(
        search(
            RATE, EPOCHS, DROPOUT,
            "data.batch_size: {min: 16, max: 64, step: 16, distribution: normal}",
            "model.params.units: {values: [8, 16]}",
            "training.label_smoothing: {values: [0.0, 1e-05]}",
            "training.optimizer.name: {values: [adam, sgd]}",
            "training.jit: {values: [true, false]}",
            "training.clip_norm: {values: [1, 2.5]}",
        )
    )  # fmt: skip
    assert loading.axes(given) == (
        Dimension("training.optimizer.learning_rate", "double", 1e-4, 1e-2, None, "logUniform"),
        Dimension("training.epochs", "int", 1, 27),
        Dimension("model.params.dropout", "double", 0, 0.5, 0.1),
        Dimension("data.batch_size", "int", 16, 64, 16, "normal"),
        Dimension("model.params.units", "discrete", choices=("8", "16")),
        Dimension("training.label_smoothing", "discrete", choices=("0.0", "1e-05")),
        Dimension("training.optimizer.name", "categorical", choices=("adam", "sgd")),
        Dimension("training.jit", "categorical", choices=("true", "false")),
        Dimension("training.clip_norm", "discrete", choices=("1", "2.5")),
    )
    assert loading.axes(load()) == ()


AWKWARD = ["1e3", "true", "null", " a", "[1]", "0x1f", "> 1", "a: b", "é", "", "'", '"', "\x85", "\x7f"]
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)


@given(st.text(max_size=8) | st.sampled_from(AWKWARD) | st.booleans() | NUMBERS)
def test_a_listed_value_is_read_as_it_was_written(value: Any) -> None:
    _, read = space.parse_override(f"a={written(value)}")
    assert (type(read), read) == (type(value), value)


def test_settings_are_completed_as_text() -> None:
    assert completed("tpe", {"gamma": 0.25, "n_EI_candidates": 30}, 7) == {
        "random_state": "7",
        "gamma": "0.25",
        "n_EI_candidates": "30",
    }
    assert completed("random", {"random_state": "3"}, 7) == {"random_state": "3"}
    assert completed("pbt", {}, 7) == {"random_state": "7", "suggestion_trial_dir": "/opt/katib/data"}


def test_parameters_of_an_object_that_others_wrote_can_be_checked_too() -> None:
    foreign = (Dimension("lr", "double", 0.01, 0.05), Dimension("num-epochs", "int", 20, 20))
    assert check("hyperband", {"r_l": "9", "resource_name": "num-epochs", "eta": "3"}, foreign, parallel=9) == []
    assert [str(mistake) for mistake in check("hyper-band", {}, foreign)] == [
        "algorithm: no such algorithm, got 'hyper-band'; did you mean 'hyperband'? allowed: bayesianoptimization, "
        "cmaes, grid, hyperband, multivariate-tpe, pbt, random, sobol, tpe"
    ]
    whole = (Dimension("units", "int", 1, 6, 2),)
    settings = {"n_population": "5", "truncation_threshold": "0.2", "suggestion_trial_dir": "/x"}
    assert check("pbt", settings, whole) == []  # Katib takes it
    assert [mistake.path for mistake in surprises("pbt", whole)] == ["parameters.units.step", "parameters.units"]


@given(st.floats(1, 1000), st.integers(2, 10))
def test_the_budgets_of_hyperband_lie_between_one_and_the_whole(most: float, eta: int) -> None:
    least, greatest = budgets({"r_l": repr(most), "eta": str(eta)})
    assert 0 <= least <= greatest == int(most)


def test_a_grid_of_doubles_counts_the_points_that_katib_counts() -> None:
    numpy = pytest.importorskip("numpy")
    for low, high, step in ((0, 0.3, 0.1), (0.1, 0.7, 0.2), (1e-4, 1e-3, 1e-4)):
        points = numpy.arange(low, high + step, step)  # kubeflow/katib, search_space.py: convert_to_combinations
        katib = len(points[:-1] if points[-1] > high else points)
        (mistake,) = check("grid", {}, [Dimension("x", "double", low, high, step)], trials=1000)
        (own,) = re.findall(r"the (\d+) points", mistake.message)
        assert int(own) - katib in (0, 1), (low, high, step)  # its arange loses the end to rounding, at times
