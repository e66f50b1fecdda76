"""The one place that knows every setting: environment first, then `config.yaml`, then the defaults below."""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import tzlocal
import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from jobqueue_bridge import cron, devices, new_video, schedules
from jobqueue_bridge.devices import Device
from jobqueue_bridge.errors import FieldProblem, InvalidSettings
from jobqueue_bridge.schedules import Schedule
from jobqueue_bridge.vocabulary import AUTOMATED, NEEDS, ResourceCategory
from jobqueue_bridge.wall_clock import wall_time
from jobqueue_bridge.webhook_target import Webhook
from jobqueue_bridge.windows import Window
from jobqueue_bridge.windows import parse as parse_window

EMBEDDED_DATABASE = "media_pipelines"
DAGSTER_SCHEMA = "dagster"
_YEAR_S = 365 * 24 * 3600
# VPO's file groups settings: key in the group → field.
_GROUPS: Mapping[str, Mapping[str, str]] = {
    "jobs": {name: name for name in ("retention_days", "auto_purge", "temp_directory", "backup_original")},
    "worker": {name: f"worker_{name}" for name in ("max_files", "max_duration", "end_by", "cpu_cores")},
}
_AI_ROLES = ("shots", "tags", "embedding", "faces", "audio", "transcript", "text")
_AI_REFERENCE = re.compile(r"(packaged|classical|path|hf):\S(.*\S)?")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?")
_ADDRESS = re.compile(_ORIGIN.pattern + r"(/[A-Za-z0-9._~/-]*)?")
WILDCARD_HOSTS = ("0.0.0.0", "::", "")  # noqa: S104 -- compared with, never bound
_SOCKET_PATH_MAX = 100  # sun_path holds 108 bytes, of which "/.s.PGSQL.5432" takes 14


class Shutdown(StrEnum):
    """What becomes of running jobs when the platform is told to stop."""

    HAND_BACK = "hand_back"
    FINISH = "finish"


class Watching(StrEnum):
    """How new files are noticed."""

    AUTO = "auto"
    EVENTS = "events"
    POLLING = "polling"


class LogFormat(StrEnum):
    """How the platform's processes write what they say of themselves."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def default_home() -> Path:
    """Where state lives unless told otherwise: `MEDIA_PIPELINES_HOME`, else `~/.local/share/media-pipelines`."""
    configured = os.environ.get("MEDIA_PIPELINES_HOME")
    home = Path(configured) if configured else Path.home() / ".local/share/media-pipelines"
    return home.expanduser().absolute()


class _ConfigFile(YamlConfigSettingsSource):
    """`config.yaml`, whose keys are the field names; the environment's names never mix with them."""

    def _read_file(self, path: Any) -> dict[str, Any]:
        content = super()._read_file(path) or {}
        if not isinstance(content, dict):
            raise yaml.YAMLError(f"expected keys and values, found {type(content).__name__}")
        if odd := [key for key in content if not isinstance(key, str)]:
            raise yaml.YAMLError(f"expected names of settings as keys, found {odd[0]!r}")
        return _by_variable(_unfolded(content))


def _unfolded(content: dict[str, Any]) -> dict[str, Any]:
    """VPO's file groups settings below `jobs:` and `worker:`; here they may stand there or at the top."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        fields = _GROUPS.get(key)
        if fields is None or not isinstance(value, dict | None):
            flat[key] = value
        elif value is not None:
            flat |= {fields.get(inner, f"{key}.{inner}"): of_inner for inner, of_inner in value.items()}
    return flat


def _by_variable(values: Mapping[str, Any]) -> dict[str, Any]:
    return {variable_of(key) if key in Settings.model_fields else key: value for key, value in values.items()}


def variable_of(field: str) -> str:
    """The environment variable of a field: "api_port" → "MEDIA_API_PORT"."""
    return str(Settings.model_fields[field].validation_alias)


class Settings(BaseSettings):
    """Build once, at the edge of a process, with `load_settings()`."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,
        case_sensitive=True,
        validate_default=True,
        allow_inf_nan=False,
    )

    home: Path = Field(
        default_factory=default_home,
        validation_alias="MEDIA_PIPELINES_HOME",
        description="State: database, Dagster home, secrets, logs, temporary files.",
    )
    database_url: str = Field(
        default="",
        validation_alias="DATABASE_URL",
        description="Postgres to use; empty: an embedded one under the home.",
    )
    media_library_path: Path = Field(
        default_factory=lambda known: known.get("home", default_home()) / "media",
        validation_alias="MEDIA_LIBRARY_PATH",
        description="Root of the library: library/, inbox/, playback/, compilations/, thumbnails/ lie below it.",
    )
    api_host: str = Field(default="127.0.0.1", validation_alias="MEDIA_API_HOST")
    api_port: int = Field(default=4100, ge=1, le=65535, validation_alias="MEDIA_API_PORT")
    public_url: str = Field(
        default="",
        validation_alias="MEDIA_PUBLIC_URL",
        description="Where people find the Jobs page, for links to it: https://media.example. Empty: where the API "
        "listens.",
    )
    source_url: str = Field(
        default="",
        validation_alias="MEDIA_SOURCE_URL",
        description="Where the code is read, for links from assets to it: https://git.example/media/tree/main. Empty: "
        "the files of this machine.",
    )
    dagster_host: str = Field(default="127.0.0.1", validation_alias="MEDIA_DAGSTER_HOST")
    dagster_port: int = Field(default=3000, ge=1, le=65535, validation_alias="MEDIA_DAGSTER_PORT")
    jwt_secret: str = Field(
        default="",
        validation_alias="MEDIA_JWT_SECRET",
        description="HS256 secret; empty: one is made under the home on first start, mode 0600.",
        repr=False,
    )
    jwt_public_key: str = Field(
        default="",
        validation_alias="MEDIA_JWT_PUBLIC_KEY",
        description="PEM text or the path of a PEM file (RS256 or ES256); replaces the secret.",
    )
    jwt_jwks_file: str = Field(
        default="",
        validation_alias="MEDIA_JWT_JWKS_FILE",
        description="A JSON Web Key Set (RS256, ES256), read again when it changes; replaces the key and the secret.",
    )
    jwt_issuer: str = Field(
        default="", validation_alias="MEDIA_JWT_ISSUER", description="`iss` that tokens must have; empty: any."
    )
    jwt_audience: str = Field(
        default="", validation_alias="MEDIA_JWT_AUDIENCE", description="`aud` that tokens must name; empty: any."
    )
    jwt_leeway_seconds: float = Field(
        default=10,
        ge=0,
        le=600,
        validation_alias="MEDIA_JWT_LEEWAY_SECONDS",
        description="How far the clock of whoever signs may differ.",
    )
    api_cors_origins: str = Field(
        default="",
        validation_alias="MEDIA_API_CORS_ORIGINS",
        description="Pages of other origins that may call the API: https://admin.example, several with commas.",
    )
    api_writes_per_minute: int = Field(
        default=600,
        ge=0,
        le=1_000_000,
        validation_alias="MEDIA_API_WRITES_PER_MINUTE",
        description="How often one person may change something; 0: no limit.",
    )
    health_open: bool = Field(
        default=True, validation_alias="MEDIA_HEALTH_OPEN", description="Whether /health answers without a token."
    )
    metrics_open: bool = Field(
        default=True, validation_alias="MEDIA_METRICS_OPEN", description="Whether /metrics answers without a token."
    )
    gpus: Annotated[Sequence[Device], NoDecode] = Field(
        default_factory=list,
        validation_alias="MEDIA_GPU_VRAM_MB",
        description="The budget of each GPU, where there are several: 16000,24000. In the file also with index, uuid "
        "and name. None: the whole budget is that of GPU 0.",
    )
    total_vram_mb: int = Field(
        default_factory=lambda known: sum(device.vram_mb for device in known["gpus"]) if known["gpus"] else 16000,
        ge=0,
        validation_alias="MEDIA_TOTAL_VRAM_MB",
        description="What running jobs may declare together; of several GPUs it is their sum.",
    )
    slots_cpu: int = Field(default=5, ge=0, le=256, validation_alias="MEDIA_SLOTS_CPU")
    slots_gpu_encode: int = Field(
        default=2, ge=0, le=256, validation_alias="MEDIA_SLOTS_GPU_ENCODE", description="On each GPU."
    )
    slots_gpu_ai: int = Field(
        default=1, ge=0, le=256, validation_alias="MEDIA_SLOTS_GPU_AI", description="On each GPU."
    )
    windows: Annotated[Mapping[str, tuple[str, ...]], NoDecode] = Field(
        default_factory=dict,
        validation_alias="MEDIA_WINDOWS",
        description="When jobs of a category may start, by the local clock: gpu_encode: 01:00-07:00. In the "
        "environment as JSON.",
    )
    timezone: str = Field(
        default="",
        validation_alias="MEDIA_TIMEZONE",
        description="Whose clock the windows go by; empty: the system's.",
    )
    webhooks: Annotated[tuple[Webhook, ...], NoDecode] = Field(
        default=(),
        validation_alias="MEDIA_WEBHOOKS",
        description="Whom to tell when a job's status changes: a list of {url, events, types, secret}. In the "
        "environment as JSON.",
    )
    retry_base_seconds: float = Field(
        default=60,
        ge=0,
        le=_YEAR_S,
        validation_alias="MEDIA_RETRY_BASE_SECONDS",
        description="Retry n waits base × 2^n seconds.",
    )
    retry_cap_seconds: float = Field(default=3600, ge=0, le=_YEAR_S, validation_alias="MEDIA_RETRY_CAP_SECONDS")
    starvation_seconds: float = Field(
        default=600,
        ge=0,
        validation_alias="MEDIA_STARVATION_SECONDS",
        description="A job blocked longer than this is no longer overtaken by lower-ranked jobs of its kind.",
    )
    lease_seconds: float = Field(
        default=45,
        ge=2,
        validation_alias="MEDIA_LEASE_SECONDS",
        description="A run that has not beaten for this long is taken for dead.",
    )
    stall_timeout_seconds: float = Field(
        default=300,
        gt=0,
        validation_alias="MEDIA_STALL_TIMEOUT_SECONDS",
        description="ffmpeg that makes no progress for this long is stopped and the job fails.",
    )
    inbox_stable_seconds: float = Field(
        default=10,
        ge=0,
        validation_alias="MEDIA_INBOX_STABLE_SECONDS",
        description="A file in inbox/ or library/ is taken once it has not changed for this long.",
    )
    watch: Watching = Field(
        default=Watching.AUTO,
        validation_alias="MEDIA_WATCH",
        description="How files in inbox/ and library/ are noticed: events of the kernel, polling, or auto: events "
        "where the file system has them.",
    )
    on_new_video: Annotated[tuple[new_video.Link, ...], NoDecode] = Field(
        default=(),
        validation_alias="MEDIA_ON_NEW_VIDEO",
        description="Jobs for each new video that a scan finds, each after the one before has completed: a list of "
        "types, or of {type, params, priority}. In the environment as JSON, or types with commas.",
    )
    nightly_compilation_cron: str = Field(default="0 3 * * *", validation_alias="MEDIA_NIGHTLY_COMPILATION_CRON")
    nightly_compilation_timezone: str = Field(default="UTC", validation_alias="MEDIA_NIGHTLY_COMPILATION_TIMEZONE")
    schedules: Annotated[Mapping[str, Mapping[str, Any]], NoDecode] = Field(
        default_factory=dict,
        validation_alias="MEDIA_SCHEDULES",
        description="When which jobs are asked for: name → {cron, timezone, type, params, priority, enabled, "
        "description}. In the environment as JSON. `media-pipelines schedules` lists them.",
    )
    automation: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        validation_alias="MEDIA_AUTOMATION",
        description="What is made of each video that has none, or whose file has changed: thumbnail, video_metadata. "
        "In the environment with commas.",
    )
    prefer_hardware_encoder: bool = Field(default=True, validation_alias="MEDIA_PREFER_HARDWARE_ENCODER")
    retention_days: int = Field(
        default=30,
        ge=0,
        le=36_500,
        validation_alias="MEDIA_RETENTION_DAYS",
        description="Finished jobs older than this are moved out of the queue.",
    )
    auto_purge: bool = Field(
        default=True,
        validation_alias="MEDIA_AUTO_PURGE",
        description="Purge old jobs when `jobs start` begins.",
    )
    archive_months: int = Field(
        default=0,
        ge=0,
        le=1200,
        validation_alias="MEDIA_ARCHIVE_MONTHS",
        description="Months of archived jobs that are kept; 0: all of them.",
    )
    purge_at: str = Field(
        default="04:30",
        validation_alias="MEDIA_PURGE_AT",
        description="When old jobs and old Dagster runs are purged each night, in the nightly compilation's time zone.",
    )
    temp_directory: str = Field(
        default="",
        validation_alias="MEDIA_TEMP_DIRECTORY",
        description="Where a transcode is written before it is copied beside its target; empty: there at once.",
    )
    backup_original: bool = Field(
        default=True,
        validation_alias="MEDIA_BACKUP_ORIGINAL",
        description="Keep what a transcode replaces beside it, as <name>.original.",
    )
    worker_max_files: int | None = Field(
        default=None,
        ge=1,
        validation_alias="MEDIA_WORKER_MAX_FILES",
        description="How many jobs `jobs start` lets begin; none: no limit.",
    )
    worker_max_duration: float | None = Field(
        default=None,
        ge=1,
        le=_YEAR_S,
        validation_alias="MEDIA_WORKER_MAX_DURATION",
        description="Seconds for which `jobs start` lets jobs begin; none: no limit.",
    )
    worker_end_by: str | None = Field(
        default=None,
        validation_alias="MEDIA_WORKER_END_BY",
        description="Local time, HH:MM, from which `jobs start` lets no job begin; none: no limit.",
    )
    worker_cpu_cores: int | None = Field(
        default=None,
        ge=1,
        validation_alias="MEDIA_WORKER_CPU_CORES",
        description="How many cores the jobs of `jobs start` share; none: all.",
    )
    shutdown: Shutdown = Field(
        default=Shutdown.HAND_BACK,
        validation_alias="MEDIA_SHUTDOWN",
        description="What becomes of running jobs when the platform is told to stop: hand_back or finish.",
    )
    shutdown_timeout_seconds: float = Field(
        default=1800,
        ge=0,
        le=_YEAR_S,
        validation_alias="MEDIA_SHUTDOWN_TIMEOUT_SECONDS",
        description="How long running jobs may take to finish on shutdown; then they are handed back.",
    )
    log_format: LogFormat = Field(
        default=LogFormat.TEXT,
        validation_alias="MEDIA_LOG_FORMAT",
        description="How the platform's processes write their logs: text, or json, one object a line.",
    )
    log_level: LogLevel = Field(
        default=LogLevel.INFO,
        validation_alias="MEDIA_LOG_LEVEL",
        description="From which level on: debug, info, warning, error.",
    )
    ai_engines: Annotated[Mapping[str, str], NoDecode] = Field(
        default_factory=dict,
        validation_alias="MEDIA_AI_ENGINES",
        description="Which engine serves a role of the analysis: tags: hf:google/siglip2-base-patch16-224. In the "
        "environment as JSON. `media-pipelines models` lists roles and engines.",
    )
    ai_labels: str = Field(
        default="",
        validation_alias="MEDIA_AI_LABELS",
        description="What a tagger that reads words looks for: a dog, a beach. Empty: a list of its own.",
    )
    ffmpeg_binary: str = Field(default="", validation_alias="FFMPEG_BINARY")
    ffprobe_binary: str = Field(default="", validation_alias="FFPROBE_BINARY")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        config_file = default_home() / "config.yaml"
        return (init_settings, env_settings, _ConfigFile(settings_cls, config_file))

    @field_validator("home", "media_library_path")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("temp_directory", mode="before")
    @classmethod
    def _folder_or_none(cls, value: Any) -> Any:
        """VPO writes null for none."""
        return "" if value is None else str(Path(value).expanduser().absolute()) if value else value

    @field_validator("worker_max_files", "worker_max_duration", "worker_end_by", "worker_cpu_cores", mode="before")
    @classmethod
    def _empty_is_no_limit(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("worker_end_by", "purge_at", mode="before")
    @classmethod
    def _is_wall_time(cls, value: Any) -> Any:
        """YAML reads an unquoted 22:30 as a number to the base of 60, and 05:59 as text."""
        if isinstance(value, int) and not isinstance(value, bool):
            value = f"{value // 60:02}:{value % 60:02}"
        return value and f"{wall_time(value):%H:%M}"

    @field_validator("api_cors_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for origin in value.replace(",", " ").split():
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin such as https://admin.example:8443")
        return value

    @field_validator("public_url", "source_url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value and not _ADDRESS.fullmatch(value):
            raise ValueError(f"{value!r} is no address such as https://media.example/jobs")
        return value.rstrip("/")

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, value: str) -> str:
        if value and not value.startswith(("postgres://", "postgresql://", "postgresql+")):
            raise ValueError("must be a postgresql:// URL, or empty for the embedded Postgres")
        try:
            make_url(value or "postgresql://")
        except (ArgumentError, ValueError):  # whose words would show the password
            raise ValueError("is no URL of the form postgresql://user:password@host:port/database") from None
        return value

    @field_validator("gpus", mode="before")
    @classmethod
    def _are_devices(cls, value: Any) -> list[Any]:
        return devices.as_given(value)

    @field_validator("gpus")
    @classmethod
    def _are_different(cls, value: Sequence[Device]) -> Sequence[Device]:
        return devices.named_once(value)

    @field_validator("total_vram_mb")
    @classmethod
    def _is_the_sum(cls, value: int, known: ValidationInfo) -> int:
        gpus: Sequence[Device] = known.data.get("gpus", [])
        if not gpus and value > devices.MOST_VRAM_MB:
            raise ValueError(f"must be less than or equal to {devices.MOST_VRAM_MB}, got {value}")
        together = sum(device.vram_mb for device in gpus)
        if gpus and value != together:
            raise ValueError(
                f"is {value}, and the GPUs of MEDIA_GPU_VRAM_MB have {together} together: leave one of the two out"
            )
        return value

    @field_validator("ai_engines", mode="before")
    @classmethod
    def _are_engines(cls, value: Any) -> Mapping[str, str]:
        given = _from_json(value, '{"tags": "hf:owner/name"}') if isinstance(value, str) else value
        if not isinstance(given, Mapping):
            raise ValueError(f"expected engines by role, such as {{tags: hf:owner/name}}, got {value!r}")
        return {role: _engine_of(role, reference) for role, reference in given.items()}

    @field_validator("windows", mode="before")
    @classmethod
    def _are_windows(cls, value: Any) -> Mapping[str, tuple[str, ...]]:
        given = _from_json(value, '{"gpu_encode": "01:00-07:00"}') if isinstance(value, str) else value
        if not isinstance(given, Mapping):
            raise ValueError(f"expected windows by category, such as {{gpu_encode: 01:00-07:00}}, got {value!r}")
        return {category: _windows_of(category, texts) for category, texts in given.items()}

    @field_validator("webhooks", mode="before")
    @classmethod
    def _are_webhooks(cls, value: Any) -> Any:
        if value in ("", None):
            return ()
        given = _from_json(value, '[{"url": "https://example.org/jobs"}]') if isinstance(value, str) else value
        if not isinstance(given, list | tuple):
            raise ValueError(f"expected a list of webhooks, each with a url, got {value!r}")
        return given

    @field_validator("on_new_video", mode="before")
    @classmethod
    def _is_a_chain(cls, value: Any) -> Sequence[Any]:
        if value in ("", None):
            return ()
        if not isinstance(value, str):
            return new_video.as_given(value)
        if value.lstrip().startswith(("[", "{", '"')):
            return new_video.as_given(_from_json(value, '["validate", {"type": "compile_gif", "params": {"fps": 10}}]'))
        return new_video.as_given([name.strip() for name in value.split(",") if name.strip()])

    @field_validator("on_new_video")
    @classmethod
    def _fits_the_budget(cls, value: tuple[new_video.Link, ...], known: ValidationInfo) -> tuple[new_video.Link, ...]:
        gpus = known.data.get("gpus") or [
            Device(index=0, vram_mb=known.data.get("total_vram_mb", devices.MOST_VRAM_MB))
        ]
        most_mb = max(device.units for device in gpus) * devices.VRAM_UNIT_MB
        for link in value:
            if NEEDS[link.type].vram_mb > most_mb:
                raise ValueError(
                    f"{link.type} needs {NEEDS[link.type].vram_mb} MB of VRAM, and a GPU has {most_mb} here"
                )
        return value

    @field_validator("automation", mode="before")
    @classmethod
    def _are_automated(cls, value: Any) -> tuple[str, ...]:
        given = value.replace(",", " ").split() if isinstance(value, str) else () if value is None else value
        if not isinstance(given, list | tuple):
            raise ValueError(f"expected names such as thumbnail, got {value!r}")
        if unknown := [name for name in given if name not in AUTOMATED]:
            raise ValueError(f"{unknown[0]!r} is not made by itself; {', '.join(AUTOMATED)} can be")
        return tuple(dict.fromkeys(given))

    @field_validator("nightly_compilation_timezone", "timezone")
    @classmethod
    def _is_timezone(cls, value: str) -> str:
        return value and schedules.zone_named(value)

    @field_validator("nightly_compilation_cron")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        return cron.checked(value)

    @field_validator("schedules", mode="before")
    @classmethod
    def _are_schedules(cls, value: Any, known: ValidationInfo) -> Mapping[str, Mapping[str, Any]]:
        example = '{"rescan": {"cron": "0 5 * * *", "type": "scan"}}'
        given = schedules.as_given(_from_json(value or "{}", example) if isinstance(value, str) else value)
        nightly = known.data.get("nightly_compilation_cron", "@daily"), known.data.get("nightly_compilation_timezone")
        schedules.table(given, schedules.defaults(nightly[0], nightly[1] or "UTC"), "UTC")
        return given

    @property
    def cors_origins(self) -> list[str]:
        return self.api_cors_origins.replace(",", " ").split()

    @property
    def jobs_page(self) -> str:
        """The address of the Jobs page, as a reader of a link needs it."""
        host = "localhost" if self.api_host in WILDCARD_HOSTS else self.api_host
        return self.public_url or f"http://{f'[{host}]' if ':' in host else host}:{self.api_port}"

    @property
    def embedded(self) -> bool:
        return not self.database_url

    @property
    def postgres_data(self) -> Path:
        return self.home / "postgres"

    @property
    def postgres_socket_dir(self) -> Path:
        """Beside the data, or below /tmp when that path would be too long for a socket.

        Not below TMPDIR, which may differ between the programs that have to meet there. Its owner is checked.
        """
        beside = self.home / "run"
        if len(os.fsencode(beside)) <= _SOCKET_PATH_MAX - 14:
            return beside
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        return Path("/tmp") / f"media-pipelines-{os.getuid()}-{digest}"  # noqa: S108

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    @property
    def step_outputs_dir(self) -> Path:
        """What the ops of a run hand to each other, a folder for each run."""
        return self.dagster_home / "step_outputs"

    @property
    def logs_dir(self) -> Path:
        return self.home / "logs"

    @property
    def temp_dir(self) -> Path:
        return self.home / "temp"

    @property
    def models_dir(self) -> Path:
        """What is made once of the weights that packages carry."""
        return self.home / "models"

    @property
    def runs_dir(self) -> Path:
        """One lock file per live run process of this host."""
        return self.home / "runs"

    @property
    def devices(self) -> Sequence[Device]:
        """At least one: where none is named, the whole budget is that of GPU 0."""
        return self.gpus or [Device(index=0, vram_mb=self.total_vram_mb)]

    def named_device(self, index: int | None) -> Device | None:
        """A GPU that the settings name; None: another, or they leave it to each program which one it takes."""
        return next((device for device in self.gpus if device.index == index), None)

    @property
    def vram_units(self) -> int:
        """Of all GPUs together."""
        return sum(device.units for device in self.devices)

    @property
    def most_vram_mb(self) -> int:
        """What one job can have: the whole of the largest GPU."""
        return max(device.units for device in self.devices) * devices.VRAM_UNIT_MB

    @property
    def gpu_slots(self) -> dict[ResourceCategory, int]:
        """Of each GPU."""
        return {
            ResourceCategory.GPU_ENCODE: self.slots_gpu_encode,
            ResourceCategory.GPU_AI: self.slots_gpu_ai,
        }

    @property
    def slots(self) -> dict[ResourceCategory, int]:
        """Of the whole host."""
        of_gpus = {category: count * len(self.devices) for category, count in self.gpu_slots.items()}
        return {ResourceCategory.CPU: self.slots_cpu, **of_gpus}

    @property
    def zone(self) -> ZoneInfo:
        """Of the clock that the windows go by."""
        return ZoneInfo(self.timezone) if self.timezone else tzlocal.get_localzone()

    @property
    def schedule_table(self) -> list[Schedule]:
        """The defaults, and what the settings change of them and add."""
        default = schedules.defaults(self.nightly_compilation_cron, self.nightly_compilation_timezone)
        return schedules.table(self.schedules, default, _name_of(self.zone))

    @property
    def windows_by_category(self) -> dict[ResourceCategory, list[Window]]:
        """Categories that may start at any time are not in it."""
        return {ResourceCategory(name): [*map(parse_window, texts)] for name, texts in self.windows.items()}

    @property
    def _base_url(self) -> URL:
        if self.embedded:
            return URL.create(
                "postgresql",
                username="postgres",
                database=EMBEDDED_DATABASE,
                query={"host": str(self.postgres_socket_dir)},
            )
        return make_url(self.database_url.replace("postgres://", "postgresql://", 1))

    @property
    def queue_url(self) -> URL:
        """Our own connections: psycopg 3."""
        return self._base_url.set(drivername="postgresql+psycopg")

    @property
    def dagster_url(self) -> URL:
        """Dagster's storage: psycopg2, in a schema of its own, because Dagster also has a table named `jobs`."""
        url = self._base_url.set(drivername="postgresql+psycopg2")
        return url.update_query_dict({"options": f"-csearch_path={DAGSTER_SCHEMA}"})


def _name_of(zone: ZoneInfo) -> str:
    """As Dagster knows it. A system's zone that is only a file has none: then UTC."""
    try:
        return schedules.zone_named(str(zone))
    except ValueError:
        return "UTC"


def _engine_of(role: Any, reference: Any) -> str:
    if role not in _AI_ROLES:
        raise ValueError(f"there is no role {role!r}; there are {', '.join(_AI_ROLES)}")
    if not isinstance(reference, str) or not _AI_REFERENCE.fullmatch(reference):
        raise ValueError(f"{role}: expected packaged:, classical:, path: or hf: and a name, got {reference!r}")
    return reference


def _from_json(text: str, example: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(f"is no JSON such as {example}: {text!r}") from None


def _windows_of(category: Any, texts: Any) -> tuple[str, ...]:
    if category not in set(ResourceCategory):
        raise ValueError(f"there is no category {category!r}; there are {', '.join(ResourceCategory)}")
    given = [texts] if isinstance(texts, str) else texts
    if not isinstance(given, list | tuple) or not given or not all(isinstance(text, str) for text in given):
        raise ValueError(f"{category}: expected a window such as 01:00-07:00, or several in a list, got {texts!r}")
    try:
        return tuple(parse_window(text).text for text in given)
    except ValueError as error:
        raise ValueError(f"{category}: {error}") from error


def as_text(value: Any) -> str:
    """A setting's value as its variable holds it."""
    if isinstance(value, list):
        return devices.as_json(value) if value else ""
    if isinstance(value, tuple) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    if isinstance(value, tuple):
        return json.dumps([each.model_dump(mode="json") for each in value]) if value else ""
    return json.dumps(value) if isinstance(value, dict) else str(value)


def load_settings(**overrides: Any) -> Settings:
    """Read the environment and `config.yaml`.

    Raises InvalidSettings naming each bad value, where a value is unknown, out of range or the file is no YAML.
    """
    try:
        return Settings(**_by_variable(overrides))
    except ValidationError as error:
        # a default that depends on a bad value is no problem of its own
        items = [item for item in error.errors() if item["type"] != "default_factory_not_called"]
        raise InvalidSettings([_problem(item) for item in items]) from error
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise InvalidSettings([FieldProblem(str(default_home() / "config.yaml"), str(error))]) from error


def _problem(item: Any) -> FieldProblem:
    name, message = ".".join(map(str, item["loc"])), str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        return FieldProblem(name, "there is no such setting")
    return FieldProblem(name, message if item["type"] == "value_error" else f"{message} (got {item['input']!r})")


def origin_of(settings: Settings, field: str) -> str:
    """Where the effective value of a field came from: "environment", "config.yaml" or "default"."""
    variable = variable_of(field)
    if os.environ.get(variable):
        return f"environment ({variable})"
    return "config.yaml" if field in settings.model_fields_set else "default"
