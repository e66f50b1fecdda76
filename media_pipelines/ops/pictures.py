"""Previews for the Dagster UI: small pictures as data, which it shows without asking anybody."""

import base64
import io
import tempfile
from pathlib import Path

import dagster as dg

from media_pipelines.media import thumbnail
from media_pipelines.media.errors import MediaError
from media_pipelines.media.probe import Probe
from media_pipelines.resources.ffmpeg import Ffmpeg

_PREVIEW_PIXELS = 320


def preview(picture: Path, pixels: int = _PREVIEW_PIXELS) -> str:
    """A small copy as a data URI; `pixels`: its longer side."""
    from PIL import Image

    with Image.open(picture) as image:
        image.thumbnail((pixels, pixels))
        small = io.BytesIO()
        image.convert("RGB").save(small, "JPEG", quality=70)
    return "data:image/jpeg;base64," + base64.b64encode(small.getvalue()).decode()


def shown(picture: Path, what: str, pixels: int = _PREVIEW_PIXELS) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"![{what}]({preview(picture, pixels)})")


def frame_of(film: Probe, ffmpeg: Ffmpeg) -> dg.MarkdownMetadataValue:
    """A picture of what was published, or words where none can be had: that is no reason to fail a job."""
    with tempfile.TemporaryDirectory(prefix="preview-") as folder:
        picture = Path(folder) / "frame.jpg"
        try:
            thumbnail.take(ffmpeg.program, film, picture)
            return shown(picture, "a frame")
        except (MediaError, OSError):
            return dg.MetadataValue.md("none")
