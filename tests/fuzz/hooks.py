"""What Schemathesis cannot know: which jobs and videos there are. It loads this file by SCHEMATHESIS_HOOKS."""

import json
import os
import random
from pathlib import Path
from typing import Any
from uuid import UUID

import schemathesis

_KNOWN = json.loads(Path(os.environ["FUZZ_ROWS"]).read_text())
_PICK = random.Random(7)
_TYPE_MOST = 100  # characters, as the schema says


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """Mostly ids of rows that are there; a quarter of what was made up stays, and all that is no id on purpose."""
    if isinstance(path_parameters, dict) and _is_id(path_parameters.get("id")) and _PICK.random() < 0.75:
        kind = "videos" if "/videos/" in context.operation.path else "jobs"
        return {**path_parameters, "id": _PICK.choice(_KNOWN[kind])}
    return path_parameters


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A followed log stays open while its job lives; tests of its own follow it."""
    del context, kwargs
    if case.query:
        case.query = {name: value for name, value in case.query.items() if name != "follow"}


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Videos that are there, in what names one; and of the jobs that are asked for, a half that can be run."""
    if not isinstance(body, dict) or _PICK.random() < 0.5:
        return body
    if _is_id(body.get("parentId")):
        body = {**body, "parentId": _PICK.choice(_KNOWN["jobs"])}
    if context.operation.label == "POST /api/media/jobs" and set(body) <= {"type", "params", "priority", "parentId"}:
        return {**body, **_PICK.choice(_KNOWN["requests"])} if _may_be_a_type(body.get("type")) else body
    return {**body, "videoId": _PICK.choice(_KNOWN["videos"])} if _is_id(body.get("videoId")) else body


def _may_be_a_type(value: Any) -> bool:
    """What is wrong on purpose stays wrong."""
    return isinstance(value, str) and 1 <= len(value) <= _TYPE_MOST


def _is_id(value: Any) -> bool:
    try:
        return str(UUID(value)) == value
    except (ValueError, AttributeError, TypeError):
        return False
