"""The split by patient of de Chazal, O'Dwyer and Reilly (2004), IEEE Trans Biomed Eng 51(7):1196-1206."""

import numpy as np
from numpy.typing import NDArray

from parak8s.errors import InputError

DS1 = (101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122, 124, 201, 203, 205, 207, 208, 209, 215, 220, 223, 230)
"""Records to learn from."""
DS2 = (100, 103, 105, 111, 113, 117, 121, 123, 200, 202, 210, 212, 213, 214, 219, 221, 222, 228, 231, 232, 233, 234)
"""Records to test on."""
PACED = (102, 104, 107, 217)
"""Records of patients with a pacemaker, which AAMI leaves out."""


def assign(records: NDArray[np.generic] | None, place: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which rows take part, and which are test rows, both bool (n,).

    Args:
        records: (n,), the MIT-BIH record number of each beat.
        place: What messages call the source.

    Raises:
        InputError: The record numbers are unknown, or are not those of MIT-BIH.
    """
    if records is None:
        raise InputError(
            f"{place}: protocol de_chazal needs record numbers, which this form does not hold; use wfdb or npz"
        )
    strange = sorted({str(record) for record in np.unique(records)} - {str(record) for record in (*DS1, *DS2, *PACED)})
    if strange:
        raise InputError(
            f"{place}: protocol de_chazal is for the 48 records of MIT-BIH; {', '.join(strange[:3])} is not one"
        )
    numbers = records.astype(np.int64)
    return ~np.isin(numbers, PACED), np.isin(numbers, DS2)


def same_patient(records: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return patients (n,): the record, but 201 for 202, which is from the same man (MIT-BIH directory)."""
    if records.dtype.kind in "iu":
        return np.where(records == 202, 201, records)
    return np.where(records == "202", "201", records)
