"""`python -m jobqueue_bridge.api` serves the API until SIGTERM or SIGINT."""

import gc
import signal
import socket
import sys

import uvicorn
from fastapi import FastAPI

from jobqueue_bridge import process_log
from jobqueue_bridge.api.app import create_app
from jobqueue_bridge.api.http_protocol import BoundedHttp
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.errors import InvalidSettings
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.webhook_sender import WebhookSender

_GRACE_S = 4  # for requests under way; then connections are cut, so that stopping takes less than 5 s
_WEBHOOKS_GRACE_S = 1.0  # what is under way then is sent again


class _Server(uvicorn.Server):
    """Webhooks are sent while it serves. Streams of events never end by themselves: they are told when it stops."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, settings: Settings) -> None:
        super().__init__(config)
        self._app = app
        self._webhooks = WebhookSender(engine_for(settings), settings)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._webhooks.start()
        gc.collect()
        gc.freeze()  # what was loaded stays: going through it again and again held up every answer meanwhile

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.hub.close()
        await super().shutdown(sockets)
        self._webhooks.stop(_WEBHOOKS_GRACE_S)


def server(settings: Settings) -> uvicorn.Server:
    """Raises InvalidSettings."""
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        http=BoundedHttp,
        access_log=False,
        log_config=None,  # its lines go where all lines of the process go
        log_level=settings.log_level.value,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    return _Server(config, app, settings)


def main() -> int:
    try:
        settings = load_settings()
        process_log.configure(settings)
        serving = server(settings)
    except (InvalidSettings, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    # uvicorn raises the signal once more after its orderly end; by then that is no reason for a traceback.
    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, lambda *_: sys.exit(0))
    serving.run()
    return 0 if serving.started else 1


if __name__ == "__main__":
    sys.exit(main())
