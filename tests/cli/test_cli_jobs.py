"""`jobs …` on the command line."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from jobqueue_bridge import lease, queue
from jobqueue_bridge.retry import Backoff
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.platform import lock

Cli = Callable[..., Any]
Add = Callable[..., UUID]


# create


def test_a_job_is_created_as_it_is_asked_for(cli: Cli, connection: sa.Connection) -> None:
    given = ("--params", '{"count": 3}', "--priority", "2", "--vram", "1000", "--max-retries", "0")

    ended = cli("jobs", "create", "compile_random", *given, "--json")

    assert ended.code == 0, ended.err
    job = queue.get(connection, UUID(ended.json["id"]))
    assert (job.type, job.params, job.priority, job.vram_required, job.max_retries, job.origin) == (
        "compile_random",
        {"count": 3},
        2,
        1000,
        0,
        "cli",
    )
    assert ended.json["createdAt"].endswith("Z")


def test_a_created_job_is_named_in_one_line(cli: Cli) -> None:
    ended = cli("jobs", "create", "scan")

    assert re.fullmatch(r"Job [0-9a-f-]{36} \(scan\) is pending\n", ended.out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "unknown job type 'nonsense'"),
        (("digest_generate",), "params.videoId"),
        (("scan", "--params", "{"), "no JSON"),
        (("scan", "--params", '{"a": NaN}'), "NaN"),
        (("scan", "--params", "[" * 5000), "deep"),
        (("scan", "--params", "[]"), "params"),
        (("scan", "--params", '{"typo": 1}'), "params.typo"),
        (("scan", "--params", '{"path": "../x"}'), "params.path"),
        (("scan", "--params", '{"path": "a\\u0000"}'), "NUL"),
        (("scan", "--params", '{"path": "\\ud800"}'), "surrogate"),
        (("scan", "--params", os.fsdecode(b'{"path": "\xff"}')), "surrogate"),
        (("scan", "--priority", "11"), "priority"),
        (("scan", "--priority", "x"), "--priority"),
        (("scan", "--vram", "16001"), "vramRequired"),
        (("scan", "--vram", "-1"), "vramRequired"),
        (("scan", "--vram", str(10**30)), "vramRequired"),
        (("scan", "--max-retries", "101"), "maxRetries"),
        (("validate", "--params", f'{{"videoId": "{uuid4()}"}}'), "params.videoId"),
        ((), "TYPE"),
    ],
)
def test_bad_usage_of_create_says_what_is_wrong_and_ends_with_two(
    cli: Cli, connection: sa.Connection, arguments: tuple[str, ...], said: str
) -> None:
    ended = cli("jobs", "create", *arguments)

    assert ended.code == 2, ended.err
    assert said in ended.err
    assert ended.out == ""
    assert connection.scalar(sa.select(sa.func.count()).select_from(jobs)) == 0


def test_a_job_that_does_the_same_already_is_named(cli: Cli, add_job: Add) -> None:
    live = add_job("scan")

    ended = cli("jobs", "create", "scan")

    assert ended.code == 1
    assert str(live) in ended.err


# create --wait


@pytest.fixture
def platform_lock(settings: Settings) -> Iterator[None]:
    """Be the platform of the suite's home, for commands that ask whether it is there."""
    with lock.held(settings):
        yield


@pytest.fixture
def run_the_next_job(database: sa.Engine, platform_lock: None) -> Callable[[JobStatus], threading.Thread]:
    """Play the platform: take the pending job through running to an end."""

    def play(end: JobStatus) -> None:
        with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            job_id = _await_one(connection)
            connection.execute(
                sa.update(jobs).values(
                    status="running", progress=40, progress_detail={"fps": 25, "speed": 1.5, "eta_s": 65}
                )
            )
            time.sleep(1.2)
            connection.execute(
                sa.update(jobs)
                .where(jobs.c.id == job_id)
                .values(status=end.value, error="it broke\x1b[31m" if end == "failed" else None)
            )

    def start(end: JobStatus) -> threading.Thread:
        thread = threading.Thread(target=play, args=[end])
        thread.start()
        return thread

    return start


def _await_one(connection: sa.Connection) -> UUID:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = connection.scalar(sa.select(jobs.c.id))
        if found:
            return UUID(str(found))
        time.sleep(0.05)
    raise AssertionError("no job came")


@pytest.mark.parametrize(("end", "code"), [("completed", 0), ("failed", 1), ("cancelled", 1)])
def test_waiting_ends_as_the_job_does(cli: Cli, run_the_next_job: Any, end: str, code: int) -> None:
    platform = run_the_next_job(JobStatus(end))

    ended = cli("jobs", "create", "scan", "--wait", "--json")

    platform.join()
    assert ended.code == code
    assert ended.json["status"] == end
    assert "running" in ended.err


def test_why_a_job_failed_is_said_without_its_escape_sequences(cli: Cli, run_the_next_job: Any) -> None:
    platform = run_the_next_job(JobStatus.FAILED)

    ended = cli("jobs", "create", "scan", "--wait")

    platform.join()
    assert "it broke\\x1b[31m" in ended.err
    assert "\x1b[31m" not in ended.err


def test_somebody_who_watches_sees_a_bar_with_speed_and_time_left(run_the_next_job: Any, database: sa.Engine) -> None:
    platform = run_the_next_job(JobStatus.COMPLETED)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "media_pipelines.cli.main", "jobs", "create", "scan", "--wait"],
        env={**os.environ, "COLUMNS": "150", "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = _read_all(ours)
    platform.join()

    assert process.wait(10) == 0
    assert "running" in shown
    assert "40%" in shown
    assert "25 fps  1.5×  ETA 1:05" in shown
    assert "completed" in shown


def _read_all(terminal: int) -> str:
    shown = b""
    try:
        while part := os.read(terminal, 65536):
            shown += part
    except OSError:  # the other side closed
        pass
    return shown.decode()


@pytest.mark.parametrize("arguments", [("jobs", "create", "scan"), ("scan",), ("scan", "--json")])
def test_nothing_is_queued_by_a_command_that_could_only_wait_in_vain(
    cli: Cli, connection: sa.Connection, arguments: tuple[str, ...]
) -> None:
    ended = cli(*arguments, "--wait")

    assert (ended.code, ended.out) == (3, "")
    assert "media-pipelines up" in ended.err
    assert connection.scalar(sa.select(sa.func.count()).select_from(jobs)) == 0


@pytest.mark.usefixtures("platform_lock")
def test_ctrl_c_ends_the_waiting_and_not_the_job(command: Any, connection: sa.Connection) -> None:
    process = command("jobs", "create", "scan", "--wait")
    job_id = _await_one(connection)
    time.sleep(0.7)

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)

    assert process.returncode == 130
    assert f"jobs show {job_id}" in errors
    assert "Traceback" not in errors
    assert queue.get(connection, job_id).status == JobStatus.PENDING


# list


@pytest.fixture
def in_utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


# The example of VPO's guide; what waits is pending here.
LISTED_BY_VPO = """\
ID         STATUS       TYPE       FILE                                       PROG   CREATED
-----------------------------------------------------------------------------------------------
a1b2c3d4   running      transcode  Movie.Name.2023.mkv                        45%    2024-01-15 10:30
e5f6a7b8   pending      transcode  Another.Movie.mkv                          -      2024-01-15 10:29
"""


def test_jobs_are_listed_character_for_character_as_vpo_does(
    cli: Cli, connection: sa.Connection, add_video: Add, in_utc: None
) -> None:
    rows = [
        ("a1b2c3d4", "running", "Movie.Name.2023.mkv", 45, "2024-01-15 10:30"),
        ("e5f6a7b8", "pending", "Another.Movie.mkv", 0, "2024-01-15 10:29"),
    ]
    for prefix, status, name, progress, created in rows:
        values = {"id": UUID(prefix + "0" * 24), "type": "transcode", "status": status, "progress": progress}
        values |= {"params": {}, "resource_category": "cpu", "video_id": add_video(f"inbox/{name}")}
        connection.execute(sa.insert(jobs).values(**values, created_at=sa.text(f"timestamp '{created}'")))

    assert cli("jobs", "list").out == LISTED_BY_VPO


def test_a_longer_type_name_widens_the_list(cli: Cli, add_job: Add, in_utc: None) -> None:
    created = sa.text("timestamp '2024-01-15 10:29'")
    pending = add_job("scan", {"path": "inbox/new"}, type="reencode_streaming", created_at=created)

    assert cli("jobs", "list").out.splitlines() == [
        "ID         STATUS       TYPE               FILE                                       PROG   CREATED",
        "-" * 103,
        f"{str(pending)[:8]}   pending      reencode_streaming -                                          -      "
        "2024-01-15 10:29",
    ]


def test_asked_for_queued_it_lists_all_that_waits_newest_first(cli: Cli, add_job: Add) -> None:
    waiting = [str(add_job(status=status)) for status in ("pending", "queued", "pending")]
    for status in ("running", "paused", "completed"):
        add_job(status=status)

    assert [job["id"] for job in cli("jobs", "list", "--status", "queued", "--json").json] == waiting[::-1]
    assert [job["id"] for job in cli("jobs", "list", "--status", "pending", "--json").json] == waiting[::-2]
    ended = cli("jobs", "list", "--status", "queued", "--limit", "2", "--json")
    assert [job["id"] for job in ended.json] == waiting[:0:-1]


def _files_listed(cli: Cli) -> list[str]:
    header, _, *rows = cli("jobs", "list").out.splitlines()
    return [row[header.index("FILE") : header.index("PROG")].strip() for row in rows]


@pytest.mark.parametrize(
    ("kind", "params", "values", "named"),
    [
        ("scan", {}, {}, "library/videos"),
        ("public_scan", {"directoryType": "gallery"}, {}, "library/gallery"),
        ("compile_random", {"outputPath": "compilations/best.mp4"}, {}, "best.mp4"),
        ("compile_random", {}, {"result": {"outputPath": "compilations/random-1.mp4"}}, "random-1.mp4"),
        ("compile_random", {}, {}, "-"),
    ],
)
def test_the_file_is_the_output_or_the_directory_where_there_is_no_video(
    cli: Cli, add_job: Add, kind: str, params: Any, values: dict[str, Any], named: str
) -> None:
    add_job(kind, params, **values)

    assert _files_listed(cli) == [named]


@pytest.mark.parametrize(
    ("kind", "params", "named"),
    [
        ("compile_random", '["no", "object"]', "-"),
        ("scan", '"nonsense"', "-"),
        ("scan", "{}", "library/videos"),
        ("compile_random", '{"outputPath": 5}', "-"),
        ("homemade", '{"inputPath": "a/b.mkv"}', "b.mkv"),
    ],
)
def test_a_row_that_another_program_wrote_is_listed_and_shown(
    cli: Cli, connection: sa.Connection, kind: str, params: str, named: str
) -> None:
    insert = (
        "INSERT INTO jobs (type, params, resource_category) VALUES (:type, cast(:params AS jsonb), 'cpu') RETURNING id"
    )
    job_id = connection.scalar(sa.text(insert), {"type": kind, "params": params})

    assert _files_listed(cli) == [named]
    assert kind in cli("jobs", "show", str(job_id)).out


def test_what_checks_have_found_and_where_dagster_shows_the_job_is_shown(cli: Cli, add_job: Add) -> None:
    checks = [
        {"name": "verified", "passed": False, "severity": "error", "description": "it is\ntoo short"},
        {"name": "smaller", "passed": True, "severity": "warn", "description": "fine"},
        {"nonsense": 1},
    ]
    job_id = add_job(status="failed", run_id="r-1", result={"checks": checks})
    shown = cli("jobs", "show", str(job_id)).out
    assert "verified FAILED: it is\\ntoo short" in shown
    assert "smaller passed: fine" in shown
    assert "Result:" not in shown
    assert "http://127.0.0.1:3000/runs/r-1" in shown
    assert f"/assets/random_compilation?view=partitions&partition={job_id}" in shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb.mp4", "a\\nb.mp4"),
        ("\x1b]0;owned\x07.mp4", "\\x1b]0;owned\\x07.mp4"),
        ("[red]x[bold] :smile:.mp4", "[red]x[bold] :smile:.mp4"),
        ("\u202egnp.4pm", "\\u202egnp.4pm"),
        ("映画" * 30 + ".mp4", "映画" * 9 + "映…    -"),
        ("x" * 255, "x" * 39 + "…"),
        ("é 日.mp4", "é 日.mp4"),
    ],
)
def test_a_hostile_file_name_is_shown_safely_on_one_line(
    cli: Cli, add_job: Add, add_video: Add, name: str, shown: str
) -> None:
    add_job("validate", {"videoId": str(add_video(f"inbox/{name}"))})

    lines = cli("jobs", "list").out.splitlines()

    assert len(lines) == 3
    assert shown in lines[2]
    assert not re.search(r"[\x00-\x1f\x7f\u202e]", lines[2])


def test_filters_and_limit_narrow_the_list(cli: Cli, add_job: Add) -> None:
    add_job("scan", status="failed")
    completed = [str(add_job(status="completed")) for _ in range(3)]

    def ids(*arguments: str) -> list[str]:
        return [job["id"] for job in cli("jobs", "list", "--json", *arguments).json]

    assert ids("--status", "completed") == completed[::-1]
    assert ids("--type", "compile_random", "--limit", "2") == completed[:0:-1]
    assert ids("--status", "running") == []
    assert "2 of 4 jobs" in cli("jobs", "list", "--limit", "2").err


@pytest.mark.parametrize(
    "arguments", [("--status", "done"), ("--type", "x"), ("--limit", "0"), ("--limit", "x"), ("--no",)]
)
def test_bad_usage_of_list_ends_with_two(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert cli("jobs", "list", *arguments).code == 2


# show, logs, status


@pytest.fixture
def failed_job(connection: sa.Connection, add_job: Add) -> UUID:
    job_id = add_job(status="queued", attempt=1)
    held = lease.claim(connection, job_id, 1, run_id="run-1", host="here")
    assert held is not None
    lease.log(connection, held, ["first\tline", "\x1b[2Jsecond"])
    lease.fail(connection, held, "ffmpeg said\nno \x1b[31m", "permanent", Backoff(60, 3600))
    return job_id


def test_show_tells_everything_about_a_job(cli: Cli, failed_job: UUID) -> None:
    shown = cli("jobs", "show", str(failed_job)).out

    for text in (str(failed_job), "failed", "compile_random", "gpu_encode, 2000 MB", "Retries:", "run-1 on here"):
        assert text in shown
    assert "1. failed" in shown
    assert "  ffmpeg said\n  no \\x1b[31m\n" in shown
    assert "\x1b" not in shown


def test_show_tells_a_wrong_declaration_of_vram(cli: Cli, failed_job: UUID, connection: sa.Connection) -> None:
    connection.execute(sa.text("UPDATE job_attempts SET peak_vram_mb = 3100"))
    shown = cli("jobs", "show", str(failed_job)).out
    assert "VRAM:        3100 MB of GPU memory were used, only 2000 MB are declared" in shown
    assert "peak 3100 MB of VRAM" in shown


def test_show_tells_what_a_pending_job_waits_for(cli: Cli, add_job: Add) -> None:
    job_id = add_job(waiting_reason="needs 8000 MB")

    shown = cli("jobs", "show", str(job_id)[:8]).out

    assert "needs 8000 MB" in shown
    assert "1 in the queue" in shown


def test_show_as_json_is_what_the_api_answers(cli: Cli, failed_job: UUID) -> None:
    job = cli("jobs", "show", str(failed_job), "--json").json

    assert (job["id"], job["status"], job["attempts"][0]["outcome"]) == (str(failed_job), "failed", "failed")
    assert "second" in job["log"]


@pytest.mark.parametrize("subcommand", ["show", "logs"])
@pytest.mark.parametrize(
    "reference", ["ffffffff", "x", "", "zz\x1b[31m", "../..", os.fsdecode(b"\xff"), "-" * 40, "0" * 99]
)
def test_an_unknown_id_ends_with_two(cli: Cli, subcommand: str, reference: str) -> None:
    ended = cli("jobs", subcommand, "--", reference)

    assert ended.code == 2
    assert "No job" in ended.err
    assert "\x1b[31m" not in ended.err


@pytest.mark.parametrize("subcommand", ["show", "logs"])
def test_an_ambiguous_id_ends_with_two_and_names_the_choice(
    cli: Cli, connection: sa.Connection, add_job: Add, subcommand: str
) -> None:
    ids = [UUID(f"12345678-0000-4000-8000-00000000000{digit}") for digit in (1, 2)]
    for job_id in ids:
        add_job(id=job_id)

    ended = cli("jobs", subcommand, "12345678")

    assert ended.code == 2
    assert all(str(job_id) in ended.err for job_id in ids)


def test_logs_prints_the_log_safely(cli: Cli, failed_job: UUID) -> None:
    lines = cli("jobs", "logs", str(failed_job)).out.splitlines()

    assert lines[0].endswith("] first\tline")
    assert lines[1].endswith("] \\x1b[2Jsecond")
    assert cli("jobs", "logs", str(failed_job), "--tail", "1").out.splitlines() == lines[-1:]


def test_a_job_without_a_log_prints_nothing(cli: Cli, add_job: Add) -> None:
    assert cli("jobs", "logs", str(add_job())) == cli("jobs", "logs", str(add_job()))


@pytest.mark.usefixtures("platform_lock")
def test_a_followed_log_ends_with_its_job(
    cli: Cli, add_job: Add, connection: sa.Connection, database: sa.Engine
) -> None:
    job_id = add_job(status="queued", attempt=1)
    held = lease.claim(connection, job_id, 1, run_id="r", host="h")
    assert held is not None
    lease.log(connection, held, ["before"])

    def work() -> None:
        time.sleep(0.8)
        with database.begin() as later:
            lease.log(later, held, ["after"])
            lease.complete(later, held, {})

    worker = threading.Thread(target=work)
    worker.start()
    ended = cli("jobs", "logs", str(job_id), "--follow")
    worker.join()

    assert ended.code == 0
    assert [line.partition("] ")[2] for line in ended.out.splitlines()][:2] == ["before", "after"]


def test_a_log_cannot_be_followed_while_nothing_can_write_it(cli: Cli, add_job: Add) -> None:
    assert cli("jobs", "logs", str(add_job()), "--follow").code == 3


def test_a_followed_log_of_another_programs_job_is_printed(cli: Cli, add_job: Add) -> None:
    job_id = add_job(status="completed", log="one\ntwo")

    assert cli("jobs", "logs", str(job_id), "--follow").out == "one\ntwo\n"


def test_on_a_narrow_terminal_the_file_names_give_way(add_job: Add, add_video: Any) -> None:
    add_job("validate", {"videoId": str(add_video("inbox/" + "x" * 60 + ".mkv"))})
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "media_pipelines.cli.main", "jobs", "list"],
        env={**os.environ, "COLUMNS": "80", "TERM": "xterm-256color"},
        stdout=theirs,
    )
    os.close(theirs)
    lines = _read_all(ours).splitlines()
    assert process.wait(10) == 0
    assert len(lines) == 3
    assert [len(line) for line in lines if len(line) > 80] == []
    assert re.search(r" \d{4}-\d\d-\d\d \d\d:\d\d$", lines[2])
    assert "xxx…" in lines[2]


# The example of VPO's guide.
COUNTED_BY_VPO = """\
Job Queue Status
------------------------------
  Queued:       12
  Running:       1
  Completed:    45
  Failed:        2
  Cancelled:     0
------------------------------
  Total:        60
"""


def _add_rows(connection: sa.Connection, **counts: int) -> None:
    rows = [
        {"type": "scan", "params": {}, "resource_category": "cpu", "status": status}
        for status, count in counts.items()
        for _ in range(count)
    ]
    connection.execute(sa.insert(jobs), rows)


def test_status_counts_character_for_character_as_vpo_does(cli: Cli, connection: sa.Connection) -> None:
    _add_rows(connection, pending=9, queued=3, running=1, completed=45, failed=2)

    assert cli("jobs", "status").out == COUNTED_BY_VPO
    counted = cli("jobs", "status", "--json").json
    assert (counted["pending"], counted["queued"]) == (9, 3)


def test_paused_jobs_have_a_line_where_there_are_any(cli: Cli, connection: sa.Connection) -> None:
    _add_rows(connection, paused=2)
    assert "  Paused:        2\n" in cli("jobs", "status").out


def test_several_gpus_are_told_apart(
    cli: Cli, connection: sa.Connection, add_job: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = add_job(status="queued", attempt=1, vram_units=[1000, 1001])
    assert lease.claim(connection, job_id, 1, run_id="r", host="h") is not None
    monkeypatch.setenv("MEDIA_GPU_VRAM_MB", '[{"vram_mb": 16000}, {"vram_mb": 8000, "name": "upper slot"}]')
    shown = cli("jobs", "show", str(job_id)).out
    assert "Needs:       gpu_encode, 2000 MB of VRAM on GPU 1\n" in shown
    assert ", run r on h, VRAM of GPU 1\n" in shown
    assert cli("jobs", "status").out.endswith(
        "\n\n  GPU 0         0 of  16000 MB\n  GPU 1      2000 of   8000 MB  upper slot\n"
    )
    gpus = cli("jobs", "status", "--json").json["gpus"]
    assert [(gpu["gpu"], gpu["vramUsed"], gpu["vramAvailable"]) for gpu in gpus] == [(0, 0, 16000), (1, 2000, 8000)]


# The database is not there


@pytest.mark.parametrize(
    "arguments",
    [
        ("jobs", "list"),
        ("jobs", "show", "12345678"),
        ("jobs", "logs", "12345678"),
        ("jobs", "status"),
        ("jobs", "create", "scan"),
        ("videos", "list"),
        ("videos", "show", "12345678"),
        ("scan",),
    ],
    ids=" ".join,
)
def test_without_its_database_a_command_ends_with_three(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://postgres@/media?host={tmp_path}")

    ended = cli(*arguments)

    assert ended.code == 3
    assert "does not answer" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_nothing_heavy_is_imported_to_list_jobs(command: Any, database: sa.Engine) -> None:
    process = command("jobs", "list", PYTHONPROFILEIMPORTTIME="1")
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 0
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in errors.splitlines()}
    assert "sqlalchemy" in imported
    assert not imported & {"dagster", "fastapi", "uvicorn", "pandas", "torch", "av", "jwt"}


def test_a_closed_pipe_is_no_traceback(command: Any, add_job: Add) -> None:
    add_job()
    process = command("jobs", "list")
    process.stdout.close()

    assert "Traceback" not in process.stderr.read()
    process.wait(20)
