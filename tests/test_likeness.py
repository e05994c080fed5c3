"""Images that show nearly the same are found; others, however alike, are not."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from parak8s.data.likeness import near_duplicates
from xray_files import SHARED, Pixels


def stack(images: list[Image.Image]) -> Pixels:
    return np.stack([np.asarray(image.convert("L").resize((224, 224))) for image in images])[..., None]


def saved(image: Image.Image) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=35)
    return Image.open(out)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "the same": lambda image: image,
    "saved again": saved,
    "smaller": lambda image: image.resize((70, 70), Image.Resampling.LANCZOS),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
}


def clouds(count: int, seed: int = 0) -> list[Image.Image]:
    coarse = np.random.default_rng(seed).integers(40, 200, (count, 9, 9)).astype(np.uint8)
    return [Image.fromarray(each).resize((224, 224), Image.Resampling.BICUBIC) for each in coarse]


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_found(name: str) -> None:
    originals = clouds(20)
    groups = near_duplicates(stack(originals + [CHANGES[name](image) for image in originals]))
    assert groups.tolist() == [*range(20), *range(20)]


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the X-rays in ../shared/data/xray")
def test_of_real_x_rays_changed_copies_are_found_and_no_two_patients_are_mistaken() -> None:
    files = sorted((SHARED / "chest_xray_224").rglob("*.jpeg"))
    images = [Image.open(file).convert("L") for file in files]
    groups = near_duplicates(stack(images))
    same = [(files[first].name, files[row].name) for row, first in enumerate(groups) if first != row]
    assert same == [
        ("NORMAL2-IM-0587-0001-0001.jpeg", "NORMAL2-IM-0587-0001-0002.jpeg"),
        ("person1312_bacteria_3317.jpeg", "person1312_bacteria_3318.jpeg"),
        ("person1349_bacteria_3436.jpeg", "person1349_bacteria_3437.jpeg"),
    ]
    some = images[::9]
    for name, change in CHANGES.items():
        found = near_duplicates(stack(some + [change(image) for image in some]))[len(some) :]
        assert (found < len(some)).mean() == 1, name


def test_even_images_are_the_same_as_each_other_only_where_they_are_even() -> None:
    images = np.zeros((3, 32, 32, 1), np.uint8)
    images[2] = np.random.default_rng(0).integers(0, 255, (32, 32, 1))
    assert near_duplicates(images)[2] == 2


def test_a_chain_of_alike_images_is_one_group_named_by_its_first() -> None:
    image = clouds(1)[0]
    copies = [image.point(lambda value, step=step: min(value + step, 255)) for step in range(0, 50, 10)]
    others = clouds(2, seed=5)
    assert near_duplicates(stack([others[0], *copies, others[1]])).tolist() == [0, 1, 1, 1, 1, 1, 6]
