"""The videos of a demo: copies of somebody's own, or samples made here. The originals are only ever read."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from jobqueue_bridge.settings import Settings
from media_pipelines.demo.errors import BadMedia, DemoError
from media_pipelines.media import clips, files
from media_pipelines.media.errors import DiskFull, MediaError
from media_pipelines.media.ffmpeg import find_ffmpeg

_CHUNK_BYTES = 8 * 1024**2
# Renditions and a compilation come to stand beside the copies.
_SPACE_FACTOR = 3
_SAMPLES_IN_LIBRARY = 5
_FOR_THE_INBOX, _FOR_THE_GALLERY = clips.SAMPLES[_SAMPLES_IN_LIBRARY : _SAMPLES_IN_LIBRARY + 2]


@dataclass(frozen=True)
class Own:
    """Somebody's videos, before they are copied."""

    root: Path
    videos: tuple[Path, ...]
    size_bytes: int
    skipped: tuple[str, ...] = ()


@dataclass
class Footage:
    """What was put into the library, relative to its root, and what was left out."""

    library: list[str] = field(default_factory=list)
    inbox: list[str] = field(default_factory=list)
    gallery: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[str]:
        return [*self.library, *self.inbox, *self.gallery]


def look_at(media: str) -> Own:
    """What `MEDIA` holds: a folder, looked through to its bottom, or one file. Raises BadMedia."""
    path = Path(media).expanduser().resolve()
    if not path.exists():
        raise BadMedia(f"MEDIA: {path} does not exist")
    root = path if path.is_dir() else path.parent
    skipped: list[str] = []
    found: dict[Path, int] = {}
    for video in files.find_videos(root, path, on_skip=lambda what, why: skipped.append(f"{what}: {why}")):
        if os.access(video, os.R_OK):
            found[video] = video.stat().st_size
        else:
            skipped.append(f"{video}: it may not be read")
    if not found:
        raise BadMedia(f"MEDIA: there is no video in {path}{''.join(f'; {line}' for line in skipped[:3])}")
    return Own(root, tuple(found), sum(found.values()), tuple(skipped))


def copy_own(settings: Settings, own: Own, advance: Callable[[int], None]) -> Footage:
    """Copy the videos below library/videos/, in their folders; `advance` hears of every few MB. Raises DemoError."""
    root = settings.media_library_path
    footage = Footage(skipped=list(own.skipped))
    try:
        files.require_free_space(root, own.size_bytes * _SPACE_FACTOR)
        for video in own.videos:
            target = root / "library/videos" / video.relative_to(own.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(video, target, advance)
            footage.library.append(str(target.relative_to(root)))
    except (DiskFull, OSError) as error:
        raise DemoError(f"The videos cannot be copied: {error}") from error
    _add_inbox_and_gallery(settings, footage)
    return footage


def _copy(source: Path, target: Path, advance: Callable[[int], None]) -> None:
    with source.open("rb") as reading, target.open("wb") as writing:
        while chunk := reading.read(_CHUNK_BYTES):
            writing.write(chunk)
            advance(len(chunk))
    shutil.copystat(source, target)
    target.chmod(0o644)


def make_samples(settings: Settings) -> Footage:
    """Small clips of several shapes and codecs. Raises DemoError."""
    root = settings.media_library_path
    try:
        made = clips.make_clips(_ffmpeg(settings), root / "library/videos", _SAMPLES_IN_LIBRARY)
    except MediaError as error:
        raise DemoError(f"No sample could be made: {error}") from error
    footage = Footage(library=[str(path.relative_to(root)) for path in made])
    _add_inbox_and_gallery(settings, footage)
    return footage


def _add_inbox_and_gallery(settings: Settings, footage: Footage) -> None:
    """One sample each, so that the inbox sensor and the scan of the gallery have something to find."""
    root = settings.media_library_path
    for clip, folder, made in (
        (_FOR_THE_INBOX, root / "inbox", footage.inbox),
        (_FOR_THE_GALLERY, root / "library/public", footage.gallery),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            made.append(str(clips.make_clip(_ffmpeg(settings), clip, folder).relative_to(root)))
        except MediaError as error:
            raise DemoError(f"No sample could be made: {error}") from error


def _ffmpeg(settings: Settings) -> Path:
    return find_ffmpeg(settings.ffmpeg_binary or None)
