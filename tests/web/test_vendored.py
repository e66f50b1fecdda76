"""The page's libraries and files, without a browser."""

import tomllib
from pathlib import Path

import pytest

from tests.web import vendored

ROOT = Path(__file__).parents[2]
WEB = ROOT / "jobqueue_bridge/web"
OURS = [file for file in sorted(WEB.rglob("*.js")) if "vendor" not in file.parts]


def test_the_libraries_are_as_they_were_fetched() -> None:
    noted = vendored.sums()

    assert {name: vendored.sum_of((vendored.FOLDER / name).read_bytes()) for name in noted} == noted


def test_every_library_lies_beside_its_licence() -> None:
    listed = {file for package in vendored.packages().values() for file in package["files"]}

    assert listed == set(vendored.sums())
    assert listed | {"README.md", "vendored.json", vendored.SUMS} == {file.name for file in vendored.FOLDER.iterdir()}
    assert all(any(name.endswith("LICENSE") for name in package["files"]) for package in vendored.packages().values())


def test_a_wheel_carries_every_file_of_the_page() -> None:
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    patterns = [pattern for pattern in configured["jobqueue_bridge"] if pattern.startswith("web/")]
    carried = {file for pattern in patterns for file in WEB.parent.glob(pattern)}

    assert {file for file in WEB.rglob("*") if file.is_file()} <= carried


@pytest.mark.parametrize("file", OURS, ids=lambda file: str(file.relative_to(WEB)))
def test_a_module_imports_only_what_is_there_and_nothing_from_elsewhere(file: Path) -> None:
    imported = [line.split(' from "')[1].split('"')[0] for line in file.read_text().splitlines() if ' from "' in line]

    assert [name for name in imported if not name.startswith(".") or not (file.parent / name).is_file()] == []
