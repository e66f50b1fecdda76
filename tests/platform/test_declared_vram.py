"""What doctor says of the VRAM that types declare."""

import sqlalchemy as sa

from jobqueue_bridge import vram
from jobqueue_bridge.settings import Settings
from media_pipelines.platform import doctor, lock

RUNNING = lock.Holder(pid=1, started_at=0, api_url="", dagster_url="")


def test_doctor_names_the_types_that_declare_too_little(connection: sa.Connection, settings: Settings) -> None:
    assert list(doctor._declared_vram(settings, RUNNING)) == []
    for _ in range(3):
        vram.learn(connection, vram.Work("compile_mega", "h264", "1080p"), 7300)
    (finding,) = doctor._declared_vram(settings, RUNNING)
    assert (finding.check, finding.ok) == ("vram", True)
    assert finding.text == (
        "compile_mega h264 1080p: in 3 runs at most 7300 MB of GPU memory were used, only 6000 MB are declared"
    )


def test_doctor_says_nothing_of_it_while_the_database_is_down(settings: Settings) -> None:
    assert list(doctor._declared_vram(settings, None)) == []
