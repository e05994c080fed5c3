"""Makers of X-ray files, whole and broken, for the tests."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "xray"
"""Real data beside the checkout; tests that need it are skipped without it."""

Pixels = NDArray[np.uint8]
Maker = Callable[[Path], Path]


def smooth(height: int = 96, width: int = 96, seed: int = 0) -> Pixels:
    """Return a picture of soft clouds, uint8 (height, width), from 20 to 235."""
    coarse = np.random.default_rng(seed).integers(20, 236, (6, 6)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).point(_inside))


def _inside(value: int) -> int:
    return min(max(value, 20), 235)


def encoded(pixels: NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    """Return ``pixels`` as a PNG or JPEG file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def jpeg(pixels: Pixels, **options: Any) -> bytes:
    """Return ``pixels`` as a JPEG file of high quality."""
    return encoded(pixels, "JPEG", **{"quality": 95} | options)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files with their folders; return ``folder``."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def class_folders(folder: Path, each: int = 3, classes: Sequence[str] = ("NORMAL", "PNEUMONIA")) -> Path:
    """Write ``each`` different images into a folder of each class; return ``folder``."""
    return write(
        folder,
        {
            f"{name}/{row}.png": encoded(smooth(seed=100 * index + row))
            for index, name in enumerate(classes)
            for row in range(each)
        },
    )


def dicom(path: Path, stored: NDArray[Any], *, bits: int | None = None, **elements: Any) -> Path:
    """Write ``stored`` (rows, columns) as an uncompressed DICOM file without identifiers."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PatientName, dataset.PatientID = "DX", "", ""
    dataset.Rows, dataset.Columns = stored.shape[:2]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = 8 * stored.dtype.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes()
    for name, value in elements.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path
