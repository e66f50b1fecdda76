"""From paths as people type them to paths in the library."""

import os
from pathlib import Path

from jobqueue_bridge.settings import Settings
from media_pipelines.cli.output import USAGE, fail
from media_pipelines.cli.printable import printable


def in_library(settings: Settings, path: Path) -> str:
    """The path relative to the library root, taken relative to here or else to the root; exit 2 where it is outside."""
    root = settings.media_library_path
    found = next((candidate for candidate in (Path.cwd() / path, root / path) if lies_below(candidate, root)), None)
    if found is None:
        fail(f"{printable(str(path))} is not in the library {printable(str(root))}", USAGE)
    if not found.exists():
        fail(f"{printable(str(path))} does not exist", USAGE)
    return relative(found, root)


def lies_below(path: Path, root: Path) -> bool:
    """Also when symlinks are followed, so that none leads out of the library."""
    return path.resolve().is_relative_to(root.resolve())


def relative(path: Path, root: Path) -> str:
    """As it was named where that is below the root as configured; otherwise with symlinks followed."""
    named = Path(os.path.normpath(path))
    return str(named.relative_to(root) if named.is_relative_to(root) else path.resolve().relative_to(root.resolve()))
