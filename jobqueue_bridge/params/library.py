"""Params of the jobs that keep the library's rows in step with its files."""

import hashlib
from collections.abc import Sequence
from posixpath import commonpath, dirname
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from jobqueue_bridge.params.fields import DirectoryType, FileName, Int, LibraryPath, OneVideo, Params

_AT_THE_ROOT = ("inbox", "playback", "compilations")


def _seen_by_scans(path: str) -> str:
    """Scans pass over hidden folders."""
    if any(part.startswith(".") for part in path.split("/")):
        raise ValueError("must not have a folder that begins with a dot")
    return path


Subdirectory = Annotated[LibraryPath, AfterValidator(_seen_by_scans)]
MOST_PATHS = 500
SomePaths = Annotated[
    list[LibraryPath],
    Field(min_length=1, max_length=MOST_PATHS),
    AfterValidator(lambda paths: sorted(set(paths))),
]


def _named_together(paths: Sequence[str]) -> str:
    if len(paths) == 1:
        return paths[0]
    return f"{len(paths)} files, {hashlib.sha256(chr(0).join(paths).encode()).hexdigest()}"


class DirectoryScan(Params):
    """What both kinds of scan have in common."""

    skip_existing: bool = Field(
        default=True, description="Leave files alone whose size and time are as the library knows them."
    )
    paths: SomePaths | None = Field(
        default=None,
        description="These files and no others, relative to the library root; one that is gone is marked as missing.",
    )

    @property
    def folder(self) -> str:
        """The folder or file to look through where no files are listed, relative to the library root."""
        raise NotImplementedError

    @property
    def directory(self) -> str:
        """What is looked through; of listed files the folder that holds them all."""
        return self.folder if self.paths is None else commonpath(dirname(path) for path in self.paths) or "."

    def _key_of_place(self) -> str:
        """Of one file the same, whether it is listed or named as the place to scan."""
        return self.folder if self.paths is None else _named_together(self.paths)


class Scan(DirectoryScan):
    """Look through one directory of the library for new videos."""

    directory_type: DirectoryType = Field(default="videos", description="The folder below library/.")
    path: LibraryPath | None = Field(
        default=None, description="A folder or file to scan instead, relative to the library root."
    )

    @property
    def folder(self) -> str:
        return self.path or f"library/{self.directory_type}"

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if self.path is not None and self.paths is not None:
            raise ValueError("path and paths exclude each other")
        return self

    def unique_key(self) -> str | None:
        return f"scan:{self._key_of_place()}:{self.skip_existing}"


class PublicScan(DirectoryScan):
    """Look through the public gallery for new videos."""

    directory_type: DirectoryType = Field(default="public", description="The folder below library/.")

    @property
    def folder(self) -> str:
        return f"library/{self.directory_type}"

    def unique_key(self) -> str | None:
        return f"public_scan:{self._key_of_place()}:{self.skip_existing}"


class MoveToLibrary(OneVideo):
    """Move a video's file to the folder of a directory type; its row, with tags and lineage, follows."""

    directory_type: Literal[
        "studios", "gifs", "private", "inbox", "curated", "playback", "compilations", "videos", "highlights"
    ] = Field(description="inbox, playback and compilations lie at the library's root, the others below library/.")
    subdirectory: Subdirectory | None = Field(default=None, description="Folders below that one; made where missing.")
    filename: FileName | None = Field(
        default=None,
        description="The new name; the extension is added where it lacks. Default: the old name.",
    )
    on_collision: Literal["rename", "fail", "skip"] = Field(
        default="rename",
        description="Where the name is taken: take one like it, fail, or, if the contents are equal, do nothing.",
    )

    @property
    def directory(self) -> str:
        """The folder that the video goes to, relative to the library root."""
        top = self.directory_type if self.directory_type in _AT_THE_ROOT else f"library/{self.directory_type}"
        return f"{top}/{self.subdirectory}" if self.subdirectory else top

    def unique_key(self) -> str | None:
        return f"move_to_library:{self.video_id}"


class Validate(OneVideo):
    """Probe a video, decode frames of it and refresh its row."""

    checksum: bool = Field(default=False, description="Read the whole file, too, and note its SHA-256.")

    def unique_key(self) -> str | None:
        return f"validate:{self.video_id}{':checksum' if self.checksum else ''}"


class LibraryReport(Params):
    """Count what the library holds, what encoding has saved, what is there twice, how it grows, what fails and why."""

    days: Int = Field(default=90, ge=7, le=3650, description="How many days back growth and failures are looked at.")
    duplicates: bool = Field(default=True, description="Also look for videos that are the same, or show the same.")

    def unique_key(self) -> str | None:
        return "library_report"
