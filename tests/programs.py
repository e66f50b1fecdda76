"""Programs that some tests need and that no Python package carries: found on PATH, skipped without, never on CI."""

import os
import shutil

import pytest


def promtool() -> str:
    return _found("promtool", "apt install prometheus")


def _found(name: str, install: str) -> str:
    path = shutil.which(name)
    if path is None and os.environ.get("CI"):
        pytest.fail(f"{name} is missing: {install}")
    if path is None:
        pytest.skip(f"{name} is not on PATH ({install})")
    return path
