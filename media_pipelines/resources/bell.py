"""A sleep that ends early when somebody moves a job that a run holds, or when it is rung from here."""

import os
import select
import weakref
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import psycopg

from jobqueue_bridge.database import listen
from jobqueue_bridge.settings import Settings


class Bell:
    """Listens from the second sleep on: a job that is over by then has no use for a connection more. While the database
    is away, every sleep has its full length."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._heard: psycopg.Connection[Any] | None = None
        self._slept = False
        self._rung = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        weakref.finalize(self, os.close, self._rung)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hang_up()

    def ring(self) -> None:
        """End the sleep now, or the next one. From any thread."""
        os.eventfd_write(self._rung, 1)

    def wait(self, timeout_s: float) -> None:
        if self._slept and self._heard is None:
            with suppress(psycopg.Error):
                self._heard = listen(self._settings, "runs_changed")
        self._slept = True
        sources = [self._rung, *([self._heard.fileno()] if self._heard else [])]
        ready, _, _ = select.select(sources, [], [], timeout_s)
        if self._rung in ready:
            os.eventfd_read(self._rung)
        elif ready:
            self._take()

    def _take(self) -> None:
        """Whatever it says: it only wakes."""
        assert self._heard is not None
        try:
            for _ in self._heard.notifies(timeout=0):
                pass
        except psycopg.Error:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._heard is not None:
            self._heard.close()
        self._heard = None
