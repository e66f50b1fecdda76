"""The picture of why: how interesting a video is over time, what was chosen of it, and what that looks like."""

import io
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from media_pipelines.ai.analysis import Analysis
from media_pipelines.ai.interest import Interest
from media_pipelines.ai.segments import Segment

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from media_pipelines.ai.analysis import Floats

_WIDTH, _LEFT, _RIGHT = 960, 70, 12
_THUMBS, _CURVE, _LANE, _AXIS = 96, 120, 12, 22
_COLOURS = {"motion": "#3b82f6", "loudness": "#f59e0b", "faces": "#10b981", "novelty": "#a855f7"}
_INK, _PAPER, _CHOSEN, _LINE, _SPEECH = "#1f2937", "#ffffff", "#dbeafe", "#111827", "#94a3b8"
_MOST_TICKS = 10
_TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


def explained(analysis: Analysis, found: Interest, chosen: Sequence[Segment]) -> bytes:
    """A PNG: thumbnails of what was chosen, the score with the chosen stretches, a lane for each reason, where
    shots begin, where somebody speaks, and the time."""
    from PIL import Image, ImageDraw

    lanes = list(found.parts)
    height = _THUMBS + _CURVE + (_LANE + 4) * (len(lanes) + 1) + _AXIS
    picture = Image.new("RGB", (_WIDTH, height), _PAPER)
    drawing = ImageDraw.Draw(picture)
    _thumbnails(picture, analysis, chosen)
    top = _THUMBS
    _curve(drawing, analysis, found, chosen, top)
    top += _CURVE
    for name in lanes:
        _lane(drawing, name, found.parts[name], _COLOURS.get(name, _LINE), top + 4)
        top += _LANE + 4
    _speech(drawing, analysis, top + 4)
    _axis(drawing, analysis.duration_s, top + _LANE + 6)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def _x(at_s: float, duration_s: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(1.0, at_s / duration_s if duration_s else 0.0)


def _thumbnails(picture: "Image", analysis: Analysis, chosen: Sequence[Segment]) -> None:
    """As many as have room, spread over what was chosen."""
    from PIL import Image

    shots = list(dict.fromkeys(segment.shot for segment in sorted(chosen, key=lambda one: one.start_s)))
    room = _WIDTH - _LEFT - _RIGHT
    count = min(len(shots), 8)
    for n in range(count):
        shot = shots[n * len(shots) // count]
        if not analysis.thumbnails[shot]:
            continue
        with Image.open(io.BytesIO(analysis.thumbnails[shot])) as small:
            small.thumbnail((room // count - 4, _THUMBS - 8))
            picture.paste(small.convert("RGB"), (_LEFT + n * room // count, 4))


def _curve(drawing: "ImageDraw", analysis: Analysis, found: Interest, chosen: Sequence[Segment], top: int) -> None:
    duration_s, bottom = analysis.duration_s, top + _CURVE - 2
    for segment in chosen:
        span = (
            _x(segment.start_s, duration_s),
            top,
            max(_x(segment.end_s, duration_s), _x(segment.start_s, duration_s) + 1),
            bottom,
        )
        drawing.rectangle(span, fill=_CHOSEN)
    for shot in analysis.shots[1:]:
        x = _x(shot.start_s, duration_s)
        drawing.line((x, bottom - 6, x, bottom), fill=_SPEECH)
    heights = _columns(found.total)
    points = [(_LEFT + n, bottom - 2 - value * (_CURVE - 10)) for n, value in enumerate(heights)]
    if len(points) > 1:
        drawing.line(points, fill=_LINE, width=1)
    _label(drawing, "score", top + _CURVE / 2 - 6)


def _columns(curve: "Floats") -> list[float]:
    """The largest value in each column of pixels."""
    import numpy as np

    values = np.asarray(curve, dtype=np.float32)
    if not len(values):
        return []
    count = _WIDTH - _LEFT - _RIGHT
    edges = np.linspace(0, len(values), count + 1).astype(int)
    return [float(values[a : max(a + 1, b)].max()) for a, b in itertools.pairwise(edges)]


def _lane(drawing: "ImageDraw", name: str, curve: "Floats", colour: str, top: int) -> None:
    _label(drawing, name, top - 1)
    for n, value in enumerate(_columns(curve)):
        if value > 0.02:
            drawing.line((_LEFT + n, top + _LANE * (1 - value), _LEFT + n, top + _LANE), fill=colour)


def _speech(drawing: "ImageDraw", analysis: Analysis, top: int) -> None:
    _label(drawing, "speech", top - 1)
    for span in analysis.speech:
        drawing.rectangle(
            (_x(span.start_s, analysis.duration_s), top + 3, _x(span.end_s, analysis.duration_s), top + _LANE - 3),
            fill=_SPEECH,
        )


def _axis(drawing: "ImageDraw", duration_s: float, top: int) -> None:
    step_s = next(
        (step for step in _TICKS_S if duration_s / step <= _MOST_TICKS), max(1, round(duration_s / _MOST_TICKS))
    )
    for n in range(int(duration_s // step_s) + 1):
        x = _x(n * step_s, duration_s)
        drawing.line((x, top, x, top + 3), fill=_INK)
        drawing.text((x + 2, top + 2), _clock(n * step_s), fill=_INK)


def _label(drawing: "ImageDraw", text: str, top: float) -> None:
    drawing.text((4, top), text, fill=_INK)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
