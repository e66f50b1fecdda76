"""What a file's name says about the film or episode in it, as release names and media managers write it."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

_EPISODE = re.compile(
    r"[\s._(\[-]*\b(?:s(?P<s>\d{1,2})[\s._-]*e(?P<e>\d{1,3})|(?P<s2>\d{1,2})x(?P<e2>\d{2,3}))\b", re.I
)
_YEAR = re.compile(r"(?<!\d)((?:19|20)\d\d)(?![\dpx])")
_RESOLUTION = re.compile(r"(?<![a-z0-9])(480p|576p|720p|1080[pi]|1440p|2160p|4320p|4k|8k|uhd)(?![a-z0-9])", re.I)
_CODEC = re.compile(r"(?<![a-z0-9])([xh][. ]?26[45]|hevc|avc|av1|vp9|xvid|divx|mpeg-?2)(?![a-z0-9])", re.I)
_SOURCES: Mapping[str, str] = {
    r"blu-?ray|bdrip|brrip|bdremux": "BluRay",
    r"web-?dl": "WEB-DL",
    r"web-?rip": "WEBRip",
    r"hdtv": "HDTV",
    r"dvd-?rip|dvd": "DVD",
    r"web": "WEB",
}


def parsed(filename: str) -> dict[str, str]:
    """title, year, series, season, episode, resolution, codec and source, as far as the name says them.

    "Series.Name.S01E02.Pilot.720p.WEB-DL.mkv" → series "Series Name", season "01", episode "02", title "Pilot", …
    """
    stem = PurePosixPath(filename).stem
    found = {
        "resolution": _first(_RESOLUTION, stem).lower(),
        "codec": re.sub(r"[. ]", "", _first(_CODEC, stem)).lower(),
        "source": next((name for word, name in _SOURCES.items() if _word(word, stem)), ""),
    }
    episode = _EPISODE.search(stem)
    if episode is not None:
        season, number = episode["s"] or episode["s2"], episode["e"] or episode["e2"]
        before, after = stem[: episode.start()], stem[episode.end() :]
        year = _year(before)
        found |= {
            "series": _words(before[: year.start()] if year and year.start() else before),
            "season": f"{int(season):02}",
            "episode": f"{int(number):02}",
            "year": year[1] if year else "",
            "title": _words(_until_technical(after)),
        }
    else:
        year = _year(stem)
        found |= {
            "year": year[1] if year else "",
            "title": _words(stem[: year.start()] if year else _until_technical(stem)),
        }
    return {name: value for name, value in found.items() if value}


def _year(text: str) -> re.Match[str] | None:
    """The last year that a title stands before: "2001.A.Space.Odyssey.1968" is of 1968."""
    years = [match for match in _YEAR.finditer(_until_technical(text)) if match.start() > 0]
    return years[-1] if years else None


def _until_technical(text: str) -> str:
    """What comes before the first word on resolution, codec or source."""
    sources = (re.compile(rf"(?<![a-z0-9])(?:{word})(?![a-z0-9])", re.I) for word in _SOURCES)
    matches = (pattern.search(text) for pattern in (_RESOLUTION, _CODEC, *sources))
    return text[: min((match.start() for match in matches if match), default=len(text))]


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""


def _word(word: str, text: str) -> bool:
    return re.search(rf"(?<![a-z0-9])(?:{word})(?![a-z0-9])", text, re.I) is not None


def _words(text: str) -> str:
    """Dots and underscores stand for blanks, unless there are blanks; brackets and dashes at the ends go."""
    if " " not in text.strip():
        text = re.sub(r"[._]+", " ", text)
    return re.sub(r"\s+", " ", text).strip(" -_.([{)]}")
