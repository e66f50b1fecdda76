"""The doorway to the library's files: paths in rows are relative to its root, and nothing leads out of it."""

from pathlib import Path

from pydantic import Field

from jobqueue_bridge.settings import load_settings
from media_pipelines.media import files
from media_pipelines.resources.doorway import Doorway, PathText


class Library(Doorway):
    """Resolves the paths of rows and params to files below `MEDIA_LIBRARY_PATH`, or below `Library(root=…)`."""

    own_root: PathText | None = Field(
        default=None, alias="root", description="Another folder; empty: what `MEDIA_LIBRARY_PATH` says."
    )

    @property
    def root(self) -> Path:
        return Path(self.own_root).absolute() if self.own_root else load_settings().media_library_path

    def path(self, relative: str) -> Path:
        """Raises PathOutsideLibrary, also where a symlink leads out."""
        return files.resolve_inside(self.root, relative)

    def relative(self, path: Path) -> str:
        """How rows name this file."""
        return str(path.relative_to(self.root.resolve() if path.is_relative_to(self.root.resolve()) else self.root))
