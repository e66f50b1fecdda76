"""Files that name other files or hosts: nothing but the file itself is read, and nobody is called."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from jobqueue_bridge import videos
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.media.commands.arguments import given
from tests.pipelines.conftest import make_clip

HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S" '
    'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="video/mp4">'
    '<Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>\n'
)
SDP = (
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n"
)
# {url}: a host that must not be called. {beside}: a good video that was not asked for.
HOSTILE = {
    "playlist-of-a-host.mp4": HLS.format("{url}/a.ts"),
    "playlist-of-a-host.ts": HLS.format("{url}/a.ts"),
    "playlist-of-a-neighbour.mp4": HLS.format("{beside}"),
    "playlist-with-a-key.mkv": HLS.format('{beside}\n#EXT-X-KEY:METHOD=AES-128,URI="{url}/k"'),
    "list-of-passwords.mp4": "ffconcat version 1.0\nfile '/etc/passwd'\n",
    "list-of-a-neighbour.mp4": "ffconcat version 1.0\nfile '{beside}'\n",
    "list-of-a-host.mkv": "ffconcat version 1.0\nfile '{url}/a.mp4'\n",
    "manifest-of-a-host.mp4": DASH.format("{url}/a.mp4"),
    "manifest-of-a-neighbour.mp4": DASH.format("{beside}"),
    "session.mp4": SDP,
    "picture-of-passwords.mp4": "<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
}  # fmt: skip
PER_VIDEO: dict[str, dict[str, object]] = {
    "validate": {},
    "thumbnail_generate": {},
    "reencode_streaming": {"preset": "ultrafast"},
    "transcode": {"policy": {"target_video_codec": "hevc", "preset": "ultrafast"}},
}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        yield listener


def _nobody_called(listener: socket.socket) -> bool:
    try:
        listener.accept()
    except BlockingIOError:
        return True
    return False


@pytest.fixture
def hostile(request: pytest.FixtureRequest, library: Path, ffmpeg: Path, listener: socket.socket) -> Path:
    """The file that a test's parameter names, beside a good video."""
    beside = make_clip(ffmpeg, library / "library/videos/beside.mp4")
    path = library / "library/videos" / request.param
    port = listener.getsockname()[1]
    text = HOSTILE[request.param]
    for name, value in {
        "url": f"http://127.0.0.1:{port}",
        "beside": "beside.mp4",
        "port": str(port),
    }.items():
        text = text.replace("{" + name + "}", value)
    path.write_text(text)
    assert beside.exists()
    return path


@pytest.mark.parametrize("hostile", HOSTILE, indirect=True)
def test_a_file_that_names_others_is_no_video_for_anybody(
    hostile: Path, run_job, database: sa.Engine, library: Path, listener: socket.socket
) -> None:
    assert run_job("scan", {}).result["invalid"] == 1
    with database.begin() as connection:
        video = videos.find(connection, f"library/videos/{hostile.name}")
        videos.update(connection, video.id, is_valid=True, invalid_reason=None)  # as if it had been another file then
    for job_type, params in PER_VIDEO.items():
        failed = run_job(job_type, {"videoId": str(video.id), **params})
        assert failed.status == JobStatus.FAILED, (job_type, failed.result)
        assert hostile.name in failed.error
        assert "root:" not in failed.error
    assert _nobody_called(listener)
    assert {path.name for path in library.rglob("*") if path.is_file()} == {hostile.name, "beside.mp4"}


@pytest.mark.parametrize("hostile", HOSTILE, indirect=True)
def test_ffmpeg_reads_nothing_else_where_the_file_was_swapped_after_it_was_probed(
    hostile: Path, ffmpeg: Path, listener: socket.socket
) -> None:
    done = subprocess.run(
        [ffmpeg, "-nostdin", "-v", "verbose", *given(hostile), "-f", "null", "-"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "beside.mp4" not in done.stderr
    assert "root:" not in done.stderr
    assert _nobody_called(listener)
