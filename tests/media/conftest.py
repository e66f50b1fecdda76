"""Real ffmpeg and one-second clips, made once."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from media_pipelines.media.encoders import Encoder
from media_pipelines.media.ffmpeg import find_ffmpeg
from media_pipelines.media.probe import Probe, Prober

SUBTITLE = "1\n00:00:00,100 --> 00:00:00,900\nHello\n"


@pytest.fixture(scope="session")
def ffmpeg() -> Path:
    return find_ffmpeg(None)


@pytest.fixture(scope="session")
def prober() -> Iterator[Prober]:
    with Prober() as prober:
        yield prober


@pytest.fixture
def x264() -> Encoder:
    return Encoder("libx264", hardware=False, reason="a test")


class Clips:
    """Makes a clip when a test first asks for it."""

    def __init__(self, ffmpeg: Path, folder: Path) -> None:
        self._ffmpeg = ffmpeg
        self._folder = folder

    def make(self, name: str, *arguments: str) -> Path:
        path = self._folder / name
        if not path.exists():
            command = [str(self._ffmpeg), "-nostdin", "-y", "-loglevel", "error", *arguments, f"file:{path}"]
            subprocess.run(command, check=True)
        return path

    def picture(self, name: str, size: str = "160x90", rate: str = "25", s: float = 1, *more: str) -> Path:
        return self.make(name, *_picture(size, rate, s), *_X264, *more)

    def any(self, name: str, s: float, *codecs: str) -> Path:
        """Picture and sound of `s` seconds in whatever the name and the codecs say."""
        return self.make(name, *_picture(s=s), *_sound(s), "-pix_fmt", _FORMATS.get(codecs[1], "yuv420p"), *codecs)

    def uneven(self, name: str, sound_s: float) -> Path:
        return self.make(name, *_picture(), *_sound(sound_s), *_X264, "-c:a", "aac")

    @property
    def plain(self) -> Path:
        """H.264 and AAC in MP4, one second, 160×90, 25 fps, a key frame every five."""
        return self.make("plain.mp4", *_picture(), *_sound(), *_X264, "-g", "5", "-c:a", "aac")

    @property
    def faststart(self) -> Path:
        return self.make("faststart.mp4", "-i", str(self.plain), "-c", "copy", "-movflags", "+faststart")

    @property
    def matroska(self) -> Path:
        return self.make("plain.mkv", "-i", str(self.plain), "-c", "copy")

    @property
    def silent(self) -> Path:
        return self.picture("silent.mp4")

    @property
    def odd(self) -> Path:
        """101×77: testsrc, because testsrc2 makes even sizes only."""
        picture = _lavfi("testsrc=size=101x77:rate=25:duration=1")
        return self.make("odd.mkv", *picture, *_sound(), "-c:v", "ffv1", "-c:a", "flac")

    @property
    def rotated(self) -> Path:
        return self.make("rotated.mp4", "-display_rotation", "90", "-i", str(self.plain), "-c", "copy")

    @property
    def anamorphic(self) -> Path:
        return self.picture("anamorphic.mp4", "80x90", "25", 1, "-vf", "setsar=2/1")

    @property
    def rich(self) -> Path:
        """Two audio tracks (mono, 7.1), a text subtitle and an attachment, in Matroska."""
        subtitle = self._folder / "subtitle.srt"
        subtitle.write_text(SUBTITLE)
        maps = ["-map", "0", "-map", "1", "-map", "2", "-map", "3", "-attach", str(subtitle)]
        return self.make(
            "rich.mkv", *_picture(), *_sound(), *_lavfi("anullsrc=channel_layout=7.1:sample_rate=96000:d=1"),
            "-i", str(subtitle), *maps, "-metadata:s:t", "mimetype=text/plain", *_X264,
            "-c:a", "flac", "-c:s", "srt", "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=deu",
            "-metadata", "title=A rich one",
        )  # fmt: skip

    @property
    def covered(self) -> Path:
        """Sound with cover art: no video."""
        cover = self.make("cover.jpg", *_picture(), "-frames:v", "1")
        return self.make(
            "covered.m4a", *_sound(), "-i", str(cover), "-map", "0", "-map", "1", "-c:a", "aac", "-c:v", "mjpeg",
            "-disposition:v:0", "attached_pic", "-f", "mp4",
        )  # fmt: skip

    @property
    def sound_only(self) -> Path:
        return self.make("sound.mp4", *_sound(), "-c:a", "aac")

    @property
    def vp9(self) -> Path:
        return self.make("plain.webm", *_picture("128x96", "30"), *_sound(), *_VP9)

    @property
    def long(self) -> Path:
        """A minute, cheap to make and slow enough to encode that a test can interfere."""
        return self.make(
            "long.mp4", *_picture("640x360", "25", 60), "-c:v", "libx264", "-preset", "ultrafast", "-g", "50"
        )


_FORMATS = {"prores_ks": "yuv422p10le"}
_X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
_VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus")


def _lavfi(source: str) -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", source)


def _picture(size: str = "160x90", rate: str = "25", s: float = 1) -> tuple[str, ...]:
    return _lavfi(f"testsrc2=size={size}:rate={rate}:duration={s}")


def _sound(s: float = 1) -> tuple[str, ...]:
    return _lavfi(f"sine=frequency=440:sample_rate=48000:duration={s}")


@pytest.fixture(scope="session")
def clips(ffmpeg: Path, tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return Clips(ffmpeg, tmp_path_factory.mktemp("clips"))


@pytest.fixture
def plain(clips: Clips, prober: Prober) -> Probe:
    return prober.probe(clips.plain)
