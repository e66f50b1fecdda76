"""The order in which the corpus is made, scanned and worked on; and the table of what became of it."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.table import Table

from jobqueue_bridge import params, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import load_settings
from jobqueue_bridge.vocabulary import JobStatus, JobType
from media_pipelines.media.ffmpeg import find_ffmpeg
from tests.corpus.passage import FOLDER, Passage, Row, fingerprints
from tests.corpus.studio import Studio
from tests.corpus.truth import Broken, Damaged, Entry, Skipped, Sound, Unseen

# What is asked of four files together.
OF_FOUR: dict[JobType, dict[str, object]] = {
    JobType.COMPILE_QUAD: {"width": 128, "height": 96, "fps": 10, "preset": "ultrafast"},
    JobType.COMPILE_MEGA: {"crossfade": 0.2, "titleCards": 0.4, "preset": "ultrafast"},
}
_POLICY = {
    "target_video_codec": "hevc",
    "target_crf": 30,
    "preset": "ultrafast",
    "audio_transcode_to": "aac",
    "on_larger": "keep-result",
    "destination": "transcoded",
}
# What is asked of each type; small, because nobody looks at the pictures.
ASKED: dict[JobType, dict[str, object]] = {
    JobType.VALIDATE: {},
    JobType.REENCODE_STREAMING: {"preset": "ultrafast"},
    JobType.THUMBNAIL_GENERATE: {"width": 64},
    JobType.TRANSCODE: {"policy": _POLICY},
    JobType.COMPILE_GIF: {"width": 64, "duration": 0.5, "fps": 10},
}


@contextmanager
def library_at(folder: Path) -> Iterator[Path]:
    """An empty library root that this process and what it runs take for theirs."""
    before = os.environ.get("MEDIA_LIBRARY_PATH")
    folder.mkdir(parents=True)
    os.environ["MEDIA_LIBRARY_PATH"] = str(folder)
    try:
        yield folder
    finally:
        del os.environ["MEDIA_LIBRARY_PATH"]
        if before is not None:
            os.environ["MEDIA_LIBRARY_PATH"] = before


@contextmanager
def passage_through(folder: Path) -> Iterator[Passage]:
    """The database is that of the settings as they are; the library is a new one."""
    with library_at(folder), dg.DagsterInstance.ephemeral() as instance:
        settings = load_settings()
        yield Passage(settings, engine_for(settings), instance, folder, find_ffmpeg(settings.ffmpeg_binary or None))


def make(passage: Passage, entries: Sequence[Entry]) -> None:
    """Two at a time: each takes one core for some hundredths of a second."""
    with tempfile.TemporaryDirectory(prefix="corpus-") as scratch:
        studio = Studio(passage.ffmpeg, Path(scratch))
        studio.prepare()
        for entry in entries:
            passage.place(entry).parent.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda entry: entry.make(studio, passage.place(entry)), entries))
        outside = passage.library.parent / "outside.mp4"
        outside.write_bytes(studio.plain.read_bytes())


def scan(passage: Passage, entries: Sequence[Entry]) -> None:
    """All of them at once, as it is in life; each is then asked for in the rows and in the log."""
    done, took_s, faults = passage.run("scan", {})
    log = passage.log(done)
    if done.status != JobStatus.COMPLETED:
        faults = [*faults, f"the scan ended as {done.status}"]
    passage.record("(all)", "", "scan", done, took_s, faults)
    for entry in entries:
        passage.note(_scanned(passage, entry, log))


def _scanned(passage: Passage, entry: Entry, log: str) -> Row:
    row = _row_of(passage, entry)
    named = f"Skipped {str(passage.place(entry))!r}:"
    lines = [line for line in log.splitlines() if named in line]
    outcome = "no row" if row is None else "valid" if row.is_valid else "invalid"
    reason = (row.invalid_reason if row else " ".join(lines)) or ""
    faults = list(_scan_faults(entry, outcome, reason))
    return Row(entry.name, entry.kind, "scan", outcome, reason.splitlines()[0] if reason else "", 0.0, tuple(faults))


def _row_of(passage: Passage, entry: Entry) -> videos.Video | None:
    video_id = passage.video_id(entry)
    if video_id is None:
        return None
    with passage.engine.begin() as connection:
        return videos.get(connection, video_id)


def _scan_faults(entry: Entry, outcome: str, reason: str) -> Iterator[str]:
    match entry.truth:
        case Sound() if outcome != "valid":
            yield "a sound file is not valid"
        case Broken(word) if outcome == "no row" or (outcome == "invalid" and word not in reason):
            yield f"{outcome}, and the reason does not say {word!r}"
        case Skipped(word) if outcome != "no row" or word not in reason:
            yield f"{outcome}; the log does not say {word!r}"
        case Unseen() if outcome != "no row" or reason:
            yield f"it was taken for a video ({reason})"


def work(passage: Passage, entries: Iterable[Entry], job_types: Iterable[JobType]) -> None:
    wanted = list(job_types)
    for entry in entries:
        if passage.video_id(entry) is None:
            continue
        for job_type in wanted:
            passage.one(entry, job_type.value, ASKED[job_type])


def fours(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Sound files four at a time, and each that is not with three sound ones."""
    sound = [entry for entry in entries if isinstance(entry.truth, Sound)]
    others = [entry for entry in entries if isinstance(entry.truth, Broken | Damaged)]
    even = sound + sound[: -len(sound) % 4]
    grids = [even[n : n + 4] for n in range(0, len(even), 4)] if len(sound) >= 4 else []
    return grids + [[*sound[n : n + 3], other] for n, other in enumerate(others) if len(sound) >= n + 3]


def work_on_fours(passage: Passage, fours_of_them: Iterable[Sequence[Entry]]) -> None:
    for four in fours_of_them:
        for job_type, asked in OF_FOUR.items():
            passage.four(four, job_type, asked)


def types() -> list[JobType]:
    """Of those that this corpus knows to ask for, the ones that can be run."""
    return [job_type for job_type in ASKED if job_type in params.MODELS]


@contextmanager
def untouched(passage: Passage) -> Iterator[None]:
    """Whatever is done meanwhile, the files of the library stay as they are, and none is added."""
    before = fingerprints(passage.library / FOLDER)
    yield
    after = fingerprints(passage.library / FOLDER)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    assert not changed, f"files of the library were changed: {changed}"


def table(rows: Iterable[Row], *, only_faults: bool = False) -> Table:
    shown = Table("class", "file", "type", "outcome", "reason", "s", "wrong", expand=True)
    for row in rows:
        if only_faults and not row.faults:
            continue
        cells = (
            row.kind,
            ascii(row.file)[1:-1][:60],
            row.job_type,
            row.outcome,
            _brief(row.reason),
            f"{row.seconds:.1f}",
        )
        shown.add_row(*(_plain(cell) for cell in cells), _plain("; ".join(row.faults)))
    return shown


def _brief(reason: str) -> str:
    """Without the path, which all of them begin with."""
    return ascii(reason[reason.rfind("/") + 1 :] if "/" in reason else reason)[1:-1][-140:]


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


def summary(rows: Sequence[Row]) -> Table:
    shown = Table("class", "type", "completed", "failed", "other", "wrong", title="The corpus")
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.kind, row.job_type), []).append(row)
    for (kind, job_type), members in groups.items():
        count: Callable[[str], int] = lambda outcome, members=members: sum(row.outcome == outcome for row in members)  # noqa: E731
        good, bad = count("completed") + count("valid"), count("failed") + count("invalid")
        wrong = sum(bool(row.faults) for row in members)
        shown.add_row(kind, job_type, *map(str, (good, bad, len(members) - good - bad, wrong)))
    return shown


def print_to(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8") as file:
        console = Console(file=file, width=240)
        console.print(table(rows), summary(rows))
