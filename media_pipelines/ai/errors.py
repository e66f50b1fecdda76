"""Errors of the analysis and its engines. Each child stores its facts and builds its message."""

from pathlib import Path

from media_pipelines.media.errors import MediaError


class AnalysisUnreadable(MediaError):
    """A stored analysis that is damaged or of another version: it is made again."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"The stored analysis {self.path.name} cannot be used: {self.reason}"


class EngineUnavailable(MediaError):
    """An engine cannot serve here; the next one in line does, and the result says why."""

    def __init__(self, reference: str, reason: str) -> None:
        super().__init__(reference, reason)
        self.reference = reference
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reference}: {self.reason}"


class BadReference(MediaError):
    """A reference that no engine of its role could ever have."""

    def __init__(self, role: str, text: str, allowed: str) -> None:
        super().__init__(role, text, allowed)
        self.role = role
        self.text = text
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.text!r} names no engine for {self.role}; it may be {self.allowed}"
