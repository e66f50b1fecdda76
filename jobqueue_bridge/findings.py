"""What a check of something that was made has found. A job's result keeps them as `checks`."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Of a check that did not pass: whether something is wrong, or worth a look."""

    ERROR = "error"
    WARN = "warn"


@dataclass(frozen=True)
class Finding:
    name: str
    passed: bool
    severity: Severity
    description: str

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "severity": self.severity.value}


def findings_in(result: Any) -> list[Finding]:
    """Those that a job's result holds; another program may have written anything there."""
    listed = result.get("checks") if isinstance(result, dict) else None
    return [_finding(one) for one in listed if _is_finding(one)] if isinstance(listed, list) else []


def _is_finding(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("passed"), bool)


def _finding(one: dict[str, Any]) -> Finding:
    severity = Severity.WARN if one.get("severity") == Severity.WARN.value else Severity.ERROR
    return Finding(one["name"], one["passed"], severity, str(one.get("description") or ""))
