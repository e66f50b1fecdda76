"""Routes of one job, beside routes that have a word where it has its id."""

from typing import Any

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

# `GET /jobs/stats` is no job, and neither is `PATCH /jobs/stats`, which does not exist.
_WORDS = frozenset({"bulk", "events", "reencode", "stats", "types"})


class JobRoute(APIRoute):
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        parameters: dict[str, Any] = found.get("path_params", {})
        return (Match.NONE, {}) if parameters.get("id") in _WORDS else (match, found)
