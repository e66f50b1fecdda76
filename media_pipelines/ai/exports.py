"""Shots and scenes in the formats that other programs read: EDL (CMX 3600), OTIO, CSV, JSON."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from media_pipelines.ai.analysis import Analysis
from media_pipelines.ai.scenes import Scene

Format = Literal["edl", "otio", "csv", "json"]


def rows(analysis: Analysis, scenes: Sequence[Scene]) -> list[dict[str, Any]]:
    """One for each shot; both numbers count from 1, as people do."""
    found = []
    for number, scene in enumerate(scenes, 1):
        for n in scene.shots:
            shot = analysis.shots[n]
            found.append(
                {
                    "scene": number,
                    "shot": n + 1,
                    "startSeconds": round(shot.start_s, 3),
                    "endSeconds": round(shot.end_s, 3),
                    "transition": shot.transition_in,
                    "transitionSeconds": round(shot.transition_s, 3),
                }
            )
    return found


def export(kind: Format, analysis: Analysis, scenes: Sequence[Scene], name: str) -> str:
    """The text of the file. `name` is the video's."""
    return _EXPORTS[kind](analysis, scenes, name)


def _json(analysis: Analysis, scenes: Sequence[Scene], name: str) -> str:
    whole = {
        "video": name,
        "durationSeconds": round(analysis.duration_s, 3),
        "fps": analysis.fps,
        "engines": [{"role": one.role, "reference": one.reference, "reason": one.reason} for one in analysis.engines],
        "scenes": [
            {"scene": n, "startSeconds": round(scene.start_s, 3), "endSeconds": round(scene.end_s, 3)}
            for n, scene in enumerate(scenes, 1)
        ],
        "shots": rows(analysis, scenes),
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _csv(analysis: Analysis, scenes: Sequence[Scene], name: str) -> str:
    del name
    text = io.StringIO()
    listed = rows(analysis, scenes)
    writer = csv.DictWriter(text, fieldnames=list(listed[0]) if listed else ["scene", "shot"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    return text.getvalue()


def _edl(analysis: Analysis, scenes: Sequence[Scene], name: str) -> str:
    """CMX 3600 knows whole rates only: 29.97 counts as 30 there, which is what its frames are numbered by."""
    import opentimelineio as otio

    timeline = _timeline(analysis, scenes, name, float(max(1, round(analysis.fps))))
    return str(otio.adapters.write_to_string(timeline, "cmx_3600", style="avid"))


def _otio(analysis: Analysis, scenes: Sequence[Scene], name: str) -> str:
    import opentimelineio as otio

    return str(otio.adapters.write_to_string(_timeline(analysis, scenes, name, analysis.fps), "otio_json"))


def _timeline(analysis: Analysis, scenes: Sequence[Scene], name: str, rate: float) -> Any:
    """Every shot a clip of the same media, named by its scene."""
    import opentimelineio as otio

    def at(seconds: float) -> Any:
        return otio.opentime.RationalTime(round(seconds * analysis.fps), rate)

    media = otio.schema.ExternalReference(
        target_url=name, available_range=otio.opentime.TimeRange(at(0), at(analysis.duration_s))
    )
    track = otio.schema.Track("shots", kind=otio.schema.TrackKind.Video)
    for row in rows(analysis, scenes):
        start, end = at(row["startSeconds"]), at(row["endSeconds"])
        clip = otio.schema.Clip(f"scene {row['scene']} shot {row['shot']}", media_reference=media.clone())
        clip.source_range = otio.opentime.TimeRange(start, end - start)
        track.append(clip)
    timeline = otio.schema.Timeline(name)
    timeline.tracks.append(track)
    return timeline


_EXPORTS: Mapping[Format, Callable[[Analysis, Sequence[Scene], str], str]] = MappingProxyType(
    {"edl": _edl, "otio": _otio, "csv": _csv, "json": _json}
)
