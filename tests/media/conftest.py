"""Real ffmpeg and one-second clips, made once."""

import hashlib
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from media_pipelines.media.encoders import Encoder
from media_pipelines.media.ffmpeg import find_ffmpeg
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober

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
        """Made once a session; two tests may give one name to different clips."""
        path = self._folder / hashlib.sha256(repr(arguments).encode()).hexdigest()[:12] / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
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
    def cover(self) -> Path:
        return self.make("cover.jpg", *_picture(), "-frames:v", "1")

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
        cover = self.cover
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
    def hdr10(self) -> Path:
        """PQ in 10 bits, with a mastering display of 0.0001 to 1000 cd/m² in P3 and light levels."""
        light = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"
        return self._bt2020("hdr10.mkv", "smpte2084", f":hdr10=1:repeat-headers=1:{light}")

    @property
    def hlg(self) -> Path:
        return self._bt2020("hlg.mp4", "arib-std-b67", "")

    def _bt2020(self, name: str, transfer: str, more: str) -> Path:
        return self.make(
            name, *_picture(), "-vf", _tags("bt2020", transfer, "bt2020nc") + ",format=yuv420p10le",
            "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", f"log-level=error{more}",
        )  # fmt: skip

    @property
    def bt709(self) -> Path:
        return self.picture("bt709.mp4", "160x90", "25", 1, "-vf", _tags("bt709", "bt709", "bt709"))

    @property
    def bt601(self) -> Path:
        return self.picture("bt601.mp4", "160x90", "25", 1, "-vf", _tags("smpte170m", "smpte170m", "smpte170m"))

    @property
    def full_range(self) -> Path:
        return self.make("full.mov", *_picture(), "-pix_fmt", "yuvj420p", "-c:v", "mjpeg")

    @property
    def rgb(self) -> Path:
        return self.make("rgb.mkv", *_picture(), "-pix_fmt", "gbrp", "-c:v", "ffv1")

    def sampled(self, pix_fmt: str) -> Path:
        return self.make(f"{pix_fmt}.mkv", *_picture(), "-pix_fmt", pix_fmt, "-c:v", "ffv1")

    @property
    def interlaced(self) -> Path:
        fields = _lavfi("testsrc2=size=160x96:rate=50:duration=1,interlace")
        return self.make("fields.mpg", *fields, "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-q:v", "2")

    def apart(self, name: str) -> Path:
        """Sound or picture begins 0.7 s after the other."""
        late = ("-itsoffset", "0.7")
        before, between = (late, ()) if "picture" in name else ((), late)
        return self.make(name, *before, *_picture(), *between, *_sound(), *_X264, "-bf", "0", "-c:a", "aac")

    def starts_late(self, name: str) -> Path:
        offset = ("-output_ts_offset", "5")
        return self.make(name, "-i", str(self.plain), "-c", "copy", *offset)

    @property
    def jumps_forward(self) -> Path:
        return self._glued("forward.ts", self._recorded("first.ts", "0"), self._recorded("later.ts", "100"))

    @property
    def jumps_back(self) -> Path:
        return self._glued("back.ts", self._recorded("later.ts", "100"), self._recorded("first.ts", "0"))

    def _recorded(self, name: str, at_s: str) -> Path:
        return self.make(name, *_picture(), *_sound(), *_X264, "-c:a", "aac", "-output_ts_offset", at_s)

    def _glued(self, name: str, *parts: Path) -> Path:
        path = self._folder / name
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
        return path

    def surround(self, layout: str) -> Path:
        noise = _lavfi(f"anoisesrc=duration=1:sample_rate=48000,aformat=channel_layouts={layout}")
        return self.make(f"surround {layout}.mkv", *_picture(), *noise, *_X264, "-c:a", "flac")

    @property
    def five_tracks(self) -> Path:
        languages = ("eng", "deu", "fra", "spa", "ita")
        sounds = [argument for _ in languages for argument in _sound()]
        maps = [argument for n in range(6) for argument in ("-map", str(n))]
        tags = [argument for n, tag in enumerate(languages) for argument in (f"-metadata:s:a:{n}", f"language={tag}")]
        return self.make("five.mkv", *_picture(), *sounds, *maps, *tags, *_X264, "-c:a", "aac")

    @property
    def late_subtitle(self) -> Path:
        """Picture and sound of a second; a subtitle from 5 to 6."""
        subtitle = self._folder / "late.srt"
        subtitle.write_text("1\n00:00:05,000 --> 00:00:06,000\nAnd then?\n")
        return self.make(
            "late subtitle.mkv", "-i", str(self.plain), "-i", str(subtitle), "-map", "0", "-map", "1", "-c", "copy"
        )

    @property
    def slides(self) -> Path:
        """Two pictures, the second after two seconds, for 40 ms."""
        times = ("-vf", "settb=1/1000,setpts=N*2000", "-fps_mode", "vfr")
        return self.make("slides.mp4", *_picture(s=0.08), *times, *_X264)

    @property
    def cut_matroska(self) -> Path:
        """A file whose second half is missing."""
        whole = self.make("whole.mkv", *_picture("640x360", "25", 8), *_X264).read_bytes()
        path = self._folder / "cut.mkv"
        path.write_bytes(whole[: len(whole) // 2])
        return path

    @property
    def laden(self) -> Path:
        """Text and picture subtitles, two chapters, a font and a cover, in Matroska."""
        texts = {
            "laden.srt": SUBTITLE.encode(),
            "laden.sup": _PGS,
            "chapters.txt": _CHAPTERS.encode(),
            "font.ttf": b"no real font" * 50,
        }
        for name, content in texts.items():
            (self._folder / name).write_bytes(content)
        files = {name: str(self._folder / name) for name in texts}
        cover = self.cover
        return self.make(
            "laden.mkv", *_picture(), "-i", files["laden.srt"], "-i", files["laden.sup"], "-i", files["chapters.txt"],
            "-map", "0", "-map", "1", "-map", "2", "-map_chapters", "3", *_X264, "-c:s:0", "srt", "-c:s:1", "copy",
            "-attach", files["font.ttf"], "-metadata:s:t:0", "mimetype=application/x-truetype-font",
            "-attach", str(cover), "-metadata:s:t:1", "mimetype=image/jpeg", "-metadata:s:t:1", "filename=cover.jpg",
        )  # fmt: skip

    @property
    def long(self) -> Path:
        """A minute, cheap to make and slow enough to encode that a test can interfere."""
        return self.make(
            "long.mp4", *_picture("640x360", "25", 60), "-c:v", "libx264", "-preset", "ultrafast", "-g", "50"
        )


def _tags(primaries: str, transfer: str, matrix: str) -> str:
    return f"setparams=color_primaries={primaries}:color_trc={transfer}:colorspace={matrix}:range=tv"


def _segment(kind: int, at_ticks: int, content: bytes) -> bytes:
    return b"PG" + struct.pack(">IIBH", at_ticks, 0, kind, len(content)) + content


def _shown(at_ticks: int, number: int, *objects: bytes) -> bytes:
    """One composition of a 160×90 screen: with the object, or without, which clears it."""
    state = 0x80 if objects else 0
    composition = struct.pack(">HHBHBBBB", 160, 90, 0x10, number, state, 0, 0, len(objects)) + b"".join(objects)
    window = _segment(0x17, at_ticks, struct.pack(">BBHHHH", 1, 0, 0, 0, 8, 1))
    return _segment(0x16, at_ticks, composition) + window


# A Blu-ray subtitle: eight white pixels from 0.1 to 0.9 s. ffmpeg has no encoder for it.
_PGS = (
    _shown(9_000, 0, struct.pack(">HBBHH", 0, 0, 0, 0, 0))
    + _segment(0x14, 9_000, bytes((0, 0, 1, 235, 128, 128, 255)))
    + _segment(
        0x15,
        9_000,
        struct.pack(">HBB", 0, 0, 0xC0)
        + (16).to_bytes(3, "big")
        + struct.pack(">HH", 8, 1)
        + bytes((1,) * 8)
        + bytes((0, 0, 0, 0)),
    )
    + _segment(0x80, 9_000, b"")
    + _shown(81_000, 1)
    + _segment(0x80, 81_000, b"")
)
_CHAPTERS = ";FFMETADATA1\n" + "".join(
    f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={start + 500}\ntitle={title}\n"
    for start, title in ((0, "one"), (500, "two"))
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
