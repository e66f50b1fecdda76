"""Runs one of Dagster's programs so that its log lines are as those of all others: `logged.py MODULE ARGUMENT…`."""

import logging
import runpy
import sys

from jobqueue_bridge import process_log
from jobqueue_bridge.settings import LogFormat, Settings, load_settings

# Dagster gives these handlers of their own.
_DAGSTERS = ("dagster", "dagit", "dagster-webserver")


def configure(settings: Settings) -> None:
    """Before Dagster configures its loggers."""
    process_log.configure(settings)
    for name in _DAGSTERS:
        logging.getLogger(name).propagate = False
    if settings.log_format == LogFormat.JSON:
        _replace_formatters()


def _replace_formatters() -> None:
    """Dagster's own JSON has no trace of an error in it, and uvicorn, below the Dagster UI, has no JSON."""
    import uvicorn.config
    from dagster._core.definitions import instigation_logger
    from dagster._utils import log

    log.get_structlog_json_formatter = lambda: process_log.formatter(LogFormat.JSON)  # type: ignore[assignment, return-value]
    for name in uvicorn.config.LOGGING_CONFIG["formatters"]:
        uvicorn.config.LOGGING_CONFIG["formatters"][name] = {"()": process_log.formatter, "log_format": LogFormat.JSON}
    make = log.create_console_logger

    def console_logger(name: str, level: str | int) -> logging.Logger:
        logger = make(name, level)
        for handler in logger.handlers:
            handler.setFormatter(process_log.formatter(LogFormat.JSON))
        return logger

    vars(instigation_logger)["create_console_logger"] = console_logger  # of what sensors say in their ticks


def main() -> None:
    configure(load_settings())
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
