"""Every file of the corpus, through the real pipelines: whatever it is, it ends in good order.

Here each file goes through one or two job types, dealt out so that each class of files sees each type. `make corpus`
brings every file through every type.
"""

import os
import sys
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobType
from media_pipelines.media import errors
from media_pipelines.media.prober import Prober
from tests.corpus import course
from tests.corpus.entries import BIT_FLIPS, corpus
from tests.corpus.passage import FOLDER, Passage, fingerprints
from tests.corpus.truth import Broken, Damaged, Entry, Sound

CORPUS = corpus()
BY_NAME = {entry.name: entry for entry in CORPUS}
WORKED_ON = [entry for entry in CORPUS if isinstance(entry.truth, Sound | Broken | Damaged)]
FLIPPED = [entry for entry in WORKED_ON if entry.kind == "bit flips"]
OTHERS = [entry for entry in WORKED_ON if entry.kind != "bit flips"]
# The files whose point is what an encoder makes of them.
ENCODED = {"size", "rotation", "frame rate", "timestamps"}
FOUR_AT_A_TIME = [
    ("one-pixel.mkv", "turned-90.mp4", "wide-pixels.mp4", "gray-16-bit.mkv"),
    ("variable.mkv", "240.mp4", "starts-at-5-s.mkv", "surround-5-1.mp4"),
    ("hdr10.mp4", "no-sound.mp4", "streamed.webm", "picture-ends-early.mkv"),
    ("new\nline.mp4", 'quo\'te "double" `tick`.mp4', "100%d %05d %s %%.mp4", "back\\slash\\n.mp4"),
    ("pgs.mkv", "dvb.ts", "chapters.mp4", "two-videos.mkv"),
    ("one-frame.mp4", "one-frame-with-sound.mp4", "disc.vob", "slide-show.mp4"),
    ("portrait.mp4", "square.mp4", "jpeg.mp4", "wide-3-to-1.mp4"),
    ("zero-bytes.mp4", "portrait.mp4", "square.mp4", "wide-3-to-1.mp4"),
]


def _id(entry: Entry) -> str:
    return ascii(f"{entry.kind}/{entry.name[:60]}")[1:-1]


def _dealt() -> Iterator[tuple[Entry, JobType]]:
    types = course.types()
    for n, entry in enumerate([*OTHERS, *FLIPPED[:10]]):
        chosen = {types[n % len(types)]}
        if entry.kind in ENCODED and JobType.TRANSCODE not in chosen:
            chosen.add(JobType.REENCODE_STREAMING)
        for job_type in types:
            if job_type in chosen:
                yield entry, job_type


DEALT = list(_dealt())


@pytest.fixture(scope="module")
def passage(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Passage]:
    """The corpus in a library of its own, scanned. At the end the table of what became of it is written."""
    with engine_for(settings).begin() as connection:
        connection.execute(sa.text("TRUNCATE jobs, job_leases, job_attempts, job_logs, videos CASCADE"))
    folder = tmp_path_factory.mktemp("corpus")
    with course.passage_through(folder / "media") as passage:
        course.make(passage, CORPUS)
        yield passage
        course.print_to(folder / "table.txt", passage.rows)
        sys.stdout.write(f"\nThe table of the corpus, {folder / 'table.txt'}:\n{(folder / 'table.txt').read_text()}")


@pytest.fixture(scope="module")
def originals(passage: Passage) -> dict[str, str]:
    """As they were before anybody looked at them."""
    return fingerprints(passage.library / FOLDER)


@pytest.fixture(scope="module")
def scanned(passage: Passage, originals: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """What is wrong with the scan, by file."""
    course.scan(passage, CORPUS)
    return {f"{row.kind}/{row.file}": row.faults for row in passage.rows}


def test_the_corpus_is_as_large_as_it_says() -> None:
    assert len(OTHERS) >= 60
    assert len(FLIPPED) == BIT_FLIPS == 100
    assert len({f"{entry.kind}/{entry.name}" for entry in CORPUS}) == len(CORPUS)


def test_a_scan_says_of_every_file_what_it_is(scanned: dict[str, tuple[str, ...]]) -> None:
    assert not {name: faults for name, faults in scanned.items() if faults}


def test_no_flipped_bit_crashes_or_hangs_what_validation_does(passage: Passage, scanned: object) -> None:
    """All of them, several at once, by the prober that the job uses."""
    with Prober(workers=os.cpu_count() or 1) as prober:
        verdicts = dict(prober.probe_many([passage.place(entry) for entry in FLIPPED], decode_frames=5))
    assert len(verdicts) == BIT_FLIPS
    for verdict in verdicts.values():
        assert not isinstance(verdict, errors.ProbeTimedOut | errors.ProbeCrashed), verdict


@pytest.mark.parametrize(("entry", "job_type"), DEALT, ids=[f"{job}-{_id(entry)}" for entry, job in DEALT])
def test_a_file_ends_in_good_order(entry: Entry, job_type: JobType, passage: Passage, scanned: object) -> None:
    row = passage.one(entry, job_type.value, course.ASKED[job_type])
    assert not row.faults, row


@pytest.mark.parametrize("job_type", course.OF_FOUR)
@pytest.mark.parametrize("names", FOUR_AT_A_TIME, ids=lambda names: ascii(names[0])[1:-1])
def test_four_files_become_one_or_the_error_names_the_one_that_does_not(
    names: tuple[str, ...], job_type: JobType, passage: Passage, scanned: object
) -> None:
    row = passage.four([BY_NAME[name] for name in names], job_type, course.OF_FOUR[job_type])
    assert not row.faults, row


def test_the_originals_are_as_they_were(passage: Passage, originals: dict[str, str]) -> None:
    assert fingerprints(passage.library / FOLDER) == originals
