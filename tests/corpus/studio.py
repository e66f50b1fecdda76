"""Where the files of the corpus are made: ffmpeg at work in a scratch folder, and the bytes that ffmpeg won't write."""

import shlex
import struct
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

PICTURE = "testsrc2=s=64x48:r=25:d=1"
TONE = "sine=f=440:r=48000:d=1"
_LONGER = ("testsrc2=s=64x48:r=25:d=3", "sine=f=440:r=48000:d=3")
X264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"


class Studio:
    def __init__(self, ffmpeg: Path, scratch: Path) -> None:
        self._ffmpeg = ffmpeg
        self.scratch = scratch

    def run(self, arguments: list[str]) -> bytes:
        """What ffmpeg wrote to its standard output."""
        command = [str(self._ffmpeg), "-nostdin", "-y", "-v", "error", *arguments]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, (shlex.join(command), done.stderr.decode(errors="replace"))
        return done.stdout

    def clip(self, path: Path, codecs: str, pictures: tuple[str, ...], tones: tuple[str, ...]) -> None:
        """Pictures and tones (lavfi) and the encoder's arguments, in which {scratch} stands for the scratch folder."""
        inputs = [argument for source in (*pictures, *tones) for argument in ("-f", "lavfi", "-i", source)]
        self.run([*inputs, *shlex.split(codecs.format(scratch=self.scratch)), f"file:{path}"])

    def remux(self, path: Path, arguments: str) -> None:
        """Arguments in which {plain}, {long}, {ts}, … stand for the files below."""
        self.run([*shlex.split(_Named(self).fill(arguments)), f"file:{path}"])

    def _made(self, name: str, codecs: str, picture: str = PICTURE, *tones: str) -> Path:
        path = self.scratch / name
        self.clip(path, codecs, (picture,), tones)
        return path

    @cached_property
    def plain(self) -> Path:
        return self._made("plain.mp4", f"{X264} -g 5 -c:a aac", PICTURE, TONE)

    @cached_property
    def matroska(self) -> Path:
        return self._made("plain.mkv", f"{X264} -g 5 -c:a aac", PICTURE, TONE)

    @cached_property
    def frames(self) -> Path:
        """With B-frames, so that presentation and decoding order differ."""
        return self._made("frames.mp4", "-c:v libx264 -preset fast -bf 3 -g 25", PICTURE)

    @cached_property
    def ts(self) -> Path:
        return self._made("plain.ts", f"{X264} -g 5 -c:a aac", PICTURE, TONE)

    @cached_property
    def longer(self) -> Path:
        """Three seconds: of less, half may be missing and the rest pass for the whole."""
        return self._made("longer.mp4", f"{X264} -g 5 -c:a aac", *_LONGER)

    @cached_property
    def longer_faststart(self) -> Path:
        return self._made("longer-fast-start.mp4", f"{X264} -g 5 -c:a aac -movflags +faststart", *_LONGER)

    @cached_property
    def longer_matroska(self) -> Path:
        return self._made("longer.mkv", f"{X264} -g 5 -c:a aac", *_LONGER)

    @cached_property
    def sparse(self) -> Path:
        """Large enough that a hole has room in it."""
        return self._made("noise.mp4", f"{X264} -g 5", "testsrc2=s=320x240:r=25:d=2,noise=alls=60:allf=t")

    @cached_property
    def cover(self) -> Path:
        return self._made("cover.jpg", "-frames:v 1")

    @cached_property
    def subtitle(self) -> Path:
        path = self.scratch / "words.srt"
        path.write_text(
            "1\n00:00:00,100 --> 00:00:00,500\nOne – «two»\n\n2\n00:00:00,500 --> 00:00:00,900\n<i>three</i>\n"
        )
        return path

    @cached_property
    def late_subtitle(self) -> Path:
        path = self.scratch / "late.srt"
        path.write_text("1\n00:00:05,000 --> 00:00:06,000\nAfter the end\n")
        return path

    @cached_property
    def pgs(self) -> Path:
        path = self.scratch / "picture.sup"
        path.write_bytes(presentation_graphics())
        return path

    @cached_property
    def chapters(self) -> Path:
        path = self.scratch / "chapters.txt"
        marks = ((0, 400, "Beginning; with=signs"), (400, 1000, "Ende – «gut»"), (1000, 9000, "Beyond the end"))
        texts = [
            f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\ntitle={title}\n" for start, end, title in marks
        ]
        path.write_text(";FFMETADATA1\n" + "".join(texts).replace("; ", "\\; ").replace("with=", "with\\="))
        return path

    @cached_property
    def font(self) -> Path:
        path = self.scratch / "font.ttf"
        path.write_bytes(b"\x00\x01\x00\x00" + bytes(range(256)) * 8)
        return path

    def prepare(self) -> None:
        """Make what several entries share, two at a time, before they ask for it from several threads."""
        shared = [name for name, value in vars(Studio).items() if isinstance(value, cached_property)]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda name: getattr(self, name), shared))


class _Named:
    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def fill(self, arguments: str) -> str:
        return arguments.format_map(self)

    def __getitem__(self, name: str) -> str:
        return str(getattr(self._studio, name))


Maker = Callable[[Studio, Path], None]


def presentation_graphics() -> bytes:
    """A Blu-ray subtitle: a white bar from 0.1 s to 0.8 s. ffmpeg reads this format and writes it not."""

    def segment(at_s: float, kind: int, body: bytes) -> bytes:
        return b"PG" + struct.pack(">IIBH", round(at_s * 90_000), 0, kind, len(body)) + body

    def composition(number: int, objects: bytes) -> bytes:
        state = 0x80 if objects else 0x00
        return struct.pack(">HHBHBBBB", 64, 48, 0x10, number, state, 0, 0, len(objects) // 8) + objects

    width, height = 16, 4
    lines = b"".join(bytes([0x00, 0x80 | width, 1]) + b"\x00\x00" for _ in range(height))
    window = struct.pack(">BBHHHH", 1, 0, 8, 40, width, height)
    palette = bytes([0, 0, 1, 235, 128, 128, 255])
    picture = struct.pack(">HBB", 0, 0, 0xC0) + (len(lines) + 4).to_bytes(3, "big") + struct.pack(">HH", width, height)
    shown = struct.pack(">HBBHH", 0, 0, 0, 8, 40)
    return b"".join(
        [
            segment(0.1, 0x16, composition(0, shown)),
            segment(0.1, 0x17, window),
            segment(0.1, 0x14, palette),
            segment(0.1, 0x15, picture + lines),
            segment(0.1, 0x80, b""),
            segment(0.8, 0x16, composition(1, b"")),
            segment(0.8, 0x17, window),
            segment(0.8, 0x80, b""),
        ]
    )
