"""Calibration: the fit against scikit-learn and known answers, and the Keras layers against NumPy."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.special import softmax as scipy_softmax
from sklearn.isotonic import IsotonicRegression

from parak8s.calibration import Calibration, fit
from parak8s.errors import InputError
from parak8s.evaluation.metrics import Meter


def drawn(n: int = 4000, k: int = 4, scale: float = 2.0, seed: int = 0) -> tuple[Any, NDArray[np.int64]]:
    """Return logits (n, k), float32, and labels drawn from their softmax: perfectly calibrated at temperature 1."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=scale, size=(n, k)).astype(np.float32)
    chosen = (scipy_softmax(logits, axis=1).cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return logits, np.minimum(chosen, k - 1)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5, 8.0])
def test_temperature_finds_the_one_that_the_logits_were_multiplied_by(temperature: float) -> None:
    logits, labels = drawn(20000)
    fitted = fit("temperature", logits * temperature, labels)
    assert fitted.temperature == pytest.approx(temperature, rel=0.05)
    assert (fitted.method, fitted.examples, fitted.knots) == ("temperature", 20000, None)


def test_temperature_has_the_least_negative_log_likelihood() -> None:
    logits, labels = drawn(500)
    fitted = fit("temperature", 3 * logits, labels).to_json()["temperature"]

    def loss(sharpness: float) -> float:
        return -float(log_softmax(3 * logits.astype(float) * sharpness, axis=1)[np.arange(500), labels].mean())

    assert 1 / fitted == pytest.approx(minimize_scalar(loss, bracket=(0.1, 1)).x, rel=1e-4)


def test_temperature_is_one_when_all_answers_are_right_and_at_its_bound_when_all_are_wrong() -> None:
    logits = 5 * np.eye(3)[[0, 1, 2, 0]]
    assert fit("temperature", logits, [0, 1, 2, 0]).temperature == 1
    assert fit("temperature", logits, [1, 2, 0, 1]).temperature == pytest.approx(100, rel=1e-3)


def test_temperature_changes_no_decision() -> None:
    logits, labels = drawn()
    after = fit("temperature", 3 * logits, labels).apply(3 * logits)
    np.testing.assert_array_equal(after.argmax(axis=1), logits.argmax(axis=1))


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_calibration_lowers_ece_and_brier_of_an_overconfident_model_on_other_examples(method: Any) -> None:
    (seen, labels), (unseen, truth) = drawn(), drawn(seed=1)
    before = Meter(fit("none", seen, labels).apply(4 * unseen), truth, "abcd").values()
    after = Meter(fit(method, 4 * seen, labels).apply(4 * unseen), truth, "abcd").values()
    assert before["ece"] > 0.15 > 0.05 > after["ece"]
    assert after["brier"] < before["brier"] - 0.05


def test_isotonic_is_scikit_learns_per_class_with_rows_divided_by_their_sum() -> None:
    (seen, labels), (unseen, _) = drawn(600), drawn(600, seed=1)
    maps = [
        IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(column, labels == k).predict
        for k, column in enumerate(scipy_softmax(seen.astype(float), axis=1).T)
    ]
    columns = scipy_softmax(unseen.astype(float), axis=1).T
    expected: Any = np.stack([one(column) for one, column in zip(maps, columns, strict=True)], axis=1)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fit("isotonic", seen, labels).apply(unseen), expected, atol=1e-6)


def test_isotonic_keeps_the_softmax_where_every_map_gives_zero() -> None:
    step = ((0.5, 0.6), (0.0, 1.0))
    calibration = Calibration("isotonic", 9, knots=(step, step, step))
    logits = np.log([[0.4, 0.35, 0.25], [0.55, 0.45, 1e-9]])
    np.testing.assert_allclose(calibration.apply(logits), [[0.4, 0.35, 0.25], [1.0, 0.0, 0.0]], atol=1e-6)


def test_none_is_the_softmax() -> None:
    logits, labels = drawn(50)
    calibration = fit("none", logits, labels)
    assert calibration == Calibration("none", 50)
    np.testing.assert_allclose(calibration.apply(logits), scipy_softmax(logits, axis=1), atol=1e-6)


@pytest.mark.parametrize("method", ["temperature", "isotonic", "none"])
def test_probabilities_are_float32_and_sum_to_one_even_for_enormous_logits(method: Any) -> None:
    logits, labels = drawn(300)
    got = fit(method, logits, labels).apply(np.concatenate([logits, 1e6 * logits, -1e30 * np.abs(logits)]))
    assert got.dtype == np.float32
    assert (got >= 0).all()
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("method", ["temperature", "isotonic", "none"])
def test_a_calibration_comes_back_from_json_with_every_digit(method: Any) -> None:
    calibration = fit(method, *drawn(300))
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration


def test_calibration_json_names_what_was_fitted() -> None:
    maps = (((0.1, 0.9), (0.0, 1.0)), ((0.5,), (0.25,)))
    assert Calibration("temperature", 7, temperature=1.5).to_json() == {
        "method": "temperature",
        "examples": 7,
        "temperature": 1.5,
    }
    assert Calibration("isotonic", 7, knots=maps).to_json() == {
        "method": "isotonic",
        "examples": 7,
        "knots": [{"x": [0.1, 0.9], "y": [0.0, 1.0]}, {"x": [0.5], "y": [0.25]}],
    }
    assert Calibration("none", 7).to_json() == {"method": "none", "examples": 7}


@pytest.mark.parametrize(
    ("method", "logits", "labels", "message"),
    [
        ("temperature", np.empty((0, 2)), [], "temperature calibration: the calibration split has no examples; give"),
        ("isotonic", np.empty((0, 2)), [], "isotonic calibration: the calibration split has no examples; give data.sp"),
        (
            "isotonic",
            np.zeros((4, 2)),
            [0, 0, 0, 1],
            "isotonic calibration needs 2 examples of every class, and class V has 1; give data.split.calibration"
            " a larger share, or write evaluation.calibration: temperature",
        ),
        ("temperature", [[0, np.nan]], [0], "calibration example 0: a logit is not a finite number; the training has"),
        ("temperature", [[0, 1]], [2], "labels must be 0 to 1 for 2 columns of logits, got 2 to 2"),
        ("none", [0, 1], [2], "expected logits (n, k) and labels (n,), got (2,) and (1,)"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_the_fix(method: Any, logits: Any, labels: Any, message: str) -> None:
    with pytest.raises(InputError) as refused:
        fit(method, logits, labels, classes=("N", "V"))
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "platt", "examples": 1}, "no calibration 'platt'; allowed: temperature, isotonic, none"),
        ({"method": "temperature", "examples": 1}, "temperature: a temperature goes with temperature"),
        ({"method": "none", "examples": 1, "temperature": 2.0}, "none: a temperature goes with temperature"),
        (
            {"method": "temperature", "examples": 1, "temperature": 0},
            "the temperature must be finite and above 0, got 0",
        ),
        ({"method": "isotonic", "examples": 1, "knots": [{"x": [1, 0], "y": [0, 1]}]}, "knots of class 0: expected"),
        ({"method": "isotonic", "examples": 1, "knots": [{"x": [0, 1], "y": [1, 0]}]}, "knots of class 0: expected"),
        (
            {"method": "isotonic", "examples": 1, "knots": [{"x": [0, 1]}]},
            "calibration.json is damaged (KeyError('y'))",
        ),
        ({"examples": 1}, "calibration.json is damaged (KeyError('method')); repeat the step calibrate"),
    ],
)
def test_a_damaged_calibration_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        Calibration.from_json(values)
    assert str(refused.value).startswith(message)


def test_isotonic_refuses_logits_of_another_number_of_classes() -> None:
    with pytest.raises(InputError, match=r"fitted for logits \(n, 4\), got \(1, 3\)"):
        fit("isotonic", *drawn(300)).apply([[0, 1, 2]])


STEEP = Calibration("isotonic", 9, knots=(((0.5, 0.5 + 1e-9), (0.0, 1.0)), ((0.3,), (0.7,)), ((0.0, 1.0), (0.1, 0.1))))
CALIBRATIONS = {
    "none": Calibration("none", 9),
    "temperature": fit("temperature", 3 * drawn(500, k=3)[0], drawn(500, k=3)[1]),
    "cold": Calibration("temperature", 9, temperature=0.07),
    "isotonic": fit("isotonic", *drawn(500, k=3)),
    "steep": STEEP,
    "constant": Calibration("isotonic", 9, knots=(((0.5,), (0.2,)),) * 3),
    "zero": Calibration("isotonic", 9, knots=(((0.4, 0.6), (0.0, 1.0)),) * 3),
}


@pytest.fixture(scope="module")
def keras() -> Any:
    """Keras, imported when the first test needs it."""
    import keras

    return keras


@pytest.fixture(scope="module")
def logits() -> Any:
    """Return logits (n, 3), float32: usual, tiny, large and equal ones, and those just beside a knot."""
    values = drawn(300, k=3, seed=8)[0]
    beside = np.log([[0.5, 0.25, 0.25], [0.5 + 1e-7, 0.25, 0.25 - 1e-7], [0.4, 0.3, 0.3]])
    return np.concatenate([values, 1e-6 * values, 30 * values, values + 500, beside, np.zeros((1, 3))]).astype("f4")


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_the_layer_equals_numpy_in_eager_mode_in_a_graph_saved_and_exported(
    name: str, keras: Any, logits: Any, tmp_path: Path
) -> None:
    import tensorflow as tf

    from parak8s.models.calibrators import layer_of

    expected = CALIBRATIONS[name].apply(logits)
    layer = layer_of(CALIBRATIONS[name])
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    model.export(str(tmp_path / "saved_model"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serving_default"]
    got = {
        "eager": layer(logits),
        "graph": tf.function(layer)(logits),
        "model": model.predict(logits, verbose=0),
        "loaded": keras.saving.load_model(tmp_path / "model.keras")(logits),
        "exported": next(iter(served(tf.constant(logits)).values())),
    }
    for way, probabilities in got.items():
        np.testing.assert_allclose(np.asarray(probabilities), expected, atol=1e-6, err_msg=way)


@pytest.mark.parametrize("name", ["none", "temperature", "isotonic"])
def test_the_layer_returns_float32_of_full_precision_under_mixed_precision(name: str, keras: Any, logits: Any) -> None:
    from parak8s.models.calibrators import layer_of

    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        got = layer_of(CALIBRATIONS[name])(logits)
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
    assert got.dtype == "float32"
    np.testing.assert_allclose(np.asarray(got), CALIBRATIONS[name].apply(logits), atol=1e-6)


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_the_layer_is_named_probabilities_and_comes_back_from_its_config(name: str, keras: Any) -> None:
    from parak8s.models.calibrators import layer_of

    layer = layer_of(CALIBRATIONS[name])
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(layer))))
    assert again.name == "probabilities"
    assert again.get_config() == layer.get_config()
