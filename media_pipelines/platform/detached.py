"""The platform in the background: a process of its own session that tells its starter how the start goes."""

import json
import os
import signal
import subprocess
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from jobqueue_bridge.drains import Terms
from jobqueue_bridge.errors import QueueError
from jobqueue_bridge.settings import Settings, load_settings
from media_pipelines.platform import drained
from media_pipelines.platform.errors import PlatformError
from media_pipelines.platform.preflight import check_folders
from media_pipelines.platform.programs import CHILD, MARK, environment
from media_pipelines.platform.run import Reporter, run_platform

_LOG_BYTES = 5 * 1024**2


def start(settings: Settings, report: Reporter, terms: Terms | None = None) -> None:
    """Return once a platform in the background is healthy. Raises PlatformError with its reason otherwise.

    One that is started for a drain admits what its terms allow, and ends with the thread that called this.
    """
    check_folders(settings)
    reading, writing = os.pipe()
    process = _spawn(settings, writing, terms)
    os.close(writing)
    try:
        with open(reading, encoding="utf-8") as lines:  # noqa: PTH123 - a descriptor, not a path
            for line in lines:
                if _relay(json.loads(line), report):
                    return
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise
    raise PlatformError(f"The platform ended with {process.wait()} before it was up: see {_log_file(settings)}")


def _spawn(settings: Settings, writing: int, terms: Terms | None) -> "subprocess.Popen[bytes]":
    us = (sys.executable, "-m", "media_pipelines.platform.detached", str(writing))
    ends_with_us = (sys.executable, "-S", "-P", str(CHILD), "--die-with-parent=TERM", "--")
    command = us if terms is None else (*ends_with_us, *us, drained.to_text(terms))
    variables = environment(settings)
    del variables[MARK]  # the platform itself is not among what it may find left over
    with _log(settings).open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=variables,
            cwd=settings.home,
            start_new_session=True,
            pass_fds=(writing,),
        )


def _log(settings: Settings) -> Path:
    """Its log, put aside when it has grown."""
    settings.logs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = _log_file(settings)
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path


def _log_file(settings: Settings) -> Path:
    return settings.logs_dir / "platform.log"


def _relay(event: dict[str, str | int], report: Reporter) -> bool:
    """Pass one event on; whether it was the last. Raises PlatformError for the platform's own error."""
    arguments = [str(value) for name, value in event.items() if name not in ("event", "exit_code")]
    match event["event"]:
        case "error":
            error = PlatformError(*arguments)
            error.exit_code = int(event["exit_code"])
            raise error
        case "ready":
            report.ready(*arguments)
            return True
        case name:
            getattr(report, str(name))(*arguments)
            return False


class _Pipe:
    """The reporter in the background process. Once up, or once the starter has gone, it is silent."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def _send(self, event: str, **facts: str | int) -> None:
        if self._descriptor is not None:
            with suppress(BrokenPipeError):
                os.write(self._descriptor, json.dumps({"event": event, **facts}).encode() + b"\n")

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def begins(self, step: str) -> None:
        self._send("begins", step=step)

    def waits(self, step: str, reason: str) -> None:
        self._send("waits", step=step, reason=reason)

    def done(self, step: str) -> None:
        self._send("done", step=step)

    def ready(self, api_url: str, dagster_url: str) -> None:
        self._send("ready", api_url=api_url, dagster_url=dagster_url)
        self._close()

    def lost(self, reason: str) -> None:
        print(reason, "- starting again", flush=True)  # noqa: T201 - stdout is its log

    def finishing(self, jobs: int, seconds: float) -> None:
        print(f"Running jobs ({jobs}) may finish, within {seconds:.0f} s", flush=True)  # noqa: T201

    def stopping(self) -> None:
        self._send("stopping")

    def error(self, message: str, exit_code: int) -> None:
        self._send("error", message=message, exit_code=exit_code)


def main() -> None:
    pipe = _Pipe(int(sys.argv[1]))
    try:
        run_platform(load_settings(), pipe, drained.from_text(sys.argv[2]) if len(sys.argv) > 2 else None)
    except PlatformError as error:
        pipe.error(str(error), error.exit_code)
        sys.exit(str(error))
    except QueueError as error:
        pipe.error(str(error), 3)
        sys.exit(str(error))
    except Exception as error:
        traceback.print_exc()
        pipe.error(f"{type(error).__name__}: {error}", 1)
        raise


if __name__ == "__main__":
    main()
