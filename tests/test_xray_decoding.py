"""From a file to grey pixels: JPEG, PNG and DICOM, of all depths, as Pillow and pydicom read them whole."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from parak8s.data.xray import pictures
from parak8s.data.xray.decoding import Decoder, on_disk, only
from parak8s.data.xray.frame import Fit, Frame
from xray_files import SHARED, Pixels, encoded, jpeg, smooth
from xray_files import dicom as write_dicom

FRAME = Frame(64, "crop")


def read(path: Path, frame: Frame = FRAME, levels: pictures.Levels = "depth") -> Pixels:
    pixels = Decoder(frame, levels, "refuse").read(path)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (frame.size, frame.size, 1)
    return pixels[..., 0]


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def far(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


@pytest.mark.parametrize("shape", [(64, 64), (200, 300), (301, 199), (1500, 1100), (40, 50)])
@pytest.mark.parametrize("fit", ["crop", "letterbox"])
def test_a_jpeg_decoded_at_reduced_size_looks_as_if_decoded_whole(
    shape: tuple[int, int], fit: Fit, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.jpeg", jpeg(smooth(*shape)))
    whole = Image.open(path).convert("L")
    if fit == "crop":
        expected = ImageOps.fit(whole, (64, 64), Image.Resampling.BILINEAR)
    else:
        expected = ImageOps.pad(whole, (64, 64), Image.Resampling.BILINEAR, color=0)
    assert far(read(path, Frame(64, fit)), np.asarray(expected)) < 2


def test_a_crop_keeps_the_middle_and_a_letterbox_keeps_all(tmp_path: Path) -> None:
    wide = np.zeros((64, 192), np.uint8)
    wide[:, :64], wide[:, 64:128], wide[:, 128:] = 50, 150, 250
    path = write(tmp_path / "a.png", encoded(wide))
    np.testing.assert_array_equal(read(path), np.full((64, 64), 150))
    boxed = read(path, Frame(96, "letterbox"))
    assert boxed[:31].max() == boxed[65:].max() == 0
    assert [int(boxed[48, column]) for column in (10, 48, 86)] == [50, 150, 250]


def test_making_an_image_smaller_averages_instead_of_skipping(tmp_path: Path) -> None:
    stripes = np.zeros((512, 512), np.uint8)
    stripes[:, ::2] = 200
    np.testing.assert_array_equal(read(write(tmp_path / "a.png", encoded(stripes)))[:, 1:-1], np.full((64, 62), 100))


def test_the_same_grey_comes_out_of_every_way_to_store_it(tmp_path: Path) -> None:
    grey = smooth(64, 64)
    colour = np.stack([grey] * 3, axis=-1)
    opaque = np.concatenate([colour, np.full((64, 64, 1), 255, np.uint8)], axis=-1)
    palette = io.BytesIO()
    Image.fromarray(grey).convert("P").save(palette, "PNG")
    files = {
        "grey.png": encoded(grey),
        "rgb.png": encoded(colour),
        "rgba.png": encoded(opaque),
        "16 bits.png": encoded(grey.astype(np.uint16) * 257),
        "palette.png": palette.getvalue(),
        "a PNG called.jpeg": encoded(grey),
    }
    for name, content in files.items():
        np.testing.assert_array_equal(read(write(tmp_path / name, content)), grey, err_msg=name)


def test_16_bits_are_scaled_by_their_depth_or_by_their_range(tmp_path: Path) -> None:
    twelve = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)
    path = write(tmp_path / "a.png", encoded(twelve))
    assert read(path).max() == 16  # 4095 / 65535 * 255
    assert (read(path, levels="range").min(), read(path, levels="range").max()) == (0, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_the_exif_data_is_carried_out(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write(tmp_path / "a.jpeg", jpeg(smooth(200, 320, seed=3), exif=exif.tobytes()))
    upright = ImageOps.exif_transpose(Image.open(path))
    expected = ImageOps.fit(upright, (64, 64), Image.Resampling.BOX)
    assert far(read(path), np.asarray(expected)) < 2


def test_a_jpeg_is_decoded_at_an_eighth_where_that_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, fitted = [], Frame.fitted

    def measured(frame: Frame, image: Image.Image) -> Image.Image:
        sizes.append(image.size)
        return fitted(frame, image)

    monkeypatch.setattr(Frame, "fitted", measured)
    for shape in ((1024, 512), (1023, 511), (130, 129)):
        read(write(tmp_path / "a.jpeg", jpeg(smooth(*shape))))
    assert sizes == [(64, 128), (128, 256), (65, 65)]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_large_file_is_read_piece_by_piece_with_the_same_pixels(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (500, 400), np.uint8)
    path = write(tmp_path / "a", encoded(noise, kind))
    at_once = read(path)
    monkeypatch.setattr(pictures, "AT_ONCE", 1000)
    np.testing.assert_array_equal(read(path), at_once)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the X-rays in ../shared/data/xray")
def test_real_x_rays_come_out_as_pillow_decodes_them_whole() -> None:
    frame = Frame(224, "crop")
    for path in sorted((SHARED / "chest_xray" / "test").rglob("*.jpeg"))[::4]:
        expected = ImageOps.fit(Image.open(path).convert("L"), (224, 224), Image.Resampling.BOX)
        assert far(read(path, frame), np.asarray(expected)) < 2, path


def windowed(stored: NDArray[Any], centre: float, width: float) -> Pixels:
    """Return the linear window of DICOM PS3.3, C.11.2.1.2, with the standard's three cases, as bytes."""
    x = stored.astype(float)
    inside = ((x - (centre - 0.5)) / (width - 1) + 0.5) * 255
    cases = [x <= centre - 0.5 - (width - 1) / 2, x > centre - 0.5 + (width - 1) / 2]
    return np.asarray(np.rint(np.select(cases, [0.0, 255.0], inside)), np.uint8)


STORED = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)


def test_a_dicom_window_is_that_of_the_standard(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a", STORED, bits=12, WindowCenter=1500, WindowWidth=2000)
    np.testing.assert_array_equal(read(path), windowed(STORED, 1500, 2000))
    several = write_dicom(tmp_path / "b", STORED, bits=12, WindowCenter=[1500, 7], WindowWidth=[2000, 9])
    np.testing.assert_array_equal(read(several), windowed(STORED, 1500, 2000))


def test_a_dicom_window_counts_in_rescaled_values(tmp_path: Path) -> None:
    scale = {"RescaleSlope": 2, "RescaleIntercept": -1000, "RescaleType": "US"}
    path = write_dicom(tmp_path / "a", STORED, bits=12, WindowCenter=1500, WindowWidth=2000, **scale)
    np.testing.assert_array_equal(read(path), windowed(STORED * 2.0 - 1000, 1500, 2000))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_every_window_function_gives_what_pydicom_gives(function: str, tmp_path: Path) -> None:
    import pydicom
    from pydicom.pixels.processing import apply_windowing

    window = {"WindowCenter": 1800, "WindowWidth": 1500, "VOILUTFunction": function}
    path = write_dicom(tmp_path / "a", STORED, bits=12, **window)
    expected = apply_windowing(STORED, pydicom.dcmread(path)) * (255 / 4095)
    assert np.abs(read(path) - expected).max() <= 0.51


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    plain = read(write_dicom(tmp_path / "a", STORED, bits=12))
    inverted = read(write_dicom(tmp_path / "b", STORED, bits=12, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(inverted, 255 - plain)


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (10, np.uint16), (12, np.uint16), (16, np.uint16)])
def test_without_a_window_the_stored_bits_are_the_scale(
    bits: int, dtype: type[np.uint8 | np.uint16], tmp_path: Path
) -> None:
    stored: NDArray[Any] = np.linspace(0, 2**bits - 1, 64 * 64).reshape(64, 64).astype(dtype)
    expected = np.rint(stored * (255 / (2**bits - 1))).astype(np.uint8)
    np.testing.assert_array_equal(read(write_dicom(tmp_path / "a", stored, bits=bits)), expected)


def test_signed_values_and_the_range_of_the_image_are_understood(tmp_path: Path) -> None:
    signed = np.linspace(-2048, 2047, 64 * 64).reshape(64, 64).astype(np.int16)
    expected = np.rint((signed + 2048.0) * (255 / 4095)).astype(np.uint8)
    np.testing.assert_array_equal(read(write_dicom(tmp_path / "a", signed, bits=12)), expected)
    narrow = write_dicom(tmp_path / "b", (STORED // 8 + 100).astype(np.uint16), bits=12)
    assert (read(narrow, levels="range").min(), read(narrow, levels="range").max()) == (0, 255)


def test_a_voi_lut_goes_before_a_window(tmp_path: Path) -> None:
    from pydicom import Dataset

    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [4096, 0, 16])
    lut.add_new("LUTData", "US", (65535 - np.arange(4096) // 16 * 257).tolist())
    path = write_dicom(tmp_path / "a", STORED, bits=12, VOILUTSequence=[lut], WindowCenter=1, WindowWidth=2)
    np.testing.assert_array_equal(read(path), 255 - STORED // 16)


def test_a_jpeg_2000_dicom_is_read(tmp_path: Path) -> None:
    import pydicom
    from pydicom.uid import JPEG2000Lossless

    dataset = pydicom.dcmread(write_dicom(tmp_path / "a", STORED, bits=12))
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    dataset.save_as(tmp_path / "b")
    np.testing.assert_array_equal(read(tmp_path / "b"), read(tmp_path / "a"))


def test_a_dicom_file_whose_identifiers_are_ignored_gives_the_same_pixels(tmp_path: Path) -> None:
    plain = read(write_dicom(tmp_path / "a", STORED, bits=12))
    named = write_dicom(tmp_path / "b", STORED, bits=12, PatientName="Doe^Jane", PatientID="7", AccessionNumber="9")
    ignored = Decoder(FRAME, "depth", "ignore").read(named)
    np.testing.assert_array_equal(ignored[..., 0], plain)


def test_a_pseudonym_may_stand_where_the_file_says_that_identity_was_removed(tmp_path: Path) -> None:
    removed = {"PatientIdentityRemoved": "YES", "PatientName": "case-17", "PatientID": "case-17"}
    assert read(write_dicom(tmp_path / "a", STORED, bits=12, **removed)).max() == 255


def test_importing_the_decoder_does_not_import_pydicom() -> None:
    code = "import sys, parak8s.data.xray; print({'pydicom', 'tensorflow', 'keras', 'scipy'} & set(sys.modules))"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert out.stdout.strip() == "set()"


CROWD = """
import resource, sys
from pathlib import Path
import numpy as np
from parak8s.data import prepared
from parak8s.data.examples import Examples
from parak8s.data.xray.decoding import Decoder, only, read_all
from parak8s.data.xray.frame import Frame
from parak8s.data.xray.listing import Listing

folder, count, side = Path(sys.argv[1]), 1200, 512
listing = Listing([folder / "a.png"] * count, ["a"] * count, ["x", "y"] * (count // 2), ("x", "y"))
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1]) << 10
resource.setrlimit(resource.RLIMIT_DATA, (used + (150 << 20), resource.RLIM_INFINITY))
try:
    np.ones((count, side, side, 1), np.uint8)
except MemoryError:
    print("too many for the memory")
pixels, _ = read_all(listing, Decoder(Frame(side, "crop"), "depth", "refuse"))
pixels = only(pixels, np.arange(1, count))
examples = Examples(pixels, np.arange(count - 1, dtype=np.int32) % 2, ("x", "y"))
names = {"digest": "", "source": "", "loader": "", "split": {}}
manifest = prepared.write(folder / "dataset", examples, {"train": np.arange(count - 1)[::-1]}, **names)
print(manifest.splits["train"]["examples"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on private memory")
def test_more_images_than_the_memory_holds_are_read_and_written(tmp_path: Path) -> None:
    write(tmp_path / "a.png", encoded(smooth(64, 64)))
    (tmp_path / "dataset").mkdir()
    done = subprocess.run([sys.executable, "-c", CROWD, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines(), done.stderr) == (["too many for the memory", "1199"], "")
    inputs = np.load(tmp_path / "dataset" / "train" / "inputs.npy", mmap_mode="r")
    np.testing.assert_array_equal(inputs[[0, 600, 1198]], inputs[[1198, 0, 5]])


def test_the_rows_that_stay_keep_their_order_and_pixels() -> None:
    pixels = on_disk((1000, 2, 2, 1))
    pixels[:] = np.arange(1000, dtype=np.uint16).astype(np.uint8)[:, None, None, None]
    rows = np.setdiff1d(np.arange(1000), [0, 1, 500, 999])
    expected = np.array(pixels)[rows]
    np.testing.assert_array_equal(only(pixels, rows), expected)
