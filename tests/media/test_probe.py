import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import psutil
import pytest

from media_pipelines.media import errors, mp4
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober
from media_pipelines.media.reading import read
from tests.media.conftest import Clips


def test_a_plain_clip_is_described_in_full(prober: Prober, clips: Clips) -> None:
    probe = prober.probe(clips.plain, decode_frames=5)
    assert (probe.width, probe.height, probe.rotation, probe.sar) == (160, 90, 0, Fraction(1))
    assert (probe.video_codec, probe.pix_fmt, probe.audio_codec) == ("h264", "yuv420p", "aac")
    assert probe.duration_s == pytest.approx(1.0, abs=0.05)
    assert probe.fps == 25
    assert probe.has_audio
    assert probe.frames_decoded == 5
    assert probe.size_bytes == clips.plain.stat().st_size
    assert probe.orientation == "landscape"


def test_a_rotated_clip_is_described_as_it_is_shown(prober: Prober, clips: Clips) -> None:
    probe = prober.probe(clips.rotated)
    assert (probe.width, probe.height, probe.rotation, probe.orientation) == (90, 160, 270, "portrait")


def test_wide_pixels_make_a_tall_picture_landscape(prober: Prober, clips: Clips) -> None:
    probe = prober.probe(clips.anamorphic)
    assert (probe.width, probe.height, probe.sar, probe.orientation) == (80, 90, Fraction(2), "landscape")


def test_an_odd_size_is_told_as_it_is(prober: Prober, clips: Clips) -> None:
    probe = prober.probe(clips.odd)
    assert (probe.width, probe.height) == (101, 77)


def test_every_stream_is_listed_with_its_language(prober: Prober, clips: Clips) -> None:
    streams = prober.probe(clips.rich, decode_frames=2).streams
    assert [stream.kind for stream in streams] == ["video", "audio", "audio", "subtitle", "attachment"]
    assert [stream.language for stream in streams[1:3]] == ["eng", "deu"]
    assert [stream.channels for stream in streams[1:3]] == [1, 8]
    assert streams[3].codec == "subrip"


@pytest.mark.parametrize(
    ("width", "height", "name"),
    [
        (3840, 2160, "4K"),
        (2160, 3840, "4K"),
        (7680, 4320, "8K"),
        (1920, 1080, "1080p"),
        (1080, 1920, "1080p"),
        (1920, 804, "1080p"),
        (1280, 720, "720p"),
        (640, 480, "480p"),
        (854, 480, "480p"),
        (640, 360, "360p"),
        (160, 90, "90p"),
    ],
)
def test_the_quality_label_is_the_one_people_use(
    prober: Prober, clips: Clips, width: int, height: int, name: str
) -> None:
    probe = dataclasses.replace(prober.probe(clips.plain), width=width, height=height)
    assert probe.quality == name


@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.8, 0.9, 0.99])
@pytest.mark.parametrize("name", ["plain", "faststart", "matroska"])
def test_a_truncated_file_is_found(prober: Prober, clips: Clips, tmp_path: Path, name: str, part: float) -> None:
    whole: Path = getattr(clips, name)
    if name == "matroska" and part > 0.95:
        pytest.skip("the last hundredth of a Matroska file is its index, without which it plays to its end")
    cut = tmp_path / whole.name
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * part)])
    with pytest.raises(errors.UnreadableMedia) as caught:
        prober.probe(cut, decode_frames=5)
    assert caught.value.kind == "permanent"


@pytest.mark.parametrize("name", ["plain", "matroska"])
def test_a_hole_at_the_end_is_found(prober: Prober, clips: Clips, tmp_path: Path, name: str) -> None:
    """A download that reserved its space first has zeros where its data is missing."""
    whole: Path = getattr(clips, name)
    data = bytearray(whole.read_bytes())
    media_end = data.find(b"moov") - 4 if name == "plain" else len(data)
    data[media_end // 2 : media_end] = bytes(media_end - media_end // 2)
    holed = tmp_path / whole.name
    holed.write_bytes(data)
    with pytest.raises(errors.UnreadableMedia):
        prober.probe(holed, decode_frames=5)


@pytest.mark.parametrize("name", ["plain", "faststart", "matroska", "silent", "odd", "rotated", "vp9", "rich", "long"])
def test_no_whole_clip_is_taken_for_a_broken_one(prober: Prober, clips: Clips, name: str) -> None:
    path: Path = getattr(clips, name)
    for frames in (1, 2, 5, 10):
        assert prober.probe(path, decode_frames=frames).frames_decoded == frames


OTHER_CONTAINERS = [
    ("transport.ts", "libx264", "aac"),
    ("camera.m2ts", "libx264", "ac3"),
    ("flash.flv", "libx264", "aac"),
    ("old.avi", "mpeg4", "mp3"),
    ("disc.mpg", "mpeg2video", "mp2"),
    ("windows.wmv", "wmv2", "wmav2"),
    ("theora.ogv", "libtheora", "libvorbis"),
    ("edit.mov", "prores_ks", "pcm_s16le"),
    ("studio.mxf", "mpeg2video", "pcm_s16le"),
]


@pytest.mark.parametrize(("name", "video", "audio"), OTHER_CONTAINERS)
def test_containers_without_an_index_are_read_too(
    prober: Prober, clips: Clips, name: str, video: str, audio: str
) -> None:
    """One key frame in three seconds: a seek lands where nothing decodes."""
    path = clips.any(name, 3, "-c:v", video, "-c:a", audio)
    probe = prober.probe(path, decode_frames=5)
    assert probe.duration_s == pytest.approx(3.0, abs=0.15)


def test_a_duration_that_nobody_wrote_down_is_measured(prober: Prober, clips: Clips) -> None:
    path = clips.any("live.webm", 2, "-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus", "-live", "1")
    probe = prober.probe(path, decode_frames=3)
    assert probe.duration_s == pytest.approx(2.0, abs=0.1)
    assert probe.frames_decoded == 3


@pytest.mark.parametrize("sound_s", [0.3, 6.0])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_sound_that_is_shorter_or_longer_than_the_picture_is_no_fault(
    prober: Prober, clips: Clips, sound_s: float, suffix: str
) -> None:
    path = clips.uneven(f"uneven-{sound_s}.{suffix}", sound_s)
    assert prober.probe(path, decode_frames=5).duration_s == pytest.approx(max(1.0, sound_s), abs=0.1)


@pytest.mark.parametrize("part", [0.3, 0.7])
def test_a_truncated_recording_without_a_duration_is_read_as_far_as_it_goes(
    prober: Prober, clips: Clips, tmp_path: Path, part: float
) -> None:
    """A transport stream has no end that could be missing."""
    whole = clips.any("transport.ts", 3, "-c:v", "libx264", "-c:a", "aac")
    cut = tmp_path / "cut.ts"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * part)])
    assert 0 < (prober.probe(cut, decode_frames=3).duration_s or 0) < 3


def test_a_zero_byte_file_is_empty(prober: Prober, tmp_path: Path) -> None:
    path = tmp_path / "zero.mp4"
    path.touch()
    with pytest.raises(errors.UnreadableMedia, match="0 bytes"):
        prober.probe(path)


@pytest.mark.parametrize(
    "text",
    [
        "only words\n" * 100,
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{plain}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{plain}'\n",
    ],
    ids=["words", "hls", "concat"],
)
def test_a_text_file_is_no_video_whatever_it_says(prober: Prober, clips: Clips, tmp_path: Path, text: str) -> None:
    path = tmp_path / "text.mp4"
    path.write_text(text.format(plain=clips.plain))
    with pytest.raises(errors.UnreadableMedia):
        prober.probe(path)


def test_a_picture_renamed_is_no_video(prober: Prober, clips: Clips, tmp_path: Path) -> None:
    path = tmp_path / "picture.mp4"
    shutil.copy(clips.cover, path)
    with pytest.raises(errors.UnreadableMedia):
        prober.probe(path)


@pytest.mark.parametrize("name", ["sound_only", "covered"])
def test_sound_alone_and_cover_art_are_no_video(prober: Prober, clips: Clips, name: str) -> None:
    with pytest.raises(errors.NoVideoStream):
        prober.probe(getattr(clips, name))


def test_a_fifo_is_refused_without_blocking(prober: Prober, tmp_path: Path) -> None:
    path = tmp_path / "pipe.mp4"
    os.mkfifo(path)
    with pytest.raises(errors.UnreadableMedia, match="regular file"):
        prober.probe(path)


@pytest.mark.parametrize(("name", "reason"), [("", "folder"), ("gone.mp4", "No such file")])
def test_a_folder_and_a_vanished_file_are_named_so(prober: Prober, tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(errors.UnreadableMedia, match=reason):
        prober.probe(tmp_path / name)


STRANGE_NAMES = [
    'it\'s "quoted".mp4',
    "new\nline.mp4",
    "-leading dash.mp4",
    "pipe:0.mp4",
    "100%d %s.mp4",
    "smile 😀.mp4",
    "é" * 125 + "x.mp4",
    "back\\slash [0] *?.mp4",
]


@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_a_strange_name_is_only_a_name(prober: Prober, clips: Clips, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    shutil.copy(clips.plain, path)
    assert prober.probe(path, decode_frames=1).path == path


def test_a_name_that_is_not_utf8_can_be_read(prober: Prober, clips: Clips, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"latin-\xe9.mp4")
    shutil.copy(clips.plain, path)
    assert prober.probe(path).width == 160


def test_many_are_read_in_order_and_bad_ones_stop_nothing(clips: Clips, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no")
    paths = [clips.plain, bad, clips.silent] * 30
    with Prober(workers=2) as prober:
        verdicts = list(prober.probe_many(iter(paths)))
    assert [path for path, _ in verdicts] == paths
    assert [isinstance(verdict, Probe) for _, verdict in verdicts] == [True, False, True] * 30


def test_many_are_taken_as_a_stream(clips: Clips) -> None:
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield clips.plain

    with Prober() as prober:
        verdicts = prober.probe_many(endless())
        for _ in range(50):
            next(verdicts)
    assert taken < 100


def _workers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_workers_are_replaced(clips: Clips, number: signal.Signals, workers: int) -> None:
    before = {process.pid for process in _workers()}
    with Prober(workers=workers) as prober:
        prober.probe(clips.plain)
        for process in _workers():
            if process.pid not in before:
                process.send_signal(number)
        assert prober.probe(clips.plain).width == 160


def test_a_worker_killed_in_the_middle_costs_nothing(clips: Clips) -> None:
    before = {process.pid for process in _workers()}
    with Prober() as prober:
        probes = prober.probe_many([clips.plain] * 200, decode_frames=5)
        verdicts = [next(probes)[1]]
        for process in _workers():
            if process.pid not in before:
                process.kill()
        verdicts += [verdict for _, verdict in probes]
    assert len(verdicts) == 200
    assert all(isinstance(verdict, Probe) for verdict in verdicts)


def test_a_file_that_hangs_the_reader_costs_its_time_only(clips: Clips) -> None:
    """The worker is stopped while it reads, as a dead network mount would stop it."""
    before = {process.pid for process in _workers()}
    with Prober(timeout_s=1) as prober:
        prober.probe(clips.plain)
        [worker] = [process for process in _workers() if process.pid not in before]
        threading.Timer(0.05, worker.suspend).start()
        verdicts = [verdict for _, verdict in prober.probe_many([clips.plain] * 100, decode_frames=10)]
    timed_out = [verdict for verdict in verdicts if isinstance(verdict, errors.ProbeTimedOut)]
    assert len(timed_out) == 1
    assert sum(isinstance(verdict, Probe) for verdict in verdicts) == 99


def test_a_file_that_crashes_the_reader_is_one_verdict(clips: Clips, tmp_path: Path) -> None:
    with Prober() as prober:
        pool, future = prober._schedule(clips.plain, read, 0)
        assert isinstance(prober._settle(pool, future, clips.plain), Probe)
        crashing = pool.schedule(os.abort, timeout=5)
        assert isinstance(prober._settle(pool, crashing, clips.plain), errors.ProbeCrashed)
        assert prober.probe(clips.plain).width == 160


def test_a_prober_leaves_no_worker(clips: Clips) -> None:
    before = {process.pid for process in _workers()}
    with Prober(workers=2) as prober:
        prober.probe(clips.plain)
    assert {process.pid for process in _workers()} <= before


def test_a_prober_begun_in_a_thread_that_ended_still_works(clips: Clips) -> None:
    with Prober() as prober:
        thread = threading.Thread(target=prober.probe, args=(clips.plain,))
        thread.start()
        thread.join()
        time.sleep(0.1)
        assert prober.probe(clips.plain).width == 160


PARENT = """
import sys
from pathlib import Path
from media_pipelines.media.prober import Prober
import psutil
prober = Prober(workers=2)
prober.probe(Path(sys.argv[1]))
print(*[child.pid for child in psutil.Process().children()], flush=True)
sys.stdin.read()
"""


def test_no_worker_outlives_a_killed_parent(clips: Clips) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(clips.plain)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    deadline_s = time.monotonic() + 5
    while any(psutil.pid_exists(pid) for pid in pids):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_importing_loads_no_libav() -> None:
    code = (
        "import sys, media_pipelines.media.probe, media_pipelines.media.compile, media_pipelines.media.thumbnail;"
        "bad = {'av', 'PIL', 'pebble', 'dagster', 'jobqueue_bridge', 'imageio_ffmpeg'} & set(sys.modules);"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_errors_survive_the_way_from_a_worker(tmp_path: Path) -> None:
    import pickle

    with pytest.raises(errors.UnreadableMedia) as caught:
        read(str(tmp_path), 0)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.path) == (str(caught.value), tmp_path)


@pytest.mark.parametrize("name", ["plain", "faststart", "matroska", "rotated", "anamorphic", "silent", "vp9", "odd"])
def test_a_glance_sees_all_that_a_row_holds(clips: Clips, prober: Prober, name: str) -> None:
    path = getattr(clips, name)
    ((_, glanced),) = prober.glance_many([path])
    assert facts(glanced) == facts(prober.probe(path))


def facts(probe: Probe | errors.MediaError) -> tuple[object, ...]:
    assert isinstance(probe, Probe)
    return (
        probe.width, probe.height, probe.rotation, probe.orientation, probe.quality, probe.fps, probe.duration_s,
        probe.video_codec, probe.audio_codec, probe.bitrate_kbps, probe.streams,
    )  # fmt: skip


def test_a_chunk_in_which_one_file_kills_the_worker_is_read_one_by_one(clips: Clips, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    paths = [clips.plain, bad, *[clips.faststart] * 30]
    before = {process.pid for process in _workers()}
    with Prober() as prober:
        verdicts = prober.glance_many(paths)
        found = [next(verdicts)]
        for process in _workers():
            if process.pid not in before:
                process.kill()
        found += verdicts
    assert [path for path, _ in found] == paths
    assert [isinstance(verdict, Probe) for _, verdict in found] == [path != bad for path in paths]


def test_only_a_file_without_any_turned_track_is_upright(clips: Clips, tmp_path: Path) -> None:
    assert mp4.is_upright(clips.plain)
    assert mp4.is_upright(clips.faststart)
    assert not mp4.is_upright(clips.rotated)
    assert not mp4.is_upright(clips.matroska), "it is no MP4"
    damaged = tmp_path / "damaged.mp4"
    for length in (0, 4, 20, 100):
        damaged.write_bytes(clips.faststart.read_bytes()[:length])
        assert not mp4.is_upright(damaged)
    damaged.write_bytes(b"\0\0\0\0moov" + b"\0\0\0\1" * 50)
    mp4.is_upright(damaged)


def test_a_subtitle_that_goes_on_does_not_make_a_video_longer(prober: Prober, clips: Clips) -> None:
    """The last one of a DVD stands for 49 days."""
    assert (prober.probe(clips.late_subtitle, decode_frames=5).duration_s or 0) < 2
