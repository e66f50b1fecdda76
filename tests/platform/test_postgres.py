"""The embedded server with real processes: made once, stopped clean, back after a crash, gone with its starter."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from media_pipelines.platform import postgres
from media_pipelines.platform.errors import NotUsable
from media_pipelines.platform.postgres import Cluster, running_postgres
from tests.platform.conftest import ROOT, eventually

FAST = {"fsync": "off"}


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "postgres", tmp_path / "run")


def run(cluster: Cluster):
    return running_postgres(cluster.data_dir, cluster.socket_dir, settings=FAST)


def query(cluster: Cluster, text: str) -> list[tuple]:
    with psycopg.connect(postgres.libpq_url(cluster.url()), autocommit=True) as connection:
        cursor = connection.execute(text)
        return cursor.fetchall() if cursor.description else []


def test_it_serves_utf8_in_utc_over_a_private_socket_only(cluster: Cluster) -> None:
    with run(cluster):
        shown = query(cluster, "SELECT current_setting('server_encoding'), current_setting('TimeZone')")
        assert shown == [("UTF8", "UTC")]
        assert query(cluster, "SHOW listen_addresses") == [("",)]
        assert cluster.socket_dir.stat().st_mode & 0o777 == 0o700
        assert cluster.data_dir.stat().st_mode & 0o777 == 0o700


def test_it_leaves_no_process_behind(cluster: Cluster) -> None:
    with run(cluster):
        server = postgres.server_process(cluster)
        assert server is not None
        family = [server, *server.children(recursive=True)]
    assert not any(process.is_running() for process in family)
    assert postgres.server_process(cluster) is None


def test_committed_rows_survive_a_killed_server(cluster: Cluster) -> None:
    with run(cluster):
        query(cluster, "CREATE TABLE kept AS SELECT 7 AS n")
        server = postgres.server_process(cluster)
        assert server is not None
        server.send_signal(signal.SIGKILL)
        assert eventually(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)
    assert cluster.pid_file.exists()
    with run(cluster):
        assert query(cluster, "SELECT n FROM kept") == [(7,)]


def test_a_stale_pid_file_whose_number_is_taken_by_another_program_is_no_obstacle(cluster: Cluster) -> None:
    with run(cluster):
        pass
    cluster.pid_file.write_text(f"{os.getpid()}\n{cluster.data_dir}\n")
    Path(f"{cluster.socket}.lock").write_text(f"{os.getpid()}\n")
    with run(cluster):
        assert query(cluster, "SELECT 1") == [(1,)]


def test_an_interrupted_initdb_leaves_no_half_cluster(cluster: Cluster) -> None:
    half = cluster.data_dir.with_name(".postgres-being-made")
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    with run(cluster):
        assert query(cluster, "SELECT 1") == [(1,)]
    assert not half.exists()


def test_a_cluster_of_another_major_version_is_named(cluster: Cluster) -> None:
    cluster.data_dir.mkdir()
    (cluster.data_dir / "PG_VERSION").write_text("11\n")
    with pytest.raises(NotUsable, match="made by PostgreSQL 11"):
        postgres.prepare(cluster)


def test_a_folder_of_other_files_is_not_overwritten(cluster: Cluster) -> None:
    cluster.data_dir.mkdir()
    (cluster.data_dir / "thesis.txt").write_text("mine")
    with pytest.raises(NotUsable, match="holds files"):
        postgres.prepare(cluster)
    assert (cluster.data_dir / "thesis.txt").read_text() == "mine"


def test_the_server_ends_with_the_process_that_started_it(cluster: Cluster) -> None:
    starter = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path\n"
            "from media_pipelines.platform.postgres import running_postgres\n"
            "with running_postgres(Path(sys.argv[1]), Path(sys.argv[2])): time.sleep(120)",
            str(cluster.data_dir),
            str(cluster.socket_dir),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert eventually(lambda: cluster.socket.exists() and postgres.server_process(cluster))
    starter.kill()
    starter.wait()
    assert eventually(lambda: postgres.server_process(cluster) is None)


def test_a_server_left_over_is_stopped(cluster: Cluster) -> None:
    postgres.prepare(cluster)
    command = postgres.server_command(cluster, FAST)
    process = subprocess.Popen([part for part in command if not part.startswith("--die")], stderr=subprocess.DEVNULL)
    postgres.wait_until_ready(cluster.url("postgres"), timeout_s=30)
    assert postgres.stop_left_over(cluster)
    assert process.wait(timeout=5) == 0
    assert not postgres.stop_left_over(cluster)
