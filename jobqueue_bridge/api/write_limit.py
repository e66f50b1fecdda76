"""How often one person may change something: a page gone wild must not flood the queue."""

import math
import time
from collections import OrderedDict

from starlette.types import ASGIApp, Receive, Scope, Send

from jobqueue_bridge.api.problems import TooManyRequests, problem_of

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_PEOPLE_MOST = 10_000


class LimitWrites:
    """A bucket for each person, which a minute fills; for those without a token, one for each address."""

    def __init__(self, app: ASGIApp, per_minute: int) -> None:
        self._app, self._per_minute = app, per_minute
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._per_minute and scope["method"] not in _READING:
            wait_s = self._wait_s(_person(scope))
            if wait_s:
                await problem_of(TooManyRequests(self._per_minute, math.ceil(wait_s)))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _wait_s(self, person: str) -> float:
        """Until this one may write; 0: now, and it is counted."""
        now_s, each_s = time.monotonic(), 60 / self._per_minute
        left, seen_s = self._buckets.pop(person, (float(self._per_minute), now_s))
        left = min(float(self._per_minute), left + (now_s - seen_s) / each_s)
        self._buckets[person] = (left - 1 if left >= 1 else left, now_s)
        while len(self._buckets) > _PEOPLE_MOST:
            self._buckets.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) * each_s


def _person(scope: Scope) -> str:
    identity = scope.get("state", {}).get("identity")
    return f"name {identity.name}" if identity else f"address {(scope.get('client') or ('', 0))[0]}"
