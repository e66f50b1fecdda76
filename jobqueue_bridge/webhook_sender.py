"""The thread that delivers webhooks. Several processes may have one: each takes messages of its own."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http import HTTPStatus

import httpx
import sqlalchemy as sa

from jobqueue_bridge import webhooks
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.webhooks import Message

_LOOK_S = 1.0
_AT_ONCE = 8
_TIMEOUT_S = 15.0
_FORGOTTEN_AT_ONCE = 500
_FORGET_EVERY_S = 3600.0
_logger = logging.getLogger(__name__)


class WebhookSender:
    """Does nothing where the settings name no webhook."""

    def __init__(self, engine: sa.Engine, settings: Settings) -> None:
        self._engine, self._settings = engine, settings
        self._secrets = {hook.url: webhooks.secret_for(settings, hook) for hook in settings.webhooks}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        if self._settings.webhooks:
            self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """What is under way is sent again later, if its answer does not come in time."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        is_synced, looks = False, 0
        with httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False) as client:
            while not self._stopped.is_set():
                try:
                    if not is_synced:
                        self._sync()
                        is_synced = True
                    if self.deliver(client) == _AT_ONCE:
                        continue
                    if looks % int(_FORGET_EVERY_S / _LOOK_S) == 0:
                        self._forget()
                except sa.exc.SQLAlchemyError as error:
                    _logger.warning("webhooks wait for the database: %s", getattr(error, "orig", None) or error)
                looks += 1
                self._stopped.wait(_LOOK_S)

    def _sync(self) -> None:
        with self._engine.begin() as connection:
            webhooks.sync(connection, self._settings)

    def _forget(self) -> None:
        while not self._stopped.is_set():
            with self._engine.begin() as connection:
                if webhooks.forget_old(connection, _FORGOTTEN_AT_ONCE) < _FORGOTTEN_AT_ONCE:
                    return

    def deliver(self, client: httpx.Client) -> int:
        """One round; returns how many messages were due."""
        with self._engine.begin() as connection:
            taken = webhooks.take(connection, _AT_ONCE)
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="webhook") as pool:
            answers = list(pool.map(lambda message: self._send(client, message), taken))
        for message, (problem, for_good) in zip(taken, answers, strict=True):
            with self._engine.begin() as connection:
                if problem is None:
                    webhooks.note_delivered(connection, message.id)
                else:
                    webhooks.note_failed(connection, message, problem, for_good=for_good)
                    _logger.warning("webhook %s to %s: %s", message.id, httpx.URL(message.url).host, problem)
        return len(taken)

    def _send(self, client: httpx.Client, message: Message) -> tuple[str | None, bool]:
        """What went wrong, None: nothing; and whether trying again is no use."""
        secret = self._secrets.get(message.url)
        if secret is None:
            return "the settings of this process do not name it", False
        body, headers = webhooks.signed(message, secret, datetime.now(UTC))
        try:
            answer = client.post(message.url, content=body, headers=headers)
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}", False
        if answer.is_success:
            return None, False
        return f"answered {answer.status_code} {answer.reason_phrase}", answer.status_code == HTTPStatus.GONE
