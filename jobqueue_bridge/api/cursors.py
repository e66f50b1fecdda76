"""Where a page ended, as text that a client hands back and need not understand."""

import base64
import binascii
import json
import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from jobqueue_bridge import videos
from jobqueue_bridge.errors import FieldProblem, InvalidJob
from jobqueue_bridge.listing import Order, Place

PATTERN = r"^[A-Za-z0-9_-]*$"  # URL-safe Base64 without padding

_INSTANT = re.compile(r"\d{4,6}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?( BC)?|-?infinity")
_RANK = re.compile(r"-?\d{1,9}")


def written(place: Place) -> str:
    return _packed([place.order.value, *place.values, str(place.id)])


def read(text: str, order: Order) -> Place:
    """Raises InvalidJob where it is none of ours, or of another order."""
    try:
        name, *values, job_id = _unpacked(text)
        place = Place(Order(name), tuple(values), UUID(job_id))
    except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError) as error:
        raise _bad("is no nextCursor of this list") from error
    if place.order is not order:
        raise _bad(f"is of the list in the order {place.order.value}")
    if not _is_sound(place):
        raise _bad("is no nextCursor of this list")
    return place


def _is_sound(place: Place) -> bool:
    wanted = [_RANK, _INSTANT] if "priority" in place.order else [_INSTANT]
    texts = place.values
    return len(texts) == len(wanted) and all(
        isinstance(text, str) and kind.fullmatch(text) for kind, text in zip(wanted, texts, strict=True)
    )


def written_video(end: videos.End) -> str:
    return _packed(["video", end.created_at.astimezone(UTC).isoformat(), str(end.id)])


def read_video(text: str) -> videos.End:
    """Raises InvalidJob."""
    try:
        kind, at, video_id = _unpacked(text)
        end = videos.End(datetime.fromisoformat(at), UUID(video_id))
    except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError) as error:
        raise _bad("is no nextCursor of this list") from error
    if kind != "video" or end.created_at.tzinfo is None:
        raise _bad("is no nextCursor of this list")
    return end


def written_number(number: int) -> str:
    return _packed([number])


def read_number(text: str) -> int:
    """Raises InvalidJob."""
    try:
        (number,) = _unpacked(text)
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise _bad("is no nextCursor of this list") from error
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**63:
        raise _bad("is no nextCursor of this list")
    return number


def _packed(parts: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).rstrip(b"=").decode()


def _unpacked(text: str) -> Any:
    """Raises ValueError where it is no text of ours."""
    if not text.isascii():
        raise ValueError(text)
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def _bad(problem: str) -> InvalidJob:
    return InvalidJob([FieldProblem("cursor", problem)])
