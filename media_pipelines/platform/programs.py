"""The programs of the platform and the configuration with which supervisord runs them."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jobqueue_bridge.settings import LogFormat, LogLevel, Settings, as_text, variable_of
from media_pipelines.platform.postgres import Cluster, make_private, server_command
from media_pipelines.platform.supervisor import code_server_socket, log_file, rpc_socket, sockets_dir, supervisor_dir

POSTGRES, RUN_KEEPER, CODE_SERVER = "postgres", "run-keeper", "code-server"
DAEMON, WEBSERVER, API = "daemon", "webserver", "api"

# Every process of a platform carries this, with the home as value, so that those left over can be found.
MARK = "MEDIA_PIPELINES_PLATFORM"

CHILD = Path(__file__).with_name("child.py")
_LOG_BYTES, _LOG_BACKUPS = "10MB", 5


@dataclass(frozen=True)
class Program:
    """One supervised program. A higher `order` starts later and stops earlier; equal ones stop together."""

    name: str
    command: tuple[str, ...]
    order: int
    stop_patience_s: int
    stop_signal: str = "TERM"
    whole_group: bool = True  # signal the process group, not only its leader

    @property
    def group(self) -> str:
        return f"step{self.order}"


def cluster_of(settings: Settings) -> Cluster:
    return Cluster(settings.postgres_data, settings.postgres_socket_dir)


def programs(settings: Settings, workspace: Path) -> list[Program]:
    """Everything `up` runs, in the order in which it starts."""
    python = (sys.executable, "-m")
    dies_with_us = (sys.executable, "-S", "-P", str(CHILD), "--die-with-parent=TERM", "--", *python)
    embedded = [
        Program(
            POSTGRES,
            tuple(server_command(cluster_of(settings))),
            order=10,
            stop_patience_s=60,
            stop_signal="INT",
            whole_group=False,
        )
    ]
    log_format = ("--log-format", "json") if settings.log_format == LogFormat.JSON else ()
    logged = "media_pipelines.platform.logged"
    code_server = (
        *(logged, "dagster", "api", "grpc", "--module-name", "media_pipelines.definitions"),
        *("--socket", str(code_server_socket(settings)), "--use-python-environment-entry-point"),
        *("--location-name", "media_pipelines"),
        *("--log-level", _at_least_warning(settings.log_level), *log_format),
    )
    webserver = (
        *(logged, "dagster_webserver", "--workspace", str(workspace)),
        *("--host", settings.dagster_host, "--port", str(settings.dagster_port)),
        *("--dagster-log-level", _at_least_warning(settings.log_level), *log_format),
    )
    daemon_options = ("-w", str(workspace), "--log-level", settings.log_level.value, *log_format)
    keeper, daemon = "media_pipelines.platform.orphans", "media_pipelines.platform.daemon"
    return [
        *(embedded if settings.embedded else []),
        Program(RUN_KEEPER, (*dies_with_us, keeper), order=20, stop_patience_s=60),
        Program(CODE_SERVER, (*dies_with_us, *code_server), order=30, stop_patience_s=15),
        Program(DAEMON, (*dies_with_us, daemon, *daemon_options), order=40, stop_patience_s=30),
        Program(WEBSERVER, (*dies_with_us, *webserver), order=40, stop_patience_s=10),
        Program(API, (*dies_with_us, "jobqueue_bridge.api"), order=40, stop_patience_s=10),
    ]


def _at_least_warning(level: LogLevel) -> str:
    """What Dagster's servers say below that is worth reading only by somebody who looks for an error in them."""
    return LogLevel.WARNING.value if level == LogLevel.INFO else level.value


def render(settings: Settings, members: Iterable[Program]) -> Path:
    """Write supervisord.conf. Nothing starts by itself there: `up` starts each program when its turn comes."""
    for folder in (supervisor_dir(settings), sockets_dir(settings), settings.logs_dir):
        make_private(folder)
    members = list(members)
    sections = [_supervisord(settings), *(_program(settings, program) for program in members)]
    sections += [_group(order, members) for order in sorted({program.order for program in members})]
    path = supervisor_dir(settings) / "supervisord.conf"
    path.write_text("\n".join(sections), encoding="utf-8")
    path.chmod(0o600)
    return path


def _section(title: str, values: Mapping[str, object]) -> str:
    lines = [f"{name}={str(value).replace('%', '%%')}" for name, value in values.items()]
    return "\n".join([f"[{title}]", *lines, ""])


def _supervisord(settings: Settings) -> str:
    main: dict[str, object] = {
        "nodaemon": "true",
        "silent": "true",
        "logfile": settings.logs_dir / "supervisord.log",
        "logfile_maxbytes": _LOG_BYTES,
        "logfile_backups": 2,
        "loglevel": "info",
        "pidfile": supervisor_dir(settings) / "supervisord.pid",
        "directory": settings.home,
        "childlogdir": settings.logs_dir,
        "nocleanup": "true",
        "minfds": 256,
        "minprocs": 50,
        "strip_ansi": "true",
        "identifier": "media-pipelines",
    }
    if os.geteuid() == 0:
        main["user"] = "root"  # said explicitly, else supervisord warns that it was not
    factory = "supervisor.rpcinterface:make_main_rpcinterface"
    return "\n".join(
        [
            _section("supervisord", main),
            _section("unix_http_server", {"file": rpc_socket(settings), "chmod": "0700"}),
            _section("rpcinterface:supervisor", {"supervisor.rpcinterface_factory": factory}),
            _section("supervisorctl", {"serverurl": f"unix://{rpc_socket(settings)}"}),
        ]
    )


def _program(settings: Settings, program: Program) -> str:
    return _section(
        f"program:{program.name}",
        {
            "command": shlex.join(program.command),
            "directory": settings.home,
            "autostart": "false",
            "autorestart": "true",
            "startsecs": 1,
            "startretries": 1_000_000,  # waits 1 s longer each time, and never gives up
            "stopsignal": program.stop_signal,
            "stopwaitsecs": program.stop_patience_s,
            "stopasgroup": str(program.whole_group).lower(),
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": log_file(settings, program.name),
            "stdout_logfile_maxbytes": _LOG_BYTES,
            "stdout_logfile_backups": _LOG_BACKUPS,
        },
    )


def _group(order: int, members: Iterable[Program]) -> str:
    names = ",".join(program.name for program in members if program.order == order)
    return _section(f"group:step{order}", {"programs": names, "priority": order})


def environment(settings: Settings) -> dict[str, str]:
    """What every process of the platform inherits: the settings as they are now, wherever they came from."""
    values = {variable_of(field): getattr(settings, field) for field in Settings.model_fields}
    return {
        **os.environ,
        **{variable: as_text(value) for variable, value in values.items() if value not in ("", None, {}, [], ())},
        MARK: str(settings.home),
        "DAGSTER_HOME": str(settings.dagster_home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
    }


def launch(settings: Settings, configuration: Path) -> subprocess.Popen[bytes]:
    """Start supervisord in a session of its own. It adopts orphaned runs and stops with its parent."""
    for leftover in (rpc_socket(settings), code_server_socket(settings)):
        leftover.unlink(missing_ok=True)
    supervisord = (sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration))
    with (settings.logs_dir / "supervisord.log").open("ab") as output:
        return subprocess.Popen(
            [
                *(sys.executable, "-S", "-P", str(CHILD)),
                *("--adopt-orphans", "--die-with-parent=TERM", "--", *supervisord),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(settings),
            start_new_session=True,
        )


def ask_to_stop(supervisord: subprocess.Popen[bytes]) -> None:
    """It stops its programs in reverse order and then ends."""
    if supervisord.poll() is None:
        supervisord.send_signal(signal.SIGTERM)
