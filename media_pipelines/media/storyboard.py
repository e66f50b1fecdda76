"""Small pictures of a whole video on a few sheets, with a WebVTT index: what a player shows while one scrubs."""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from media_pipelines.media import errors
from media_pipelines.media.commands import pictures
from media_pipelines.media.encoders import tone_mapper
from media_pipelines.media.ffmpeg import run
from media_pipelines.media.probe import Probe

_COLUMNS = _ROWS = 9
_TILE_WIDTH = 160
_TALLEST_TILE = 480
# A long film gets as many sheets as this, and not more.
_SHEETS_AT_MOST = 5
# From this distance on key frames are near enough, and reading them alone is many times faster.
_KEY_FRAMES_FROM_S = 2.0
# A mean difference below this, of 255, is one and the same picture.
_SAME_PICTURE = 2.0
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


@dataclass(frozen=True)
class Layout:
    """One picture every `interval_s`, `tiles` in all, each `tile` pixels large, on sheets of `columns`×`rows`."""

    interval_s: float
    tiles: int
    tile: tuple[int, int]
    columns: int
    rows: int
    duration_s: float

    @property
    def sheets(self) -> int:
        return math.ceil(self.tiles / (self.columns * self.rows))


def layout(source: Probe) -> Layout:
    """At least nine pictures, one a second, or as far apart as lets a few sheets hold all. Raises UnreadableMedia
    where the duration is unknown."""
    duration_s = source.duration_s
    if not duration_s:
        raise errors.UnreadableMedia(source.path, "its duration is unknown, so no storyboard can be laid out")
    most = _COLUMNS * _ROWS * _SHEETS_AT_MOST
    interval_s = max(0.04, duration_s / _COLUMNS) if duration_s < _COLUMNS else float(math.ceil(duration_s / most))
    interval_s = round(interval_s, 3)
    tiles = max(1, math.ceil(duration_s / interval_s - 0.05))
    proportion = float(source.width * source.sar / source.height)
    height = min(_TALLEST_TILE, max(2, round(_TILE_WIDTH / proportion / 2) * 2))
    rows = min(_ROWS, math.ceil(tiles / _COLUMNS))
    return Layout(interval_s, tiles, (_TILE_WIDTH, height), min(_COLUMNS, tiles), rows, duration_s)


def draw(
    ffmpeg: Path,
    source: Probe,
    plan: Layout,
    scratch: Path,
    *,
    stop: Callable[[], str | None] | None = None,
    on_line: Callable[[str], None] | None = None,
    stall_timeout_s: float = 300,
) -> list[bytes]:
    """The sheets as JPEGs, all of them decoded once. `scratch` is a file of the caller's, gone afterwards.

    Raises OutputRejected where they are not as planned, and what `ffmpeg.run` raises.
    """
    tone_map = tone_mapper(ffmpeg) if source.hdr else ()
    for key_frames_only in (True, False) if plan.interval_s >= _KEY_FRAMES_FROM_S else (False,):
        command = pictures.sheets(
            ffmpeg,
            source,
            scratch,
            interval_s=plan.interval_s,
            tiles=plan.tiles,
            tile=plan.tile,
            columns=plan.columns,
            rows=plan.rows,
            key_frames_only=key_frames_only,
            tone_map=tone_map,
        )
        try:
            run(command, duration_s=plan.duration_s, stop=stop, on_line=on_line, stall_timeout_s=stall_timeout_s)
            found = split(scratch.read_bytes())
        finally:
            scratch.unlink(missing_ok=True)
        if key_frames_only and (len(found) != plan.sheets or not _is_varied(plan, found)):
            continue
        _require_whole(source, plan, found)
        break
    return found


def split(jpegs: bytes) -> list[bytes]:
    """JPEGs that stand one after the other. Their data never holds the two bytes that end each."""
    parts = jpegs.split(_JPEG_END + _JPEG_START)
    return [
        (_JPEG_START if n else b"") + part + (_JPEG_END if n < len(parts) - 1 else b"")
        for n, part in enumerate(parts)
        if part
    ]


def _require_whole(source: Probe, plan: Layout, sheets: Sequence[bytes]) -> None:
    from PIL import Image, UnidentifiedImageError

    size = (plan.columns * plan.tile[0], plan.rows * plan.tile[1])
    if len(sheets) != plan.sheets:
        raise errors.OutputRejected(source.path, (f"its storyboard has {len(sheets)} sheets instead of {plan.sheets}",))
    for sheet in sheets:
        try:
            with Image.open(io.BytesIO(sheet)) as image:
                image.load()
                whole = image.size == size
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            raise errors.OutputRejected(source.path, (f"a sheet of its storyboard is no image: {error}",)) from error
        if not whole:
            raise errors.OutputRejected(source.path, ("a sheet of its storyboard has the wrong size",))


def _is_varied(plan: Layout, sheets: Sequence[bytes]) -> bool:
    """Whether at least half of the pictures differ from the one before: key frames may be minutes apart."""
    from PIL import Image, ImageChops, ImageStat

    previous, different = None, 0
    for k in range(plan.tiles):
        sheet, left, top = _place(plan, k)
        if k % (plan.columns * plan.rows) == 0:
            with Image.open(io.BytesIO(sheets[sheet])) as image:
                whole = image.convert("L")
        tile = whole.crop((left, top, left + plan.tile[0], top + plan.tile[1]))
        if previous is None or ImageStat.Stat(ImageChops.difference(tile, previous)).mean[0] > _SAME_PICTURE:
            different += 1
        previous = tile
    return different * 2 >= plan.tiles


def _place(plan: Layout, k: int) -> tuple[int, int, int]:
    """The sheet of a picture, and its upper left corner there."""
    sheet, on_sheet = divmod(k, plan.columns * plan.rows)
    row, column = divmod(on_sheet, plan.columns)
    return sheet, column * plan.tile[0], row * plan.tile[1]


def index(plan: Layout, names: Sequence[str]) -> str:
    """The WebVTT: for each stretch of the video, which part of which sheet stands for it."""
    cues = []
    for k in range(plan.tiles):
        sheet, left, top = _place(plan, k)
        ends_s = plan.duration_s if k == plan.tiles - 1 else (k + 1) * plan.interval_s
        times = f"{_clock(k * plan.interval_s)} --> {_clock(max(ends_s, k * plan.interval_s + 0.001))}"
        cues.append(f"{times}\n{names[sheet]}#xywh={left},{top},{plan.tile[0]},{plan.tile[1]}\n")
    return "WEBVTT\n\n" + "\n".join(cues)


def _clock(seconds: float) -> str:
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
