"""The experiment file: what is valid, what is refused, and that all mistakes are reported together."""

import json
import math
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parak8s import data, loading, models, plugins
from parak8s.data.examples import Examples
from parak8s.data.sources import Source
from parak8s.errors import ExperimentError, InputError
from parak8s.experiment import Experiment, Gate, documents, flatten
from parak8s.schema import json_schema

ROOT = Path(__file__).parents[1]
BROKEN = Path(__file__).parent / "broken_experiments"
MINIMAL = "name: x\ndata: {loader: ecg, source: 'synthetic://ecg'}\nmodel: {builder: deep_cnn}\n"


def load(*overrides: str, text: str = MINIMAL) -> Experiment:
    """Return the experiment in ``text`` with overrides, as the command line reads it."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        return loading.load(Path(file.name), overrides)


def refusal(*overrides: str, text: str = MINIMAL) -> list[str]:
    """Return the path and the message of every mistake."""
    with pytest.raises(ExperimentError) as caught:
        load(*overrides, text=text)
    return [f"{mistake.path}: {mistake.message}" for mistake in caught.value.mistakes]


def test_every_broken_file_is_refused_with_all_its_mistakes() -> None:
    said = []
    for path in sorted(BROKEN.glob("*.yaml")):
        with pytest.raises(InputError) as caught:
            loading.load(path)
        assert caught.value.exit_code == 2
        said.append(str(caught.value).replace(str(path), path.name))
    assert "\n".join(said) + "\n" == (BROKEN / "MESSAGES.txt").read_text(encoding="utf-8")


def test_the_shipped_experiments_are_valid() -> None:
    for path in sorted((ROOT / "experiments").glob("*.yaml")):
        assert loading.load(path).name == path.stem


def test_a_minimal_file_takes_the_defaults() -> None:
    experiment = load()
    assert experiment.training.epochs == 20
    assert experiment.data.split.fractions() == {"train": 0.7, "validation": 0.1, "calibration": 0.1, "test": 0.1}
    assert experiment.gate.thresholds() == {}
    assert experiment.search is None
    assert (experiment.registered_name, experiment.mlflow_experiment) == ("x", "x")


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("training.optimizer.learning_rate=1", "training.optimizer.learning_rate", 1.0),
        ("training.optimizer.learning_rate=1e-3", "training.optimizer.learning_rate", 0.001),
        ("training.schedule.warmup_epochs=2", "training.schedule.warmup_epochs", 2.0),
        ("training.class_weight={N: 1, V: 2.5}", "training.class_weight.N", 1.0),
        ("training.class_weight=balanced", "training.class_weight", "balanced"),
        ("training.class_weight=null", "training.class_weight", None),
        ("evaluation.metrics=[auc]", "evaluation.metrics", ["auc"]),
        ("model.params.dropout=0", "model.params.dropout", 0.0),
        ("compute.memory=512Mi", "compute.memory", "512Mi"),
        ("compute.memory=1.5G", "compute.memory", "1.5G"),
        ("compute.cpus=0.001", "compute.cpus", 0.001),
        ("compute.image=parak8s", "compute.image", "parak8s"),
        ("compute.image=localhost:5000/a/b_c:V1.0", "compute.image", "localhost:5000/a/b_c:V1.0"),
        ("compute.image=a.example/b@sha256:" + "0" * 64, "compute.image", "a.example/b@sha256:" + "0" * 64),
        ("compute.gpu_type=nvidia.com/mig-1g.5gb", "compute.gpu_type", "nvidia.com/mig-1g.5gb"),
        ("gate.f1/V=> .8", "gate.f1/V", "> .8"),
        ("tracking.uri='postgresql+psycopg2://u:p@h/db'", "tracking.uri", "postgresql+psycopg2://u:p@h/db"),
    ],
)
def test_a_whole_number_stands_for_a_number_and_the_rest_for_itself(override: str, path: str, value: Any) -> None:
    found = flatten(load(override).canonical())[path]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs=1.0", "training.epochs: expected a whole number, got 1.0; write 1"),
        ("training.epochs=1e3", "training.epochs: expected a whole number, got 1000.0; write 1000"),
        ("training.epochs=2.5", "training.epochs: expected a whole number, got 2.5"),
        ("training.epochs=true", "training.epochs: expected a whole number, got true"),
        ("training.epochs='12'", "training.epochs: expected a whole number, got '12'; a number stands without quotes"),
        ("training.epochs=twelve", "training.epochs: expected a whole number, got 'twelve'"),
        ("training.epochs=null", "training.epochs: expected a whole number, got null"),
        ("training.epochs=[1]", "training.epochs: expected a whole number, got [1]"),
        ("training.clip_norm=true", "training.clip_norm: expected a number, got true"),
        ("training.jit=1", "training.jit: expected true or false, got 1"),
        ("training.jit=on", "training.jit: expected true or false, got 'on'"),
        ("name=1", "name: expected text, got 1; put it in quotes"),
        ("name=a_1", "name: expected lower-case letters, digits and inner hyphens, such as ecg-deep-cnn, got 'a_1'"),
        ("seed=2147483648", "seed: must be below 2147483648, got 2147483648"),
        ("gate=null", "gate: empty; write keys below it, or delete the line to take the defaults"),
        ("data.options=[a]", "data.options: expected a mapping (key: value), got [\"a\"]"),
        ("training.class_weight=3", "training.class_weight: expected balanced or a mapping (key: value), got 3"),
        ("training.class_weight={}", "training.class_weight: empty; write at least one"),
        (
            "training.class_weight=balance",
            "training.class_weight: got 'balance'; did you mean 'balanced'? "
            "allowed: balanced, or a mapping (key: value)",
        ),
        ("training.class_weight={str: -1}", "training.class_weight.str: must be above 0, got -1"),
        ("evaluation.bootstrap.samples=100001", "evaluation.bootstrap.samples: must be at most 100000, got 100001"),
        ("gate.auc=0.9", "gate.auc: expected a threshold in quotes, such as '>= 0.9', got 0.9"),
        ("gate.auc==> 0.9", "gate.auc: expected a threshold in quotes, such as '>= 0.95', got '=> 0.9'"),
        (
            "gate.brier=< 2.5",
            "gate: no metric is above 1 (brier: 2), got brier: '< 2.5'; write a fraction, such as 0.97",
        ),
        ("registry.alias=latest", "registry.alias: MLflow keeps 'latest' for itself; write champion, say"),
        ("compute.cpus=1000000", "compute.cpus: must be at most 4096, got 1000000"),
        ("compute.memory=8", "compute.memory: expected text, got 8; put it in quotes"),
        ("compute.memory=2E", "compute.memory: must be from 1Mi to 1Pi, got '2E'"),
        (
            "compute.volumes=[{claim: a, path: /mnt}, {claim: b, path: /mnt/}]",
            "compute.volumes: /mnt is mounted twice; give each volume a path of its own",
        ),
        (
            "compute={volumes: [{claim: a, path: /dev/shm}], shared_memory: 1Gi}",
            "compute.volumes: /dev/shm is mounted twice; give each volume a path of its own",
        ),
        ("compute.memory=8ki", "compute.memory: expected a quantity of memory, such as 8Gi, got '8ki'"),
        ("compute.memory=100m", "compute.memory: expected a quantity of memory, such as 8Gi, got '100m'"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_what_to_write(override: str, message: str) -> None:
    assert refusal(override) == [message]


def test_the_end_of_a_schedule_is_compared_as_a_moment_whatever_its_time_zone() -> None:
    hours = "every_s: 3600, start: '2026-12-01T01:00:00+02:00', end: '2026-12-01T00:00:00Z'"
    assert load(f"schedule={{{hours}}}").schedule
    assert refusal(f"schedule={{{hours.replace('01:00:00+', '03:00:00+')}}}") == [
        "schedule.end: must come after start (2026-12-01T03:00:00+02:00), got 2026-12-01T00:00:00Z"
    ]


def test_a_mistake_is_placed_at_its_line_or_at_the_override_that_made_it() -> None:
    with pytest.raises(ExperimentError) as caught:
        load("trainning.epochs=2", "data.split.test=0.5", text=MINIMAL + "seed: -1\n")
    assert [(mistake.where, mistake.path) for mistake in caught.value.mistakes] == [
        ("line 4", "seed"),
        ("-s data.split.test=0.5", "data.split"),
        ("-s trainning.epochs=2", "trainning"),
    ]


def test_a_rule_between_two_values_is_placed_at_one_of_them() -> None:
    text = MINIMAL + "training:\n  epochs: 5\n  schedule:\n    name: cosine\n    warmup_epochs: 5\n"
    with pytest.raises(
        ExperimentError, match=r"line 8: training\.schedule\.warmup_epochs: must be below training\.epoc"
    ):
        load(text=text)


def test_a_long_value_is_cut_and_cannot_colour_the_terminal() -> None:
    (message,) = refusal('training.epochs="\\e[31m' + "x" * 500 + '"')
    assert len(message) < 120
    assert message.isprintable()


SEARCH = "search={objective: {metric: val_auc}, parameters: {PARAMETERS}}"


@pytest.mark.parametrize(
    "parameters",
    [
        "training.optimizer.learning_rate: {min: 1e-4, max: 1e-2, log: true}",
        "model.params.filters: {values: [16, 32]}",
        "model.params.blocks: {min: 2, max: 6, step: 2}",
        "data.options.augment.noise: {min: 0, max: 0.1}",
        "training.optimizer.name: {values: [adam, adamw]}",
        "training.jit: {values: [true, false]}",
        "data.options.normalize: {values: [zscore, none]}",
    ],
)
def test_a_search_may_vary_any_value_that_changes_the_model(parameters: str) -> None:
    experiment = load(SEARCH.replace("PARAMETERS", parameters))
    assert experiment.search is not None
    assert set(experiment.search.parameters) == {parameters.partition(":")[0]}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            "training.epoch: {values: [2]}",
            "search.parameters.training.epoch: no such path; did you mean 'training.epochs'? allowed: ",
        ),
        (
            "trainning.optimizer.name: {values: [adam]}",
            "search.parameters.trainning.optimizer.name: no such path; did you mean 'training.optimizer.name'?",
        ),
        ("a.b: {values: [2]}", "search.parameters.a.b: no such path; write a path of this file, such as training."),
        ("name: {values: [a]}", "search.parameters.name: does not change the model: there is nothing to search"),
        (
            "training.epochs: {values: [2, 2.5]}",
            "search.parameters.training.epochs: with 2.5: training.epochs: expected a whole number, got 2.5",
        ),
        (
            "training.epochs: {min: 0, max: 4}",
            "search.parameters.training.epochs: with 0: training.epochs: must be at least 1, got 0",
        ),
        (
            "model.params.dropout: {min: 0.0, max: 1.0}",
            "search.parameters.model.params.dropout: with 1: model.params.dropout: must be below 1, got 1",
        ),
        ("training.epochs: {values: []}", "search.parameters.training.epochs.values: empty; write at least one"),
        ("training.epochs: {}", "search.parameters.training.epochs: give both min and max, or values"),
        (
            "training.epochs: {min: 2, max: 4, values: [3]}",
            "search.parameters.training.epochs: values stand alone; take min, max, step and log away, or values",
        ),
        (
            "training.epochs: {min: 2, max: 4, step: 3}",
            "search.parameters.training.epochs.step: must fit into the range from 2 to 4, got 3",
        ),
    ],
)
def test_a_search_that_cannot_run_is_refused(parameters: str, message: str) -> None:
    mistakes = refusal(SEARCH.replace("PARAMETERS", parameters))
    assert len(mistakes) == 1
    assert mistakes[0].startswith(message)


def test_a_grid_needs_points() -> None:
    parameters = (
        "training.label_smoothing: {min: 0, max: 0.1}, training.jit: {values: [true]}, seed: {min: 1, max: 3}, "
        "model.params.dropout: {min: 0, max: 0.5}"
    )
    search = SEARCH.replace("PARAMETERS", parameters).replace("{objective", "{algorithm: grid, objective")
    assert refusal(search) == [
        "search: a grid needs points: give a step, or values, for training.label_smoothing, model.params.dropout"
    ]


def test_values_of_a_search_keep_their_types() -> None:
    experiment = load(
        SEARCH.replace("PARAMETERS", "data.options.normalize: {values: [zscore]}, seed: {values: [1, 2]}")
    )
    assert experiment.search is not None
    assert [parameter.values for parameter in experiment.search.parameters.values()] == [("zscore",), (1, 2)]
    mixed = Experiment.model_validate_json(
        json.dumps(experiment.canonical() | {"search": {
            "objective": {"metric": "val_auc"}, "parameters": {"x": {"values": ["a", 1, 2.5, True]}},
        }})
    )  # fmt: skip
    assert mixed.search is not None
    values = mixed.search.parameters["x"].values
    assert values is not None
    assert [type(value) for value in values] == [str, int, float, bool]


FULL = [
    (),
    ("training.class_weight={N: 1, V: 2}", "gate={f1/V: '>= 0.5', champion: not_worse}", "evaluation.metrics=[f1]"),
    (SEARCH.replace("PARAMETERS", "training.epochs: {min: 2, max: 4}, training.jit: {values: [true, false]}"),),
    ("name='1e3'", "data.source='no'", "tracking.experiment='null'", "registry.name='0o17'"),
    ("training.optimizer={name: sgd, learning_rate: 1, momentum: 0}", "training.schedule={name: cosine, final: 0}"),
]


@pytest.mark.parametrize("overrides", FULL)
def test_the_canonical_form_is_read_as_the_same_experiment(overrides: tuple[str, ...]) -> None:
    experiment = load(*overrides)
    assert loading.parse(documents.dump(experiment.canonical()), "canonical") == experiment


def test_the_canonical_form_writes_every_setting_of_loader_and_builder_out() -> None:
    canonical = load("model.params={filters: 8}").canonical()
    assert canonical["model"]["params"] == {
        "filters": 8,
        "growth": 0,
        "blocks": 5,
        "kernel": 5,
        "units": 64,
        "dropout": 0.0,
    }
    assert canonical["data"]["options"]["normalize"] == "zscore"


def test_the_canonical_form_is_json() -> None:
    json.dumps(load(*FULL[2]).canonical(), allow_nan=False)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
@settings(deadline=None)
def test_no_value_of_a_section_gives_a_traceback(value: Any) -> None:
    text = documents.dump(
        {"name": "x", "data": value, "model": value, "search": value, "gate": value, "training": value}
    )
    with pytest.raises(ExperimentError):
        loading.parse(text, "F")  # data and model are never valid


def test_nothing_changes_after_reading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().seed = 3
    with pytest.raises(ValueError, match="frozen"):
        Gate().champion = None


# Loaders and builders of the user's own


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that writes a module of the user's own and returns its name."""
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    written: list[str] = []

    def write(source: str) -> str:
        name = f"own_{tmp_path.name}_{len(written)}".replace("-", "_")
        (tmp_path / "own").mkdir(exist_ok=True)
        (tmp_path / "own" / f"{name}.py").write_text(textwrap.dedent(source))
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


OWN_LOADER = """
    from __future__ import annotations
    from pathlib import Path
    import numpy as np
    from parak8s.data.examples import Examples

    def read(source, *, window: int = 3, sizes: tuple[int, ...] = (1, 2), folder: Path | None = None, free=None):
        assert isinstance(sizes, tuple) and (folder is None or isinstance(folder, Path))
        inputs = np.full((2, window), sum(sizes), np.float32)
        return Examples(inputs, np.array([0, 1], np.int32), ("a", "b"))
"""


def test_a_function_is_a_loader_whose_settings_are_its_keyword_parameters(own: Any) -> None:
    name = f"{own(OWN_LOADER)}:read"
    experiment = load(f"data.loader={name}", "data.options={window: 4, sizes: [5, 6], folder: here}")
    assert experiment.data.options == {"window": 4, "sizes": [5, 6], "folder": "here", "free": None}
    examples = data.loader(name, experiment.data.options).read(Source("synthetic://x", None, ()))
    assert isinstance(examples, Examples)
    assert examples.inputs.tolist() == [[11.0] * 4] * 2


def test_settings_of_a_function_are_checked(own: Any) -> None:
    name = f"{own(OWN_LOADER)}:read"
    assert refusal(f"data.loader={name}", "data.options={windw: 4, window: 3.0, sizes: [a]}") == [
        "data.options.window: expected a whole number, got 3.0; write 3",
        "data.options.sizes.0: expected a whole number, got 'a'",
        "data.options.windw: no such key; did you mean 'window'? allowed: folder, free, sizes, window",
    ]


def test_a_default_that_no_file_can_hold_is_left_to_the_function(own: Any) -> None:
    module = own("def build(shape, classes, *, activation=print, width=3): ...")
    assert load(f"model.builder={module}:build").model.params == {"width": 3}


@pytest.mark.parametrize(
    ("source", "function", "message"),
    [
        ("", "build", "in MODULE, allowed: none"),
        ("def builds(): ...", "build", "in MODULE, did you mean 'builds'? allowed: builds"),
        ("build = 3", "build", "builder 'MODULE:build': expected a function or a class, got 3"),
        ("def build(:", "build", "importing MODULE failed: SyntaxError: invalid syntax"),
        ("1 / 0", "build", "importing MODULE failed: ZeroDivisionError: division by zero"),
        ("import no_such_library", "build", "it imports no_such_library, which is not installed here"),
        (
            "import numpy as np\ndef build(*, x: np.dtype = None): ...",
            "build",
            "a setting has a type that cannot stand",
        ),
        ("def build(*, x: 'Missing' = None): ...", "build", "a setting has a type that cannot stand in a file"),
        ("def build(*, _x=1): ...", "build", "no setting can be called _x; rename the parameter"),
        ("def build(*, model_dump=1): ...", "build", "no setting can be called model_dump; rename the parameter"),
        ("build = dict", "build", "it does not say what parameters it takes; wrap it in a function of your own"),
    ],
)
def test_a_builder_that_cannot_be_used_is_refused(own: Any, source: str, function: str, message: str) -> None:
    module = own(source)
    mistakes = refusal(f"model.builder={module}:{function}")
    assert len(mistakes) == 1
    assert mistakes[0].startswith("model.builder: ")
    assert message.replace("MODULE", module) in mistakes[0]


@pytest.mark.parametrize(
    "name", ["", ":", "a:", ":b", "a..b:c", ".a:b", "a:b.c", "a b:c", "a:b:c", "../a:b", "deep_cn"]
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"^no builder "):
        models.settings_type(name)


def test_a_required_setting_is_asked_for(own: Any) -> None:
    module = own("def build(shape, classes, *, width: int): ...")
    assert refusal(f"model.builder={module}:build") == ["model.params.width: missing; write it"]


def test_settings_are_plain_values_and_come_back_complete() -> None:
    settings = models.settings_type("deep_cnn")
    record = plugins.with_settings(settings, {"filters": 8}, "deep_cnn")
    assert plugins.written_out(record) == {
        "filters": 8,
        "growth": 0,
        "blocks": 5,
        "kernel": 5,
        "units": 64,
        "dropout": 0.0,
    }


# The JSON Schema


def test_the_shipped_schema_is_that_of_the_code() -> None:
    assert json.loads((ROOT / "experiments" / "schema.json").read_text(encoding="utf-8")) == json_schema(), (
        "make schema"
    )


def test_the_shipped_experiments_name_the_schema_for_editors() -> None:
    for path in (ROOT / "experiments").glob("*.yaml"):
        assert "# yaml-language-server: $schema=schema.json" in path.read_text(encoding="utf-8").splitlines()[:2]


def test_records_of_the_same_name_in_two_loaders_stay_apart() -> None:
    definitions = json_schema()["$defs"]
    assert set(definitions["Data.ecg.Augment"]["properties"]) == {"stretch", "scale", "noise"}
    assert {"rotation", "flip"} < set(definitions["Data.xray.Augment"]["properties"])


def test_every_reference_in_the_schema_leads_somewhere_and_every_section_is_closed() -> None:
    schema = json_schema()
    text = json.dumps(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    references = [part.partition('"')[0] for part in text.split('"$ref": "#/$defs/')[1:]]
    assert references
    assert set(references) <= set(schema["$defs"])
    assert all(
        section["additionalProperties"] is False for section in schema["$defs"].values() if "properties" in section
    )


def test_the_schema_accepts_what_is_valid_and_refuses_what_is_not() -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    validator.check_schema(json_schema())
    check = validator(json_schema())
    for path in (ROOT / "experiments").glob("*.yaml"):
        assert check.is_valid(documents.read(path).data)
    for overrides in FULL:
        assert check.is_valid(load(*overrides).canonical())
    for name in ("unknown_keys", "wrong_types", "out_of_range", "gate", "empty_sections", "missing_keys"):
        assert not check.is_valid(documents.read(BROKEN / f"{name}.yaml").data)


def test_the_schema_offers_the_settings_of_registered_loaders_and_builders() -> None:
    definitions = json_schema()["$defs"]
    assert set(definitions["Data.ecg"]["properties"]) >= {"form", "normalize", "augment"}
    assert set(definitions["ModelSpec.deep_cnn"]["properties"]) == {
        "filters",
        "growth",
        "blocks",
        "kernel",
        "units",
        "dropout",
    }
    assert set(definitions["Gate"]["properties"]) == {
        "champion", "categorical_accuracy", "auc", "precision", "recall", "f1", "ece", "brier", "sensitivity",
        "specificity",
    }  # fmt: skip


def test_flat_paths_lead_through_mappings_only() -> None:
    nested = {"a": {"b": 1, "c": {"d": [1, {"e": 2}]}}, "f": None, "g": {}}
    assert flatten(nested) == {"a.b": 1, "a.c.d": [1, {"e": 2}], "f": None}


def test_shares_may_miss_one_by_rounding_only() -> None:
    third = 1 / 3
    split = load(f"data.split={{train: {third}, validation: {third}, calibration: {third}, test: 0}}").data.split
    assert math.isclose(split.train, third)
    assert refusal("data.split={train: 0.7, validation: 0.1, calibration: 0.1, test: 0.09}") == [
        "data.split: the shares must add up to 1, got train 0.7 + validation 0.1 + calibration 0.1 + test 0.09 = 0.99"
    ]


def test_sections_alone_are_read_without_the_code_that_they_name() -> None:
    text = "name: x\ndata: {loader: 'nowhere:load', source: a}\nmodel: {builder: 'nowhere:build', params: {units: 3}}\n"
    point = loading.parse_sections(text, "settings")
    assert (point.model.params, point.training.epochs) == ({"units": 3}, 20)
    with pytest.raises(ExperimentError) as refused:
        loading.parse_sections(f"{text}training: {{epochs: 0, epoch: 1}}\n", "settings")
    assert [mistake.where for mistake in refused.value.mistakes] == ["line 4", "line 4"]
