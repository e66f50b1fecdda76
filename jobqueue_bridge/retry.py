"""Pure: whether a job that failed runs again, and when."""

from dataclasses import dataclass
from typing import Literal

FailureKind = Literal["transient", "capacity", "permanent", "lost"]


@dataclass(frozen=True)
class Backoff:
    """Retry n waits base × 2^n seconds, at most the cap: with 60 s, 2, 4 and 8 minutes.

    Source: the retry logic of the Media Job Queue specification.
    """

    base_s: float
    cap_s: float

    def wait_s(self, retry: int) -> float:
        """`retry` counts from 1."""
        return min(self.base_s * 2.0 ** min(retry, 30), self.cap_s)


@dataclass(frozen=True)
class Retry:
    """Run again: `retry_count` becomes this, no earlier than in `wait_s` seconds."""

    retry_count: int
    wait_s: float


def after_failure(kind: FailureKind, retry_count: int, max_retries: int, backoff: Backoff) -> Retry | None:
    """None: the job has failed for good. A capacity failure waits like the next retry and uses none up."""
    if kind == "permanent":
        return None
    if kind == "lost":
        return after_loss(retry_count, max_retries)
    if kind == "capacity":
        return Retry(retry_count, backoff.wait_s(retry_count + 1))
    if retry_count >= max_retries:
        return None
    return Retry(retry_count + 1, backoff.wait_s(retry_count + 1))


def after_loss(retry_count: int, max_retries: int) -> Retry | None:
    """A job whose run died starts again at once, and that counts, so that a job that kills its runs ends."""
    return Retry(retry_count + 1, 0) if retry_count < max_retries else None
