"""Reading takes turns: a few at a time, in the order in which they were asked for.

Threads share one interpreter. Of many at once, each takes it from the others in the middle of its answer, and who was
unlucky waits far longer than who was lucky; nobody is served sooner for it.
"""

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

_AT_A_TIME = 3  # one for each of two cores, while the third waits for the database

Answer = TypeVar("Answer")


class Turns:
    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(_AT_A_TIME)

    async def run(self, read: Callable[[], Answer]) -> Answer:
        return await anyio.to_thread.run_sync(read, limiter=self._limiter)
