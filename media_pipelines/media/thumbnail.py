"""The picture that stands for a video: a frame that shows something."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from media_pipelines.media import errors, verify
from media_pipelines.media.commands import pictures
from media_pipelines.media.encoders import tone_mapper
from media_pipelines.media.ffmpeg import run
from media_pipelines.media.probe import Probe

_DEFAULT_POSITION = 0.25
_OTHER_POSITIONS = (0.125, 0.06, 0.0, 0.5, 0.75, 0.9)
# Of 255. Black with video noise stays below both; a night scene with one lamp has spread.
_BLACK_MEAN = 20.0
_BLACK_SPREAD = 10.0
# A frame whose colours all spread less than this, of 255, is one flat colour: a fade, a slate.
_FLAT_SPREAD = 3.0


@dataclass(frozen=True)
class Thumbnail:
    path: Path
    at_s: float
    width: int
    height: int


@dataclass(frozen=True)
class _Frame:
    at_s: float
    jpeg: bytes
    light: float
    is_blank: bool


def take(
    ffmpeg: Path,
    source: Probe,
    output: Path,
    *,
    at_s: float | None = None,
    width: int = 640,
    stop: Callable[[], str | None] | None = None,
) -> Thumbnail:
    """Write a JPEG of the frame at `at_s` seconds (by default at a quarter of the duration, never beyond the end).

    Where no frame, a black one or one of a single colour comes, earlier places are tried, then later ones; of a video
    that is blank throughout, the least black. Raises NoUsableFrame, EncodeStopped.
    """
    best: _Frame | None = None
    tone_map = tone_mapper(ffmpeg) if source.hdr else ()
    for position_s in _positions(source, at_s):
        command = pictures.thumbnail(ffmpeg, source, output, at_s=position_s, width=width, tone_map=tone_map)
        frame = _grab(command, output, position_s, stop)
        if frame is not None and (best is None or (not frame.is_blank, frame.light) > (not best.is_blank, best.light)):
            best = frame
        if best is not None and not best.is_blank:
            break
    if best is None:
        output.unlink(missing_ok=True)
        raise errors.NoUsableFrame(source.path)
    output.write_bytes(best.jpeg)
    return Thumbnail(output, best.at_s, *verify.verify_image(output))


def _positions(source: Probe, at_s: float | None) -> Iterator[float]:
    if source.duration_s is None:
        yield from (at_s or 0.0, 0.0) if at_s else (0.0,)
        return
    picture_s = min(source.duration_s, source.video.duration_s or source.duration_s)
    last_s = max(0.0, picture_s - 1.5 / (source.fps or 25))
    wanted_s = picture_s * _DEFAULT_POSITION if at_s is None else at_s
    yield min(max(0.0, wanted_s), last_s)
    yield from (min(picture_s * position, last_s) for position in _OTHER_POSITIONS)


def _grab(command: list[str], output: Path, at_s: float, stop: Callable[[], str | None] | None) -> _Frame | None:
    """The frame at one position; None where none comes."""
    output.unlink(missing_ok=True)
    try:
        run(command, duration_s=None, stop=stop, stall_timeout_s=60)
    except errors.FfmpegFailed as error:
        if error.disk_full or error.exit_code < 0:
            raise
        return None
    if not output.exists() or output.stat().st_size == 0:
        return None
    return _measured(at_s, output.read_bytes())


def _measured(at_s: float, jpeg: bytes) -> _Frame | None:
    import io

    from PIL import Image, ImageStat, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(jpeg)) as image:
            luma = ImageStat.Stat(image.convert("L"))
            colours = ImageStat.Stat(image.convert("RGB"))
    except (UnidentifiedImageError, OSError):
        return None
    mean, spread = luma.mean[0], luma.stddev[0]
    is_black = mean < _BLACK_MEAN and spread < _BLACK_SPREAD
    return _Frame(at_s, jpeg, mean + spread, is_blank=is_black or max(colours.stddev) < _FLAT_SPREAD)
