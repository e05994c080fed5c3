"""Simulated beats: the same for ever, of the same form as real ones, in five classes that differ as real ones do."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from parak8s.data.ecg import ECGLoader, synthetic
from parak8s.data.simulation import settings as settings_of
from parak8s.data.sources import fetch
from parak8s.errors import InputError

N, S, V, F, Q = range(5)


@pytest.fixture(scope="module")
def drawn() -> synthetic.Digitized:
    return synthetic.simulate(beats=6000, seed=0)


def test_the_same_url_gives_the_same_beats_for_ever() -> None:
    beats = synthetic.simulate(beats=600, seed=7)
    digest = hashlib.sha256()
    for array, dtype in ((beats.num, "<u2"), (beats.den, "<u2"), (beats.labels, "<i4"), (beats.patients, "<i8")):
        digest.update(array.astype(dtype).tobytes())
    assert digest.hexdigest() == "2755d67a65fc6a60bb2ca25bb217d160ad9307a67df2a4637d8c509f89e7426b"


def test_another_seed_gives_other_beats() -> None:
    one, two = (synthetic.simulate(beats=100, seed=seed) for seed in (0, 1))
    assert not np.array_equal(one.num, two.num)


@settings(max_examples=20, deadline=None)
@given(beats=st.integers(10, 700), seed=st.integers(0, 2**63 - 1))
def test_beats_have_the_form_of_real_ones(beats: int, seed: int) -> None:
    drawn = synthetic.simulate(beats=beats, seed=seed)
    assert drawn.num.shape == (beats, 187)
    assert drawn.den.min() >= 30
    assert drawn.den.max() <= 2047
    assert (drawn.num.max(axis=1) <= drawn.den).all()
    assert (drawn.num.min(axis=1) == 0).mean() > 0.9  # all but long beats with their lowest sample after the cut
    assert set(drawn.labels) == {N, S, V, F, Q}
    assert drawn.patients.min() >= 1
    assert drawn.patients.max() <= 48
    assert (np.diff(drawn.patients) >= 0).all()


@pytest.mark.parametrize(
    ("beats", "counts"),
    [
        (87_554, [72_471, 2223, 5788, 641, 6431]),  # the MIT-BIH train set
        (12_000, [9935, 304, 793, 87, 881]),
        (1000, [781, 40, 66, 40, 73]),
        (10, [6, 1, 1, 1, 1]),
    ],
)
def test_classes_are_imbalanced_as_in_mit_bih(beats: int, counts: list[int]) -> None:
    got = synthetic.class_counts(beats)
    assert got.sum() == beats
    assert got.tolist() == counts


def test_the_loader_returns_beats_patients_and_facts() -> None:
    examples = ECGLoader().read(fetch("synthetic://ecg?beats=500&seed=3"))
    drawn = synthetic.simulate(beats=500, seed=3)
    assert examples.inputs.dtype == np.float32
    assert np.array_equal(examples.inputs, (drawn.num / drawn.den[:, None].astype(float)).astype(np.float32))
    assert examples.patients is not None
    assert examples.patients.tolist() == drawn.patients.tolist()
    assert examples.test is None
    assert "McSharry" in str(examples.about["origin"])


def test_the_defaults_are_12000_beats_of_seed_0() -> None:
    assert settings_of("synthetic://ecg", "ecg", synthetic.SETTINGS) == {"beats": 12_000, "seed": 0}
    assert settings_of("synthetic://ecg?seed=4", "ecg", synthetic.SETTINGS) == {"beats": 12_000, "seed": 4}


@pytest.mark.parametrize(
    ("url", "fragment"),
    [
        ("synthetic://eeg", "no simulation 'eeg'; did you mean 'ecg'?"),
        ("synthetic://ecg?beat=10", "no setting 'beat'; did you mean 'beats'? allowed: beats, seed"),
        ("synthetic://ecg?beats=9", "beats: expected a whole number from 10 to 1,000,000, got '9'"),
        ("synthetic://ecg?beats=1e3", "got '1e3'"),
        ("synthetic://ecg?beats=", "got ''"),
        ("synthetic://ecg?beats", "got ''"),
        ("synthetic://ecg?beats=2000000", "from 10 to 1,000,000"),
        ("synthetic://ecg?seed=-1", "seed: expected a whole number from 0"),
        ("synthetic://ecg?seed=" + "9" * 5000, "seed: expected a whole number from 0"),
        ("synthetic://ecg?seed=1&seed=2", "seed given twice"),
    ],
)
def test_a_wrong_url_gives_one_clear_message(url: str, fragment: str) -> None:
    with pytest.raises(InputError) as caught:
        ECGLoader().read(fetch(url))
    assert fragment in str(caught.value)


def length(drawn: synthetic.Digitized) -> NDArray[np.int64]:
    return np.array([np.flatnonzero(row)[-1] + 1 for row in drawn.num])


def scaled(drawn: synthetic.Digitized, label: int) -> NDArray[np.float64]:
    rows = drawn.labels == label
    return np.array(drawn.num[rows] / drawn.den[rows, None].astype(float), np.float64)


def test_beats_last_as_long_as_real_ones(drawn: synthetic.Digitized) -> None:
    median = np.median(length(drawn))
    assert 95 <= median <= 130  # real beats: 106 samples, 0.9 s
    assert np.mean(length(drawn) < 45) < 0.01


def test_normal_beats_begin_and_end_with_the_r_peak(drawn: synthetic.Digitized) -> None:
    assert np.median(scaled(drawn, N)[:, 0]) > 0.9


def test_ventricular_beats_are_wide(drawn: synthetic.Digitized) -> None:
    width = {label: np.median(scaled(drawn, label)[:, 4]) for label in (N, V)}
    start = scaled(drawn, V)
    upright = start[start[:, 0] > 0.5]
    assert np.median(upright[:, 4]) > width[N] + 0.2  # 33 ms after the peak


def test_a_pause_follows_ventricular_beats(drawn: synthetic.Digitized) -> None:
    alone = length(drawn)[:-1][(drawn.labels[:-1] == V) & (drawn.labels[1:] == N)]
    normal = length(drawn)[:-1][(drawn.labels[:-1] == N) & (drawn.labels[1:] == N)]
    assert np.median(alone) > 1.15 * np.median(normal)


def test_premature_beats_come_early(drawn: synthetic.Digitized) -> None:
    before = {label: length(drawn)[:-1][(drawn.labels[:-1] == N) & (drawn.labels[1:] == label)] for label in (N, S, V)}
    assert np.median(before[S]) < 0.9 * np.median(before[N])
    assert np.median(before[V]) < 0.9 * np.median(before[N])


def test_paced_beats_come_from_few_patients(drawn: synthetic.Digitized) -> None:
    assert set(drawn.patients[drawn.labels == Q]) == {1, 2, 3, 4}


def test_a_forest_learns_most_but_not_all(drawn: synthetic.Digitized) -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    inputs = (drawn.num / drawn.den[:, None].astype(float)).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(inputs))
    train, test = order[:3000], order[3000:4500]
    forest = ensemble.RandomForestClassifier(25, n_jobs=1, random_state=0).fit(inputs[train], drawn.labels[train])
    accuracy = np.mean(forest.predict(inputs[test]) == drawn.labels[test])
    assert 0.93 <= accuracy <= 0.985
