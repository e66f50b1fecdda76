"""A report on the library, made by its pipeline of real rows: what it counts, what it keeps, what Dagster shows."""

import base64
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import sqlalchemy as sa
from PIL import Image

from jobqueue_bridge import reports
from jobqueue_bridge.tables import jobs, library_reports, videos
from jobqueue_bridge.vocabulary import JobStatus
from tests.pipelines.conftest import make_clip

Add = Callable[..., UUID]
MOST_PICTURE_BYTES = 60_000
FILM = {"size_bytes": 3_000_000_000, "duration_seconds": 600.0, "width": 1920, "height": 1080, "is_valid": True}


def newest(database: sa.Engine) -> reports.Whole:
    with database.connect() as connection:
        return reports.newest(connection)


def shown(instance: dg.DagsterInstance) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(dg.AssetKey("library_report"))
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def test_a_report_tells_of_what_a_scan_found_and_what_an_encode_saved(
    run_job: Any, ffmpeg: Path, library: Path, database: sa.Engine, instance: dg.DagsterInstance
) -> None:
    clip = make_clip(ffmpeg, library / "library/videos/a.mp4")
    clip.with_name("twin of a.mp4").write_bytes(clip.read_bytes())
    clip.with_name("broken.mp4").write_bytes(b"no video")
    run_job("scan", {})
    with database.connect() as connection:
        video = connection.scalars(sa.select(videos.c.id).where(videos.c.filename == "a.mp4")).one()
    encoded = run_job("reencode_streaming", {"videoId": str(video), "preset": "ultrafast"})
    assert encoded.status == JobStatus.COMPLETED, encoded.error

    done = run_job("library_report", {})

    assert done.status == JobStatus.COMPLETED, done.error
    made = newest(database)
    report = made.report
    assert (made.job_id, done.result) == (done.id, report.key_figures().model_dump(mode="json"))
    totals = report.totals
    assert (totals.videos, totals.valid, totals.invalid, totals.renditions, totals.missing) == (4, 3, 1, 1, 0)
    assert totals.size_bytes == sum(path.stat().st_size for path in library.rglob("*.mp4"))
    assert {share.name: share.videos for share in report.by_codec} == {"h264": 3, "unknown": 1}
    assert {share.name: share.videos for share in report.by_resolution}["160×90"] == 3
    assert [group.paths for group in report.duplicates.largest] == [
        ["library/videos/a.mp4", "library/videos/twin of a.mp4"]
    ]
    assert report.duplicates.spare_bytes == clip.stat().st_size
    (saved,) = report.savings.by_type
    assert (saved.name, saved.before_bytes) == ("reencode_streaming", encoded.result["sourceSizeBytes"])
    assert saved.saved_bytes == encoded.result["sourceSizeBytes"] - encoded.result["sizeBytes"]
    assert [share.name for share in report.savings.by_encoder] == [encoded.result["encoder"]]
    assert [step.videos for step in report.growth.steps][-1] == 4

    numbers = shown(instance)
    assert numbers.items() >= {"videos": 4, "valid_percent": 75.0, "missing": 0, "report": f"number {made.id}"}.items()


def test_the_numbers_keep_their_names_and_the_pictures_stay_small(
    run_job: Any, add_video: Add, add_job: Add, instance: dg.DagsterInstance, database: sa.Engine
) -> None:
    for number in range(60):
        codec, folder = f"codec {number}", f"<b>$x_{number}$ folder\n"
        add_video(f"library/{number}.mp4", video_codec=codec, directory_type=folder, quality="1080p", **FILM)
    _with_growth(database)
    for number in range(24):
        _encoded(add_job, datetime(2024, 1, 5, tzinfo=UTC) + timedelta(days=31 * number))
    assert run_job("library_report", {"days": 365}).status == JobStatus.COMPLETED

    found = shown(instance)

    numbers = {name for name, value in found.items() if isinstance(value, int | float)}
    assert numbers == {
        "videos", "total_gb", "hours", "valid_percent", "missing", "without_thumbnail", "saved_gb", "duplicates_gb",
        "avoidable_gb", "failed_jobs",
    }  # fmt: skip
    pictures = dict(re.findall(r"!\[(\w+)\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", found["overview"]))
    assert set(pictures) == {"Growth", "Contents", "Savings"}
    for name, data in pictures.items():
        assert len(data) < MOST_PICTURE_BYTES, name
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        assert picture.width > 400
        inked = 1 - picture.getchannel("A").histogram()[0] / (picture.width * picture.height)
        assert 0.03 < inked < 0.7, f"{name} shows nothing"
    assert len(found["codecs"].records) == 21


def _with_growth(database: sa.Engine) -> None:
    with database.begin() as connection:
        for number, video in enumerate(connection.scalars(sa.select(videos.c.id)).all()):
            at = datetime.now(UTC) - timedelta(days=6 * number)
            connection.execute(sa.update(videos).where(videos.c.id == video).values(created_at=at))


def _encoded(add_job: Add, at: datetime) -> None:
    result = {"sourceSizeBytes": 4 * 10**9, "sizeBytes": 10**9, "encoder": "libx265"}
    add_job(
        "compile_random", {"seed": at.toordinal()}, type="transcode", status="completed", completed_at=at, result=result
    )


def test_rows_of_other_programs_break_nothing(run_job: Any, add_video: Add, add_job: Add, database: sa.Engine) -> None:
    hostile = "library/videos/--\x1b[2J'\"|<img src=x>`\n.mp4"
    odd: list[dict[str, Any]] = [
        {"size_bytes": None, "duration_seconds": None},
        {"size_bytes": 0, "duration_seconds": 0.0, "width": 0, "height": 0},
        {"size_bytes": -5, "duration_seconds": -1.0, "width": -1920, "height": 1080},
        {"size_bytes": 2**63 - 1, "duration_seconds": 1e300},
        {"size_bytes": 10, "duration_seconds": float("nan"), "phash": "no hash"},
        {"size_bytes": 10, "duration_seconds": float("inf"), "phash": "f" * 15},
        {"size_bytes": 10, "duration_seconds": float("-inf"), "video_codec": "", "quality": "x" * 5000},
        {"size_bytes": 5_000_000_000, "duration_seconds": 60.0, "width": 1280, "height": 720, "video_codec": "a\n|b"},
    ]
    for number, values in enumerate(odd):
        add_video(hostile if number == 7 else f"inbox/{number}.mp4", **values)
    with database.begin() as connection:
        for number, moment in enumerate(("infinity", "-infinity", "294276-01-01", "0044-03-15 BC")):
            connection.execute(
                sa.text("UPDATE videos SET created_at = CAST(:at AS timestamptz) WHERE path = :path"),
                {"at": moment, "path": f"inbox/{number}.mp4"},
            )
    results = [
        None, [], "x", {"sourceSizeBytes": "much", "sizeBytes": 5}, {"sourceSizeBytes": 1e18, "sizeBytes": 5},
        {"sourceSizeBytes": 10, "sizeBytes": -1}, {"sourceSizeBytes": 100, "sizeBytes": 40, "encoder": ["x"]},
        {"sourceSizeBytes": 100, "sizeBytes": 140, "encoder": ""},
    ]  # fmt: skip
    for number, result in enumerate(results):
        add_job("compile_random", {"seed": number}, type="transcode", status="completed", result=result)
    forever = add_job("compile_random", {"seed": 99}, type="transcode", status="failed", error=None)
    with database.begin() as connection:
        connection.execute(
            sa.text("UPDATE jobs SET completed_at = 'infinity', type = repeat('t', 500) WHERE id = :id"),
            {"id": forever},
        )

    done = run_job("library_report", {"days": 3650})

    assert done.status == JobStatus.COMPLETED, done.error
    report = newest(database).report
    assert report.totals.videos == len(odd)
    assert report.totals.size_bytes == 5_000_000_030
    assert report.totals.unknown_length == 7
    assert (report.savings.jobs, report.savings.saved_bytes) == (2, 20)
    assert [one.path for one in report.wasteful.worst] == [hostile]
    assert report.growth.steps[-1].total_videos == len(odd)
    (failure,) = report.failures.reasons
    assert (failure.job_id, failure.reason, len(failure.type)) == (forever, "no reason is known", 60)


def test_failures_of_many_videos_with_one_cause_are_one_reason(
    run_job: Any, add_job: Add, connection: sa.Connection, database: sa.Engine
) -> None:
    for number in range(5):
        error = f"'library/videos/film {number}.mp4' is unreadable at byte {10_000 + number}\nmoov atom not found"
        add_job(params={"seed": number}, status="failed", error=error)
    add_job(params={"seed": 5}, status="failed", error="exit code 1")
    long_ago = datetime.now(UTC) - timedelta(days=40)
    add_job(params={"seed": 6}, status="failed", error="exit code 1", completed_at=long_ago)

    run_job("library_report", {"days": 30})

    found = newest(database).report.failures
    assert found.jobs == 6
    assert [(one.type, one.reason, one.jobs) for one in found.reasons] == [
        ("compile_random", "… is unreadable at byte …", 5),
        ("compile_random", "exit code 1", 1),
    ]


def test_what_the_archive_holds_is_counted_too(run_job: Any, add_job: Add, settings: Any, database: sa.Engine) -> None:
    from jobqueue_bridge import retention

    last_month = datetime.now(UTC) - timedelta(days=31)
    _encoded(add_job, last_month)
    add_job(params={"seed": 1}, status="failed", error="exit code 1", completed_at=last_month)
    assert sum(retention.archive_finished(database, 30)) == 2

    run_job("library_report", {"days": 60})

    report = newest(database).report
    assert [(share.name, share.saved_bytes) for share in report.savings.by_month] == [
        (f"{last_month:%Y-%m}", 3 * 10**9)
    ]
    assert [one.reason for one in report.failures.reasons] == ["exit code 1"]


def test_duplicates_that_are_one_file_or_none_are_nothing_to_spare(
    run_job: Any, add_video: Add, library: Path, database: sa.Engine
) -> None:
    (library / "inbox").mkdir()
    (library / "inbox/a.mp4").write_bytes(b"same")
    (library / "inbox/link.mp4").hardlink_to(library / "inbox/a.mp4")
    for name in ("a", "link", "gone"):
        add_video(f"inbox/{name}.mp4", fingerprint="f", size_bytes=4)

    run_job("library_report", {})
    assert newest(database).report.duplicates.groups == 0

    (library / "inbox/gone.mp4").write_bytes(b"same")
    run_job("library_report", {})
    assert newest(database).report.duplicates.spare_bytes == 4

    run_job("library_report", {"duplicates": False})
    assert newest(database).report.duplicates.left_out == "Duplicates were not asked for"
    assert newest(database).key_figures.duplicate_bytes is None


def test_an_empty_library_has_a_report(run_job: Any, database: sa.Engine, instance: dg.DagsterInstance) -> None:
    assert run_job("library_report", {}).status == JobStatus.COMPLETED
    assert newest(database).key_figures.valid_percent is None
    assert "valid_percent" not in shown(instance)


def test_the_newest_reports_are_kept(run_job: Any, connection: sa.Connection) -> None:
    row = {"key_figures": {}, "report": {"days": 7}}
    connection.execute(sa.insert(library_reports), [row] * (reports.KEPT + 20))

    run_job("library_report", {})

    kept = connection.scalars(sa.select(library_reports.c.id).order_by(library_reports.c.id)).all()
    assert len(kept) == reports.KEPT
    assert reports.page(connection, 1)[0].job_id is not None
    assert connection.scalar(sa.select(jobs.c.status).where(jobs.c.type == "library_report")) == "completed"
