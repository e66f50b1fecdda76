"""What file names say."""

import pytest

from media_pipelines.media.names import parsed

NAMES = {
    "Movie.Name.2023.1080p.BluRay.x264-GROUP.mkv": {
        "title": "Movie Name", "year": "2023", "resolution": "1080p", "source": "BluRay", "codec": "x264",
    },
    "Movie Name (2023) [1080p].mkv": {"title": "Movie Name", "year": "2023", "resolution": "1080p"},
    "The Matrix 1999.mp4": {"title": "The Matrix", "year": "1999"},
    "2001.A.Space.Odyssey.1968.2160p.mkv": {"title": "2001 A Space Odyssey", "year": "1968", "resolution": "2160p"},
    "1917.mkv": {"title": "1917"},
    "Series.Name.S01E02.Episode.Title.720p.WEB-DL.mkv": {
        "series": "Series Name", "season": "01", "episode": "02", "title": "Episode Title", "resolution": "720p",
        "source": "WEB-DL",
    },
    "Series Name - S01E02 - Episode Title.mkv": {
        "series": "Series Name", "season": "01", "episode": "02", "title": "Episode Title",
    },
    "Series Name 1x02 Episode Title.mkv": {
        "series": "Series Name", "season": "01", "episode": "02", "title": "Episode Title",
    },
    "Show (2015) S10E123.mkv": {"series": "Show", "year": "2015", "season": "10", "episode": "123"},
    "holiday 1920x1080.mp4": {"title": "holiday 1920x1080"},
    "IMG_0042.MOV": {"title": "IMG 0042"},
    ".mkv": {"title": "mkv"},
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_taken_apart(name: str) -> None:
    assert parsed(name) == NAMES[name]
