"""Decodes DICOM files to grey, and keeps out what says who the patient is. Needs ``parak8s[xray]``."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from parak8s.data.xray.frame import Frame, to_bytes
from parak8s.data.xray.pictures import MOST_PIXELS, Levels
from parak8s.errors import EnvironmentFault, InputError

if TYPE_CHECKING:
    from pydicom import Dataset

Identifiers = Literal["refuse", "ignore"]

PREAMBLE = 128
IDENTIFYING = (
    *("PatientName", "PatientID", "OtherPatientIDs", "PatientBirthDate", "PatientBirthTime", "PatientBirthName"),
    *("PatientAddress", "PatientTelephoneNumbers", "PatientMotherBirthName", "PatientInsurancePlanCodeSequence"),
    *("PatientTelecomInformation", "MilitaryRank", "BranchOfService", "MedicalRecordLocator", "PatientComments"),
    *("AccessionNumber", "InstitutionName", "InstitutionAddress", "AdmissionID", "CountryOfResidence"),
    *("RegionOfResidence", "ReferringPhysicianAddress", "ReferringPhysicianTelephoneNumbers", "IssuerOfPatientID"),
)
"""Keywords of DICOM PS3.15, table E.1-1, that name the patient or lead to a record; names of any person do as well."""
PSEUDONYMS = ("PatientName", "PatientID")
"""What may stand in a file that says PatientIdentityRemoved: YES."""


def is_dicom(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` (132 bytes or more) is DICOM."""
    return head[PREAMBLE : PREAMBLE + 4] == b"DICM"


def read(path: Path, file: BinaryIO, frame: Frame, levels: Levels, identifiers: Identifiers) -> NDArray[np.uint8]:
    """Return the image in ``file``, opened from ``path``, as uint8 (size, size, 1); nothing else leaves the file.

    The stored values go through the modality LUT or rescaling, then the first VOI LUT or window; where there is none,
    ``levels`` says which are black and white: those of its ``depth`` (BitsStored), or its own ``range``. MONOCHROME1
    (low is white) is inverted.

    Raises:
        InputError: No image, more than one, a coloured one, or one that says who the patient is.
        EnvironmentFault: A library is missing.

    Source: DICOM PS3.3, C.7.6.3 (pixels), C.11.1 (modality LUT), C.11.2 (VOI LUT).
    """
    try:
        import pydicom
    except ImportError as error:
        raise EnvironmentFault(f"{path}: reading DICOM files needs: pip install 'parak8s[xray]'") from error
    try:
        dataset = pydicom.dcmread(file)
        _refuse_identity(path, dataset, identifiers)
        _check(path, dataset)
        grey = _grey(dataset, _stored(path, dataset), levels)
    except (InputError, PermissionError):
        raise
    except Exception as error:  # pydicom lets through whatever a broken element brings about
        first, *lines = f"{type(error).__name__}: {error}".splitlines()
        reason = lines[0].strip() if lines and first.endswith(":") else first
        raise InputError(f"{path}: damaged DICOM file ({reason}); copy or export it again") from error
    return frame.pixels(Image.fromarray(grey))


def _refuse_identity(path: Path, dataset: "Dataset", identifiers: Identifiers) -> None:
    if str(dataset.get("BurnedInAnnotation", "")).upper() == "YES":
        raise InputError(f"{path}: BurnedInAnnotation: YES, so the pixels may name the patient; black the text out")
    found = sorted(set(_identifying(dataset))) if identifiers == "refuse" else []
    if found:
        raise InputError(
            f"{path}: says who the patient is ({', '.join(found)}); remove that from the files, or write "
            "data.options.identifiers: ignore, which uses the pixels and nothing else"
        )


def _identifying(dataset: "Dataset") -> Iterator[str]:
    """Yield the keywords of elements, nested ones too, that hold something by which the patient could be found."""
    removed = str(dataset.get("PatientIdentityRemoved", "")).upper() == "YES"
    for element in dataset.iterall():
        named = element.keyword in IDENTIFYING or element.VR == "PN"
        pseudonym = removed and element.keyword in PSEUDONYMS
        if named and not pseudonym and str(element.value or "").strip(" ^"):
            yield element.keyword or str(element.tag)


def _check(path: Path, dataset: "Dataset") -> None:
    """Refuse what is not one grey image of a size that can be read."""
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise InputError(f"{path}: a DICOM file without pixels; expected an X-ray")
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if frames != 1:
        raise InputError(f"{path}: holds {frames} images; expected one X-ray in a file")
    kind = dataset.get("PhotometricInterpretation", "")
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError(f"{path}: PhotometricInterpretation is {kind!r}; expected MONOCHROME1 or MONOCHROME2 (grey)")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if not 0 < rows * columns <= MOST_PIXELS:
        raise InputError(f"{path}: expected 1 to {MOST_PIXELS:,} pixels, got {columns:,} x {rows:,}")


def _stored(path: Path, dataset: "Dataset") -> NDArray[Any]:
    """Return the stored values, (rows, columns)."""
    try:
        pixels: NDArray[Any] = dataset.pixel_array
    except (RuntimeError, NotImplementedError) as error:
        if not any(words in str(error) for words in ("missing dependencies", "does not support", "not supported")):
            raise
        kind = dataset.file_meta.TransferSyntaxUID.name
        raise InputError(
            f"{path}: {kind}: no decoder for it here; pip install 'parak8s[xray]' brings one for JPEG 2000, "
            "pip install python-gdcm for all kinds of JPEG"
        ) from error
    return pixels


def _grey(dataset: "Dataset", stored: NDArray[Any], levels: Levels) -> NDArray[np.uint8]:
    """Return uint8 (rows, columns), 0 black."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    values = apply_modality_lut(stored, dataset)
    if "VOILUTSequence" in dataset:
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        grey = to_bytes(apply_voi(values, dataset).astype(np.float64), 0, 2**bits - 1)
    elif dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        grey = to_bytes(_windowed(dataset, values.astype(np.float64)), 0, 1)
    elif levels == "range":
        grey = to_bytes(values.astype(np.float64), float(values.min()), float(values.max()))
    else:
        low, high = sorted(apply_modality_lut(np.array(_ends(dataset), stored.dtype), dataset).astype(float).tolist())
        grey = to_bytes(values.astype(np.float64), low, high)
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def _ends(dataset: "Dataset") -> tuple[int, int]:
    """Return the least and the greatest value that can be stored."""
    bits = int(dataset.BitsStored)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dataset.PixelRepresentation else (0, 2**bits - 1)


def _windowed(dataset: "Dataset", values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``values`` through the first window: 0 at its lower end, 1 at its upper one (DICOM PS3.3, C.11.2.1.2)."""
    centre, width = (_first(dataset[name].value) for name in ("WindowCenter", "WindowWidth"))
    shape = dataset.get("VOILUTFunction", "LINEAR") or "LINEAR"
    if width < 1 if shape == "LINEAR" else width <= 0:
        raise ValueError(f"WindowWidth is {width:g}")
    if shape == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(-4 * (values - centre) / width)))
    if shape == "LINEAR_EXACT":
        return (values - centre) / width + 0.5
    if width == 1:
        return (values > centre - 0.5).astype(np.float64)
    return (values - (centre - 0.5)) / (width - 1) + 0.5


def _first(value: Any) -> float:
    from pydicom.multival import MultiValue

    return float(value[0] if isinstance(value, MultiValue) else value)
