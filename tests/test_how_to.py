"""The pages below docs/how-to are right: what they say is done in a copy of the checkout, and works there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.how_to import Step, steps

ROOT = Path(__file__).parents[1]
NEW_TYPE = ROOT / "docs/how-to/add-a-job-type.md"
RESOURCES = ROOT / "docs/how-to/swap-resources.md"
_NOT_COPIED = (".git", ".venv", ".state", ".hypothesis", "__pycache__", ".*_cache", "*.egg-info", "build", "dist")


class Copy:
    """A checkout of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*_NOT_COPIED))

    def __call__(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """One of the environment's programs, on the copy's code."""
        environment = {**os.environ, "PYTHONPATH": str(self.root), "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache")}
        environment.pop("MEDIA_PIPELINES_HOME", None)
        program = sys.executable if command[0] == "python" else str(Path(sys.executable).with_name(command[0]))
        return subprocess.run(
            [program, *command[1:]],
            cwd=self.root, env=environment, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip

    def pytest(self, *arguments: str) -> str:
        """What it says, or nothing where all pass."""
        basetemp = f"--basetemp={self.root.with_name('basetemp')}"
        ran = self("python", "-m", "pytest", "-p", "no:cacheprovider", basetemp, *arguments)
        return "" if ran.returncode == 0 else ran.stdout + ran.stderr

    def missing(self) -> str:
        """What the tests that watch over this name."""
        watching = ("tests/test_wiring.py", "tests/test_docs.py", "tests/queue/test_params.py")
        quick = "lacks_nothing or stands_in_the_readme_with_its_needs or least_params"
        return self.pytest(*watching, "-k", quick, "--tb=line")


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "checkout")


# Before the step whose file, and line, is this one, the tests say what is missing.
_SAID_BEFORE: dict[tuple[str, str | None], str] = {
    ("jobqueue_bridge/vocabulary.py", "JobType.TRANSCODE: Need("): "waveform has no row in NEEDS",
    ("jobqueue_bridge/params/__init__.py", "JobType.TRANSCODE: Transcode"): "waveform has no params in MODELS",
    ("media_pipelines/pipelines.py", "JobType.TRANSCODE: _pipeline("): "waveform has no pipeline in PIPELINES",
    ("jobqueue_bridge/products.py", "JobType.TRANSCODE: Product("): "waveform has no product",
    ("tests/queue/test_params.py", 'JobType.TRANSCODE: ({"videoId": VIDEO,'): "waveform is not in LEAST",
    ("README.md", "| `transcode` |"): "waveform has no row",
}


@pytest.mark.timeout(900)
def test_a_job_type_is_added_as_the_page_says(copy: Copy) -> None:
    todo = list(steps(NEW_TYPE))
    assert _SAID_BEFORE.keys() <= {(step.file, step.line) for step in todo}
    for step in todo:
        if said := _SAID_BEFORE.get((step.file, step.line)):
            assert said in copy.missing()
        step.apply(copy.root)
    _passes_what_the_page_names(copy)
    assert copy.pytest("tests/queue/test_vocabulary.py", "tests/queue/test_params.py", *_tests_in(todo)) == ""
    assert copy.pytest("tests/test_wiring.py", "tests/test_docs.py") == ""


def _passes_what_the_page_names(copy: Copy) -> None:
    """Its commands, but for pytest, of which only what can have changed is run."""
    block = re.findall(r"^```sh\n(.*?)^```", NEW_TYPE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[0]
    commands = [line.removeprefix(".venv/bin/").split() for line in block.splitlines() if "pytest" not in line]
    assert [command[0] for command in commands] == ["ruff", "ruff", "mypy", "lint-imports"]
    for command in commands:
        ran = copy(*command)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def _tests_in(todo: list[Step]) -> list[str]:
    found = [step.file for step in todo if step.file.startswith("tests/") and step.side is None]
    assert found
    return found


def test_resources_are_swapped_as_the_page_says(copy: Copy) -> None:
    (step,) = steps(RESOURCES)
    step.apply(copy.root)
    assert copy.pytest(step.file) == ""
    for command in (("ruff", "check", step.file), ("mypy", step.file)):
        ran = copy(*command)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_step_whose_place_is_not_found_is_no_step(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\nx = 2\n")
    for line in ("y =", "x ="):
        with pytest.raises(AssertionError, match="lines begin with"):
            Step("a.py", "after", line, "+y = 1\n").apply(tmp_path)


def test_a_page_with_a_step_that_is_written_otherwise_is_refused(tmp_path: Path) -> None:
    """It would be passed over, and its reader would do it."""
    page = tmp_path / "page.md"
    page.write_text("**`a.py`**, a new file:\n\n```python\nx = 1\n```\n\n**`b.py`**, somewhere:\n\n```python\n```\n")
    with pytest.raises(AssertionError, match="not written as the others"):
        list(steps(page))
