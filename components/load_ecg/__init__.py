"""The component ``load_ecg``: ECG beats from a source, for pipelines of other people."""

from kfp import dsl
from kfp.dsl import Dataset, Output

from parak8s.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def load_ecg(
    source: str,
    dataset: Output[Dataset],
    digest: str = "",
    form: str = "auto",
    protocol: str = "none",
    by: str = "hash",
    train: float = 0.7,
    validation: float = 0.1,
    calibration: float = 0.1,
    test: float = 0.1,
):
    """Read ECG beats, check them, and write them split into arrays that can be memory-mapped.

    Args:
        source: Folder, file or URL: heartbeat CSV, npz, WFDB records; or synthetic://ecg?beats=12000.
        digest: sha256:... pins the version of the source: anything else is refused.
        form: auto, heartbeat_csv, npz or wfdb.
        protocol: none, or de_chazal (de Chazal et al. 2004: DS1 to learn from, DS2 to test).
        by: hash (each beat by its content) or patient (all beats of a patient stay together).
        train: Share of the split.
        validation: Share of the split.
        calibration: Share of the split.
        test: Share of the split.

    Returns:
        dataset: Folder with train/, validation/, calibration/, test/ (inputs.npy, labels.npy) and manifest.json.
    """
    from parak8s.components import preparation

    shares = {"train": train, "validation": validation, "calibration": calibration, "test": test}
    preparation.prepare("ecg", source, digest, {"form": form, "protocol": protocol}, {"by": by, **shares}, dataset)
