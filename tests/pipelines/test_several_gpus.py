"""A host with two GPUs, from the settings to ffmpeg. There is none here: a script before the real ffmpeg notes what it
is told, and NVML's answers are played where they are read. What is decided with them is real."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._utils.tags import TagConcurrencyLimitsCounter

from jobqueue_bridge import lease, logs, nvml, queue
from jobqueue_bridge.devices import Device
from jobqueue_bridge.metrics import QueueMetrics
from jobqueue_bridge.queue import Job, NewJob
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines import nvidia
from media_pipelines.platform import dagster_home, doctor
from media_pipelines.resources.gpu import Gpu, GpuMemory, used_by_pid_mb
from media_pipelines.sensors.dispatch import Dispatched, admit_ready, run_request
from tests.pipelines.conftest import RunJob, make_clip, run_in_process

TWO = '[{"vram_mb": 16000}, {"vram_mb": 16000, "uuid": "GPU-5a", "name": "upper slot"}]'
pynvml = nvml.library()
_NOTING = """#!/bin/sh
echo "${{CUDA_VISIBLE_DEVICES-any}} ${{CUDA_DEVICE_ORDER-any}}" >> {notes}
exec {ffmpeg} "$@"
"""


@pytest.fixture
def two(settings: Settings, library: Path) -> Iterator[Settings]:
    os.environ["MEDIA_GPU_VRAM_MB"] = TWO
    yield load_settings(media_library_path=library)
    del os.environ["MEDIA_GPU_VRAM_MB"]


@pytest.fixture
def notes(ffmpeg: Path, tmp_path: Path) -> Iterator[Path]:
    """What every ffmpeg was told of its GPU, a line each."""
    script, notes = tmp_path / "ffmpeg", tmp_path / "notes"
    script.write_text(_NOTING.format(notes=notes, ffmpeg=ffmpeg))
    script.chmod(0o755)
    os.environ["FFMPEG_BINARY"] = str(script)
    yield notes
    del os.environ["FFMPEG_BINARY"]


@pytest.fixture
def video(ffmpeg: Path, library: Path, run_job: RunJob, database: sa.Engine) -> UUID:
    make_clip(ffmpeg, library / "library/videos/clip.mp4")
    scanned = run_job("scan", {})
    assert scanned.status == JobStatus.COMPLETED
    with database.begin() as connection:
        found = connection.scalar(sa.text("SELECT id FROM videos"))
    assert isinstance(found, UUID)
    return found


@pytest.fixture
def enqueue(database: sa.Engine, two: Settings) -> Callable[..., Job]:
    def add(kind: str, params: dict[str, Any], **options: Any) -> Job:
        with database.begin() as connection:
            return queue.enqueue(connection, NewJob(kind, params, **options), two)

    return add


def admitted(settings: Settings, gpu: Gpu | None = None) -> dict[UUID, Dispatched]:
    return {entry.job.id: entry for entry in admit_ready(settings, gpu or Gpu())}


def test_a_run_is_told_its_gpu_and_so_is_every_ffmpeg_that_it_starts(
    video: UUID, enqueue: Callable[..., Job], two: Settings, instance: dg.DagsterInstance, notes: Path,
    database: sa.Engine,
) -> None:  # fmt: skip
    enqueue("compile_random", {"count": 2}, vram_required=14000)
    assert len(admitted(two)) == 1
    job = enqueue("reencode_streaming", {"videoId": str(video), "preset": "ultrafast"})
    before = dict(os.environ)

    done = run_in_process(two, instance, job)

    assert done.status == JobStatus.COMPLETED, done.error
    assert set(notes.read_text().splitlines()) == {"GPU-5a PCI_BUS_ID"}
    assert dict(os.environ) == before, "another run in this process may be given another"
    with database.begin() as connection:
        assert queue.attempts(connection, job.id)[0]["gpu"] == 1
        assert "On GPU 1 (upper slot), 4000 of its 16000 MB reserved" in logs.text(connection, job.id)


def test_a_run_that_fails_leaves_nothing_of_what_it_was_told(
    video: UUID, enqueue: Callable[..., Job], two: Settings, instance: dg.DagsterInstance, library: Path
) -> None:
    job = enqueue("reencode_streaming", {"videoId": str(video), "preset": "ultrafast"}, max_retries=0)
    (library / "library/videos/clip.mp4").write_bytes(b"broken")
    assert run_in_process(two, instance, job).status == JobStatus.FAILED
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_doctor_tries_the_encoder_of_each_gpu(two: Settings, ffmpeg: Path, tmp_path: Path) -> None:
    """The second has none, as some cards for data centres."""
    script = tmp_path / "ffmpeg"
    none = "echo 'No capable devices found' >&2; exit 1"
    script.write_text(
        f'#!/bin/sh\ncase "$CUDA_VISIBLE_DEVICES $*" in "GPU-5a "*nvenc*) {none};; *nvenc*) exit 0;; esac\n'
        f'exec {ffmpeg} "$@"\n'
    )
    script.chmod(0o755)
    found = [finding.text for finding in doctor._ffmpeg(two.model_copy(update={"ffmpeg_binary": str(script)}))]
    assert [text for text in found if " on GPU " in text] == [
        "h264_nvenc on GPU 0: a test encode succeeded",
        "h264_nvenc on GPU 1 (upper slot): not usable there (No capable devices found); another one is used",
    ]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_where_no_gpu_is_named_a_run_is_told_nothing(video: UUID, run_job: RunJob, notes: Path) -> None:
    done = run_job("reencode_streaming", {"videoId": str(video), "preset": "ultrafast"})
    assert done.status == JobStatus.COMPLETED, done.error
    assert set(notes.read_text().splitlines()) == {"any any"}


def test_a_run_carries_its_gpu_its_slot_there_and_its_units(
    database: sa.Engine, enqueue: Callable[..., Job], two: Settings
) -> None:
    big = enqueue("compile_random", {"count": 2}, vram_required=15000)
    small = enqueue("compile_random", {"count": 3}, vram_required=2000)
    without = enqueue("scan", {})
    found = admitted(two)

    def tags(job: Job) -> dict[str, str]:
        named = run_request(found[job.id]).tags
        return {key: value for key, value in named.items() if "gpu" in key or "vram" in key}

    assert tags(big) == {
        "media/gpu": "0",
        "media/gpu_slot": "gpu_encode@0",
        **{f"media/vram_u{number:02d}": "1" for number in range(15)},
    }
    assert tags(small) == {
        "media/gpu": "1",
        "media/gpu_slot": "gpu_encode@1",
        "media/vram_g1_u00": "1",
        "media/vram_g1_u01": "1",
    }
    assert tags(without) == {}


def test_the_coordinator_by_itself_keeps_each_gpu_within_its_units_and_slots(
    database: sa.Engine, enqueue: Callable[..., Job], two: Settings
) -> None:
    """Also where a run is asked for again in Dagster's own pages, with the tags that it had."""
    jobs = [enqueue("compile_random", {"count": count}, vram_required=7000) for count in (2, 3, 4, 5)]
    found = admitted(two)
    assert [found[job.id].gpu for job in jobs] == [0, 0, 1, 1]
    runs = [dg.DagsterRun(job_name="x", tags=run_request(found[job.id]).tags) for job in jobs]
    limits = dagster_home.instance_config(two)["concurrency"]["runs"]["tag_concurrency_limits"]
    coordinator = TagConcurrencyLimitsCounter(limits, [])
    for run in runs:
        assert not coordinator.is_blocked(run)
        coordinator.update_counters_with_launched_item(run)

    def is_blocked(*tags: tuple[str, str]) -> bool:
        return coordinator.is_blocked(dg.DagsterRun(job_name="x", tags=dict(tags)))

    for tag in {tag for run in runs for tag in run.tags.items() if "vram" in tag[0]}:
        assert is_blocked(tag)
    assert is_blocked(("media/gpu_slot", "gpu_encode@0"))
    assert is_blocked(("media/gpu_slot", "gpu_encode@1"))
    assert not is_blocked(("media/gpu_slot", "gpu_ai@1"), ("media/vram_g1_u14", "1"), ("media/vram_g1_u15", "1"))


def test_a_second_gpu_is_added_while_jobs_run_and_takes_nothing_from_them(
    database: sa.Engine, settings: Settings, two: Settings, enqueue: Callable[..., Job]
) -> None:
    """What a host with one GPU gave out keeps its units and tags on GPU 0."""
    one = two.model_copy(update={"gpus": [], "total_vram_mb": 16000})
    before = enqueue("compile_random", {"count": 2}, vram_required=9000)
    found = admitted(one)[before.id]
    assert (found.gpu, found.units) == (None, tuple(range(9)))
    with database.begin() as connection:
        assert lease.claim(connection, before.id, 1, run_id="r", host="h") is not None
    after = enqueue("compile_random", {"count": 3}, vram_required=9000)
    assert [entry.gpu for entry in admitted(two).values()] == [1]
    with database.begin() as connection:
        assert [queue.get(connection, job.id).gpu for job in (before, after)] == [0, 1]


@pytest.mark.skipif(not nvml.is_present(), reason="there is no NVIDIA GPU here")
def test_cuda_shows_a_process_the_gpu_that_it_was_told_and_no_other(ffmpeg: Path) -> None:
    def opens(told: Device, number: int) -> bool:
        """Whether ffmpeg can open what CUDA calls by this number."""
        picture = ["-f", "lavfi", "-i", "color=size=64x64:duration=0.04", "-f", "null", "-"]
        command = [str(ffmpeg), "-v", "error", "-init_hw_device", f"cuda=told:{number}", *picture]
        environment = {**os.environ, **nvidia.variables(told)}
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0

    pynvml.nvmlInit()
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        uuids = [pynvml.nvmlDeviceGetUUID(handle) for handle in handles]
    finally:
        pynvml.nvmlShutdown()
    for index, uuid in enumerate(uuids):
        for told in (Device(index=index, vram_mb=1000), Device(index=index, vram_mb=1000, uuid=uuid)):
            assert [opens(told, number) for number in (0, 1)] == [True, False]
    assert not opens(Device(index=len(uuids), vram_mb=1000), 0)


# What NVML says


class Measured(Gpu):
    """Two GPUs of which another program has taken most of the first."""

    def memory(self, device: Device) -> GpuMemory | None:
        return GpuMemory({0: 3000, 1: 15000}[device.index], {})


def test_the_live_memory_of_each_gpu_counts_for_the_jobs_that_go_there(
    database: sa.Engine, enqueue: Callable[..., Job], two: Settings
) -> None:
    jobs = [enqueue("compile_random", {"count": count}, vram_required=2000 * count) for count in (1, 2, 4, 5)]
    found = admitted(two, Measured())
    assert [found[job.id].gpu for job in jobs[:3]] == [0, 1, 1]
    with database.begin() as connection:
        waiting = queue.get(connection, jobs[3].id)
    assert waiting.waiting_reason is not None
    assert waiting.waiting_reason.startswith(
        "needs 10000 MB on one GPU; GPU 0 has 1000 MB free beside what is reserved; GPU 1: all 2 gpu_encode slots"
    )


class Driver:
    """Plays NVML on a host with two GPUs, of which the second has the UUID GPU-5a; with NVML's own errors."""

    NVMLError = pynvml.NVMLError

    def __init__(self) -> None:
        self.open = 0

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's name, as those below
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if index > 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:  # noqa: N802
        if uuid != "GPU-5a":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return 1

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return f"Card {handle}"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(free=(9000 + handle) << 20, used=(7384 - 2 * handle) << 20, total=(16384 - handle) << 20)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[SimpleNamespace]:  # noqa: N802
        return [SimpleNamespace(pid=7, usedGpuMemory=(500 + handle) << 20)]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: int) -> list[SimpleNamespace]:  # noqa: N802
        return []


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    playing = Driver()
    monkeypatch.setattr(nvml, "library", lambda: playing)
    return playing


def test_memory_is_read_from_the_very_gpu_that_is_asked_for(driver: Driver, two: Settings) -> None:
    first, second = two.devices
    assert Gpu().memory(first) == GpuMemory(9000, {7: 500})
    assert Gpu().memory(second) == GpuMemory(9001, {7: 501})
    assert (used_by_pid_mb(first), used_by_pid_mb(second), used_by_pid_mb()) == ({7: 500}, {7: 501}, {7: 1001})
    assert Gpu().memory(Device(index=2, vram_mb=1)) is None
    assert driver.open == 0


def _live(database: sa.Engine, settings: Settings) -> dict[tuple[str, str], float]:
    samples = [sample for family in QueueMetrics(database, settings).collect() for sample in family.samples]
    return {
        (sample.name, sample.labels["gpu"]): sample.value for sample in samples if "media_gpu_memory" in sample.name
    }


def test_prometheus_is_told_the_memory_of_each_gpu_that_can_be_read(
    driver: Driver, database: sa.Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvml, "is_present", lambda: True)
    three = [Device(index=0, vram_mb=1), Device(index=1, vram_mb=1, uuid="GPU-5a"), Device(index=2, vram_mb=1)]
    assert _live(database, settings.model_copy(update={"gpus": three})) == {
        ("media_gpu_memory_total_mb", "0"): 16384, ("media_gpu_memory_total_mb", "1"): 16383,
        ("media_gpu_memory_used_mb", "0"): 7384, ("media_gpu_memory_used_mb", "1"): 7382,
        ("media_gpu_memory_free_mb", "0"): 9000, ("media_gpu_memory_free_mb", "1"): 9001,
    }  # fmt: skip
    assert driver.open == 0


def test_a_driver_that_hangs_keeps_one_scrape_and_no_other(
    driver: Driver, database: sa.Engine, two: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvml, "is_present", lambda: True)
    asked, answers = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        assert answers.wait(30)

    monkeypatch.setattr(driver, "nvmlInit", hang)
    hanging = threading.Thread(target=nvml.memory, args=(two.devices,))
    hanging.start()
    assert asked.wait(30)
    assert _live(database, two) == {}
    answers.set()
    hanging.join()


@pytest.mark.skipif(not nvml.is_present(), reason="there is no NVIDIA GPU here")
def test_the_memory_of_a_gpu_is_what_is_used_and_what_is_free() -> None:
    seen = nvml.memory([Device(index=0, vram_mb=1)])[0]
    assert seen.total_mb > 0
    assert abs(seen.total_mb - seen.used_mb - seen.free_mb) <= 2


def test_doctor_has_a_line_for_each_gpu_and_fails_for_one_that_is_not_there(driver: Driver, two: Settings) -> None:
    assert [(finding.ok, finding.text) for finding in doctor._gpus(two)] == [
        (True, "GPU 0: Card 0, 9,000 of 16,384 MB free, budget 16,000 MB"),
        (True, "GPU 1 (upper slot): Card 1, 9,001 of 16,383 MB free, budget 16,000 MB"),
    ]
    wrong = two.model_copy(update={"gpus": [Device(index=0, vram_mb=17000), Device(index=5, vram_mb=1000)]})
    much, missing = doctor._gpus(wrong)
    assert not much.ok
    assert much.text.endswith("budget 17,000 MB: more than it has, lower it in MEDIA_GPU_VRAM_MB")
    assert not missing.ok
    assert missing.text.startswith("GPU 5: the NVIDIA driver finds none of index 5 (Invalid Argument)")
    assert driver.open == 0
