"""What the platform's processes say of themselves, as text for people or as JSON, one object a line.

What a job says of its work is on its row, see `logs`.
"""

import logging
import sys
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from jobqueue_bridge.settings import LogFormat, Settings

_OURS = ("jobqueue_bridge", "media_pipelines", "uvicorn")
# Shown at the end of a line of text, in this order; in JSON everything that a line was given has a key of its own.
_SHOWN = ("job_id", "run_id", "type", "attempt", "request_id")
# What uvicorn and Dagster add for their own handlers. An event may hold what JSON does not take.
_DROPPED = ("color_message", "dagster_event", "dagster_event_batch_metadata", "dagster_meta")

_of_process: dict[str, object] = {}
_of_task: ContextVar[Mapping[str, object]] = ContextVar("facts of the log lines of a task", default={})  # noqa: B039


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Every line of this process from now on, to standard error unless told otherwise.

    Other people's loggers are heard from warnings on: below that, they also write down addresses with their secrets.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(settings.log_format))
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(True)
    if settings.log_format == LogFormat.JSON:
        _catch_tracebacks()


def formatter(log_format: LogFormat) -> logging.Formatter:
    return _json() if log_format == LogFormat.JSON else _Text("%(asctime)s %(levelname)s %(name)s: %(message)s")


def say_always(**facts: object) -> None:
    """On every line of this process."""
    _of_process.update(facts)


@contextmanager
def saying(**facts: object) -> Iterator[None]:
    """On every line of this thread or task within the block."""
    before = _of_task.set({**_of_task.get(), **facts})
    try:
        yield
    finally:
        _of_task.reset(before)


def _facts() -> dict[str, object]:
    return {**_of_process, **_of_task.get()}


class _Text(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- its name in the standard library
        facts = {**_facts(), **record.__dict__}
        shown = "".join(f" {name}={facts[name]}" for name in _SHOWN if facts.get(name) is not None)
        return super().formatMessage(record) + shown


def _json() -> logging.Formatter:
    import structlog

    def with_facts(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        del logger, method
        return {**_facts(), **{name: value for name, value in event.items() if name not in _DROPPED}}

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.ExtraAdder(),
            with_facts,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(default=str),
        ],
    )


def _catch_tracebacks() -> None:
    """What ends a process or a thread is a line, too."""
    logger = logging.getLogger(__name__)

    def of_process(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        logger.critical("%s: %s", kind.__name__, error, exc_info=(kind, error, trace))

    def of_thread(hook: threading.ExceptHookArgs) -> None:
        if hook.exc_value is not None:
            logger.error("A thread ended: %s", hook.exc_value, exc_info=hook.exc_value)

    sys.excepthook, threading.excepthook = of_process, of_thread
