"""Files of the library over HTTP: only what a row names, only below the root, only media, only as what it is."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from fastapi.responses import FileResponse

from jobqueue_bridge.errors import QueueError
from jobqueue_bridge.settings import Settings

PICTURES: Mapping[str, str] = MappingProxyType(
    {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".gif": "image/gif", ".webp": "image/webp"}
)
VIDEOS: Mapping[str, str] = MappingProxyType(
    {
        ".mp4": "video/mp4",
        ".m4v": "video/mp4",
        ".webm": "video/webm",
        ".mkv": "video/x-matroska",
        ".mov": "video/quicktime",
        ".avi": "video/x-msvideo",
        ".wmv": "video/x-ms-wmv",
        ".flv": "video/x-flv",
        ".ts": "video/mp2t",
        ".m2ts": "video/mp2t",
        ".mts": "video/mp2t",
        ".mpg": "video/mpeg",
        ".mpeg": "video/mpeg",
        ".ogv": "video/ogg",
        ".3gp": "video/3gpp",
        ".vob": "video/mpeg",
    }
)
MEDIA: Mapping[str, str] = MappingProxyType({**PICTURES, **VIDEOS})

# A browser keeps it for itself, and asks each time whether it is still the same.
_HEADERS = {"Cache-Control": "private, no-cache", "Content-Disposition": "inline"}


class FileNotThere(QueueError):
    """Nothing that may be shown is at the path, or no path is known."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"There is no {what}")


def find(settings: Settings, relative: str | None, kinds: Mapping[str, str], what: str) -> Path:
    """A regular file of one of these kinds below the library's root, wherever links lead. Raises FileNotThere."""
    if not relative or PurePosixPath(relative).suffix.lower() not in kinds:
        raise FileNotThere(what)
    try:
        root = settings.media_library_path.resolve()
        path = (root / relative).resolve(strict=True)
        if path.is_relative_to(root) and path.suffix.lower() in kinds and path.is_file():
            return path
    except (OSError, ValueError, RuntimeError):  # not there, not readable, a loop of links
        pass
    raise FileNotThere(what)


def shown(path: Path, kinds: Mapping[str, str]) -> FileResponse:
    """With its ETag, and in byte ranges where they are asked for."""
    return FileResponse(path, media_type=kinds[path.suffix.lower()], headers=_HEADERS)


def documented_files(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of them."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}
    return {
        200: {"description": "The file", "content": content},
        206: {"description": "The part of it that `Range` names", "content": content},
        416: {"description": "`Range` names no part of it"},
    }
