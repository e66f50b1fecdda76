"""The figures of a report, of whatever rows there are: sums that add up, and nothing that breaks them."""

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue_bridge.library_report import LibraryReport
from jobqueue_bridge.reports import HELD, Saved
from jobqueue_bridge.videos import Likeness
from media_pipelines.report import figures, pictures
from media_pipelines.report.frame import UNKNOWN, frame
from media_pipelines.report.savings import savings
from media_pipelines.report.twice import found_twice

NOW = datetime(2026, 7, 29, 12, tzinfo=UTC)
DAY_S = 86_400


def a_video(**values: Any) -> dict[str, Any]:
    plain: dict[str, Any] = dict.fromkeys(HELD)
    flags = dict.fromkeys(("is_missing", "has_thumbnail", "is_rendition"), False)
    return {**plain, **flags, "id": uuid4(), "created_s": NOW.timestamp(), **values}


def table(*videos: dict[str, Any], portion: int = 3) -> Any:
    rows = [tuple(video[name] for name in HELD) for video in videos]
    return frame((rows[at : at + portion] for at in range(0, len(rows), portion)), HELD, NOW)


# Any row that the columns' types allow.
_TEXT = st.one_of(st.none(), st.text(max_size=30), st.sampled_from(["h264", "$x$", "a\nb", "\x1b[2J", "<b>|`"]))
_INTEGER = st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1), st.sampled_from([0, 1920, 1080]))
_REAL = st.one_of(st.none(), st.floats(), st.floats(0.1, 7200))
ODD = st.fixed_dictionaries(
    {
        "size_bytes": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 10**10)),
        "duration_seconds": _REAL,
        "width": _INTEGER,
        "height": _INTEGER,
        "bitrate_kbps": _INTEGER,
        "video_codec": _TEXT,
        "quality": _TEXT,
        "directory_type": _TEXT,
        "orientation": _TEXT,
        "is_valid": st.sampled_from([None, True, False]),
        "is_missing": st.booleans(),
        "has_thumbnail": st.booleans(),
        "is_rendition": st.booleans(),
        "created_s": st.one_of(st.floats(allow_nan=False), st.floats(0, NOW.timestamp())),
    }
)


@given(st.lists(ODD, max_size=30), st.integers(7, 3650))
def test_every_sum_adds_up_whatever_the_rows_say(rows: list[dict[str, Any]], days: int) -> None:
    videos = table(*(a_video(**row) for row in rows))
    there = figures.present(videos)
    totals = figures.totals(videos)

    assert totals.videos + totals.missing == len(rows)
    assert totals.valid + totals.invalid + totals.unchecked == totals.videos
    for by in ("video_codec", "quality", "directory_type", "orientation", "resolution"):
        shares = figures.shares(there, by, most=3)
        assert sum(share.videos for share in shares) == totals.videos
        assert sum(share.size_bytes for share in shares) == totals.size_bytes
        assert all(share.name == " ".join(share.name.split()) != "" for share in shares)
    steps = figures.growth(there, days, NOW).steps
    assert (steps[-1].total_videos, steps[-1].total_size_bytes) == (totals.videos, totals.size_bytes)
    assert steps[0].begins <= NOW.date() - timedelta(days=days - 1) <= steps[0].begins + timedelta(days=6)


@given(st.lists(ODD, max_size=30))
def test_a_report_of_odd_rows_can_be_written_and_read(rows: list[dict[str, Any]]) -> None:
    videos = table(*(a_video(**row) for row in rows))
    there, wasteful = figures.present(videos), figures.wasteful(figures.present(videos))
    paths = {video_id: f"inbox/{number}" for number, video_id in enumerate(there["id"])}
    report = LibraryReport(
        days=90,
        totals=figures.totals(videos),
        by_codec=figures.shares(there, "video_codec"),
        growth=figures.growth(there, 90, NOW),
        largest=figures.told(figures.largest(there), paths),
        wasteful=figures.told_wasteful(wasteful, paths),
    )

    assert LibraryReport.model_validate_json(report.model_dump_json()) == report
    assert [one.size_bytes for one in report.largest] == sorted(
        (one.size_bytes for one in report.largest), reverse=True
    )
    assert all(one.avoidable_bytes > 0 and one.size_bytes > 0 for one in report.wasteful.worst)
    lengths = [one.duration_seconds for one in report.largest if one.duration_seconds is not None]
    assert all(math.isfinite(length) and length > 0 for length in lengths)


@pytest.mark.parametrize("name", ["$\\frac{$", "a\nb", "日本語", "\x1b[31m", "‮", "x" * 500, "%s{}"])
def test_a_plot_is_drawn_whatever_the_names_are(name: str) -> None:
    videos = table(*(a_video(size_bytes=10**9, video_codec=name, directory_type=name, quality=name) for _ in range(3)))
    by = {field: figures.shares(videos, field) for field in ("video_codec", "quality", "directory_type")}
    report = LibraryReport(
        days=90,
        totals=figures.totals(videos),
        by_codec=by["video_codec"],
        by_quality=by["quality"],
        by_directory=by["directory_type"],
        growth=figures.growth(videos, 90, NOW),
        savings=savings([Saved("2026-02", "transcode", name, 1, 5, 9)]),
    )

    for draw in (pictures.contents, pictures.growth, pictures.savings):
        assert (draw(report) or b"").startswith(b"\x89PNG"), draw


# Shares


def test_what_is_beyond_the_commonest_is_told_together() -> None:
    codecs = ["h264"] * 3 + ["hevc"] * 2 + ["vp9", "av1", None]
    videos = table(*(a_video(video_codec=codec, size_bytes=10) for codec in codecs))

    told = [(share.name, share.videos, share.size_bytes) for share in figures.shares(videos, "video_codec", most=2)]

    assert told == [("h264", 3, 30), ("hevc", 2, 20), (figures.OTHERS, 3, 30)]


def test_a_picture_without_sides_has_no_resolution() -> None:
    videos = table(a_video(width=1920, height=1080), a_video(width=0, height=1080), a_video(width=1920))

    assert {share.name: share.videos for share in figures.shares(videos, "resolution")} == {"1920×1080": 1, UNKNOWN: 2}


# Growth


def test_growth_counts_from_what_was_there_before() -> None:
    ages_days = [0, 0, 3, 6, 7, 400]
    videos = table(*(a_video(size_bytes=10, created_s=NOW.timestamp() - age * DAY_S) for age in ages_days))

    grown = figures.growth(videos, 7, NOW)

    assert grown.step == "day"
    assert [step.begins for step in grown.steps] == [date(2026, 7, 23) + timedelta(days=n) for n in range(7)]
    assert [step.videos for step in grown.steps] == [1, 0, 0, 1, 0, 0, 2]
    assert [step.total_videos for step in grown.steps] == [3, 3, 3, 4, 4, 4, 6]


def test_a_long_time_is_told_by_weeks_that_begin_on_monday() -> None:
    steps = figures.growth(table(a_video()), 365, NOW)

    assert steps.step == "week"
    assert {step.begins.weekday() for step in steps.steps} == {0}
    assert steps.steps[-1].begins == date(2026, 7, 27)
    assert len(steps.steps) == 53


# Worth encoding


def full_hd(kbps: int, **values: Any) -> dict[str, Any]:
    shown = {"width": 1080, "height": 1920, "duration_seconds": 100.0, "size_bytes": kbps * 125 * 100}
    return a_video(**{**shown, **values})


def test_what_takes_much_more_than_a_good_encode_is_worth_one() -> None:
    wasteful, fair = full_hd(11_600), full_hd(8_000)

    found = figures.wasteful(table(wasteful, fair))

    assert list(found["id"]) == [wasteful["id"]]
    assert int(found["avoidable_bytes"].iloc[0]) == 5_800 * 125 * 100


@pytest.mark.parametrize("but", [{"is_rendition": True}, {"is_valid": False}, {"width": None}, {"size_bytes": None}])
def test_what_is_no_sound_original_is_never_worth_encoding(but: dict[str, Any]) -> None:
    assert len(figures.wasteful(table(full_hd(50_000, **but)))) == 0


def test_a_video_that_has_gone_meanwhile_is_counted_and_not_shown() -> None:
    stays, goes = full_hd(50_000), full_hd(40_000)
    found = figures.wasteful(table(stays, goes))

    told = figures.told_wasteful(found, {stays["id"]: "inbox/a.mp4"})

    assert (told.videos, [one.path for one in told.worst]) == (2, ["inbox/a.mp4"])


# Savings


def test_savings_are_told_by_type_encoder_and_month() -> None:
    groups = [
        Saved("2026-02", "transcode", "libx265", 2, 100, 40),
        Saved("2026-01", "transcode", "libx264", 1, 50, 60),
        Saved("2026-02", "reencode_streaming", "libx264", 1, 30, 10),
    ]

    told = savings(groups)

    assert (told.jobs, told.before_bytes, told.saved_bytes) == (4, 180, 70)
    assert [(one.name, one.saved_bytes) for one in told.by_type] == [("transcode", 50), ("reencode_streaming", 20)]
    assert [(one.name, one.saved_bytes) for one in told.by_encoder] == [("libx265", 60), ("libx264", 10)]
    assert [(one.name, one.saved_bytes) for one in told.by_month] == [("2026-01", -10), ("2026-02", 80)]


def test_encoders_beyond_the_first_are_told_together() -> None:
    told = savings([Saved("2026-01", "transcode", f"encoder {n:02}", 1, 100, n) for n in range(20)])

    assert len(told.by_encoder) == 13
    assert (told.by_encoder[-1].name, told.by_encoder[-1].jobs) == ("(others)", 8)
    assert sum(one.saved_bytes for one in told.by_encoder) == told.saved_bytes


# There twice


def likeness(path: str, **values: Any) -> Likeness:
    return Likeness(**{**dict.fromkeys(Likeness.__dataclass_fields__), "id": UUID(int=0), "path": path, **values})


def test_names_of_one_file_are_one_and_the_best_stays_first() -> None:
    known = [
        likeness("small.mp4", fingerprint="f", size_bytes=4, width=10, height=10),
        likeness("best.mp4", fingerprint="f", size_bytes=4, width=20, height=10),
        likeness("link to best.mp4", fingerprint="f", size_bytes=4, width=20, height=10),
        likeness("gone.mp4", fingerprint="f", size_bytes=4, width=20, height=10),
    ]
    files = {"small.mp4": 1, "best.mp4": 2, "link to best.mp4": 2}

    found = found_twice(known, files.get)

    assert [(group.paths, group.spare_bytes) for group in found.largest] == [(["best.mp4", "small.mp4"], 4)]


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "size_bytes": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
                "duration_seconds": _REAL,
                "width": _INTEGER,
                "height": _INTEGER,
                "bitrate_kbps": _INTEGER,
                "sha256": _TEXT,
                "fingerprint": st.sampled_from([None, "", "f", "g"]),
                "phash": st.one_of(st.none(), st.text(max_size=40), st.sampled_from(["0f" * 8, "0F" * 8, "f" * 32])),
            }
        ),
        max_size=12,
    )
)
def test_duplicates_of_odd_rows_are_found_or_not_and_spare_nothing_negative(rows: list[dict[str, Any]]) -> None:
    known = [likeness(f"{number}.mp4", **row) for number, row in enumerate(rows)]

    found = found_twice(known, lambda path: path)

    assert found.looked_at == len(rows)
    assert found.spare_bytes >= 0
    assert all(group.videos >= 2 for group in found.largest)
