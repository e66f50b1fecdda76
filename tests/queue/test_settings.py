"""Where settings come from, and what a bad one gets."""

import os
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import tzlocal

from jobqueue_bridge.devices import Device
from jobqueue_bridge.errors import InvalidSettings
from jobqueue_bridge.settings import Settings, as_text, load_settings, origin_of, variable_of
from jobqueue_bridge.vocabulary import ResourceCategory
from media_pipelines.platform.programs import environment

Configure = Callable[[str], None]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of this test's own, and none of the suite's settings."""
    for name in list(os.environ):
        if name in {variable_of(field) for field in Settings.model_fields}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("MEDIA_PIPELINES_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def configure(home: Path) -> Configure:
    def write(text: str) -> None:
        (home / "config.yaml").write_text(text)

    return write


def refused() -> dict[str, str]:
    with pytest.raises(InvalidSettings) as error:
        load_settings()
    return {problem.field: problem.problem for problem in error.value.problems}


def test_the_defaults_are_those_that_are_promised(home: Path) -> None:
    settings = load_settings()
    assert (settings.home, settings.media_library_path) == (home, home / "media")
    assert (settings.api_port, settings.dagster_port, settings.total_vram_mb, settings.vram_units) == (
        4100,
        3000,
        16000,
        16,
    )
    assert settings.slots == {ResourceCategory.CPU: 5, ResourceCategory.GPU_ENCODE: 2, ResourceCategory.GPU_AI: 1}
    assert settings.retry_base_seconds == 60
    assert settings.embedded


def test_the_environment_goes_before_the_file_and_the_file_before_the_default(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure("api_port: 5000\nslots_cpu: 7\n")
    monkeypatch.setenv("MEDIA_API_PORT", "6000")
    settings = load_settings()
    assert (settings.api_port, settings.slots_cpu, settings.slots_gpu_ai) == (6000, 7, 1)
    assert [origin_of(settings, field) for field in ("api_port", "slots_cpu", "slots_gpu_ai")] == [
        "environment (MEDIA_API_PORT)",
        "config.yaml",
        "default",
    ]


def test_a_value_given_in_the_program_goes_before_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_API_PORT", "6000")
    assert load_settings(api_port=7000).api_port == 7000


def test_an_empty_variable_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_API_PORT", "")
    monkeypatch.setenv("DATABASE_URL", "")
    settings = load_settings()
    assert (settings.api_port, settings.embedded, origin_of(settings, "api_port")) == (4100, True, "default")


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "null"])
def test_an_empty_file_changes_nothing(configure: Configure, text: str) -> None:
    configure(text)
    assert load_settings().api_port == 4100


@pytest.mark.parametrize("field", [name for name in Settings.model_fields if name not in {"home"}])
def test_every_setting_has_a_variable_of_its_own_and_can_stand_in_the_file(configure: Configure, field: str) -> None:
    assert variable_of(field).isupper()
    default = getattr(load_settings(), field)
    configure(f"{field}: {'null' if default is None else as_text(default) or chr(39) * 2}\n")
    settings = load_settings()
    assert getattr(settings, field) == default
    assert origin_of(settings, field) == "config.yaml"


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("MEDIA_API_PORT", "0", "greater than or equal to 1 (got '0')"),
        ("MEDIA_API_PORT", "65536", "less than or equal to 65535"),
        ("MEDIA_API_PORT", "http", "valid integer, unable to parse string as an integer (got 'http')"),
        ("MEDIA_SLOTS_CPU", "-1", "greater than or equal to 0"),
        ("MEDIA_SLOTS_GPU_AI", "257", "less than or equal to 256"),
        ("MEDIA_TOTAL_VRAM_MB", "-1", "greater than or equal to 0"),
        ("MEDIA_TOTAL_VRAM_MB", "99999999", "less than or equal to 1000000"),
        ("MEDIA_GPU_VRAM_MB", "16000;24000", "expected the MB of each GPU, such as 16000,24000, got '16000;24000'"),
        ("MEDIA_GPU_VRAM_MB", "16000,-1", "expected the MB of each GPU"),
        ("MEDIA_GPU_VRAM_MB", "[16000", "is no JSON: '[16000'"),
        ("MEDIA_GPU_VRAM_MB", "[[16000]]", "or {vram_mb: 16000, uuid: GPU-…} for each; got [16000]"),
        ("MEDIA_GPU_VRAM_MB", '[{"vram_mb": 1, "index": 1}, 16000]', "two GPUs have the index 1"),
        ("MEDIA_GPU_VRAM_MB", '[{"vram_mb": 1, "uuid": "GPU-1"}, {"vram_mb": 1, "uuid": "GPU-1"}]', "the uuid GPU-1"),
        ("MEDIA_AI_ENGINES", "hf:owner/name", 'is no JSON such as {"tags": "hf:owner/name"}'),
        ("MEDIA_AI_ENGINES", '["hf:owner/name"]', "expected engines by role"),
        ("MEDIA_AI_ENGINES", '{"smells": "hf:owner/name"}', "there is no role 'smells'; there are shots, tags"),
        ("MEDIA_AI_ENGINES", '{"tags": "owner/name"}', "tags: expected packaged:, classical:, path: or hf: and a name"),
        ("MEDIA_RETRY_BASE_SECONDS", "inf", "finite number"),
        ("MEDIA_RETRY_CAP_SECONDS", "1e300", "less than or equal to"),
        ("MEDIA_STARVATION_SECONDS", "inf", "finite number"),
        ("MEDIA_LEASE_SECONDS", "1", "greater than or equal to 2"),
        ("MEDIA_STALL_TIMEOUT_SECONDS", "0", "greater than 0"),
        ("MEDIA_PREFER_HARDWARE_ENCODER", "maybe", "valid boolean"),
        ("MEDIA_NIGHTLY_COMPILATION_TIMEZONE", "Mars/Olympus", "there is no time zone 'Mars/Olympus'"),
        ("MEDIA_NIGHTLY_COMPILATION_TIMEZONE", "../../etc/passwd", "there is no time zone"),
        ("MEDIA_TIMEZONE", "Mars/Olympus", "there is no time zone 'Mars/Olympus'"),
        ("MEDIA_WINDOWS", "01:00-07:00", 'is no JSON such as {"gpu_encode": "01:00-07:00"}'),
        ("MEDIA_WINDOWS", "[]", "expected windows by category"),
        ("MEDIA_WINDOWS", '{"gpu": "01:00-07:00"}', "there is no category 'gpu'; there are cpu, gpu_encode, gpu_ai"),
        ("MEDIA_WINDOWS", '{"gpu_ai": "at night"}', "gpu_ai: 'at night' is no window"),
        ("MEDIA_WINDOWS", '{"gpu_ai": ["01:00-02:00", "3:00-3:00"]}', "gpu_ai: '3:00-3:00' ends when it begins"),
        ("MEDIA_WINDOWS", '{"gpu_ai": []}', "gpu_ai: expected a window"),
        ("MEDIA_WINDOWS", '{"gpu_ai": {"from": 1}}', "gpu_ai: expected a window"),
        ("MEDIA_RETENTION_DAYS", "-1", "greater than or equal to 0"),
        ("MEDIA_AUTO_PURGE", "perhaps", "valid boolean"),
        ("MEDIA_WORKER_MAX_FILES", "0", "greater than or equal to 1"),
        ("MEDIA_WORKER_MAX_DURATION", "0", "greater than or equal to 1"),
        ("MEDIA_WORKER_CPU_CORES", "half", "valid integer"),
        ("MEDIA_WORKER_END_BY", "25:00", "must be a time of day as HH:MM, from 00:00 to 23:59 (got '25:00')"),
        ("MEDIA_WORKER_END_BY", "6", "must be a time of day as HH:MM"),
        ("MEDIA_SHUTDOWN", "wait", "'hand_back' or 'finish'"),
        ("MEDIA_SHUTDOWN_TIMEOUT_SECONDS", "-1", "greater than or equal to 0"),
        ("DATABASE_URL", "mysql://u:secret@h/d", "must be a postgresql:// URL"),
        ("DATABASE_URL", "postgresql://u:secret@h:port/d", "is no URL of the form"),
        ("DATABASE_URL", "postgresql://u:secret@h:99x/d", "is no URL of the form"),
    ],
)
def test_a_bad_value_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, problem: str
) -> None:
    monkeypatch.setenv(variable, value)
    found = refused()
    assert list(found) == [variable]
    assert problem in found[variable]
    assert "secret" not in found[variable]


def test_what_is_wrong_with_one_gpu_is_named(configure: Configure) -> None:
    configure("gpus: [{vram_mb: 1000001}, {vram_mb: 1, uuid: card}, {index: 2}, {vram_mb: 1, memory: 2}]")
    assert list(refused()) == [
        "MEDIA_GPU_VRAM_MB.0.vram_mb",
        "MEDIA_GPU_VRAM_MB.1.uuid",
        "MEDIA_GPU_VRAM_MB.2.vram_mb",
        "MEDIA_GPU_VRAM_MB.3.memory",
    ]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("gpus: 16000,24000", [Device(index=0, vram_mb=16000), Device(index=1, vram_mb=24000)]),
        ("gpus: [16000, 24000]", [Device(index=0, vram_mb=16000), Device(index=1, vram_mb=24000)]),
        ("gpus: 24000", [Device(index=0, vram_mb=24000)]),
        (
            "gpus: [{vram_mb: 16000, index: 2, name: upper}, {vram_mb: 24000, uuid: GPU-5a}]",
            [Device(index=2, vram_mb=16000, name="upper"), Device(index=1, vram_mb=24000, uuid="GPU-5a")],
        ),
    ],
)
def test_gpus_stand_in_the_file_and_reach_the_processes_of_the_platform(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, written: str, expected: list[Device]
) -> None:
    configure(written)
    settings = load_settings()
    assert settings.gpus == expected
    monkeypatch.setenv("MEDIA_GPU_VRAM_MB", environment(settings)["MEDIA_GPU_VRAM_MB"])
    configure("")
    assert load_settings().gpus == expected


def test_the_whole_budget_is_the_sum_of_the_gpus_and_slots_are_those_of_each(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIA_GPU_VRAM_MB", "16000,24500")
    settings = load_settings()
    assert (settings.total_vram_mb, settings.vram_units, settings.most_vram_mb) == (40500, 40, 24000)
    assert origin_of(settings, "total_vram_mb") == "default"
    assert settings.slots == {ResourceCategory.CPU: 5, ResourceCategory.GPU_ENCODE: 4, ResourceCategory.GPU_AI: 2}


def test_a_whole_budget_that_is_not_the_sum_is_refused(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    configure("total_vram_mb: 16000\n")
    monkeypatch.setenv("MEDIA_GPU_VRAM_MB", "16000,24000")
    assert refused() == {
        "MEDIA_TOTAL_VRAM_MB": "is 16000, and the GPUs of MEDIA_GPU_VRAM_MB have 40000 together: leave one of the two "
        "out"
    }
    configure("total_vram_mb: 40000\n")
    assert load_settings().total_vram_mb == 40000


def test_where_no_gpu_is_named_the_whole_budget_is_that_of_gpu_0(home: Path) -> None:
    settings = load_settings(total_vram_mb=8500)
    assert (settings.gpus, settings.devices) == ([], [Device(index=0, vram_mb=8500)])
    assert settings.named_device(0) is None


def test_windows_stand_in_the_file_one_or_several_for_a_category(configure: Configure) -> None:
    configure('windows:\n  gpu_encode: "01:00-07:00"\n  gpu_ai: ["22:00-06:00", "sat,sun 12:00-13:00"]\n')
    found = load_settings().windows_by_category
    assert {category.value: [window.text for window in hours] for category, hours in found.items()} == {
        "gpu_encode": ["01:00-07:00"],
        "gpu_ai": ["22:00-06:00", "sat,sun 12:00-13:00"],
    }


def test_windows_reach_the_processes_of_the_platform_as_they_are(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure('windows: {cpu: "01:00-07:00"}\ntimezone: Europe/Berlin\nai_engines: {tags: "path:/a/model"}\n')
    settings = load_settings()
    for variable in ("MEDIA_WINDOWS", "MEDIA_TIMEZONE", "MEDIA_AI_ENGINES"):
        monkeypatch.setenv(variable, environment(settings)[variable])
    configure("")
    assert (load_settings().windows, load_settings().zone) == (settings.windows, ZoneInfo("Europe/Berlin"))
    assert load_settings().ai_engines == {"tags": "path:/a/model"}


def test_the_clock_is_the_systems_unless_told_otherwise(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        tzlocal.reload_localzone()  # it remembers what it found
        assert load_settings().zone == ZoneInfo("Asia/Tokyo")
    tzlocal.reload_localzone()


def test_every_bad_value_is_named_at_once(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    configure("slots_cpu: many\n")
    monkeypatch.setenv("MEDIA_API_PORT", "x")
    assert set(refused()) == {"MEDIA_API_PORT", "MEDIA_SLOTS_CPU"}


def test_an_unknown_setting_in_the_file_is_named(configure: Configure) -> None:
    configure("api_prot: 5000\n")
    assert refused() == {"api_prot": "there is no such setting"}


@pytest.mark.parametrize("text", ["api_port: [1,", "- api_port\n", "just text", "a: b: c", "\tapi_port: 1", "\0"])
def test_a_file_that_is_no_yaml_mapping_is_named(home: Path, configure: Configure, text: str) -> None:
    configure(text)
    assert list(refused()) == [str(home / "config.yaml")]


def test_a_file_that_is_no_utf_8_is_named(home: Path) -> None:
    (home / "config.yaml").write_bytes(b"api_host: \xff\xfe\n")
    assert list(refused()) == [str(home / "config.yaml")]


def test_a_key_that_is_no_text_is_an_error_of_the_file(configure: Configure) -> None:
    configure("4100: api_port\n")
    (problem,) = refused().values()
    assert problem == "expected names of settings as keys, found 4100"


def test_a_home_in_the_home_directory_is_spelled_out(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("MEDIA_PIPELINES_HOME", "~/state")
    monkeypatch.setenv("MEDIA_LIBRARY_PATH", "~/films")
    settings = load_settings()
    assert (settings.home, settings.media_library_path) == (home / "state", home / "films")


def test_the_library_lies_below_whatever_home_is_given(home: Path, tmp_path: Path) -> None:
    assert load_settings(home=tmp_path / "other").media_library_path == tmp_path / "other/media"


def test_the_socket_lies_beside_the_data_where_its_path_is_short_enough(home: Path) -> None:
    assert load_settings(home=Path("/srv/media")).postgres_socket_dir == Path("/srv/media/run")


def test_a_long_home_gets_a_short_socket_path_of_its_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long, longer = (load_settings(home=Path("/srv") / ("x" * length)) for length in (100, 101))
    assert len(os.fsencode(long.postgres_socket_dir / ".s.PGSQL.5432")) < 108
    assert long.postgres_socket_dir != longer.postgres_socket_dir
    before = long.postgres_socket_dir
    monkeypatch.setenv("TMPDIR", str(home))
    assert long.postgres_socket_dir == before


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+asyncpg"])
def test_both_drivers_reach_the_database_of_the_url(home: Path, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://u:p%40ss@host:5433/films?sslmode=require")
    settings = load_settings()
    assert not settings.embedded
    for url, driver in ((settings.queue_url, "postgresql+psycopg"), (settings.dagster_url, "postgresql+psycopg2")):
        assert (url.drivername, url.username, url.password, url.host, url.port, url.database) == (
            driver,
            "u",
            "p@ss",
            "host",
            5433,
            "films",
        )
        assert url.query["sslmode"] == "require"
    assert settings.dagster_url.query["options"] == "-csearch_path=dagster"


def test_a_secret_is_never_shown(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_JWT_SECRET", "hunter2")
    assert "hunter2" not in repr(load_settings())


# As VPO's guide shows it.
VPO_FILE = """
jobs:
  retention_days: 30      # Days to keep completed jobs
  auto_purge: true        # Purge old jobs on worker start
  temp_directory: null    # Temp dir for transcoding (null = source dir)
  backup_original: true   # Keep backup of original files

worker:
  max_files: null         # No limit by default
  max_duration: null      # No limit by default
  end_by: null            # No deadline by default
  cpu_cores: null         # Use all cores by default
"""


def test_vpos_own_file_is_taken_as_it_is(configure: Configure) -> None:
    default = load_settings()
    configure(VPO_FILE)
    settings = load_settings()
    assert settings == default
    assert origin_of(settings, "worker_end_by") == origin_of(settings, "retention_days") == "config.yaml"


@pytest.mark.parametrize(
    ("written", "end_by"),
    [("05:59", "05:59"), ("22:30", "22:30"), ("'22:30'", "22:30"), ("6:05", "06:05"), ("0:00", "00:00")],
)
def test_a_time_of_day_needs_no_quotes_although_yaml_reads_some_as_numbers(
    configure: Configure, written: str, end_by: str
) -> None:
    configure(f"worker: {{max_files: 5, max_duration: 28800, end_by: {written}, cpu_cores: 4}}\n")
    settings = load_settings()
    assert (settings.worker_max_files, settings.worker_max_duration, settings.worker_cpu_cores) == (5, 28800, 4)
    assert settings.worker_end_by == end_by


def test_an_unknown_key_of_a_group_is_named_with_its_group(configure: Configure) -> None:
    configure("worker:\n  max_jobs: 5\njobs:\n  retention: 5\n")
    assert refused() == {
        "worker.max_jobs": "there is no such setting",
        "jobs.retention": "there is no such setting",
    }


def test_a_group_that_is_no_group_is_named(configure: Configure) -> None:
    configure("worker: 5\njobs:\n")
    assert refused() == {"worker": "there is no such setting"}


@pytest.mark.parametrize("variable", ["MEDIA_PUBLIC_URL", "MEDIA_SOURCE_URL"])
@pytest.mark.parametrize(
    "value", ["media.example", "javascript:alert(1)", "https://a b", "https://a/?q='", "https://a/\n"]
)
def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidSettings, match=variable):
        load_settings()


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, "http://127.0.0.1:4100"),
        ({"MEDIA_API_HOST": "0.0.0.0", "MEDIA_API_PORT": "4200"}, "http://localhost:4200"),
        ({"MEDIA_API_HOST": "::1"}, "http://[::1]:4100"),
        ({"MEDIA_PUBLIC_URL": "https://media.example/jobs/"}, "https://media.example/jobs"),
    ],
)
def test_links_lead_to_where_people_find_the_page(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], address: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load_settings().jobs_page == address
