"""Real films of a few seconds, and engines that load nothing unless a test asks for the packaged ones."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from media_pipelines.ai.engines.choosing import Engines, Wishes
from media_pipelines.media.ffmpeg import find_ffmpeg

CLASSICAL = {
    "shots": "classical:adaptive",
    "tags": "classical:looks",
    "embedding": "classical:histogram",
    "faces": "classical:none",
    "audio": "classical:modulation",
}
Make = Callable[..., Path]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where converted networks are kept: made once a session."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def classical(models: Path) -> Engines:
    return Engines(Wishes(models, CLASSICAL))


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """make("name.mp4", ffmpeg arguments …)."""
    folder, ffmpeg = tmp_path_factory.mktemp("films"), find_ffmpeg(None)

    def run(name: str, *arguments: str) -> Path:
        path = folder / name
        if not path.exists():
            subprocess.run([str(ffmpeg), "-nostdin", "-loglevel", "error", *arguments, str(path)], check=True)
        return path

    return run


# Three pictures that nobody takes for one another, and a sound.
SCENES = (
    "testsrc2=size=192x108:rate=25:duration={0}",
    "gradients=size=192x108:rate=25:seed=3:nb_colors=4:speed=0.002:duration={0}",
    "smptebars=size=192x108:rate=25:duration={0}",
)
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


@pytest.fixture(scope="session")
def three_shots(make: Make) -> Path:
    """Hard cuts at 2 and 4 of 6 s; a tone from 2 to 4 s."""
    inputs = [argument for scene in SCENES for argument in ("-f", "lavfi", "-i", scene.format(2))]
    tone = "sine=frequency=440:sample_rate=48000:duration=2,adelay=2000:all=1,apad=whole_dur=6"
    joined = "[0:v][1:v][2:v]concat=n=3:v=1,setpts=N/25/TB[v]"
    return make(
        "three-shots.mp4", *inputs, "-f", "lavfi", "-i", tone, "-filter_complex", joined, "-map", "[v]", "-map", "3:a",
        "-t", "6", *X264, "-c:a", "aac",
    )  # fmt: skip


@pytest.fixture(scope="session")
def long_film(make: Make) -> Path:
    """20 s: four pieces of a pass where a piece is 5 s. Scenes change every 4 s; the sound swells."""
    inputs = [argument for scene in SCENES for argument in ("-f", "lavfi", "-i", scene.format(4))]
    joined = "[0:v][1:v][2:v]concat=n=3:v=1,fps=10,setpts=N/10/TB,loop=loop=-1:size=120,trim=duration=20[v]"
    tone = "sine=frequency=300:sample_rate=16000:duration=20,volume='0.2+0.2*sin(t)':eval=frame"
    return make(
        "long.mp4", *inputs, "-f", "lavfi", "-i", tone, "-filter_complex", joined, "-map", "[v]", "-map", "3:a",
        *X264, "-g", "40", "-c:a", "aac",
    )  # fmt: skip
