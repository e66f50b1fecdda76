"""HTTP/1.1 as it is read from a connection: by uvicorn's fast parser, with the bound that it lacks."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from jobqueue_bridge.api.problems import problem

HEAD_MAX_BYTES = 65_536


class BoundedHttp(HttpToolsProtocol):
    """What is kept until it is whole (a request's head, a line between two chunks, trailers) has a bound: more is a 400
    and the end of the connection. Bodies are bounded by `gate`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._incomplete_bytes = 0

    def data_received(self, data: bytes) -> None:
        self._incomplete_bytes += len(data)
        super().data_received(data)
        if self._incomplete_bytes > HEAD_MAX_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of a request may have 64 KiB")

    def send_400_response(self, msg: str) -> None:
        """As a problem, like every other error; then nothing more can be understood, so the connection ends."""
        answer = problem(400, msg)
        head = b"".join(b"%s: %s\r\n" % header for header in answer.raw_headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"connection: close\r\n\r\n" + bytes(answer.body))
        self.transport.close()

    def on_headers_complete(self) -> None:
        self._incomplete_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._incomplete_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._incomplete_bytes = 0
        super().on_message_complete()
