"""Each thing that makes a machine unusable is one line that says what to do."""

import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from jobqueue_bridge.settings import load_settings
from media_pipelines.platform import preflight
from media_pipelines.platform.errors import NotUsable
from tests.platform.conftest import free_port


def test_a_port_in_use_names_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(NotUsable, match=rf"Port {port} on 127\.0\.0\.1 is in use.*: set MEDIA_API_PORT"):
            preflight.require_free_port("127.0.0.1", port, "MEDIA_API_PORT")


def test_a_free_port_passes() -> None:
    preflight.require_free_port("127.0.0.1", free_port(), "MEDIA_API_PORT")


def test_the_two_ports_must_differ(tmp_path: Path) -> None:
    with pytest.raises(NotUsable, match="both 4100"):
        preflight.check_ports(load_settings(home=tmp_path, api_port=4100, dagster_port=4100))


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(NotUsable, match=r"Cannot listen on 192\.0\.2\.1"):
        preflight.require_free_port("192.0.2.1", free_port(), "MEDIA_API_PORT")


def test_a_file_in_place_of_the_home_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotUsable, match="MEDIA_PIPELINES_HOME"):
        preflight.require_writable(tmp_path / "file" / "home", "MEDIA_PIPELINES_HOME")


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, 5 * 1024**2))
    with pytest.raises(NotUsable, match="Disk full: 5 MB free"):
        preflight.require_free_space(tmp_path)


def test_a_database_that_refuses_is_named_without_its_password(tmp_path: Path) -> None:
    refusing = load_settings(home=tmp_path, database_url=f"postgresql://me:secret@127.0.0.1:{free_port()}/videos")
    with pytest.raises(NotUsable, match=r"DATABASE_URL.*refused") as caught:
        preflight.check_database(refusing)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
