"""Opening a file as one of the containers that hold video, through the file protocol alone: a playlist renamed to .mp4
reaches neither the network nor other files."""

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from media_pipelines.media import errors

if TYPE_CHECKING:
    from av.container import InputContainer

# Demuxers that hold video, or audio alone (so that an audio file gets the better message). No hls, concat or dash:
# those open other files. No image formats: a renamed JPEG would pass as a video of one frame.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,asf,ogg,mxf,rm,wtv,dv,nut,ivf,gif,"
    "h264,hevc,m4v,obu,av1,mp3,wav,aac,flac"
)
# Their index names key frames. Elsewhere a seek may land between two, and only what follows the second decodes.
INDEXED = frozenset({"mp4", "matroska"})


@contextlib.contextmanager
def opened(path: Path) -> Iterator["InputContainer"]:
    with readable(path), open_only_video(str(path)) as container:
        yield container


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """What goes wrong within is the file's fault: raises UnreadableMedia."""
    import av

    try:
        yield
    except (av.FFmpegError, OSError, ValueError, ArithmeticError) as error:
        raise errors.UnreadableMedia(path, _reason(error)) from error


def open_only_video(path_text: str) -> "InputContainer":
    """One of the containers that hold video, through the file protocol alone."""
    import av

    return av.open(
        f"file:{path_text}",
        mode="r",
        metadata_errors="replace",
        options={"protocol_whitelist": "file", "format_whitelist": CONTAINERS},
    )


def regular_size(path: Path) -> int:
    """The size of a regular file. Anything else is refused unopened: opening a fifo blocks for ever."""
    try:
        info = path.stat()
    except (OSError, ValueError) as error:
        raise errors.UnreadableMedia(path, getattr(error, "strerror", None) or str(error)) from error
    if stat.S_ISDIR(info.st_mode):
        raise errors.UnreadableMedia(path, "it is a folder")
    if not stat.S_ISREG(info.st_mode):
        raise errors.UnreadableMedia(path, "it is not a regular file")
    if info.st_size == 0:
        raise errors.UnreadableMedia(path, "it is empty (0 bytes)")
    return info.st_size


def _reason(error: Exception) -> str:
    import av

    if isinstance(error, av.InvalidDataError):
        return "its data is damaged, incomplete or not video (libav: invalid data)"
    if isinstance(error, av.ArgumentError):
        return "it is not one of the container formats that hold video"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
