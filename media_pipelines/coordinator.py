"""The run coordinator: Dagster's own queue, before which a run that somebody launched by hand gets its rows.

`dagster.yaml` names it. Under the stock one such runs take their rows when they begin; until then the queue does not
know of them.
"""

import logging

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext

from jobqueue_bridge.errors import QueueError
from jobqueue_bridge.settings import load_settings
from media_pipelines import adoption

_logger = logging.getLogger(__name__)


class AdoptingRunCoordinator(QueuedRunCoordinator):
    """Everything but the rows is as the stock coordinator does it."""

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        run = context.dagster_run
        if run.status != dg.DagsterRunStatus.NOT_STARTED or not adoption.is_launched_by_hand(run):
            return super().submit_run(context)
        try:
            adopted = self._adopt(run)
        except QueueError as error:
            if not adoption.is_of_backfill(run):
                raise
            self._instance.report_run_failed(run, f"No job was made for this run: {error}")
            return self._again(run)
        return super().submit_run(SubmitRunContext(adopted, context.workspace))

    def _adopt(self, run: dg.DagsterRun) -> dg.DagsterRun:
        """Raises QueueError that says why the work cannot be asked for: whoever launched the run reads it at once."""
        if run.execution_plan_snapshot_id is None:
            return run
        kinds = adoption.kinds_of(self._instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id))
        if not kinds:
            return run
        rows = adoption.take_rows(run, kinds, load_settings())
        self._instance.add_run_tags(run.run_id, adoption.tags_for(run, rows))
        _logger.info("Launched in Dagster", extra={"run_id": run.run_id, "jobs": [str(row.id) for row in rows]})
        return self._again(run)

    def _again(self, run: dg.DagsterRun) -> dg.DagsterRun:
        found = self._instance.get_run_by_id(run.run_id)
        assert found is not None
        return found
