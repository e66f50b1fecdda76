"""From ffmpeg's reports to the job's row and log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from media_pipelines.media.ffmpeg import Progress
from media_pipelines.resources.attempt import Attempt

_LOGGED_EVERY_PERCENT = 5
_LINES_AT_MOST = 1_000


@contextmanager
def bounded(log: Callable[[str], None], what: str) -> Iterator[Callable[[str], None]]:
    """Passes the first thousand lines on and at the end says how many more there were: a damaged file has ffmpeg warn
    at every frame, for hours."""
    count = 0

    def pass_on(line: str) -> None:
        nonlocal count
        count += 1
        if count <= _LINES_AT_MOST:
            log(line)

    try:
        yield pass_on
    finally:
        if count > _LINES_AT_MOST:
            log(f"… and {count - _LINES_AT_MOST} more {what}")


class Reporter:
    """Writes progress to the row, and a line for each full 5 % to the log.

    `share` is the part of the progress bar, in percent, that this work takes, from `start` on.
    """

    def __init__(self, attempt: Attempt, share: float, start: float = 0) -> None:
        self._attempt, self._share, self._start, self._logged = attempt, share, start, int(start)

    def percent(self, percent: float, detail: dict[str, Any]) -> None:
        scaled = self._start + percent * self._share / 100
        self._attempt.progress(scaled, **detail)
        if scaled >= self._logged + _LOGGED_EVERY_PERCENT:
            self._logged = int(scaled) // _LOGGED_EVERY_PERCENT * _LOGGED_EVERY_PERCENT
            self._attempt.log(f"Progress: {self._logged}%{_pace(detail)}")

    def ffmpeg(self, progress: Progress) -> None:
        self.percent(
            progress.percent or 0,
            {
                "fps": progress.fps,
                "speed": progress.speed,
                "eta_s": progress.eta_s,
                "out_time_s": progress.out_time_s,
                "size_bytes": progress.size_bytes,
            },
        )


def _pace(detail: dict[str, Any]) -> str:
    fps, speed = detail.get("fps"), detail.get("speed")
    return f" at {fps:.0f} fps, {speed:.2f}× real time" if fps and speed else ""
