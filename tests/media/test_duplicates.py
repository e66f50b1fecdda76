"""What is the same is found, also re-encoded, smaller and after a black intro; what only looks black is not."""

import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from media_pipelines.media import duplicates, phash
from media_pipelines.media.prober import Prober
from tests.media.conftest import Clips


@dataclass(frozen=True)
class Film:
    path: str
    size_bytes: int | None = 1
    duration_seconds: float | None = 10.0
    width: int | None = 1920
    height: int | None = 1080
    bitrate_kbps: int | None = 1000
    sha256: str | None = None
    fingerprint: str | None = None
    phash: str | None = None


def told(films: list[Film]) -> list[tuple[str, list[str]]]:
    return [(group.proof, [one.path for one in group.members]) for group in duplicates.groups(films)]


@pytest.fixture(scope="module")
def film(clips: Clips) -> Path:
    """Six seconds in which much happens."""
    return clips.make(
        "film.mp4", "-f", "lavfi", "-i", "mandelbrot=s=320x180:r=25,trim=duration=6", "-c:v", "libx264", "-preset",
        "ultrafast", "-g", "25", "-pix_fmt", "yuv420p",
    )  # fmt: skip


def variant(clips: Clips, film: Path, name: str, *arguments: str) -> Path:
    return clips.make(name, "-i", str(film), *arguments)


def test_a_reencoded_smaller_copy_has_nearly_the_same_hash(clips: Clips, film: Path, prober: Prober) -> None:
    other = variant(clips, film, "small.webm", "-vf", "scale=160:90", "-c:v", "libvpx-vp9", "-deadline", "realtime")
    one, two = (phash.frames(phash.of(prober, path)) for path in (film, other))
    assert phash.distance(one, two) <= 8
    another = phash.frames(phash.of(prober, clips.plain))
    assert phash.distance(one, another) > 16


def test_black_intros_make_no_duplicates(clips: Clips, film: Path, prober: Prober) -> None:
    black = ("-vf", "fade=in:st=1:d=0.1:color=black", "-c:v", "libx264", "-preset", "ultrafast", "-g", "10")
    one = phash.of(prober, variant(clips, film, "intro.mp4", *black))
    other = phash.of(prober, clips.make("intro2.mp4", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=6", *black))
    assert phash.distance(phash.frames(one), phash.frames(other)) > 16
    assert phash.distance(phash.frames(one), phash.frames(phash.of(prober, film))) <= 8
    assert phash.of(prober, clips.make("black.mp4", "-f", "lavfi", "-i", "color=black:s=160x90:r=25:d=1")) == ""


def test_equal_contents_are_identical_and_the_best_comes_first() -> None:
    films = [
        Film("a/long path.mp4", fingerprint="f", sha256="s"),
        Film("b.mp4", fingerprint="f", sha256="s"),
        Film("c.mp4", fingerprint="f", sha256="other"),
        Film("d.mp4", fingerprint="g"),
        Film("e.mp4", fingerprint="g"),
        Film("f.mp4", fingerprint="g", size_bytes=2),
        Film("g.mp4"),
        Film("h.mp4"),
    ]
    assert told(films) == [("sha256", ["b.mp4", "a/long path.mp4"]), ("fingerprint", ["d.mp4", "e.mp4"])]


def near(value: int, bits: int, chance: random.Random) -> int:
    for bit in chance.sample(range(64), bits):
        value ^= 1 << bit
    return value


def hashed(frames: list[int]) -> str:
    return "".join(f"{frame:016x}" for frame in frames)


def test_the_same_picture_is_found_where_the_lengths_agree() -> None:
    chance = random.Random(1)
    frames = [chance.getrandbits(64) for _ in range(25)]
    again = hashed([near(frame, 4, chance) for frame in frames])
    films = [
        Film("small.mp4", phash=again, duration_seconds=100.4, width=640, height=360, size_bytes=5),
        Film("large.mp4", phash=hashed(frames), duration_seconds=100.0, size_bytes=9),
        Film("cut.mp4", phash=again, duration_seconds=103.0),
        Film("other.mp4", phash=hashed([chance.getrandbits(64) for _ in range(25)]), duration_seconds=100.0),
        Film("unknown length.mp4", phash=again, duration_seconds=None),
    ]
    assert told(films) == [("phash", ["large.mp4", "small.mp4"])]
    assert duplicates.groups(films)[0].spare_bytes == 5


def test_copies_of_one_content_stand_in_a_group_of_pictures_once() -> None:
    films = [Film("a.mp4", fingerprint="f", phash="0f" * 8), Film("b.mp4", fingerprint="f", phash="0f" * 8)]
    assert told(films) == [("fingerprint", ["a.mp4", "b.mp4"])]
    films.append(Film("c.mp4", fingerprint="g", phash="0f" * 8, width=640))
    assert told(films)[1] == ("phash", ["a.mp4", "c.mp4"])


def test_a_library_of_many_equally_long_videos_is_no_square_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: 5,000 videos of one length are 12 million pairs, of which hardly any may be compared."""
    chance = random.Random(2)
    logo = chance.getrandbits(64)
    films = [Film(f"{n}.mp4", phash=hashed([logo, *(chance.getrandbits(64) for _ in range(9))])) for n in range(5_000)]
    twin = hashed([near(frame, 3, chance) for frame in phash.frames(films[7].phash or "")])
    compared = 0
    real = phash.distance

    def count(one: list[int], other: list[int]) -> float:
        nonlocal compared
        compared += 1
        return real(one, other)

    monkeypatch.setattr(phash, "distance", count)
    assert told([*films, Film("twin.mp4", phash=twin, width=640)]) == [("phash", ["7.mp4", "twin.mp4"])]
    assert compared < 5_000 * 60
