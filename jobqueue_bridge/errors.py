"""Every error of the queue. A child stores its facts and builds a message that says what to do."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from jobqueue_bridge.vocabulary import JobStatus


class QueueError(Exception):
    """Base of all errors raised by `jobqueue_bridge`."""


@dataclass(frozen=True)
class FieldProblem:
    """One thing wrong with one field, e.g. ("params.crf", "must be at most 51, got 99")."""

    field: str
    problem: str

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"


class InvalidJob(QueueError):
    """What was asked for can never run; nothing was queued."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class JobNotFound(QueueError):
    def __init__(self, reference: str | UUID) -> None:
        self.reference = str(reference)
        super().__init__(f"No job {reference}")


class JobArchived(JobNotFound):
    """It ended long ago: it can be read, and no longer be changed."""

    def __init__(self, job_id: UUID, archived_at: datetime) -> None:
        super().__init__(job_id)
        self.archived_at = archived_at
        self.args = (f"Job {job_id} is in the archive since {archived_at:%Y-%m-%d}: it can only be read",)


class AmbiguousJob(QueueError):
    def __init__(self, prefix: str, matches: Iterable[UUID]) -> None:
        self.prefix = prefix
        self.matches = tuple(matches)
        listed = ", ".join(str(match) for match in self.matches)
        super().__init__(f"{prefix!r} fits several jobs ({listed}): give more characters")


class VideoNotFound(QueueError):
    def __init__(self, reference: str | UUID) -> None:
        self.reference = str(reference)
        super().__init__(f"No video {reference}")


class AmbiguousVideo(QueueError):
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        super().__init__(f"{prefix!r} fits several videos: give more characters")


class PathTaken(QueueError):
    """A file that would get this path would cost another video its row."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"{path!r} is the path of another video, whose file is missing and may return; if it was moved, scan the "
            "folder where it is now; if it is gone for good, `media-pipelines videos forget` removes its row"
        )


class ChangeNotFound(QueueError):
    def __init__(self, reference: str | UUID) -> None:
        self.reference = str(reference)
        super().__init__(f"No change {reference}")


class AmbiguousChange(QueueError):
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        super().__init__(f"{prefix!r} fits several changes: give more characters")


class ChangeUnderWay(QueueError):
    """Somebody else is changing this file, or has just done so."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"Another change of {path} is under way or was just settled: try again later")


class MoveForbidden(QueueError):
    def __init__(self, job_id: UUID, current: JobStatus, wanted: JobStatus) -> None:
        self.job_id, self.current, self.wanted = job_id, current, wanted
        super().__init__(f"Job {job_id} is {current}; it cannot become {wanted}")


class JobAlreadyLive(QueueError):
    def __init__(self, unique_key: str, job_id: UUID) -> None:
        self.unique_key, self.job_id = unique_key, job_id
        super().__init__(f"Job {job_id} already does this ({unique_key}) and has not ended")


class JobHasEnded(QueueError):
    def __init__(self, job_id: UUID, status: JobStatus) -> None:
        self.job_id, self.status = job_id, status
        super().__init__(f"Job {job_id} has ended ({status}): its priority no longer matters")


class RetriesUsedUp(QueueError):
    def __init__(self, job_id: UUID, used: int, allowed: int) -> None:
        self.job_id, self.used, self.allowed = job_id, used, allowed
        super().__init__(f"Job {job_id} has used {used} of {allowed} retries: only by force does it run again")


class ParentLost(QueueError):
    """It could only wait for ever."""

    def __init__(self, job_id: UUID, problem: str) -> None:
        self.job_id, self.problem = job_id, problem
        super().__init__(f"Job {job_id} has lost its parent, {problem}: only by force does it run without")


class JobPaused(QueueError):
    """The attempt still has its lease, and may end its job only once that is resumed."""

    def __init__(self, job_id: UUID) -> None:
        self.job_id = job_id
        super().__init__(f"Job {job_id} is paused")


class LeaseLost(QueueError):
    """The job is no longer this attempt's: moved, cancelled or rescued by somebody else."""

    def __init__(self, job_id: UUID, attempt: int, reason: str) -> None:
        self.job_id, self.attempt, self.reason = job_id, attempt, reason
        super().__init__(f"Attempt {attempt} of job {job_id} lost its lease: {reason}")


class InvalidSettings(QueueError):
    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("Settings: " + "; ".join(str(problem) for problem in self.problems))


@dataclass(frozen=True)
class PolicyProblem:
    """One thing wrong with a policy: file and line, or None for the command line; the key; what is wrong."""

    where: str | None
    key: str
    problem: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.problem) if part)


class InvalidPolicy(QueueError):
    def __init__(self, problems: Sequence[PolicyProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class DatabaseUnreachable(QueueError):
    def __init__(self, url: str, reason: str) -> None:
        self.url, self.reason = url, reason
        super().__init__(f"The database at {url} does not answer: {reason}")
