"""One webhook as the settings name it: whom to tell of what."""

import base64
import binascii
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from jobqueue_bridge.vocabulary import JobStatus, JobType, RunEvent

_SECRET_BYTES = 24
"""At least, and 64 at most: as Standard Webhooks wants it."""


class Webhook(BaseModel):
    """`url` is told of jobs of `types` (none: all) that reach one of the statuses in `events`, and with "run.failed"
    among them of each run that fails, too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    events: tuple[JobStatus | RunEvent, ...] = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)
    types: tuple[JobType, ...] = ()
    secret: str = Field(default="", repr=False)

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or not value.isprintable():
            raise ValueError(f"is no http:// or https:// URL: {value!r}")
        return value

    @field_validator("secret")
    @classmethod
    def _is_whsec(cls, value: str) -> str:
        if not value:
            return value
        try:
            key = base64.b64decode(value.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            key = b""
        if not value.startswith("whsec_") or not _SECRET_BYTES <= len(key) <= 64:
            raise ValueError('must be "whsec_" and the base64 of 24 to 64 random bytes')
        return value
