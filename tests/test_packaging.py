"""The package, the repository and the README agree with each other."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from parak8s import __version__

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def setuptools() -> dict[str, Any]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: dict[str, Any] = project["tool"]["setuptools"]
    return found


def packages_on_disk() -> set[str]:
    """Return the name of every folder with an ``__init__.py``; links in src/parak8s/ lead to the rooms at the top."""
    source = ROOT / "src" / "parak8s"
    rooms = {source: "parak8s"} | {
        path.resolve(): f"parak8s.{path.name}" for path in source.iterdir() if path.is_symlink()
    }
    return {
        ".".join([name, *file.parent.relative_to(room).parts])
        for room, name in rooms.items()
        for file in room.rglob("__init__.py")
        if not any(path.is_symlink() for path in file.parents if path != room and room in path.parents)
    }


def test_every_package_on_disk_is_installed_and_no_other() -> None:
    assert set(setuptools()["packages"]) == packages_on_disk()


def test_every_mapped_package_has_its_folder() -> None:
    rooms = {f"parak8s.{room}": room for room in ("components", "data", "katib", "models", "pipelines", "tfjobs")}
    assert setuptools()["package-dir"] == {"parak8s": "src/parak8s", **rooms}
    for package, folder in setuptools()["package-dir"].items():
        assert (ROOT / folder / "__init__.py").is_file(), package


def test_links_show_the_rooms_at_the_top_under_parak8s() -> None:
    for package, folder in setuptools()["package-dir"].items():
        linked = ROOT / "src" / package.replace(".", "/")
        assert linked.resolve() == (ROOT / folder).resolve(), package


def test_files_that_are_no_python_are_installed_too() -> None:
    data = setuptools()["package-data"]
    folders = setuptools()["package-dir"]
    for package, folder in folders.items():
        others = [p for p in (ROOT / folder).iterdir() if p.is_file() and p.suffix not in (".py", ".pyc")]
        for path in others:
            assert any(path.match(pattern) for pattern in data.get(package, [])), path


def tracked() -> list[Path]:
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git checkout")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_tracked_file_holds_a_path_of_a_machine() -> None:
    machine = re.compile(r"(?<![\w.])/(?:home|Users|root|work|workspace)/\w+|[A-Z]:\\\\?Users")
    found = []
    for path in tracked():
        if path.name == "uv.lock" or path.suffix in (".png", ".svg", ".npz", ".ico"):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {hit}" for hit in machine.findall(text)]
    assert found == []


def test_no_large_file_is_tracked() -> None:
    assert [path for path in tracked() if path.stat().st_size > 2_000_000] == []


def documents() -> list[Path]:
    return [README, *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.name))
def test_documents_link_to_what_is_there(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.name))
def test_documents_name_make_targets_that_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^\s*)make ([a-z-]+)", document.read_text(encoding="utf-8"), re.MULTILINE))
    assert named - targets == set()


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.name))
def test_documents_name_files_that_exist(document: Path) -> None:
    rooms = "|".join(["experiments", "data", "models", "src", "docs", "benchmarks", "tests"])
    named = re.findall(rf"`((?:{rooms})/[\w./-]+)`", document.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_promised_make_targets_are_there_and_the_readme_names_the_two_commands() -> None:
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"install", "demo", "test", "check", "bench", "help"} <= set(targets)
    assert {"make demo", "make test"} <= set(re.findall("make [a-z]+", README.read_text(encoding="utf-8")))


def test_every_make_target_that_is_no_file_is_phony() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index]
    assert set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)) == phony


def test_package_and_project_have_the_same_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__
