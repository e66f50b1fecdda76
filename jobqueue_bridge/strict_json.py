"""JSON from outside, refused where Python would take it and Postgres or another reader would not."""

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from jobqueue_bridge.errors import FieldProblem, InvalidJob, QueueError

DEPTH_MAX = 64


class MalformedJson(QueueError):
    """The text is no JSON document, or none that this platform reads."""


def parse(text: str | bytes) -> Any:
    """Raises MalformedJson, or InvalidJob where a well-formed document holds text that cannot be stored."""
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        document = json.loads(decoded, parse_constant=_no_such_number)
    except RecursionError as error:
        raise MalformedJson("The JSON is nested too deeply") from error
    except ValueError as error:  # bad syntax, bad UTF-8, a number of more digits than Python converts
        raise MalformedJson(f"This is no JSON: {error}") from error
    problems = list(_unstorable(document, "", 1))
    if problems:
        raise InvalidJob(problems)
    return document


def _no_such_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _unstorable(value: Any, where: str, depth: int) -> Iterator[FieldProblem]:
    if depth > DEPTH_MAX:
        raise MalformedJson(f"The JSON is nested more than {DEPTH_MAX} levels deep")
    if isinstance(value, str):
        yield from _text_problems(value, where or "body")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unstorable(item, _below(where, index), depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _text_problems(name, f"{where or 'body'} (a name in it)")
            yield from _unstorable(item, _below(where, name), depth + 1)


def _below(where: str, step: str | int) -> str:
    return f"{where}.{step}" if where else str(step)


def _text_problems(text: str, where: str) -> Iterator[FieldProblem]:
    field = where.encode(errors="replace").decode()
    if "\0" in text:
        yield FieldProblem(field, "must not contain a NUL character")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        yield FieldProblem(field, "must not contain half a surrogate pair")
