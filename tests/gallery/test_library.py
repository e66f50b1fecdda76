"""The library of the gallery: thousands of copies, each a video of its own."""

from pathlib import Path

import pytest

from media_pipelines.media.ffmpeg import find_ffmpeg
from media_pipelines.media.fingerprint import fingerprint
from media_pipelines.media.prober import Prober
from tests.gallery import arrivals
from tests.gallery.library import KINDS, Kind, Library, _numbers, free_box, library, make_original

PHONE = KINDS[4]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_original(find_ffmpeg(None), PHONE, tmp_path_factory.mktemp("original"))


def test_a_copy_is_as_sound_as_its_original(original: Path, tmp_path: Path) -> None:
    Library({PHONE: original.read_bytes()}, {PHONE: range(7, 8)}).write(tmp_path)
    copy = tmp_path / PHONE.folder / "portrait-0007.mp4"
    assert copy.stat().st_size == original.stat().st_size + len(free_box(7))
    with Prober() as prober:
        before, after = prober.probe(original), prober.probe(copy, decode_frames=5)
    assert (after.duration_s, after.width, after.height) == (before.duration_s, *PHONE.size)
    assert (after.video_codec, after.audio_codec) == ("h264", "aac")


def test_no_two_copies_have_the_same_content(original: Path, tmp_path: Path) -> None:
    written = Library({PHONE: original.read_bytes()}, {PHONE: range(1, 21)}).write(tmp_path)
    copies = list((tmp_path / PHONE.folder).iterdir())
    assert len(copies) == written == 20
    assert len({fingerprint(copy) for copy in copies}) == 20
    assert len({copy.stat().st_size for copy in copies}) == 1


@pytest.mark.parametrize("count", [8, 100, 5_000, 99_999])
def test_a_library_has_as_many_videos_as_were_asked_for_and_each_kind_of_them(count: int) -> None:
    numbers = _numbers(KINDS, count)
    assert sorted(number for of_kind in numbers.values() for number in of_kind) == [*range(1, count + 1)]
    assert set(numbers) == set(KINDS)


def test_what_cannot_be_encoded_is_left_out_and_others_take_its_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    unknown = Kind("unknown", "library/videos", "coins", (64, 64), 1, 50, ("-c:v", "no_such_encoder"))
    monkeypatch.setattr("tests.gallery.library.KINDS", (PHONE, unknown))
    found = library(find_ffmpeg(None), tmp_path, 10)
    assert {kind.name: len(numbers) for kind, numbers in found.numbers.items()} == {"portrait": 10}


def test_the_films_of_a_day_are_a_dozen_of_different_names_and_lengths() -> None:
    films = [*arrivals.films()]
    assert len({film.name for film in films}) == 12
    assert max(films, key=lambda film: film.duration_s).name == arrivals.FEATURE
