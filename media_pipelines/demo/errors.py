"""Why a demo cannot go on, in one line for the person who started it."""


class DemoError(Exception):
    """Something about this machine or the platform."""

    exit_code = 1


class BadMedia(DemoError):
    """`MEDIA` names nothing that can be shown."""

    exit_code = 2


class OutOfTime(DemoError):
    def __init__(self, patience_s: float, unfinished: int) -> None:
        self.patience_s = patience_s
        self.unfinished = unfinished
        super().__init__(f"Nothing has moved for {patience_s:.0f} s, with {unfinished} jobs unfinished")
