"""From a row's JSON to the typed params of its job type."""

from typing import TypeVar

from jobqueue_bridge import params
from media_pipelines.resources.attempt import Attempt

P = TypeVar("P", bound=params.Params)


def typed(attempt: Attempt, model: type[P]) -> P:
    """Raises InvalidJob that names every bad field, and where the pipeline is not the one for the job's type."""
    kind = params.job_type(attempt.job.type)
    parsed = params.parse(kind, attempt.job.params)
    if not isinstance(parsed, model):
        raise TypeError(f"job {attempt.job.id} is a {kind}, which this pipeline does not do")
    return parsed
