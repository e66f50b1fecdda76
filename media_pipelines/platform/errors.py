"""What can go wrong with the platform itself. A message is one line that says what to do."""


class PlatformError(Exception):
    """Base of all errors of running the platform; the command line ends with `exit_code`."""

    exit_code = 1


class NotUsable(PlatformError):
    """This machine cannot hold the platform as configured; nothing was started."""

    exit_code = 3


class StartFailed(PlatformError):
    """A program did not become healthy; everything was stopped again."""

    def __init__(self, program: str, reason: str, log_tail: str = "") -> None:
        self.program, self.reason, self.log_tail = program, reason, log_tail
        super().__init__(f"{program} did not start: {reason}" + (f"\n{log_tail}" if log_tail else ""))


class NotRunning(PlatformError):
    exit_code = 3

    def __init__(self, home: object) -> None:
        super().__init__(f"The platform under {home} is not running: start it with `media-pipelines up`")
