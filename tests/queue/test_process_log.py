"""The form of the lines that processes write about themselves."""

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from jobqueue_bridge import process_log
from jobqueue_bridge.settings import LogFormat, Settings

_logger = logging.getLogger("jobqueue_bridge.tests")


@pytest.fixture(autouse=True)
def _logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in ("", *process_log._OURS)}
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(process_log, "_of_process", {})
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def _written(settings: Settings, log_format: LogFormat, **chosen: Any) -> io.StringIO:
    stream = io.StringIO()
    process_log.configure(settings.model_copy(update={"log_format": log_format, **chosen}), stream)
    return stream


def test_a_line_of_json_has_the_time_the_level_the_logger_the_message_and_what_it_was_given(settings: Settings) -> None:
    stream = _written(settings, LogFormat.JSON)
    process_log.say_always(run_id="r1")

    with process_log.saying(request_id="q1"):
        _logger.warning("%s went\naway", "it", extra={"job_id": "j1", "attempt": 2})

    [text] = stream.getvalue().splitlines()
    line = json.loads(text)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning", "logger": "jobqueue_bridge.tests", "message": "it went\naway",
        "run_id": "r1", "request_id": "q1", "job_id": "j1", "attempt": 2,
    }  # fmt: skip


def test_an_error_brings_its_trace_on_the_same_line(settings: Settings) -> None:
    stream = _written(settings, LogFormat.JSON)

    try:
        raise ValueError("what is wrong")
    except ValueError:
        _logger.exception("It failed")

    line = json.loads(stream.getvalue())
    assert "ValueError: what is wrong" in line["exception"]
    assert "test_process_log.py" in line["exception"]


def test_a_thread_that_ends_with_an_error_is_a_line_too(settings: Settings) -> None:
    stream = _written(settings, LogFormat.JSON)
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()

    assert "ZeroDivisionError" in json.loads(stream.getvalue())["exception"]


def test_a_line_of_text_ends_with_the_ids(settings: Settings) -> None:
    stream = _written(settings, LogFormat.TEXT)

    _logger.info("Completed", extra={"run_id": "r1", "job_id": "j1", "type": "scan", "attempt": 0})

    assert stream.getvalue().endswith(
        " INFO jobqueue_bridge.tests: Completed job_id=j1 run_id=r1 type=scan attempt=0\n"
    )


@pytest.mark.parametrize(("level", "heard"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)])
def test_the_level_holds_for_our_own_lines(settings: Settings, level: str, heard: int) -> None:
    stream = _written(settings, LogFormat.JSON, log_level=level)

    _logger.debug("one")
    _logger.info("two")
    _logger.warning("three")

    assert len(stream.getvalue().splitlines()) == heard


def test_other_peoples_loggers_are_heard_from_warnings_on(settings: Settings) -> None:
    stream = _written(settings, LogFormat.JSON, log_level="debug")

    logging.getLogger("httpx").info("HTTP Request: POST https://hooks.example/?token=secret")

    assert stream.getvalue() == ""


def test_what_dagster_hangs_on_its_records_is_no_part_of_a_line() -> None:
    """A failure's metadata refuses to be iterated over, and the line would be lost."""
    record = logging.makeLogRecord({"msg": "failed", "levelname": "ERROR", "dagster_event": object()})
    line = json.loads(process_log.formatter(LogFormat.JSON).format(record))
    assert line["message"] == "failed"
    assert not [name for name in line if name.startswith("dagster")]
