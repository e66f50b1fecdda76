"""What a scan has found, and what Dagster is told of it: in the partition of each video, and in sum."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import dagster as dg

from media_pipelines.ops.materialized import made, video_event
from media_pipelines.ops.videos import table, video_facts
from media_pipelines.resources.attempt import Attempt

_COUNTED = ("found", "new", "changed", "unchanged", "moved", "missing", "invalid", "skipped")
# An event costs milliseconds: of each kind, a scan of a large library tells Dagster the first ones only.
TOLD_AT_MOST = 50
_SHOWN = 50


@dataclass(frozen=True)
class _Event:
    """Something that happened to a video, for Dagster to be told."""

    video_id: UUID
    facts: Mapping[str, Any]


@dataclass
class Tally:
    """What a scan found so far."""

    found: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    moved: int = 0
    missing: int = 0
    invalid: int = 0
    skipped: int = 0
    enqueued: int = 0
    """Jobs of the chains of new videos."""
    new_ids: list[UUID] = field(default_factory=list)
    fresh: list[tuple[UUID, dict[str, Any]]] = field(default_factory=list)
    """The first of the new ones, as they were written: all of a large library would fill the memory."""
    events: dict[str, list[_Event]] = field(default_factory=dict)
    """What else happened to videos, by its word; the first of each."""

    def note(self, what: str, video_id: UUID, facts: Mapping[str, Any]) -> None:
        noted = self.events.setdefault(what, [])
        if len(noted) < TOLD_AT_MOST:
            noted.append(_Event(video_id, facts))

    @property
    def handled(self) -> int:
        return self.new + self.changed + self.unchanged + self.moved + self.skipped

    def counts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in _COUNTED}


def tell(context: dg.OpExecutionContext, attempt: Attempt, tally: Tally) -> None:
    """Dagster, in the partition of each video: of a new or changed file a materialization, else an observation."""
    for video_id, facts in tally.fresh:
        video_event(context, video_id, dg.AssetMaterialization, **made(attempt, what="new", **video_facts(facts)))
    for what, events in tally.events.items():
        for event in events:
            kind = dg.AssetMaterialization if what == "changed" else dg.AssetObservation
            shown = video_facts(event.facts) if what == "changed" else _as_metadata(event.facts)
            video_event(context, event.video_id, kind, **made(attempt, what=what, **shown))


def _as_metadata(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: dg.MetadataValue.timestamp(value) if isinstance(value, datetime) else dg.MetadataValue.path(value)
        for name, value in facts.items()
    }


def named(events: Sequence[_Event]) -> dg.MarkdownMetadataValue:
    return table(["video"], [(event.facts["path"],) for event in events[:_SHOWN]])


def shown(tally: Tally) -> dg.MarkdownMetadataValue:
    return table(
        ["video", "size", "duration", "codec", "valid"],
        [
            (
                facts["path"],
                f"{facts['width']}×{facts['height']}" if facts["width"] else None,
                f"{facts['duration_seconds']:.1f} s" if facts["duration_seconds"] else None,
                facts["video_codec"],
                "yes" if facts["is_valid"] else facts["invalid_reason"],
            )
            for _, facts in tally.fresh[:_SHOWN]
        ],
    )
