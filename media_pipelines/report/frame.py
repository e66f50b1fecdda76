"""The videos of a report as one table, with what cannot be true left out: nobody promises that a row is sound."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = "unknown"
# A float counts bytes exactly up to here, 9 PB; a film lasts a month at most; a picture has so many pixels a side.
_MOST_BYTES, _LONGEST_S, _WIDEST = 2.0**53, 31 * 86_400.0, 65_536.0
_WORDS = ("video_codec", "quality", "directory_type", "orientation")


def frame(portions: Iterable[Sequence[Any]], columns: Sequence[str], now: datetime) -> "pd.DataFrame":
    """A row for each video, with the fields of `jobqueue_bridge.reports.Held` as `columns` name them.

    Sizes, lengths, pixels and rates are positive floats or NaN (a size may be 0), words are never empty, `created_s`
    is between 1970 and now. `resolution` and `rate_kbps`, by size and length where both are known, are added.
    """
    import pandas as pd

    none = pd.DataFrame({name: [] for name in columns})
    tables = [_cleaned(pd.DataFrame.from_records(list(rows), columns=list(columns)), now) for rows in portions]
    return pd.concat(tables, ignore_index=True) if tables else _cleaned(none, now)


def _cleaned(videos: "pd.DataFrame", now: datetime) -> "pd.DataFrame":
    videos["size_bytes"] = _within(videos["size_bytes"], 0, _MOST_BYTES)
    videos["duration_seconds"] = _within(videos["duration_seconds"], 1e-3, _LONGEST_S)
    for side in ("width", "height"):
        videos[side] = _within(videos[side], 1, _WIDEST)
    videos["created_s"] = _within(videos["created_s"], float("-inf"), float("inf")).fillna(0).clip(0, now.timestamp())
    for name in _WORDS:
        videos[name] = _words(videos[name])
    for name in ("is_missing", "has_thumbnail", "is_rendition"):
        videos[name] = videos[name].astype(bool)
    videos["resolution"] = _resolution(videos)
    measured = videos["size_bytes"] * 8 / 1000 / videos["duration_seconds"]
    videos["rate_kbps"] = measured.fillna(_within(videos["bitrate_kbps"], 1, 2.0**31))
    return videos.drop(columns="bitrate_kbps")


def _within(numbers: "pd.Series[Any]", least: float, most: float) -> "pd.Series[float]":
    import pandas as pd

    found = pd.to_numeric(numbers, errors="coerce").astype(float)
    return found.where(found.between(least, most))


def _words(texts: "pd.Series[Any]") -> "pd.Series[Any]":
    """One line each; few differ, so that each of those is looked at once."""
    known = {text: " ".join(str(text).split()) or UNKNOWN for text in texts.dropna().unique()}
    return texts.map(lambda text: known.get(text, UNKNOWN)).astype(object)


def _resolution(videos: "pd.DataFrame") -> "pd.Series[Any]":
    sides = videos[["width", "height"]].fillna(0).astype(int).astype(str)
    is_known = videos[["width", "height"]].notna().all(axis=1)
    return (sides["width"] + "×" + sides["height"]).where(is_known, UNKNOWN).astype(object)
