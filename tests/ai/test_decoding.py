"""A film is read once, upright, on the clock of its file, whatever is wrong with it."""

from pathlib import Path

import numpy as np
import pytest

from media_pipelines.ai.decoding import LOUDNESS_HZ, SPEECH_HZ, Heard, Shown, open_film
from media_pipelines.ai.pictures import Scaler
from media_pipelines.media.errors import NoVideoStream, UnreadableMedia
from tests.ai.conftest import X264, Make

BAR = "color=black:size=160x90:rate=10:duration=1,drawbox=x=0:y=0:w=40:h=90:color=white:t=fill"


def test_a_turned_film_is_shown_upright(make: Make) -> None:
    stored = make("bar.mp4", "-f", "lavfi", "-i", BAR, *X264)
    turned = make("turned.mp4", "-display_rotation", "90", "-i", str(stored), "-c", "copy")

    with open_film(turned) as film:
        assert (film.width, film.height) == (90, 160)
        scaler = Scaler(film.rotation, film.width, film.height)
        shown = next(thing for thing in film.read() if isinstance(thing, Shown))
        picture = scaler.rgb(shown.frame, 160)

    assert picture.shape == (160, 90, 3)
    # Turned counter-clockwise, what was left is below.
    assert picture[150:].mean() > 200
    assert picture[:100].mean() < 30


def test_pixels_that_are_not_square_are_made_square(make: Make) -> None:
    path = make("wide.mp4", "-f", "lavfi", "-i", BAR.replace("160x90", "80x90"), "-vf", "setsar=2/1", *X264)

    with open_film(path) as film:
        assert (film.width, film.height) == (160, 90)


def test_times_are_those_of_the_file_where_the_rate_varies(make: Make) -> None:
    uneven = ("-vf", "setpts='if(lt(N,5),N*0.1,0.5+(N-5)*0.5)/TB'", "-fps_mode", "vfr")
    path = make("uneven.mkv", "-f", "lavfi", "-i", BAR, *uneven, *X264)

    with open_film(path) as film:
        times = [thing.at_s for thing in film.read() if isinstance(thing, Shown)]

    assert times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0, 1.5, 2.0, 2.5], abs=0.002)


def test_sound_that_begins_late_comes_after_as_much_silence(make: Make) -> None:
    tone = ("-itsoffset", "0.5", "-f", "lavfi", "-i", "sine=frequency=1000:duration=0.5:sample_rate=44100")
    path = make("late.mkv", "-f", "lavfi", "-i", BAR, *tone, *X264, "-c:a", "flac")

    with open_film(path) as film:
        heard = [thing for thing in film.read() if isinstance(thing, Heard)]

    mono = np.concatenate([piece.mono for piece in heard])
    stereo = np.concatenate([piece.stereo for piece in heard], axis=1)
    assert len(mono) / SPEECH_HZ == pytest.approx(1.0, abs=0.03)
    assert stereo.shape[1] / LOUDNESS_HZ == pytest.approx(1.0, abs=0.03)
    assert np.abs(mono[: int(0.45 * SPEECH_HZ)]).max() == 0
    assert np.abs(mono[int(0.6 * SPEECH_HZ) :]).max() > 0.05


def test_reading_goes_on_after_a_time_without_losing_or_repeating_a_frame(long_film: Path) -> None:
    with open_film(long_film) as film:
        whole = [thing.at_s for thing in film.read() if isinstance(thing, Shown)]
    with open_film(long_film) as film:
        rest = [thing.at_s for thing in film.read(after_s=whole[133]) if isinstance(thing, Shown)]

    assert rest == whole[134:]


def test_a_file_of_sound_alone_is_refused(make: Make) -> None:
    path = make("sound.m4a", "-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac")

    with pytest.raises(NoVideoStream, match="no video stream"), open_film(path):
        pass


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.mp4"
    path.write_bytes(bytes(range(256)) * 100)

    with pytest.raises(UnreadableMedia, match="cannot be read as a video"), open_film(path):
        pass


def test_an_error_of_whoever_reads_is_not_blamed_on_the_file(three_shots: Path) -> None:
    with pytest.raises(OSError, match="disk full"), open_film(three_shots):
        raise OSError("disk full")
