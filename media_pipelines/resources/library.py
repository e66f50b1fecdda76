"""The doorway to the library's files: paths in rows are relative to its root, and nothing leads out of it."""

from pathlib import Path

import dagster as dg

from jobqueue_bridge.settings import load_settings
from media_pipelines.media import files


class Library(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Resolves the paths of rows and params to files below `MEDIA_LIBRARY_PATH`."""

    @property
    def root(self) -> Path:
        return load_settings().media_library_path

    def path(self, relative: str) -> Path:
        """Raises PathOutsideLibrary, also where a symlink leads out."""
        return files.resolve_inside(self.root, relative)

    def relative(self, path: Path) -> str:
        """How rows name this file."""
        return str(path.relative_to(self.root.resolve() if path.is_relative_to(self.root.resolve()) else self.root))
