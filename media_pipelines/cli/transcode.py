"""`transcode`: a policy for many files: what would happen to each, or a job for each that does not comply."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from uuid import UUID

import sqlalchemy as sa
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jobqueue_bridge import audit, outcomes, queue, videos
from jobqueue_bridge.errors import JobAlreadyLive
from jobqueue_bridge.policy import Policy, load_policy
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.vocabulary import PRIORITY_DEFAULT, JobStatus, JobType, Origin
from media_pipelines.cli.database import engine_for, require_platform
from media_pipelines.cli.jobs import AS_JSON
from media_pipelines.cli.library_paths import in_library
from media_pipelines.cli.output import DONE, FAILED, err, print_json
from media_pipelines.cli.transcode_text import Verdict, as_json_document, ended, lines, total
from media_pipelines.cli.watching import wait_for
from media_pipelines.examine import Examiner
from media_pipelines.media import files
from media_pipelines.media.policy import Encode, Refuse, Skip
from media_pipelines.media.prober import Prober
from media_pipelines.platform.asking import who

_PROBES_AT_ONCE = 2


@dataclass(frozen=True)
class _File:
    """A file that was named, or found in a folder that was; `named`: as rows name it; `shown`: as it is called below
    that folder."""

    path: Path
    named: str
    shown: str


def transcode(
    paths: list[Path] = typer.Argument(metavar="PATH...", help="Files and folders of the library."),
    policy_file: Path = typer.Option(..., "--policy", "-p", metavar="FILE", help="What the files should be like."),
    dry_run: bool = typer.Option(False, "--dry-run", "-n", help="Only say what would happen to each file, and why."),
    recursive: bool = typer.Option(False, "--recursive", "-R", help="Folders in folders, too."),
    codec: str | None = typer.Option(None, "--codec", help="Instead of the policy's target_video_codec."),
    crf: int | None = typer.Option(None, "--crf", help="Instead of the policy's quality."),
    max_resolution: str | None = typer.Option(None, "--max-resolution", help="Instead of the policy's."),
    bitrate: str | None = typer.Option(None, "--bitrate", metavar="RATE", help="Instead of the policy's quality: 4M."),
    force: bool = typer.Option(False, "--force", help="Also what was tried under this policy before."),
    priority: int = typer.Option(PRIORITY_DEFAULT, "--priority", help="1 (first) to 10 (last)."),
    wait: bool = typer.Option(False, "--wait", help="Stay until all have ended; exit 0 only if all completed."),
    as_json: bool = AS_JSON,
) -> None:
    """Queue a job for each file that does not comply with a policy."""
    policy = load_policy(policy_file).overridden(
        target_video_codec=codec, target_crf=crf, max_resolution=max_resolution, target_bitrate=bitrate
    )
    settings = load_settings()
    if wait and not dry_run:
        require_platform(settings)
    found = list(_files(settings, paths, recursive=recursive))
    enqueueing = None if dry_run else _Enqueueing(settings, policy, force=force, priority=priority)
    verdicts = []
    for verdict in _verdicts(settings, policy, found, enqueueing, force=force):
        verdicts.append(verdict)
        if not as_json:
            for line in lines(verdict):
                typer.echo(line)
    jobs = _ended(settings, verdicts) if wait and not dry_run else {}
    if as_json:
        print_json([as_json_document(verdict, jobs.get(verdict.job_id)) for verdict in verdicts])
    else:
        for line in (*ended(verdicts, jobs), *total(verdicts, dry_run=dry_run)):
            typer.echo(line)
    raise typer.Exit(FAILED if _any_failed(verdicts, jobs) else DONE)


def _any_failed(verdicts: Sequence[Verdict], jobs: dict[UUID | None, queue.Job]) -> bool:
    refused = any(isinstance(verdict.decision, Refuse) for verdict in verdicts)
    return refused or any(job.status != JobStatus.COMPLETED for job in jobs.values())


def _files(settings: Settings, paths: Sequence[Path], *, recursive: bool) -> Iterator[_File]:
    """Each file once, in the order named; what a folder holds in the order of names."""
    root, seen = settings.media_library_path, set[Path]()
    for path in paths:
        named = root / in_library(settings, path)
        for file in files.find_videos(root, named, _tell_skipped, recursive=recursive):
            if not _is_utf8(file):
                _tell_skipped(file, "its name is not valid UTF-8")
            elif file not in seen:
                seen.add(file)
                shown = str(file.relative_to(named)) if named.is_dir() else file.name
                yield _File(file, str(file.relative_to(root)), shown)


def _is_utf8(path: Path) -> bool:
    """No row can hold another name."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _tell_skipped(path: Path, reason: str) -> None:
    err.print(f"Passed over {str(path)!r}: {reason}", markup=False, soft_wrap=True)


def _verdicts(
    settings: Settings, policy: Policy, found: Sequence[_File], enqueueing: "_Enqueueing | None", *, force: bool
) -> Iterator[Verdict]:
    """What is to become of each file; jobs are queued as they are found to be needed."""
    engine = engine_for(settings)
    with engine.connect() as connection:
        speeds = outcomes.speeds(connection)
    with _bar(len(found)) as advance, Prober(workers=_PROBES_AT_ONCE) as prober:
        examiner = Examiner(settings.media_library_path, engine, prober, policy, speeds, force=force)
        for file, examined in zip(found, examiner.many(file.path for file in found), strict=True):
            verdict = Verdict(file.named, file.shown, examined.decision, examined.source)
            yield enqueueing.of(verdict) if enqueueing else verdict
            advance()


@contextmanager
def _bar(count: int) -> Iterator[Callable[[], None]]:
    """Progress on stderr where somebody looks; call what it yields for each file. What is printed meanwhile goes above
    the bar where both are one terminal, and to where it was sent otherwise."""
    columns = (TextColumn("Looking at the files"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeRemainingColumn())
    together = sys.stdout.isatty()
    with Progress(
        *columns, console=err, transient=True, redirect_stdout=together, disable=not err.is_terminal
    ) as progress:
        task = progress.add_task("", total=count)
        yield lambda: progress.advance(task)


class _Enqueueing:
    """Puts a job into the queue for each file that is to be encoded."""

    def __init__(self, settings: Settings, policy: Policy, *, force: bool, priority: int) -> None:
        self._settings = settings
        self._options = {"policy": policy.model_dump(mode="json", exclude_none=True), "force": force}
        self._priority = priority

    def of(self, verdict: Verdict) -> Verdict:
        if not isinstance(verdict.decision, Encode):
            return verdict
        with engine_for(self._settings).begin() as connection:
            try:
                job = queue.enqueue(connection, self._asked(connection, verdict.path), self._settings)
            except JobAlreadyLive as live:
                return replace(verdict, decision=Skip(f"Job {live.job_id} works on it already", "queued"))
            audit.record(connection, who(), "job.create", job.id, type=job.type)
        return replace(verdict, job_id=job.id)

    def _asked(self, connection: sa.Connection, path: str) -> queue.NewJob:
        video_id = videos.id_by_path(connection, path)
        if video_id is None:  # the job fills in what the file holds
            names = PurePosixPath(path)
            video_id = videos.upsert(connection, [{"path": path, "filename": names.name, "title": names.stem}])[path]
        params = {"videoId": str(video_id), **self._options}
        return queue.NewJob(JobType.TRANSCODE.value, params, self._priority, origin=Origin.CLI)


def _ended(settings: Settings, verdicts: Sequence[Verdict]) -> dict[UUID | None, queue.Job]:
    """Every job that was queued, once it has ended. Ctrl-C ends the waiting, never a job."""
    jobs: dict[UUID | None, queue.Job] = {}
    for verdict in verdicts:
        if verdict.job_id is not None:
            with engine_for(settings).connect() as connection:
                job = queue.get(connection, verdict.job_id)
            jobs[verdict.job_id] = wait_for(settings, job)
    return jobs
