"""Where a picture of another shape is cut out of a video: it follows faces, calmly. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby

from media_pipelines.ai.analysis import Analysis, Face

# The camera stays where it is while the face stays in the middle of what is seen.
_DEAD_ZONE = 0.12
# Shares of the picture's width, in a second.
_FASTEST = 0.15
_STEP_S = 0.5
_FACE_LASTS_S = 2.0
_UPPER_THIRD = 0.4


@dataclass(frozen=True)
class Point:
    """The middle of the cut-out at a time of the video, from 0 to 1 of the displayed picture."""

    at_s: float
    x: float
    y: float


@dataclass(frozen=True)
class Crop:
    """`width` and `height` are what is seen, as shares of the picture. `paths` are followed in straight lines, one for
    each shot; between two of them it jumps, with the cut."""

    width: float
    height: float
    paths: tuple[tuple[Point, ...], ...]

    @property
    def is_whole(self) -> bool:
        return self.width >= 1 and self.height >= 1


def crop(analysis: Analysis, start_s: float, end_s: float, aspect: Fraction, pixel_aspect: Fraction) -> Crop:
    """The largest part of the picture that has the aspect, around the faces that are seen."""
    shown = Fraction(analysis.width, max(1, analysis.height)) * pixel_aspect
    width, height = min(1.0, float(aspect / shown)), min(1.0, float(shown / aspect))
    shots = [shot for shot in analysis.shots if shot.start_s < end_s and shot.end_s > start_s]
    spans = [(max(start_s, shot.start_s), min(end_s, shot.end_s)) for shot in shots] or [(start_s, end_s)]
    return Crop(width, height, tuple(_path(analysis.faces, *span, width, height) for span in spans))


def _path(faces: Sequence[Face], start_s: float, end_s: float, width: float, height: float) -> tuple[Point, ...]:
    seen = [face for face in faces if start_s - 1e-6 <= face.at_s < end_s]
    wanted = [Point(at_s, *_middle(list(together))) for at_s, together in groupby(seen, lambda face: face.at_s)]
    if not wanted:
        return (Point(start_s, 0.5, 0.5),)
    points = [Point(start_s, _inside(wanted[0].x, width), _inside(wanted[0].y, height))]
    for n in range(1, max(1, round((end_s - start_s) / _STEP_S)) + 1):
        at_s = min(end_s, start_s + n * _STEP_S)
        goal = min(wanted, key=lambda point: abs(point.at_s - at_s))
        points.append(_towards(points[-1], goal, at_s, width, height))
    return _without_idle(points)


def _middle(faces: list[Face]) -> tuple[float, float]:
    """Of all faces at one time, the large ones first; a little above the middle is where a face looks right."""
    weights = [face.width * face.height * face.score for face in faces]
    whole = sum(weights) or 1.0
    x = sum(w * (face.x + face.width / 2) for w, face in zip(weights, faces, strict=True)) / whole
    y = sum(w * (face.y + face.height / 2) for w, face in zip(weights, faces, strict=True)) / whole
    return x, y + (0.5 - _UPPER_THIRD) * max(face.height for face in faces)


def _inside(middle: float, share: float) -> float:
    return min(max(middle, share / 2), 1 - share / 2)


def _towards(now: Point, goal: Point, at_s: float, width: float, height: float) -> Point:
    reach = _FASTEST * (at_s - now.at_s)
    return Point(
        at_s, _moved(now.x, _inside(goal.x, width), width, reach), _moved(now.y, _inside(goal.y, height), height, reach)
    )


def _moved(now: float, goal: float, share: float, reach: float) -> float:
    if abs(goal - now) <= _DEAD_ZONE * share:
        return now
    return now + min(max(goal - now, -reach), reach)


def _without_idle(points: Sequence[Point]) -> tuple[Point, ...]:
    """Points on a straight line between their neighbours say nothing."""
    kept = [points[0]]
    for before, point, after in zip(points, points[1:], points[2:], strict=False):
        if not _on_line(before, point, after):
            kept.append(point)
    return (
        (*kept, points[-1])
        if len(points) > 1 and (points[-1].x, points[-1].y) != (kept[-1].x, kept[-1].y)
        else tuple(kept)
    )


def _on_line(before: Point, point: Point, after: Point) -> bool:
    share = (point.at_s - before.at_s) / ((after.at_s - before.at_s) or 1)
    x = before.x + (after.x - before.x) * share
    y = before.y + (after.y - before.y) * share
    return abs(point.x - x) < 1e-4 and abs(point.y - y) < 1e-4
