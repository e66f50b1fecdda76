"""The warm run launcher: runs fork from a server that has imported everything already.

`dagster.yaml` names it. The stock launcher starts an interpreter for each run and cannot tell whether a run lives.
"""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from dagster import DagsterRun
from dagster._config import UserConfigSchema
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._serdes import ConfigurableClass, ConfigurableClassData, serialize_value

from jobqueue_bridge.settings import load_settings
from media_pipelines import run_process
from media_pipelines.tags import facts_of

_logger = logging.getLogger(__name__)
_OUR_MODULE = "media_pipelines.definitions"


class WarmRunLauncher(RunLauncher, ConfigurableClass):
    """Forks our own runs; anything else goes the stock launcher's way."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        self._stock: Any = DefaultRunLauncher()
        self._runs_dir: Path = load_settings().runs_dir
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        del config_value
        return cls(inst_data=inst_data)

    def register_instance(self, instance: Any) -> None:
        super().register_instance(instance)
        self._stock.register_instance(instance)

    def launch_run(self, context: LaunchRunContext) -> None:
        if not _is_ours(context.dagster_run):
            self._stock.launch_run(context)
            return
        run = context.dagster_run
        run_process.start(self._runs_dir, run.run_id, serialize_value(self._instance.get_ref()))
        _logger.info("A process was forked for the run", extra={"run_id": run.run_id, **facts_of(run.tags)})

    def terminate(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        if GRPC_INFO_TAG in run.tags:
            return bool(self._stock.terminate(run_id))
        self._instance.report_run_canceling(run)
        return run_process.terminate(self._runs_dir, run_id)

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        if GRPC_INFO_TAG in run.tags:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "started by the stock launcher, which cannot tell")
        pid = run_process.pid_of(self._runs_dir, run.run_id)
        if pid is not None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=str(pid))
        return CheckRunHealthResult(WorkerStatus.FAILED, "the run's process is gone")


def _is_ours(run: DagsterRun) -> bool:
    """Whether this interpreter, which the fork server copies, is the one that the run's code asks for."""
    origin = run.job_code_origin
    if origin is None:
        return False
    repository = origin.repository_origin
    module = getattr(repository.code_pointer, "module", None)
    return module == _OUR_MODULE and repository.executable_path == sys.executable
