"""The component ``load_xray``: chest X-rays from a source, for pipelines of other people."""

from kfp import dsl
from kfp.dsl import Dataset, Output

from parak8s.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def load_xray(
    source: str,
    dataset: Output[Dataset],
    digest: str = "",
    form: str = "auto",
    size: int = 224,
    near_duplicates: str = "refuse",
    on_bad: str = "fail",
    identifiers: str = "refuse",
    by: str = "patient",
    train: float = 0.7,
    validation: float = 0.1,
    calibration: float = 0.1,
    test: float = 0.1,
):
    """Read chest X-rays, check them, and write them split into arrays that can be memory-mapped.

    Args:
        source: Folder, file or URL: class/file folders, CSV of paths and labels, npz, DICOM; or synthetic://xray?images=1600.
        digest: sha256:... pins the version of the source: anything else is refused.
        form: auto, folder, csv or npz.
        size: Side of the grey squares in pixels.
        near_duplicates: refuse images that show nearly the same in two splits, drop all but one, or allow them.
        on_bad: fail when an image cannot be used, or skip it and count it.
        identifiers: refuse DICOM files that say who the patient is, or ignore what they say.
        by: patient (all images of a patient stay together) or hash (each image by its content).
        train: Share of the split.
        validation: Share of the split.
        calibration: Share of the split.
        test: Share of the split; 0 where the source has a test set of its own.

    Returns:
        dataset: Folder with train/, validation/, calibration/, test/ (inputs.npy, labels.npy) and manifest.json.
    """
    from parak8s.components import preparation

    options = {
        "form": form,
        "size": size,
        "near_duplicates": near_duplicates,
        "on_bad": on_bad,
        "identifiers": identifiers,
    }
    shares = {"train": train, "validation": validation, "calibration": calibration, "test": test}
    preparation.prepare("xray", source, digest, options, {"by": by, **shares}, dataset)
