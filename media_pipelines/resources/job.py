"""The doorway between a run and its row: every op of a pipeline works inside `job.step()`."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._utils.interrupts import capture_interrupts, check_captured_interrupt
from pydantic import PrivateAttr
from sqlalchemy.exc import DBAPIError

from jobqueue_bridge import drains, queue
from jobqueue_bridge.database import engine_for, is_away
from jobqueue_bridge.errors import InvalidJob, JobNotFound, LeaseLost, VideoNotFound
from jobqueue_bridge.retry import FailureKind
from jobqueue_bridge.settings import load_settings
from media_pipelines import nvidia
from media_pipelines.media.errors import EncodeStopped, FfmpegFailed, MediaError, is_out_of_gpu_memory, was_killed
from media_pipelines.resources.attempt import Attempt, claim
from media_pipelines.resources.cores import keep_to_cores
from media_pipelines.resources.failure import failure_of
from media_pipelines.resources.run_log import telling

# Nobody gets another answer by asking again.
_STAYS = {errno.EROFS, errno.EACCES, errno.EPERM}


class JobRow(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The job that a run works on. The dispatcher names it; the first step claims it; the last one completes it."""

    job_id: str
    attempt: int

    _held: Attempt | None = PrivateAttr(default=None)
    _told: nvidia.Told | None = PrivateAttr(default=None)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """A run that ends between two steps gives its job back."""
        del context
        if self._held is not None and not self._held.over:
            _give_back(self._held, "the run ended between two steps")
        if self._told is not None:
            self._told.take_back()

    @contextmanager
    def step(self, context: dg.OpExecutionContext) -> Iterator[Attempt]:
        """Whatever goes wrong inside is written to the row; then the run fails, or ends as cancelled.

        Raises dg.Failure with the error's text, or Dagster's interruption where the job is no longer this run's.
        """
        attempt, interrupted = self._held, False
        if attempt is None:
            with capture_interrupts():  # a job that is claimed must be known here, or nobody hands it back
                attempt = self._claim(context)
                interrupted = check_captured_interrupt()
        try:
            if interrupted:
                raise DagsterExecutionInterruptedError()
            with telling(context, attempt):
                yield attempt
        except (LeaseLost, EncodeStopped) as error:
            attempt.abandon()
            context.log.warning(f"{error}. Nothing was published.")
            raise DagsterExecutionInterruptedError() from error
        except DagsterExecutionInterruptedError:
            _give_back(attempt, "the run was told to stop")
            raise
        except Exception as error:  # the border: every failure of an op must reach its row
            _fail(attempt, error)
            raise failure_of(error, text_of(error), kind_of(error)) from error

    def _claim(self, context: dg.OpExecutionContext) -> Attempt:
        settings = load_settings()
        with engine_for(settings).begin() as connection:
            try:
                job = queue.get(connection, UUID(self.job_id))
            except JobNotFound as gone:
                raise DagsterExecutionInterruptedError() from gone
            cores = drains.cores_for(connection, job.id)
        held = None
        if job.attempt == self.attempt:
            held = claim(settings, job, run_id=context.run_id, host=socket.gethostname())
        if held is None:
            context.log.warning(f"Job {job.id} is {job.status} (attempt {job.attempt}): nothing to do for this run.")
            raise DagsterExecutionInterruptedError()
        self._held = held
        held.log(f"Attempt {self.attempt} of {job.type} starts on {socket.gethostname()}, run {context.run_id}")
        if kept := keep_to_cores(cores):
            held.log(kept)
        if device := settings.named_device(held.job.gpu):
            self._told = nvidia.Told(device)
            held.log(f"On {device}, {held.job.vram_required} of its {device.vram_mb} MB reserved")
        return held


def _give_back(attempt: Attempt, reason: str) -> None:
    with capture_interrupts(), _or_abandon(attempt):
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
