"""Broken X-ray files: each gives one message that names the file, and exit code 2."""

import io
import os
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from parak8s import loading
from parak8s.data.sources import fetch
from parak8s.data.xray import XRayLoader
from parak8s.errors import EnvironmentFault, InputError
from parak8s.steps.ingest import ingest
from xray_files import class_folders, dicom, encoded, jpeg, smooth, write

GOOD = smooth()
NOBODY = 65534
STORED = np.linspace(0, 4095, 96 * 96).reshape(96, 96).astype(np.uint16)


def cmyk() -> bytes:
    out = io.BytesIO()
    Image.fromarray(GOOD).convert("CMYK").save(out, "JPEG")
    return out.getvalue()


def animated(kind: str) -> bytes:
    out = io.BytesIO()
    frames = [Image.fromarray(smooth(seed=seed)) for seed in (1, 2)]
    frames[0].save(out, kind, save_all=True, append_images=frames[1:])
    return out.getvalue()


def transparent() -> bytes:
    pixels = np.dstack([GOOD, GOOD, GOOD, np.full_like(GOOD, 128)])
    return encoded(pixels)


def png_that_says_it_is(width: int, height: int) -> bytes:
    """Return the beginning of a PNG of that size: to decode it would take gigabytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


TOO_LARGE = "too large: expected at most 64,000,000 pixels, got {}; save it smaller"

IMAGES: dict[str, tuple[bytes, str]] = {
    "cut.jpeg": (jpeg(GOOD)[:2000], "damaged image (image file is truncated"),
    "cut in its last line.jpeg": (jpeg(GOOD)[:-60], "damaged image (image file is truncated"),
    "only a header.jpeg": (jpeg(GOOD)[:20], "damaged image ("),
    "cut.png": (encoded(GOOD)[:500], "damaged image"),
    "bits flipped.png": (encoded(GOOD)[:200] + b"\xff" * 8 + encoded(GOOD)[208:], "damaged image"),
    "text.png": (b"no image\n", "text that begins with 'no image'"),
    "a page.jpeg": (b"<!DOCTYPE html><html>not found</html>", "text that begins with '<!DOCTYPE html><html>not"),
    "empty.jpeg": (b"", "empty; expected a JPEG, PNG or DICOM image"),
    "zeros.jpeg": (b"\0" * 4096, "not an image that we know"),
    "print.jpeg": (cmyk(), "colours for print (CMYK); save it as grey"),
    "moving.gif": (animated("GIF"), "a GIF; expected a JPEG, PNG or DICOM image"),
    "moving.png": (animated("PNG"), "an animation of 2 images; expected one X-ray in a file"),
    "glass.png": (transparent(), "has transparent pixels"),
    "huge.png": (png_that_says_it_is(30_000, 30_000), TOO_LARGE.format("30,000 x 30,000")),
    "large.png": (png_that_says_it_is(10_000, 10_000), TOO_LARGE.format("10,000 x 10,000")),
    "a table.jpeg": (b"PK\3\4" + b"\0" * 100, "a zip archive"),
    "Röntgen bild ü 肺.jpeg": (b"", "empty"),
    "notes.txt": (b"seen by nobody", "text that begins with 'seen by nobody'"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_a_broken_image_is_refused_with_its_name_and_reason(name: str, tmp_path: Path) -> None:
    content, reason = IMAGES[name]
    write(class_folders(tmp_path), {f"NORMAL/{name}": content})
    with pytest.raises(InputError) as caught:
        XRayLoader(size=32).read(fetch(str(tmp_path)))
    assert str(caught.value).startswith(f"{tmp_path}/NORMAL/{name}: {reason}")
    assert str(caught.value).endswith("; data.options.on_bad: skip leaves such images out")
    assert caught.value.exit_code == 2


def test_a_broken_image_may_be_left_out_and_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(class_folders(tmp_path), {"NORMAL/a.png": b"", "PNEUMONIA/b.png": b"text"})
    examples = XRayLoader(size=32, on_bad="skip").read(fetch(str(tmp_path)))
    assert len(examples) == 6
    assert examples.about["bad images left out"] == 2
    assert examples.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert [record.getMessage().partition("; ")[0] for record in caplog.records] == [
        f"left out: {tmp_path}/NORMAL/a.png: empty",
        f"left out: {tmp_path}/PNEUMONIA/b.png: text that begins with 'text'",
    ]


def test_many_broken_images_are_counted_and_the_first_five_are_told(tmp_path: Path) -> None:
    write(class_folders(tmp_path), {f"NORMAL/bad {row}.png": b"" for row in range(8)})
    with pytest.raises(InputError) as caught:
        XRayLoader(size=32).read(fetch(str(tmp_path)))
    first, *lines = str(caught.value).splitlines()
    assert first == "8 of 14 images cannot be used:"
    assert len(lines) == 6
    assert lines[-1].strip().startswith("and 3 more")


def test_a_source_of_broken_images_only_is_refused_even_when_they_may_be_left_out(tmp_path: Path) -> None:
    write(tmp_path, {"a/1.png": b"", "b/1.png": b""})
    with pytest.raises(InputError, match="2 of 2 images cannot be used"):
        XRayLoader(on_bad="skip").read(fetch(str(tmp_path)))


DICOMS: dict[str, tuple[dict[str, object], str]] = {
    "name": (
        {"PatientName": "Doe^Jane"},
        "says who the patient is (PatientName); remove that from the files, or write",
    ),
    "number": ({"PatientID": "1234"}, "says who the patient is (PatientID)"),
    "birth date and physician": (
        {"PatientBirthDate": "19700101", "ReferringPhysicianName": "Who^Dr"},
        "says who the patient is (PatientBirthDate, ReferringPhysicianName)",
    ),
    "accession": (
        {"AccessionNumber": "A7", "PatientIdentityRemoved": "YES"},
        "says who the patient is (AccessionNumber)",
    ),
    "burned in": ({"BurnedInAnnotation": "YES"}, "BurnedInAnnotation: YES, so the pixels may name the patient"),
    "colour": ({"PhotometricInterpretation": "RGB"}, "PhotometricInterpretation is 'RGB'; expected MONOCHROME1 or"),
    "film": ({"NumberOfFrames": 2}, "holds 2 images; expected one X-ray in a file"),
    "no pixels": ({"PixelData": None}, "a DICOM file without pixels; expected an X-ray"),
    "too few pixels": ({"Rows": 4000}, "damaged DICOM file"),
    "huge": ({"Rows": 30000, "Columns": 30000}, "expected 1 to 64,000,000 pixels, got 30,000 x 30,000"),
    "no window width": ({"WindowCenter": 10, "WindowWidth": 0}, "damaged DICOM file (ValueError: WindowWidth is 0)"),
}


@pytest.mark.parametrize("name", DICOMS)
def test_a_dicom_file_that_is_no_nameless_grey_image_is_refused(name: str, tmp_path: Path) -> None:
    elements, reason = DICOMS[name]
    file = dicom(class_folders(tmp_path) / "NORMAL" / "a.dcm", STORED, bits=12, **elements)
    with pytest.raises(InputError) as caught:
        XRayLoader(size=32).read(fetch(str(tmp_path)))
    assert str(caught.value).startswith(f"{file}: {reason}")


def test_compressed_pixels_that_nothing_here_decodes_are_told_with_what_would(tmp_path: Path) -> None:
    import pydicom
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless, JPEGExtended12Bit

    file = dicom(class_folders(tmp_path) / "NORMAL" / "a.dcm", STORED, bits=12)
    whole = pydicom.dcmread(file)
    for syntax, reason in (
        (JPEGExtended12Bit, "JPEG Extended (Process 2 and 4): no decoder for it here; pip install 'parak8s[xray]' "),
        (JPEG2000Lossless, "damaged DICOM file (pylibjpeg: Error decoding the J2K data: failed to read the header)"),
    ):
        whole.file_meta.TransferSyntaxUID = syntax
        whole.PixelData = encapsulate([b"\xff\x4f\xff\x51" + b"\0" * 200])
        whole["PixelData"].is_undefined_length = True
        whole.save_as(file)
        with pytest.raises(InputError) as caught:
            XRayLoader(size=32).read(fetch(str(tmp_path)))
        assert str(caught.value).startswith(f"{file}: {reason}")


def test_a_name_inside_a_sequence_is_found(tmp_path: Path) -> None:
    from pydicom import Dataset

    inner = Dataset()
    inner.OperatorsName = "Somebody"
    dicom(class_folders(tmp_path) / "NORMAL" / "a.dcm", STORED, bits=12, RequestAttributesSequence=[inner])
    with pytest.raises(InputError, match=r"says who the patient is \(OperatorsName\)"):
        XRayLoader(size=32).read(fetch(str(tmp_path)))


def test_text_burned_into_the_pixels_is_refused_even_where_identifiers_are_ignored(tmp_path: Path) -> None:
    dicom(class_folders(tmp_path) / "NORMAL" / "a.dcm", STORED, bits=12, BurnedInAnnotation="YES")
    with pytest.raises(InputError, match="BurnedInAnnotation: YES"):
        XRayLoader(size=32, identifiers="ignore").read(fetch(str(tmp_path)))


def test_a_cut_dicom_file_is_refused(tmp_path: Path) -> None:
    file = dicom(class_folders(tmp_path) / "NORMAL" / "a.dcm", STORED, bits=12)
    whole = file.read_bytes()
    for length in (140, 400, len(whole) - 999):
        file.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.dcm: "):
            XRayLoader(size=32).read(fetch(str(tmp_path)))


FOLDERS: dict[str, tuple[dict[str, bytes], str]] = {
    "one class": ({"NORMAL/1.png": encoded(GOOD)}, "the source holds only the class NORMAL; expected two or more"),
    "no class": ({"1.png": encoded(GOOD)}, "no folders; expected one for each class, such as NORMAL and PNEUMONIA"),
    "a folder too high": (
        {"chest/NORMAL/1.png": encoded(GOOD), "chest/PNEUMONIA/1.png": encoded(GOOD)},
        "holds only the folder chest; name that one, which holds NORMAL, PNEUMONIA",
    ),
    "a class beside the parts": (
        {"train/A/1.png": encoded(GOOD), "train/B/1.png": encoded(GOOD), "C/1.png": encoded(GOOD)},
        "C: stands beside train, val or test; expected only these in",
    ),
    "two tables": ({"a.csv": b"path,label\n", "b.csv": b"path,label\n"}, "holds a.csv and b.csv; name the one to read"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_another_layout_is_refused(name: str, tmp_path: Path) -> None:
    files, reason = FOLDERS[name]
    with pytest.raises(InputError) as caught:
        XRayLoader(size=32).read(fetch(str(write(tmp_path, files))))
    assert reason in str(caught.value)


def test_an_empty_class_folder_is_refused(tmp_path: Path) -> None:
    (class_folders(tmp_path) / "VIRUS").mkdir()
    with pytest.raises(InputError, match="VIRUS: a class without images; put some in, or remove the folder"):
        XRayLoader(size=32).read(fetch(str(tmp_path)))


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (class_folders(tmp_path) / "NORMAL" / "loop").symlink_to(tmp_path)
    with pytest.raises(InputError, match="a loop of symbolic links"):
        fetch(str(tmp_path))


@pytest.fixture
def a_folder_of_somebody() -> Iterator[Path]:
    """Yield a folder as a user who is not root: root may read everything."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid():
            yield Path(name)
            return
        os.chown(name, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)


@pytest.mark.parametrize("forbidden", ["NORMAL/0.png", "NORMAL"])
def test_what_may_not_be_read_is_a_fault_of_the_environment_and_is_never_left_out(
    forbidden: str, a_folder_of_somebody: Path
) -> None:
    (class_folders(a_folder_of_somebody) / forbidden).chmod(0)
    with pytest.raises(EnvironmentFault) as caught:
        XRayLoader(size=32, on_bad="skip").read(fetch(str(a_folder_of_somebody)))
    (a_folder_of_somebody / forbidden).chmod(0o700)
    fix = "no permission to read; change its owner or mode (chmod u+r)"
    assert str(caught.value) == f"{a_folder_of_somebody / forbidden}: {fix}"


def test_names_that_are_not_utf8_are_read_and_told(tmp_path: Path) -> None:
    """Such names come from old archives: R\xf6ntgen is German in Latin-1."""
    folder = os.fsencode(class_folders(tmp_path / "data", 12) / "NORMAL")
    for name, pixels in ((b"person1_R\xf6ntgen.png", encoded(smooth(seed=7))), (b"\xfc.png", encoded(smooth(seed=8)))):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(pixels)
    settings = f"{{loader: xray, source: '{tmp_path}/data', split: {{by: patient}}, options: {{size: 32}}}}"
    (tmp_path / "x.yaml").write_text(f"name: x\nmodel: {{builder: xray_cnn}}\ndata: {settings}\n")
    (tmp_path / "dataset").mkdir()
    manifest = ingest(loading.load(tmp_path / "x.yaml"), tmp_path / "dataset")
    assert sum(split["examples"] for split in manifest.splits.values()) == 26
    Path(os.fsdecode(folder + b"/\xe4.png")).write_bytes(b"")
    command = [sys.executable, "-m", "parak8s.cli", "step", "ingest", "x.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "empty; expected a JPEG, PNG or DICOM image" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_a_decoder_warns_of_is_not_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 1
    exif[ExifTags.Base.DateTime] = "2026"
    cut = exif.tobytes()[:-20]
    write(class_folders(tmp_path), {"NORMAL/a.jpeg": jpeg(smooth(seed=5), exif=cut)})
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        Image.open(tmp_path / "NORMAL" / "a.jpeg").getexif()
        assert shown
        shown.clear()
        assert len(XRayLoader(size=32).read(fetch(str(tmp_path)))) == 7
    assert not shown


TABLES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty; expected a header with path and label"),
    "no header": (b"a.png,NORMAL\n", "row 1: no column 'path' in the header; got a.png, normal"),
    "no label column": (b"path,class\na.png,NORMAL\n", "row 1: no column 'label' in the header; got path, class"),
    "two label columns": (b"path,label,label\na.png,A,B\n", "row 1: two columns 'label'; remove one"),
    "missing label": (b"path,label\na.png,NORMAL\nb.png,\n", "row 3: no label; fill it in, or remove the row"),
    "missing path": (b"path,label\n ,NORMAL\n", "row 2: no path; fill it in, or remove the row"),
    "too few columns": (b"path,label\na.png\n", "row 2: expected 2 columns, got 1"),
    "no such file": (b"path,label\na.png,A\nc.png,B\n", "row 3: no such file: 'c.png', looked for in "),
    "a folder": (b"path,label\n.,A\n", "row 2: no such file: '.'"),
    "twice": (b"path,label\na.png,A\nb.png,B\na.png,B\n", "row 4: a.png stands in row 2 too; remove one"),
    "unknown split": (b"path,label,split\na.png,A,tets\n", "row 2: split is 'tets'; did you mean 'test'?"),
    "one class": (b"path,label\na.png,A\nb.png,A\n", "only the class A; expected two or more"),
    "Latin-1": ("path,label\na.png,Lungenentzündung\n".encode("latin-1"), "not UTF-8 text (byte "),
    "an open quote": (b'path,label\n"a.png,A\n', "not CSV: "),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_broken_table_is_refused_with_its_row(name: str, tmp_path: Path) -> None:
    content, reason = TABLES[name]
    files = {"a.png": encoded(smooth(seed=1)), "b.png": encoded(smooth(seed=2)), "t.csv": content}
    loader = XRayLoader(size=32)
    with pytest.raises(InputError) as caught:
        loader.read(loader.gather(fetch(str(write(tmp_path, files) / "t.csv"))))
    assert reason in str(caught.value)


def arrays(**changed: object) -> bytes:
    good: dict[str, object] = {
        "train_images": np.stack([smooth(28, 28, seed) for seed in range(4)]),
        "train_labels": np.array([[0], [1], [0], [1]], np.uint8),
    }
    out = io.BytesIO()
    np.savez(out, **{key: value for key, value in (good | changed).items() if value is not None})  # type: ignore[arg-type]
    return out.getvalue()


ARCHIVES: dict[str, tuple[bytes, str]] = {
    "no archive": (b"text", "not an npz archive, or one that is cut"),
    "cut": (arrays()[:1500], "not an npz archive, or one that is cut"),
    "no images": (arrays(train_images=None), "no array train_images, val_images or test_images; got train_labels"),
    "no labels": (arrays(train_labels=None), "train_images has no train_labels beside it"),
    "colour": (
        arrays(train_images=np.zeros((4, 28, 28, 3), np.uint8)),
        "train_images: expected grey images, uint8 (n, height, width), got uint8 (4, 28, 28, 3)",
    ),
    "floats": (arrays(train_images=np.zeros((4, 28, 28))), "got float64 (4, 28, 28)"),
    "too few labels": (
        arrays(train_labels=np.zeros(3, int)),
        "train_labels: expected integers (4,), one for each image",
    ),
    "a third class": (arrays(train_labels=np.array([0, 1, 2, 0])), "train_labels[2] is 2; allowed: 0 (NORMAL), 1"),
    "pickled": (arrays(train_labels=np.array([0, 1, None, 0], dtype=object)), "damaged archive"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_broken_archive_is_refused(name: str, tmp_path: Path) -> None:
    content, reason = ARCHIVES[name]
    with pytest.raises(InputError) as caught:
        XRayLoader(size=32).read(fetch(str(write(tmp_path, {"a.npz": content}) / "a.npz")))
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("url", "fragment"),
    [
        ("synthetic://xrays", "no simulation 'xrays'; did you mean 'xray'?"),
        ("synthetic://xray?image=10", "no setting 'image'; did you mean 'images'? allowed: images, seed"),
        ("synthetic://xray?images=9", "images: expected a whole number from 10 to 100,000, got '9'"),
        ("synthetic://xray?seed=1&seed=2", "seed given twice"),
    ],
)
def test_a_wrong_synthetic_url_is_refused(url: str, fragment: str) -> None:
    with pytest.raises(InputError) as caught:
        XRayLoader().read(fetch(url))
    assert fragment in str(caught.value)
