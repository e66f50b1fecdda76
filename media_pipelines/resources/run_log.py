"""What a run tells in Dagster: where a step begins and ends, and what was decided. The whole log is its job's."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from media_pipelines.resources.attempt import Attempt


@contextmanager
def telling(context: dg.OpExecutionContext, attempt: Attempt) -> Iterator[None]:
    """Around a step. Each line is an event in Dagster's storage, so there are few, and none of the progress."""
    began_s, job = time.monotonic(), attempt.job
    context.log.info(f"{context.op.name}: attempt {job.attempt} of job {job.id} ({job.type})")
    with attempt.telling(context.log.info):
        yield
    context.log.info(f"{context.op.name}: done after {time.monotonic() - began_s:.1f} s")
