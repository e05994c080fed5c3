"""Simulated chests: the same for ever, of two classes that can be told apart, no two alike."""

import hashlib

import numpy as np
import pytest

from parak8s.data.likeness import near_duplicates
from parak8s.data.sources import fetch
from parak8s.data.xray import XRayLoader, synthetic


def test_the_same_url_gives_the_same_chests_and_another_seed_others() -> None:
    one, again, other = (synthetic.simulate(images=20, seed=seed)[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.9


def test_the_chests_of_a_seed_stay_what_they_are() -> None:
    pixels, labels, patients = synthetic.simulate(images=40, seed=7)
    digest = hashlib.sha256(labels.astype(np.uint8).tobytes() + patients.astype(np.uint16).tobytes())
    assert digest.hexdigest()[:16] == "d0a5258ec7080de3"
    assert pixels.mean() == pytest.approx(136.041, abs=0.01)


def test_patients_have_one_to_three_images_of_one_class() -> None:
    _, labels, patients = synthetic.simulate(images=300, seed=0)
    _, counts = np.unique(patients, return_counts=True)
    assert set(counts.tolist()) == {1, 2, 3}
    assert all(len(set(labels[patients == patient])) == 1 for patient in patients)
    assert 0.5 < labels.mean() < 0.7


def test_opacities_brighten_the_lungs() -> None:
    pixels, labels, _ = synthetic.simulate(images=400, seed=1)
    lungs = pixels[:, 30:80, 25:50].mean(axis=(1, 2)) - pixels[:, 100:120, 40:90].mean(axis=(1, 2))
    assert lungs[labels == 1].mean() > lungs[labels == 0].mean() + 5


def test_a_plain_classifier_learns_something_but_not_everything() -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    pixels, labels, patients = synthetic.simulate(images=600, seed=2)
    small = pixels.reshape(600, 16, 8, 16, 8).mean(axis=(2, 4)).reshape(600, -1)
    learn = patients <= np.median(patients)
    forest = RandomForestClassifier(40, random_state=0).fit(small[learn], labels[learn])
    assert 0.75 < roc_auc_score(labels[~learn], forest.predict_proba(small[~learn])[:, 1]) < 0.995


def test_no_two_patients_look_nearly_the_same() -> None:
    pixels, _, patients = synthetic.simulate(images=400, seed=3)
    groups = near_duplicates(pixels[..., None])
    assert all(patients[group] == patient for group, patient in zip(groups, patients, strict=True))


def test_the_loader_resizes_them_and_knows_the_patients() -> None:
    examples = XRayLoader(size=48).read(fetch("synthetic://xray?images=12&seed=1"))
    assert examples.inputs.shape == (12, 48, 48, 1)
    assert examples.classes == ("NORMAL", "PNEUMONIA")
    assert examples.patients is not None
    assert set(examples.labels.tolist()) == {0, 1}
