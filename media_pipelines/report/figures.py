"""What the table of videos comes to: totals, shares, growth, the largest, those that waste space."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from jobqueue_bridge.library_report import (
    Growth,
    GrowthStep,
    LibraryShare,
    LibraryTotals,
    ReportedVideo,
    Wasteful,
    WastefulVideo,
)
from media_pipelines.report.frame import UNKNOWN

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 20
OTHERS = "(others)"
_DAY_S = 86_400
_DAYS_BY_DAY = 120
_MONDAY = 3  # days from the Monday before 1970 began
# A picture of at most so many pixels is fairly served by so many kbps. Source: the highest rates for HEVC, 30 fps, in
# Apple's HLS Authoring Specification; above 4K as for 4K.
_FAIR_KBPS = ((960 * 540, 1600), (1280 * 720, 3400), (1920 * 1080, 5800), (2560 * 1440, 8100), (3840 * 2160, 16800))
_WASTEFUL_ABOVE = 1.5


def present(videos: "pd.DataFrame") -> "pd.DataFrame":
    return videos[~videos["is_missing"]]


def totals(videos: "pd.DataFrame") -> LibraryTotals:
    there = present(videos)
    valid, invalid = (int((there["is_valid"] == verdict).sum()) for verdict in (True, False))
    return LibraryTotals(
        videos=len(there),
        size_bytes=int(there["size_bytes"].sum()),
        duration_seconds=round(float(there["duration_seconds"].sum()), 3),
        valid=valid,
        invalid=invalid,
        unchecked=len(there) - valid - invalid,
        missing=len(videos) - len(there),
        without_thumbnail=int((~there["has_thumbnail"]).sum()),
        renditions=int(there["is_rendition"].sum()),
        unknown_length=int(there["duration_seconds"].isna().sum()),
    )


def shares(there: "pd.DataFrame", by: str, most: int = SHOWN) -> list[LibraryShare]:
    """The commonest first; beyond `most` of them the rest together."""
    groups = there.groupby(by, sort=False, as_index=False).agg(
        videos=("id", "size"), size_bytes=("size_bytes", "sum"), duration_seconds=("duration_seconds", "sum")
    )
    groups = groups.sort_values(["videos", by], ascending=[False, True])
    found = [_share(*row) for row in groups.head(most).itertuples(index=False, name=None)]
    rest = groups.iloc[most:]
    sums = [float(rest[name].sum()) for name in ("videos", "size_bytes", "duration_seconds")]
    return [*found, _share(OTHERS, *sums)] if len(rest) else found


def _share(name: str, videos: float, size_bytes: float, duration_s: float) -> LibraryShare:
    return LibraryShare(
        name=name, videos=int(videos), size_bytes=int(size_bytes), duration_seconds=round(duration_s, 3)
    )


def growth(there: "pd.DataFrame", days: int, now: datetime) -> Growth:
    """By day, or where there are many days by week from Monday to Sunday. The last step is not over yet."""
    by_day = days <= _DAYS_BY_DAY
    today = int(now.timestamp() // _DAY_S)
    first, length = today - days + 1, 1
    if not by_day:
        first, length = first - (first + _MONDAY) % 7, 7
    place = ((there["created_s"] // _DAY_S - first) // length).clip(lower=-1).astype(int)
    came = there.groupby(place).agg(videos=("id", "size"), size_bytes=("size_bytes", "sum"))
    came = came.reindex(range(-1, (today - first) // length + 1), fill_value=0)
    steps = zip(came.index[1:], came.iloc[1:].to_numpy(), came.cumsum().iloc[1:].to_numpy(), strict=True)
    return Growth(
        step="day" if by_day else "week",
        steps=[_step(first + number * length, *new, *total) for number, new, total in steps],
    )


def _step(day: int, videos: float, size_bytes: float, total_videos: float, total_bytes: float) -> GrowthStep:
    return GrowthStep(
        begins=date(1970, 1, 1) + timedelta(days=int(day)),
        videos=int(videos),
        size_bytes=int(size_bytes),
        total_videos=int(total_videos),
        total_size_bytes=int(total_bytes),
    )


def largest(there: "pd.DataFrame") -> "pd.DataFrame":
    return there[there["size_bytes"] > 0].nlargest(SHOWN, "size_bytes")


def wasteful(there: "pd.DataFrame") -> "pd.DataFrame":
    """Originals that a good encode would make much smaller, with `fair_kbps` and `avoidable_bytes`; the most of that
    first. Renditions are somebody's wish."""
    import numpy as np

    asked = there[
        (there["is_valid"] != False)  # noqa: E712 - None: nobody has looked yet
        & ~there["is_rendition"]
        & (there[["size_bytes", "duration_seconds", "width", "height"]].notna().all(axis=1))
    ]
    pixels, rates = zip(*_FAIR_KBPS, strict=True)
    at = np.searchsorted(pixels, (asked["width"] * asked["height"]).to_numpy())
    fair = np.asarray(rates, dtype=float)[np.minimum(at, len(rates) - 1)]
    found = asked.assign(fair_kbps=fair)
    found["avoidable_bytes"] = found["size_bytes"] - found["fair_kbps"] * 125 * found["duration_seconds"]
    found = found[found["rate_kbps"] > _WASTEFUL_ABOVE * found["fair_kbps"]]
    return found.sort_values("avoidable_bytes", ascending=False)


def told(videos: "pd.DataFrame", paths: Mapping[UUID, str]) -> list[ReportedVideo]:
    """Those whose rows are still there."""
    return [ReportedVideo(**_facts(row, paths)) for row in _rows(videos) if row["id"] in paths]


def told_wasteful(videos: "pd.DataFrame", paths: Mapping[UUID, str]) -> Wasteful:
    """All of them counted, the first ones shown."""
    return Wasteful(
        videos=len(videos),
        avoidable_bytes=int(videos["avoidable_bytes"].sum()),
        worst=[
            WastefulVideo(
                **_facts(row, paths), fair_kbps=int(row["fair_kbps"]), avoidable_bytes=int(row["avoidable_bytes"])
            )
            for row in _rows(videos.head(SHOWN))
            if row["id"] in paths
        ],
    )


def _rows(videos: "pd.DataFrame") -> list[dict[Any, Any]]:
    return videos.to_dict("records")


def _facts(row: Mapping[Any, Any], paths: Mapping[UUID, str]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "path": paths[row["id"]],
        "size_bytes": int(row["size_bytes"]),
        "duration_seconds": _known(row["duration_seconds"]),
        "width": _whole(row["width"]),
        "height": _whole(row["height"]),
        "video_codec": None if row["video_codec"] == UNKNOWN else row["video_codec"],
        "bitrate_kbps": _whole(row["rate_kbps"]),
    }


def _known(number: float) -> float | None:
    return None if number != number else round(float(number), 3)


def _whole(number: float) -> int | None:
    return None if number != number else round(number)
