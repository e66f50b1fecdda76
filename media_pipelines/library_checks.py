"""Whether the library as a whole is well: questions that a few numbers answer, purely. Who asks says when."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from jobqueue_bridge.findings import Finding, Severity
from jobqueue_bridge.videos import Health

# From that share of the library on it is no longer a file here and there: a disk may be failing, or be away.
_INVALID_SHARE, _MISSING_SHARE = 0.05, 0.1
_SCANNED_WITHIN = timedelta(days=1)
_FORGOTTEN_AFTER = timedelta(days=7)

# Of which asset they are asked. Not of `library_video`: Dagster drops an answer that is older than any new video.
ASSET = "library_scan"
# Name → what it asks.
QUESTIONS: Mapping[str, str] = MappingProxyType(
    {
        "readable": "Whether every video that is there can be read. From one in twenty that cannot it is an error: a "
        "disk may be failing.",
        "present": "Whether the file of every video is there. From one in ten that is gone it is an error: a disk may "
        "be away.",
        "pictured": "Whether every original has a thumbnail. Passes where none has one: nobody wants any.",
        "scanned": "Whether a scan of a whole folder was completed within a day. After a week without one it is an "
        "error.",
    }
)


def findings(health: Health, scanned_at: datetime | None, now: datetime) -> list[Finding]:
    """One for each of QUESTIONS. `scanned_at`: when the newest scan of a whole folder was completed."""
    return [_readable(health), _present(health), _pictured(health), _scanned(scanned_at, now)]


def _readable(health: Health) -> Finding:
    there = health.videos - health.missing
    severity = Severity.ERROR if health.invalid > _INVALID_SHARE * there else Severity.WARN
    said = f"{health.invalid} of {there} videos cannot be read" if health.invalid else f"None of {there} is broken"
    return Finding("readable", health.invalid == 0, severity, said)


def _present(health: Health) -> Finding:
    severity = Severity.ERROR if health.missing > _MISSING_SHARE * health.videos else Severity.WARN
    said = f"The files of {health.missing} of {health.videos} videos are gone"
    return Finding("present", health.missing == 0, severity, said if health.missing else "No file is missing")


def _pictured(health: Health) -> Finding:
    without = health.without_picture
    if without == health.originals:
        return Finding("pictured", True, Severity.WARN, "No thumbnails are made here")
    said = f"{without} of {health.originals} originals have no thumbnail" if without else "Every original has one"
    return Finding("pictured", without == 0, Severity.WARN, said)


def _scanned(scanned_at: datetime | None, now: datetime) -> Finding:
    if scanned_at is None:
        return Finding("scanned", False, Severity.WARN, "No scan of a whole folder was ever completed")
    age = now - scanned_at
    severity = Severity.ERROR if age > _FORGOTTEN_AFTER else Severity.WARN
    return Finding("scanned", age <= _SCANNED_WITHIN, severity, f"The newest scan was completed {_words(age)} ago")


def _words(age: timedelta) -> str:
    hours = int(age.total_seconds() // 3600)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} hours" if hours >= 2 else f"{int(age.total_seconds() // 60)} minutes"
