"""What is said about a program that does not start, from what it logged."""

import io
import logging
from pathlib import Path

import pytest

from jobqueue_bridge import process_log
from jobqueue_bridge.settings import LogFormat
from media_pipelines.platform.run import why


@pytest.mark.parametrize("log_format", LogFormat)
def test_the_last_errors_are_told_in_whichever_form_they_were_logged(tmp_path: Path, log_format: LogFormat) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(process_log.formatter(log_format))
    logger = logging.Logger("api")
    logger.addHandler(handler)
    logger.info("Starting")
    try:
        raise OSError(98, "address already in use")
    except OSError:
        logger.exception("It could not listen")
    log = tmp_path / "api.log"
    log.write_text("a line of its own\n" + stream.getvalue())

    assert why(log) == f"  OSError: [Errno 98] address already in use\n  see {log}"
