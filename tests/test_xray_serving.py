"""The servable of an X-ray model takes image files, and answers as the Python path does, which reads by Pillow."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import ExifTags, Image

from parak8s.calibration import Calibration
from parak8s.data.prepared import Manifest
from parak8s.data.xray import XRayLoader
from parak8s.data.xray.decoding import Decoder
from parak8s.data.xray.frame import Frame
from parak8s.data.xray.synthetic import simulate
from parak8s.errors import InputError
from parak8s.experiment import ModelSpec
from parak8s.models import classifier
from parak8s.models.encoded_images import ImageDecoder
from xray_files import SHARED, Pixels, encoded, jpeg, smooth, write

SIZE = 64
SHAPES = ((96, 96), (64, 64), (97, 130), (200, 77), (31, 45), (900, 1201), (513, 512))


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def deep(height: int, width: int) -> bytes:
    return encoded(np.random.default_rng(1).integers(300, 50_000, (height, width)).astype(np.uint16))


def of_mode(mode: str) -> Callable[[int, int], bytes]:
    def make(height: int, width: int) -> bytes:
        out = io.BytesIO()
        Image.fromarray(noise(height, width, 3)).convert(mode).save(out, "PNG")
        return out.getvalue()

    return make


def opaque(height: int, width: int) -> bytes:
    return encoded(np.dstack([noise(height, width, 3), np.full((height, width), 255, np.uint8)]))


KINDS: dict[str, Callable[[int, int], bytes]] = {
    "grey.png": lambda height, width: encoded(noise(height, width)),
    "colour.png": lambda height, width: encoded(noise(height, width, 3)),
    "opaque.png": opaque,
    "palette.png": of_mode("P"),
    "bits.png": of_mode("1"),
    "deep.png": deep,
    "soft.jpg": lambda height, width: jpeg(smooth(height, width)),
    "grey.jpg": lambda height, width: jpeg(noise(height, width)),
    "colour.jpg": lambda height, width: jpeg(noise(height, width, 3)),
    "progressive.jpg": lambda height, width: jpeg(smooth(height, width), progressive=True),
}


def decoded(files: list[bytes], frame: Frame, levels: Any = "depth") -> tuple[Pixels, list[bool]]:
    pixels, known = tf.function(ImageDecoder(frame, levels).__call__)(tf.constant(files))
    return pixels.numpy(), known.numpy().tolist()


@pytest.mark.parametrize("fit", ["crop", "letterbox"])
@pytest.mark.parametrize("levels", ["depth", "range"])
def test_a_file_of_any_kind_gives_pillows_pixels_to_the_last_bit(tmp_path: Path, fit: Any, levels: Any) -> None:
    files = {f"{h}x{w} {kind}": make(h, w) for kind, make in KINDS.items() for h, w in SHAPES}
    write(tmp_path, files)
    pixels, known = decoded(list(files.values()), Frame(SIZE, fit), levels)
    assert all(known)
    for name, got in zip(files, pixels, strict=True):
        np.testing.assert_array_equal(
            got, Decoder(Frame(SIZE, fit), levels, "refuse").read(tmp_path / name), err_msg=name
        )


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared X-rays")
@pytest.mark.parametrize("size", [64, 224])
def test_real_x_rays_give_pillows_pixels_to_the_last_bit(size: int) -> None:
    paths = sorted(SHARED.rglob("*.jpeg"))[::4]
    pixels, known = decoded([path.read_bytes() for path in paths], Frame(size, "crop"))
    assert len(paths) > 20
    assert all(known)
    for path, got in zip(paths, pixels, strict=True):
        np.testing.assert_array_equal(
            got, Decoder(Frame(size, "crop"), "depth", "refuse").read(path), err_msg=path.name
        )


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_what_the_file_says_of_its_orientation_is_carried_out(tmp_path: Path, kind: str, order: str) -> None:
    exif = Image.Exif()
    exif.endian = order
    files = {}
    for orientation in range(10):
        exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "a camera", orientation
        files[str(orientation)] = encoded(smooth(97, 130), kind, exif=exif.tobytes())
    write(tmp_path, files)
    pixels, known = decoded(list(files.values()), Frame(SIZE, "letterbox"))
    assert all(known)
    for name, got in zip(files, pixels, strict=True):
        expected = Decoder(Frame(SIZE, "letterbox"), "depth", "refuse").read(tmp_path / name)
        np.testing.assert_array_equal(got, expected, err_msg=name)
    assert len({got.tobytes() for got in pixels}) == 8


def transparent() -> bytes:
    pixels = np.full((80, 80, 4), 255, np.uint8)
    pixels[3, 3, 3] = 254
    return encoded(pixels)


def for_print() -> bytes:
    out = io.BytesIO()
    Image.new("CMYK", (80, 80)).save(out, "JPEG")
    return out.getvalue()


def huge() -> bytes:
    out = io.BytesIO()
    Image.new("1", (10_000, 6_401)).save(out, "PNG")
    return out.getvalue()


def damaged() -> bytes:
    content = bytearray(encoded(noise(80, 80)))
    content[len(content) // 2] ^= 255
    return bytes(content)


BAD: dict[str, Callable[[], bytes]] = {
    "empty": bytes,
    "text": lambda: b"\xff\xd8",
    "signature alone": lambda: b"\x89PNG\r\n\x1a\n",
    "gif": lambda: encoded(noise(80, 80), "GIF"),
    "bmp": lambda: encoded(noise(80, 80), "BMP"),
    "cut jpeg": lambda: jpeg(noise(200, 200))[:-2000],
    "cut png": lambda: encoded(noise(80, 80))[:-600],
    "damaged png": damaged,
    "transparent": transparent,
    "for print": for_print,
    "huge": huge,
}


def test_what_python_refuses_is_unknown_and_the_rest_of_its_batch_is_read(tmp_path: Path) -> None:
    good = {"first": encoded(smooth(seed=1)), "last": jpeg(smooth(seed=2))}
    files = {"first": good["first"], **{name: make() for name, make in BAD.items()}, "last": good["last"]}
    write(tmp_path, files)
    frame = Frame(SIZE, "crop")
    pixels, known = decoded(list(files.values()), frame)
    assert dict(zip(files, known, strict=True)) == {name: name in good for name in files}
    for place, name in ((0, "first"), (-1, "last")):
        np.testing.assert_array_equal(pixels[place], Decoder(frame, "depth", "refuse").read(tmp_path / name))
    for name in BAD:
        with pytest.raises(InputError):
            Decoder(frame, "depth", "refuse").read(tmp_path / name)


def test_a_batch_of_none_and_one_of_nothing_but_bad_images_are_answered() -> None:
    pixels, known = decoded([b"", b"x"], Frame(SIZE, "crop"))
    assert (pixels.shape, known) == ((2, SIZE, SIZE, 1), [False, False])
    empty, known = tf.function(ImageDecoder(Frame(SIZE, "crop"), "depth").__call__)(tf.zeros((0,), tf.string))
    assert (empty.shape.as_list(), known.shape.as_list()) == ([0, SIZE, SIZE, 1], [0])


# ------------------------------------------------------------------------------------------------------ the servable


Servable = tuple[keras.Model, Path, float]


def chests() -> Pixels:
    return simulate(images=24, seed=3)[0]


def squares(images: Pixels) -> Pixels:
    return np.stack([Frame(SIZE, "crop").pixels(Image.fromarray(image)) for image in images])


@pytest.fixture(scope="module")
def servable(tmp_path_factory: pytest.TempPathFactory) -> Servable:
    """A calibrated model with weights that tell images apart, its export, and a threshold that halves the chests."""
    loader = XRayLoader.model_validate({"size": SIZE})
    manifest = Manifest(
        digest="sha256:0", source="x", loader="xray", classes=("NORMAL", "PNEUMONIA"), input_shape=(SIZE, SIZE, 1),
        input_dtype="uint8", axis=None, about={}, split={}, splits={}, files={},
    )  # fmt: skip
    model = classifier.build(
        ModelSpec(builder="xray_cnn", params={"filters": 4, "blocks": 2}), loader, manifest, seed=1
    )
    head = model.layers[-2].get_layer("logits")
    head.set_weights([np.random.default_rng(0).normal(size=weights.shape) for weights in head.get_weights()])
    calibrated = classifier.calibrated(model, Calibration("temperature", 100, temperature=2.0))
    folder = tmp_path_factory.mktemp("export") / "1"
    (probabilities,) = classifier.predict(calibrated, squares(chests()))
    threshold = float(np.median(probabilities[:, 1]))
    classifier.export(calibrated, folder, encoded=loader.encoded_form(), threshold=threshold)
    return calibrated, folder, threshold


def test_the_servable_names_files_and_pixels_and_its_answers(servable: Servable) -> None:
    signatures = tf.saved_model.load(str(servable[1])).signatures
    entrances = {name: next(iter(each.structured_input_signature[1].values())) for name, each in signatures.items()}
    assert {name: (each.name, each.shape.as_list(), each.dtype) for name, each in entrances.items()} == {
        "serving_default": ("images", [None], tf.string),
        "pixels": ("pixels", [None, SIZE, SIZE, 1], tf.uint8),
    }
    for each in signatures.values():
        answers = {name: (answer.shape.as_list(), answer.dtype) for name, answer in each.structured_outputs.items()}
        assert answers == {
            "probabilities": ([None, 2], tf.float32),
            "label": ([None], tf.int64),
            "positive": ([None], tf.int64),
        }


def test_simulated_chests_as_png_files_get_the_models_own_probabilities(servable: Servable) -> None:
    model, folder, threshold = servable
    (expected,) = classifier.predict(model, squares(chests()))
    signatures = tf.saved_model.load(str(folder)).signatures
    of_files = signatures["serving_default"](images=tf.constant([encoded(chest) for chest in chests()]))
    of_pixels = signatures["pixels"](pixels=tf.constant(squares(chests())))
    for served in (of_files, of_pixels):
        np.testing.assert_allclose(served["probabilities"], expected, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(served["label"], expected.argmax(axis=1))
        np.testing.assert_array_equal(served["positive"], np.sign(expected[:, 1] - threshold) > 0)
    assert of_files["positive"].numpy().sum() == 12
    assert (of_files["positive"].numpy() != of_files["label"].numpy()).any()


def test_one_bad_file_is_not_known_and_the_others_are_answered(servable: Servable) -> None:
    served = tf.saved_model.load(str(servable[1])).signatures["serving_default"]
    good = [encoded(smooth(seed=1)), jpeg(smooth(seed=2))]
    alone, together = (served(images=tf.constant(files)) for files in (good, [good[0], b"no image", good[1]]))
    assert together["label"].numpy()[1] == together["positive"].numpy()[1] == -1
    assert np.isnan(together["probabilities"][1]).all()
    for name, answer in alone.items():
        np.testing.assert_allclose(together[name].numpy()[[0, 2]], answer, rtol=0, atol=1e-6)
