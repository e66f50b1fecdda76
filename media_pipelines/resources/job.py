"""The doorway between a run and its row: every op of a pipeline works inside `job.step()`."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._utils.interrupts import capture_interrupts, check_captured_interrupt
from pydantic import Field, PrivateAttr
from sqlalchemy.exc import DBAPIError

from jobqueue_bridge import drains, queue
from jobqueue_bridge.database import engine_for, is_away
from jobqueue_bridge.errors import InvalidJob, JobNotFound, LeaseLost, VideoNotFound
from jobqueue_bridge.queue import Job
from jobqueue_bridge.retry import FailureKind
from media_pipelines import adoption, nvidia
from media_pipelines.media.errors import EncodeStopped, FfmpegFailed, MediaError, is_out_of_gpu_memory, was_killed
from media_pipelines.resources import launched
from media_pipelines.resources.attempt import Attempt, claim
from media_pipelines.resources.cores import keep_to_cores
from media_pipelines.resources.failure import failure_of
from media_pipelines.resources.queue import Queue
from media_pipelines.resources.run_log import telling

# Nobody gets another answer by asking again.
_STAYS = {errno.EROFS, errno.EACCES, errno.EPERM}


class JobRow(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The job that a run works on. The dispatcher names it; a run that was launched in Dagster itself has one for each
    asset that it makes, and waits for them. The first step claims a job; its last one completes it."""

    job_id: str = Field(default="", description="Leave empty: the dispatcher sets it.")
    attempt: int = Field(default=0, description="Leave as it is: the dispatcher sets it.")
    params: dict[str, Any] = Field(
        default={}, description="The job's params, where they are not the defaults; of several jobs by their types."
    )
    queue: Queue

    _held: dict[str, Attempt] = PrivateAttr(default_factory=dict)
    _told: nvidia.Told | None = PrivateAttr(default=None)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """A run that ends between two steps gives its job back."""
        for attempt in self._held.values():
            if not attempt.over:
                _give_back(attempt, "the run ended between two steps", context.instance)
        if self._told is not None:
            self._told.take_back()

    @contextmanager
    def step(self, context: dg.OpExecutionContext) -> Iterator[Attempt]:
        """Whatever goes wrong inside is written to the row; then the run fails, or ends as cancelled.

        Raises dg.Failure with the error's text, or Dagster's interruption where the job is no longer this run's.
        """
        asset = adoption.asset_of(context.get_step_execution_context().step.key)
        attempt, interrupted = self._held.get(asset), False
        if attempt is None:
            job = self._admitted(context, asset)
            with capture_interrupts():  # a job that is claimed must be known here, or nobody hands it back
                attempt = self._claim(context, asset, job)
                interrupted = check_captured_interrupt()
        try:
            if interrupted:
                raise DagsterExecutionInterruptedError()
            with telling(context, attempt):
                yield attempt
        except (LeaseLost, EncodeStopped) as error:
            attempt.abandon()
            raise launched.end_quietly(context, f"{error}. Nothing was published.", self.queue.settings) from error
        except DagsterExecutionInterruptedError:
            _give_back(attempt, "the run was told to stop", context.instance)
            with capture_interrupts():
                launched.end_quietly(context, "The run was told to stop: its job is handed back.", self.queue.settings)
            raise
        except Exception as error:  # the border: every failure of an op must reach its row
            _fail(attempt, error)
            raise failure_of(error, text_of(error), kind_of(error)) from error

    def _admitted(self, context: dg.OpExecutionContext, asset: str) -> Job:
        """Under the dispatcher it is. A re-execution names, in the config that it has copied, what another run did."""
        settings = self.queue.settings
        if not self.job_id or context.run.parent_run_id is not None:
            return launched.wait_for_admission(context, asset, settings)
        with engine_for(settings).begin() as connection:
            try:
                job = queue.get(connection, UUID(self.job_id))
            except JobNotFound as gone:
                raise launched.end_quietly(context, f"{gone}: nothing to do for this run.", settings) from gone
        return replace(job, attempt=self.attempt)

    def _claim(self, context: dg.OpExecutionContext, asset: str, job: Job) -> Attempt:
        settings = self.queue.settings
        with engine_for(settings).begin() as connection:
            cores = drains.cores_for(connection, job.id)
        held = claim(settings, job, run_id=context.run_id, host=socket.gethostname())
        if held is None:
            why = f"Somebody has moved job {job.id} (attempt {job.attempt}) meanwhile: nothing to do."
            raise launched.end_quietly(context, why, settings)
        self._held[asset] = held
        held.log(f"Attempt {job.attempt} of {job.type} starts on {socket.gethostname()}, run {context.run_id}")
        if kept := keep_to_cores(cores):
            held.log(kept)
        if device := settings.named_device(held.job.gpu):
            self._told = nvidia.Told(device)
            held.log(f"On {device}, {held.job.vram_required} of its {device.vram_mb} MB reserved")
        return held


def _give_back(attempt: Attempt, reason: str, instance: dg.DagsterInstance | None) -> None:
    """Or end it for good, where it is Dagster's user who ended the run."""
    with capture_interrupts(), _or_abandon(attempt):
        if launched.is_cancelled(instance, attempt.job.run_id):
            attempt.cancel()
        else:
            attempt.release(reason)


def _fail(attempt: Attempt, error: Exception) -> None:
    with _or_abandon(attempt):
        attempt.fail(text_of(error), kind_of(error))


@contextmanager
def _or_abandon(attempt: Attempt) -> Iterator[None]:
    """A job that somebody else moved, or that cannot be reached, is left to the reconciler."""
    try:
        yield
    except LeaseLost:
        attempt.abandon()
    except DBAPIError as error:
        attempt.abandon()
        if not is_away(error):
            raise


def text_of(error: Exception) -> str:
    """What a person reads: of an error of the operating system its words and its file, not its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename!r}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def kind_of(error: Exception) -> FailureKind:
    """Whether trying again can help."""
    if isinstance(error, FfmpegFailed) and was_killed(error.exit_code):
        return "lost"
    if isinstance(error, MediaError):
        return error.kind
    if is_out_of_gpu_memory(str(error)):  # of a model, in this process
        return "capacity"
    if isinstance(error, InvalidJob | VideoNotFound):
        return "permanent"
    if isinstance(error, OSError) and error.errno in _STAYS:
        return "permanent"
    return "transient"
