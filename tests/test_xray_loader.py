"""The loader ``xray``: what it makes of folders, tables, archives and simulations, and how these are split."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from parak8s import data
from parak8s.data import splits
from parak8s.data.examples import Examples
from parak8s.data.sources import fetch
from parak8s.data.xray import Augment, XRayLoader
from parak8s.errors import InputError
from parak8s.experiment import Split
from xray_files import SHARED, class_folders, encoded, jpeg, smooth, write

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the X-rays in ../shared/data/xray")


def read(source: Path | str, **options: Any) -> Examples:
    loader = XRayLoader(**{"size": 32} | options)
    return loader.read(loader.gather(fetch(str(source))))


def kermany(folder: Path, patients: int = 30) -> Path:
    """Write a small set of the layout and the names of Kermany et al., two images a patient."""
    files = {}
    for number in range(patients):
        part = "train" if number % 5 else "test"
        for image in (1, 2):
            ill = f"{part}/PNEUMONIA/person{number}_bacteria_{number * 2 + image}.jpeg"
            well = f"{part}/NORMAL/{'NORMAL2-' * (number % 2)}IM-{number:04}-000{image}.jpeg"
            files[ill], files[well] = (
                jpeg(smooth(seed=4 * number + image)),
                jpeg(smooth(seed=4000 + 4 * number + image)),
            )
    return write(folder, files)


def test_the_loader_is_registered_and_explains_every_setting() -> None:
    assert data.loader_type("xray") is XRayLoader
    schema = XRayLoader.model_json_schema()
    records = [schema, *schema["$defs"].values()]
    assert [
        name for record in records for name, field in record["properties"].items() if "description" not in field
    ] == []


@pytest.mark.parametrize(
    "options",
    [
        {"size": 8},
        {"size": 2000},
        {"fit": "stretch"},
        {"form": "dicom"},
        {"near_duplicates": "keep"},
        {"on_bad": "ignore"},
        {"identifiers": "strip"},
        {"patient": "person("},
        {"normalize": "minmax"},
        {"augment": {"rotation": 200}},
        {"augment": {"zoom": 0.6}},
        {"augment": {"flip": 1}},
    ],
)
def test_wrong_settings_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        XRayLoader.model_validate(options)


def test_nothing_is_varied_and_no_chest_is_mirrored_unless_the_file_says_so() -> None:
    assert set(Augment().model_dump(exclude={"rate"}).values()) == {0}


def test_class_folders_give_grey_squares_with_the_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    examples = read(class_folders(tmp_path, classes=("VIRUS", "bacteria", "NORMAL")), near_duplicates="allow")
    assert examples.classes == ("NORMAL", "VIRUS", "bacteria")
    assert examples.inputs.shape == (9, 32, 32, 1)
    assert examples.inputs.dtype == np.uint8
    assert examples.names is not None
    assert examples.names[0] == "NORMAL/0.png"
    assert examples.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert examples.test is None
    assert examples.patients is None


def test_files_beside_the_class_folders_and_hidden_ones_do_not_count(tmp_path: Path) -> None:
    write(class_folders(tmp_path), {"LICENSE": b"CC BY 4.0", "NORMAL/.DS_Store": b"x", ".git/config": b"x"})
    assert len(read(tmp_path)) == 6


def test_names_with_spaces_and_other_letters_and_images_in_deeper_folders_are_read(tmp_path: Path) -> None:
    image = encoded(smooth())
    write(tmp_path, {"a b/пациент 1/肺 ü.png": image, "c/x.png": image})
    assert read(tmp_path, near_duplicates="allow").names == ["a b/пациент 1/肺 ü.png", "c/x.png"]


def test_the_kermany_layout_gives_parts_and_patients(tmp_path: Path) -> None:
    examples = read(kermany(tmp_path))
    assert examples.classes == ("NORMAL", "PNEUMONIA")
    assert examples.test is not None
    assert examples.test.sum() == 24
    assert examples.patients is not None
    assert examples.names is not None
    who = dict(zip(examples.names, examples.patients.tolist(), strict=True))
    assert who["train/PNEUMONIA/person7_bacteria_15.jpeg"] == "person7"
    assert who["train/NORMAL/NORMAL2-IM-0007-0001.jpeg"] == "IM-0007"
    assert len(set(who.values())) == 60


def test_a_pattern_with_groups_says_only_what_is_in_them(tmp_path: Path) -> None:
    image = encoded(smooth())
    write(tmp_path, {"a/site3-case12-x.png": image, "b/site4-case12.png": image, "b/other.png": image})
    examples = read(tmp_path, patient=r"site(\d+)-case(\d+)", near_duplicates="allow")
    assert examples.patients is not None
    assert examples.patients.tolist()[::2] == ["3_12", "4_12"]


def test_images_of_whom_nobody_knows_are_of_different_people_and_their_names_are_not_kept(tmp_path: Path) -> None:
    image = encoded(smooth())
    write(tmp_path, {"a/person1_x.png": image, "a/Doe Jane.png": image, "b/Doe Jane.png": image})
    examples = read(tmp_path, near_duplicates="allow")
    assert examples.patients is not None
    assert len(set(examples.patients.tolist())) == 3
    assert "person1" in examples.patients.tolist()
    assert not any("Doe" in patient or "Jane" in patient for patient in examples.patients.tolist())


def test_a_split_by_patient_keeps_patients_together_and_does_not_change_when_images_are_added(tmp_path: Path) -> None:
    split = Split(by="patient", train=0.5, validation=0.2, calibration=0.1, test=0.2)

    def of_patients() -> Mapping[str, str]:
        examples = read(tmp_path, test_part="none", near_duplicates="allow")
        assert examples.patients is not None
        found = {name: set(examples.patients[rows].tolist()) for name, rows in splits.assign(examples, split).items()}
        assert sum(map(len, found.values())) == len(set().union(*found.values()))
        return {patient: name for name, patients in found.items() for patient in patients}

    kermany(tmp_path, 30)
    before = of_patients()
    kermany(tmp_path, 40)
    after = of_patients()
    assert {patient: after[patient] for patient in before} == before


def test_the_part_that_is_the_test_set_can_be_chosen(tmp_path: Path) -> None:
    parts = ("train", "validation", "test")
    for index, part in enumerate(parts):
        for label, name in enumerate(("A", "B")):
            files = {
                f"{part}/{name}/{row}.png": encoded(smooth(seed=100 * index + 10 * label + row)) for row in range(3)
            }
            write(tmp_path, files)

    def test_names(part: str) -> tuple[int, set[str]]:
        examples = read(tmp_path, test_part=part)
        assert examples.names is not None
        chosen = examples.test if examples.test is not None else np.zeros(len(examples), bool)
        return len(examples), {
            name.split("/")[0] for name, is_test in zip(examples.names, chosen, strict=True) if is_test
        }

    assert test_names("test") == (18, {"test"})
    assert test_names("val") == (12, {"validation"})
    assert test_names("none") == (18, set())


def test_a_part_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {f"train/{name}/1.png": encoded(smooth()) for name in "AB"})
    with pytest.raises(InputError, match=r"has no part val, which data\.options\.test_part names"):
        read(tmp_path, test_part="val")


def test_a_table_gives_labels_patients_and_parts(tmp_path: Path) -> None:
    files = {f"in/{row}.png": encoded(smooth(seed=row)) for row in range(4)}
    table = (
        "\ufeffLabel,note,path,Patient,split\nill,,in/0.png,p1,train\n\nwell,x,in/1.png,,test\nill,,in/2.png,p2,val\n"
    )
    write(tmp_path, files | {"images.csv": table.encode()})
    examples = read(tmp_path / "images.csv")
    assert examples.classes == ("ill", "well")
    assert examples.labels.tolist() == [0, 1, 0]
    assert examples.names == ["in/0.png", "in/1.png", "in/2.png"]
    assert examples.patients is not None
    assert examples.patients.tolist()[::2] == ["p1", "p2"]
    assert examples.test is not None
    assert examples.test.tolist() == [False, True, False]


def test_the_digest_of_a_table_covers_the_images_that_it_lists_and_no_others(tmp_path: Path) -> None:
    files = {f"{row}.png": encoded(smooth(seed=row)) for row in range(3)}
    write(tmp_path, files | {"t.csv": b"path,label\n0.png,a\n1.png,b\n"})
    loader = XRayLoader()

    def digest() -> str | None:
        return loader.gather(fetch(str(tmp_path / "t.csv"))).digest()

    first = digest()
    (tmp_path / "2.png").write_bytes(b"another")
    assert digest() == first
    (tmp_path / "1.png").write_bytes(encoded(smooth(seed=9)))
    assert digest() != first


def archive(path: Path, **arrays: object) -> Path:
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]
    path.write_bytes(out.getvalue())
    return path


def test_an_archive_gives_its_pixels_as_they_are(tmp_path: Path) -> None:
    images = np.stack([smooth(28, 28, seed) for seed in range(6)])
    path = archive(
        tmp_path / "a.npz",
        train_images=images[:4],
        train_labels=np.array([[0], [1], [1], [0]], np.uint8),
        test_images=images[4:],
        test_labels=np.array([[1], [0]], np.uint8),
    )
    examples = read(path, size=28)
    np.testing.assert_array_equal(examples.inputs[..., 0], images)
    assert examples.labels.tolist() == [0, 1, 1, 0, 1, 0]
    assert examples.test is not None
    assert examples.test.tolist() == [False] * 4 + [True] * 2


@needs_shared
def test_pneumoniamnist_is_read_whole_and_its_eight_images_in_two_parts_are_found() -> None:
    path = SHARED / "pneumoniamnist.npz"
    examples = read(path, size=28, test_part="val")
    assert np.bincount(examples.labels).tolist() == [1214 + 135, 3494 + 389]
    with pytest.raises(InputError, match=r"the same example is in .*, and 7 more: .*near_duplicates: drop"):
        splits.assign(examples, Split(train=0.8, validation=0.1, calibration=0.1, test=0.0))
    dropped = read(path, size=28, test_part="val", near_duplicates="drop")
    assert dropped.test is not None
    pixels = {row.tobytes() for row in dropped.inputs[~dropped.test]}
    assert not any(row.tobytes() in pixels for row in dropped.inputs[dropped.test])
    assert splits.assign(dropped, Split(train=0.8, validation=0.1, calibration=0.1, test=0.0))["test"].size >= 522


@needs_shared
def test_the_shared_kermany_images_have_patients_and_no_duplicates_across_parts() -> None:
    examples = read(SHARED / "chest_xray_224")
    assert np.bincount(examples.labels).tolist() == [590, 1100]
    assert examples.test is not None
    assert examples.test.sum() == 310
    rows = splits.assign(examples, Split(by="patient", train=0.8, validation=0.1, calibration=0.1, test=0.0))
    assert len(rows["test"]) == 310


def copies(folder: Path) -> Path:
    """Write 40 images of two classes into train, and three of them again, changed, into test."""
    files = {f"train/{'AB'[row % 2]}/{row}.png": encoded(smooth(96, 96, row)) for row in range(40)}
    again = [Image.fromarray(smooth(96, 96, row)) for row in range(3)]
    files["test/A/saved again.jpeg"] = jpeg(np.asarray(again[0]), quality=40)
    files["test/B/smaller.png"] = encoded(np.asarray(again[1].resize((50, 50), Image.Resampling.BICUBIC)))
    files["test/A/brighter.png"] = encoded(np.asarray(again[2].point(_brighter)))
    files["test/B/new.png"] = encoded(smooth(96, 96, 999))
    return write(folder, files)


def _brighter(value: int) -> int:
    return min(round(value * 1.05 + 5), 255)


def test_near_duplicates_across_splits_are_refused_with_their_names(tmp_path: Path) -> None:
    examples = read(copies(tmp_path), size=64)
    with pytest.raises(InputError) as caught:
        splits.assign(examples, Split(train=0.7, validation=0.15, calibration=0.15, test=0.0))
    assert "nearly the same example is in" in str(caught.value)
    assert "and 2 more: the test would flatter the model" in str(caught.value)
    assert "(test/A/" in str(caught.value)


def test_near_duplicates_are_dropped_from_what_is_learned_so_that_the_test_set_stays_whole(tmp_path: Path) -> None:
    examples = read(copies(tmp_path), size=64, near_duplicates="drop")
    assert examples.about["near-duplicates left out"] == 3
    assert examples.names is not None
    assert {name for name in examples.names if name.startswith("test")} == {
        "test/A/saved again.jpeg",
        "test/B/smaller.png",
        "test/A/brighter.png",
        "test/B/new.png",
    }
    assert not {"train/A/0.png", "train/B/1.png", "train/A/2.png"} & set(examples.names)
    splits.assign(examples, Split(train=0.7, validation=0.15, calibration=0.15, test=0.0))


def test_the_data_card_tells_what_was_done(tmp_path: Path) -> None:
    about = read(class_folders(tmp_path), fit="letterbox").about
    assert about["images"] == 6
    assert about["square"] == "32 x 32 pixels, letterbox"
    assert "Kermany et al. (2018)" in str(about["origin"])
