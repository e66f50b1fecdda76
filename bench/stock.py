"""The reference: a pipeline of one op that does nothing, as stock Dagster runs it."""

import dagster as dg

RUNS = 60


@dg.op
def nothing() -> None:
    """Less than the least of our ops does."""


@dg.job(executor_def=dg.in_process_executor, tags={"media/category": "cpu"})
def one_op() -> None:
    nothing()


@dg.sensor(job=one_op, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def ask(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """All the runs at once, on the first tick."""
    wanted = [] if context.cursor else [dg.RunRequest(run_key=str(number)) for number in range(RUNS)]
    return dg.SensorResult(run_requests=wanted, cursor="asked")


defs = dg.Definitions(jobs=[one_op], sensors=[ask])
