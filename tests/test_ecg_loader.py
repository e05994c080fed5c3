"""The settings of the loader ``ecg``."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from broken_ecg import npz
from parak8s import data
from parak8s.data.ecg import Augment, ECGLoader
from parak8s.data.sources import fetch
from parak8s.errors import InputError


def test_the_loader_is_registered() -> None:
    assert data.loader_type("ecg") is ECGLoader


def test_the_settings_have_these_defaults() -> None:
    assert ECGLoader().model_dump() == {
        "form": "auto",
        "protocol": "none",
        "normalize": "zscore",
        "augment": {"stretch": 0.0, "scale": 0.0, "noise": 0.0},
    }


@pytest.mark.parametrize(
    "options",
    [
        {"form": "csv"},
        {"protocol": "chazal"},
        {"normalize": "z"},
        {"normalise": "none"},
        {"augment": {"stretch": 0.6}},
        {"augment": {"noise": -0.1}},
        {"augment": {"scale": float("nan")}},
        {"augment": {"shift": 0.1}},
        {"augment": {"scale": "0.1"}},
    ],
)
def test_wrong_settings_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ECGLoader.model_validate(options)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Augment().stretch = 0.1


def test_every_setting_is_explained_in_the_schema() -> None:
    schema = ECGLoader.model_json_schema()
    records = [schema, *schema["$defs"].values()]
    assert [
        name for record in records for name, field in record["properties"].items() if "description" not in field
    ] == []


def test_a_form_is_refused_for_a_source_without_files() -> None:
    with pytest.raises(InputError, match="synthetic://ecg: form npz reads files, and this source has none"):
        ECGLoader(form="npz").read(fetch("synthetic://ecg"))


def test_simulated_patients_have_no_record_numbers() -> None:
    with pytest.raises(InputError, match="needs record numbers"):
        ECGLoader(protocol="de_chazal").read(fetch("synthetic://ecg?beats=10"))


def test_the_form_may_be_named_where_the_file_name_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "beats.zip").write_bytes(npz())
    with pytest.raises(InputError, match=r"expected a \.csv, \.csv\.gz or \.npz file"):
        ECGLoader().read(fetch(str(tmp_path / "beats.zip")))
    assert len(ECGLoader(form="npz").read(fetch(str(tmp_path / "beats.zip")))) == 5


def test_the_data_card_names_the_origin_and_the_known_flaw(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(npz())
    about = ECGLoader(protocol="de_chazal").read(fetch(str(tmp_path / "a.npz"))).about
    assert about["beats"] == 5
    assert about["patients"] == 1
    assert "Moody and Mark 2001" in str(about["origin"])
    assert about["known flaw"] == "records 201 (DS1) and 202 (DS2) are from the same man"


def test_importing_the_loader_is_light() -> None:
    heavy = "{'tensorflow', 'keras', 'mlflow', 'sklearn', 'pyarrow', 'wfdb', 'fsspec', 'matplotlib', 'scipy', 'pandas'}"
    code = f"import sys, parak8s.data.ecg, parak8s.data.sources; print({heavy} & set(sys.modules))"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert out.stdout.strip() == "set()"
