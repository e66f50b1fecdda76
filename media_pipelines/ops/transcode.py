"""Bring a video into line with a policy: examine, encode, verify; then let the result take the original's place, or
publish it at the policy's destination."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg

from jobqueue_bridge import outcomes, params, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.file_changes import FileChange
from jobqueue_bridge.outcomes import Result
from jobqueue_bridge.policy import Policy, policy_hash
from jobqueue_bridge.videos import Video
from media_pipelines.examine import Examined, Examiner
from media_pipelines.left_behind import owner
from media_pipelines.media import files
from media_pipelines.media import replace as replacing
from media_pipelines.media.errors import CannotTranscode, OutputRejected, ResultTooLarge, TargetUnreachable
from media_pipelines.media.fingerprint import fingerprint
from media_pipelines.media.plan import EncodePlan
from media_pipelines.media.policy import Encode, Refuse, Skip
from media_pipelines.media.probe import Probe
from media_pipelines.media.replace import Identity
from media_pipelines.ops.checks import verifying
from media_pipelines.ops.encoding import Encoded, run_encode, verify_output
from media_pipelines.ops.materialized import file_at, made, video_event, video_link
from media_pipelines.ops.order import GOES_ON
from media_pipelines.ops.originals import finished_change, replace_original
from media_pipelines.ops.outputs import (
    Output,
    mine,
    plan_output,
    publish,
    remove_left_behind,
    removing_partials,
    require_made,
    require_space,
)
from media_pipelines.ops.params import typed
from media_pipelines.ops.pictures import frame_of
from media_pipelines.ops.videos import broken, facts, record_output, source_video, video_facts
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue


@dataclass(frozen=True)
class Task:
    """One transcode before it is done: what the file was like, what it is to become and where that is written. `file`
    is where the source lies once symbolic links are followed; in its place, only a file itself can be replaced."""

    source: Probe
    file: Path
    seen: Identity
    content: str
    wanted: Encode
    output: Output

    @property
    def in_place(self) -> bool:
        return self.wanted.folder is None


@dataclass(frozen=True)
class Work:
    """A transcode on its way through the ops. Without a task nothing is left to do but to complete the job: `skip`
    says why, or `change` what an earlier attempt has done."""

    video: Video
    task: Task | None = None
    skip: Skip | None = None
    change: FileChange | None = None
    encoded: Encoded | None = None
    encode_s: float = 0.0
    result: Probe | None = None


@dg.op(
    ins={"library_video": dg.In(dg.Nothing)},
    description="Claim the job, probe the source, decide what the policy makes of it.",
)
def examine_source(context: dg.OpExecutionContext, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg) -> Work:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.Transcode)
        change = finished_change(attempt, queue, library)
        video = source_video(queue, attempt.job.video_id)
        attempt.log(f"Input: {video.path}")
        if change is not None:
            return Work(video, change=change)
        path = library.path(video.path)
        file = path if wanted.policy.destination is None else path.resolve()
        before = replacing.seen(file)
        examined = _examined(path, wanted, queue, library, ffmpeg)
        _refresh(queue, video, examined)
        match examined.decision:
            case Skip() as skip if skip.outcome not in outcomes.FAILURES:
                attempt.decided(skip.reason)
                return Work(video, skip=skip)
            case Skip(reason):
                raise CannotTranscode(path, reason)
            case Refuse(reason):
                raise examined.error or CannotTranscode(path, reason)
            case Encode() as encode:
                return Work(video, _task(attempt, library, video, examined, encode, file, before))


def _examined(path: Path, wanted: params.Transcode, queue: Queue, library: Library, ffmpeg: Ffmpeg) -> Examined:
    engine = engine_for(queue.settings)
    with ffmpeg.prober() as prober:
        return Examiner(library.root, engine, prober, wanted.policy, speeds={}, force=wanted.force).one(path)


def _refresh(queue: Queue, video: Video, examined: Examined) -> None:
    """The row learns what is known now: of a broken file, and of one that was queued before any scan saw it."""
    with queue.begin() as connection:
        if examined.error is not None and examined.error.kind == "permanent":
            videos.update(connection, video.id, **broken(examined.error))
        elif examined.source is not None and video.size_bytes is None:
            videos.update(connection, video.id, **facts(examined.source))


def _task(
    attempt: Attempt, library: Library, video: Video, examined: Examined, wanted: Encode, file: Path, before: Identity
) -> Task:
    assert examined.source is not None
    assert examined.content is not None
    for line in (", ".join(wanted.changes), *wanted.streams):
        attempt.log(line)
    if wanted.folder is None:
        target = library.path(video.path).with_name(wanted.name)
        mark = owner(attempt.job.id, attempt.job.attempt)
        output = Output(files.partial_path(target, mark), target, published=False, is_named=True)
    else:
        output = plan_output(attempt, library, None, f"{wanted.folder}/{wanted.name}")
    attempt.log(f"Output: {library.relative(output.target)}")
    return Task(examined.source, file, before, examined.content, wanted, output)


@dg.op(
    tags=GOES_ON,
    description="Run ffmpeg as the plan says, where it may write; stop it when the result becomes too large.",
)
def encode_to_comply(context: dg.OpExecutionContext, work: Work, job: JobRow, queue: Queue, ffmpeg: Ffmpeg) -> Work:
    with job.step(context) as attempt:
        task = work.task
        if task is None or task.output.published:
            return work
        task = replace(task, output=mine(task.output, attempt))
        work = replace(work, task=task)
        policy = typed(attempt, params.Transcode).policy
        began_s = time.monotonic()
        with removing_partials(task.output, attempt):
            require_space(task.output, task.source.size_bytes)
            try:
                encoded = _encode(attempt, queue, ffmpeg, task, policy)
            except TargetUnreachable as error:
                _remember_failure(attempt, queue, work, task, policy, Result.UNREACHABLE, str(error))
                raise
            except ResultTooLarge as error:
                task.output.partial.unlink(missing_ok=True)
                return _kept_original(attempt, queue, work, task, policy, error)
        return replace(work, encoded=encoded, encode_s=time.monotonic() - began_s)


def _encode(attempt: Attempt, queue: Queue, ffmpeg: Ffmpeg, task: Task, policy: Policy) -> Encoded:
    """In the temporary directory, if one is set, and from there beside the target."""
    output, folder = task.output, queue.settings.temp_directory
    written = _in_temp_directory(attempt, output, Path(folder), task.source.size_bytes) if folder else output
    try:
        encoded = run_encode(
            attempt, ffmpeg, task.source, written, task.wanted.plan, max_size_bytes=_limit_bytes(task, policy)
        )
        if written is not output:
            files.copy(written.partial, output.partial, lambda _: attempt.check())
    finally:
        if written is not output:
            files.remove_quietly(written.partial)
    return encoded


def _in_temp_directory(attempt: Attempt, output: Output, folder: Path, source_bytes: int) -> Output:
    folder.mkdir(parents=True, exist_ok=True)
    remove_left_behind(folder, attempt.job)
    files.require_free_space(folder, source_bytes)
    written = replace(output, partial=folder / output.partial.name)
    attempt.writes(written.partial)
    return written


def _limit_bytes(task: Task, policy: Policy) -> int | None:
    """None: any size will do. A picture that is copied cannot be made smaller, so then it is no use to ask."""
    if policy.on_larger != "keep-original" or task.wanted.plan.video is None:
        return None
    return task.source.size_bytes * policy.max_size_percent // 100


def _kept_original(
    attempt: Attempt, queue: Queue, work: Work, task: Task, policy: Policy, error: ResultTooLarge
) -> Work:
    """Larger is an outcome, not a failure; it is remembered, so that nobody waits for it again."""
    reason = f"The original stays: {error} ({policy.max_size_percent} % of its {task.source.size_bytes} bytes)"
    attempt.decided(reason)
    with queue.begin() as connection:
        outcomes.record(
            connection, task.content, work.video.path, policy_hash(policy), Result.LARGER, reason, attempt.job.id
        )
    return Work(work.video, skip=Skip(reason, Result.LARGER.value))


@dg.op(tags=GOES_ON, description="Read the new file back: all that was planned is there, and what was encoded decodes.")
def verify_result(context: dg.OpExecutionContext, work: Work, job: JobRow, queue: Queue, ffmpeg: Ffmpeg) -> Work:
    with job.step(context) as attempt:
        task = work.task
        if task is None:
            return work
        policy = typed(attempt, params.Transcode).policy
        plan = work.encoded.plan if work.encoded else task.wanted.plan
        try:
            with verifying(context, attempt):
                result = verify_output(
                    attempt,
                    ffmpeg,
                    task.source,
                    task.output,
                    plan,
                    encoded=work.encoded,
                    full=True,
                    min_vmaf=policy.min_vmaf,
                )
        except OutputRejected as error:
            said = f"Its result failed verification: {'; '.join(error.problems)}"
            _remember_failure(attempt, queue, work, task, policy, Result.FAILED_VERIFY, said)
            if _brings_damage_along(plan, error):
                reason = f"{said}. What is copied brings its damage along: does the source play to its end?"
                raise CannotTranscode(task.source.path, reason) from error
            raise
        return replace(work, result=result)


def _brings_damage_along(plan: EncodePlan, error: OutputRejected) -> bool:
    copied = any(track.codec is None for track in plan.audio)
    return copied and any("does not decode" in problem for problem in error.problems)


def _remember_failure(
    attempt: Attempt, queue: Queue, work: Work, task: Task, policy: Policy, result: Result, detail: str
) -> None:
    with queue.begin() as connection:
        outcomes.record(connection, task.content, work.video.path, policy_hash(policy), result, detail, attempt.job.id)


@dg.op(
    tags=GOES_ON,
    description="Let the verified file take the original's place, or publish it; remember what came of it.",
)
def publish_result(
    context: dg.OpExecutionContext, work: Work, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> dg.Output[None]:
    with job.step(context) as attempt:
        if work.skip is not None:
            told: dict[str, Any] = {"outcome": work.skip.outcome, "detail": work.skip.reason}
            attempt.complete(told)
            return dg.Output(None, metadata=made(attempt, **told))
        if work.task is not None and not work.task.in_place:
            told, result = _published(context, attempt, queue, library, work, work.task)
        else:
            told, result = _replaced(context, attempt, queue, library, ffmpeg, work)
    shown = {
        "frame": frame_of(replace(result, path=library.path(told["outputPath"])), ffmpeg),
        **file_at(library, told["outputPath"]),
        **_shown(told),
        "output_video": video_link(queue.settings, told["outputVideoId"]),
        "source_video": video_link(queue.settings, work.video.id),
    }
    return dg.Output(None, metadata=made(attempt, **shown))


def _shown(told: dict[str, Any]) -> dict[str, Any]:
    """What the job's row says, as Dagster shows and plots it."""
    before, after = told["sourceSizeBytes"], told["sizeBytes"]
    return {
        "outcome": told["outcome"],
        "detail": told["detail"],
        "encoder": told["encoder"],
        "video_codec": told["videoCodec"],
        "duration_s": round(told["durationSeconds"] or 0, 3),
        "size_before_mb": round(before / 1e6, 3) if before else None,
        "size_after_mb": round(after / 1e6, 3),
        "saved_percent": round(100 * (1 - after / before), 1) if before else None,
        "encode_s": told["encodeSeconds"],
        "backup": told.get("backupPath") and dg.MetadataValue.path(told["backupPath"]),
    }


def _replaced(
    context: dg.OpExecutionContext, attempt: Attempt, queue: Queue, library: Library, ffmpeg: Ffmpeg, work: Work
) -> tuple[dict[str, Any], Probe]:
    """The result in the original's place, now or by an earlier attempt."""
    if work.task is not None:
        assert work.result is not None
        task, result = work.task, work.result
        require_made(task.output)
        content = fingerprint(task.output.partial)
        keep = queue.settings.backup_original
        change = replace_original(
            attempt,
            queue,
            library,
            work.video,
            task.output.partial,
            task.output.target,
            source=task.seen,
            result=result,
            keep_original=keep,
        )
    else:
        assert work.change is not None
        change = work.change
        target = library.path(change.target)
        content = fingerprint(target)
        with ffmpeg.prober() as prober:
            result = prober.probe(target)
    told = {**_told(work, change.target, result), "outputVideoId": str(work.video.id), "backupPath": change.backup}
    _complete(attempt, work, told, change.target, content)
    video_event(
        context,
        work.video.id,
        dg.AssetMaterialization,
        **made(
            attempt,
            **video_facts({**facts(result), "path": change.target}),
            what="encoded anew in its place",
            before=dg.MetadataValue.path(change.path),
            backup=change.backup and dg.MetadataValue.path(change.backup),
        ),
    )
    return told, result


def _published(
    context: dg.OpExecutionContext, attempt: Attempt, queue: Queue, library: Library, work: Work, task: Task
) -> tuple[dict[str, Any], Probe]:
    assert work.result is not None
    if not task.output.published:
        replacing.require_unchanged(task.file, task.seen)
    target = publish(attempt, library, task.output)
    relative = library.relative(target)
    output_id = record_output(
        context,
        attempt,
        queue,
        relative,
        target,
        work.result,
        made_of=[work.video.id],
        title=work.video.title,
        source_video_id=work.video.id,
        reencode_job_id=attempt.job.id,
    )
    told = {**_told(work, relative, work.result), "outputVideoId": str(output_id)}
    _complete(attempt, work, told, relative, fingerprint(target))
    return told, work.result


def _told(work: Work, output_path: str, result: Probe) -> dict[str, Any]:
    """What the job's row says of its result; `encodeSeconds` only where a picture was encoded: it tells the speed."""
    task = work.task
    encoded = work.encoded if work.encoded and work.encoded.plan.video else None
    before = task.source.size_bytes if task else None
    sized = f", {result.size_bytes} of {before} bytes" if before else ""
    return {
        "outcome": Result.DONE.value,
        "detail": f"Done as {output_path}{sized}",
        "outputPath": output_path,
        "encoder": work.encoded.encoder if work.encoded else None,
        "sizeBytes": result.size_bytes,
        "sourceSizeBytes": before,
        "durationSeconds": result.duration_s,
        "videoCodec": result.video_codec,
        "quality": result.quality,
        "encodeSeconds": round(work.encode_s, 3) if encoded else None,
    }


def _complete(attempt: Attempt, work: Work, told: dict[str, Any], output_path: str, content: str) -> None:
    """The source's content was done; that of the result complies."""
    policy, job_id, detail = policy_hash(typed(attempt, params.Transcode).policy), attempt.job.id, told["detail"]
    source_path = work.change.path if work.change else work.video.path

    def remember(connection: Any) -> None:
        outcomes.record(connection, content, output_path, policy, Result.COMPLIANT, detail, job_id)
        videos.update(connection, UUID(told["outputVideoId"]), fingerprint=content)
        if work.task is not None:
            outcomes.record(connection, work.task.content, source_path, policy, Result.DONE, detail, job_id)

    attempt.complete(told, also=remember)
