"""Params of the jobs that keep the library's rows in step with its files."""

from pydantic import Field

from jobqueue_bridge.params.fields import DirectoryType, LibraryPath, OneVideo, Params


class DirectoryScan(Params):
    """What both kinds of scan have in common."""

    skip_existing: bool = Field(
        default=True, description="Leave files alone whose size and time are as the library knows them."
    )

    @property
    def directory(self) -> str:
        """The folder to look through, relative to the library root."""
        raise NotImplementedError


class Scan(DirectoryScan):
    """Look through one directory of the library for new videos."""

    directory_type: DirectoryType = Field(default="videos", description="The folder below library/.")
    path: LibraryPath | None = Field(
        default=None, description="A folder or file to scan instead, relative to the library root."
    )

    @property
    def directory(self) -> str:
        return self.path or f"library/{self.directory_type}"

    def unique_key(self) -> str | None:
        return f"scan:{self.directory}:{self.skip_existing}"


class PublicScan(DirectoryScan):
    """Look through the public gallery for new videos."""

    directory_type: DirectoryType = Field(default="public", description="The folder below library/.")

    @property
    def directory(self) -> str:
        return f"library/{self.directory_type}"

    def unique_key(self) -> str | None:
        return f"public_scan:{self.directory}:{self.skip_existing}"


class Validate(OneVideo):
    """Probe a video, decode frames of it and refresh its row."""

    def unique_key(self) -> str | None:
        return f"validate:{self.video_id}"
