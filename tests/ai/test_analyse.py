"""The whole pass over real films, on classical signals: found once, kept, gone on with after a kill."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from media_pipelines.ai import analysis, survey
from media_pipelines.ai.analyse import analyse
from media_pipelines.ai.analysis import Analysis
from media_pipelines.ai.engines.choosing import Engines, Wishes
from media_pipelines.ai.pictures import Scaler, from_jpeg
from media_pipelines.media.errors import EncodeStopped, NoVideoStream
from media_pipelines.media.fingerprint import fingerprint
from tests.ai.conftest import CLASSICAL, X264, Make


@pytest.fixture
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "PIECE_S", 5.0)


def same(one: Analysis, other: Analysis) -> None:
    for field in dataclasses.fields(Analysis):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, np.ndarray):
            # Where a pass goes on, the resampler starts anew.
            assert np.allclose(left, right, atol=0.2 if field.name == "loudness_db" else 1e-5), field.name
        else:
            assert left == right, field.name


def test_shots_sound_and_curves_are_those_of_the_film(three_shots: Path, classical: Engines, tmp_path: Path) -> None:
    found = analyse(three_shots, engines=classical, folder=tmp_path)

    assert [(shot.start_s, shot.transition_in) for shot in found.shots] == [(0.0, "start"), (2.0, "cut"), (4.0, "cut")]
    assert (found.width, found.height, found.fps, found.has_audio) == (192, 108, 25.0, True)
    assert found.duration_s == pytest.approx(6.0, abs=0.05)
    assert found.steps == 60
    assert [len(curve) for curve in (found.sharpness, found.brightness, found.loudness_db, found.cut_probability)] == [
        60
    ] * 4
    assert found.loudness_db[25:35].min() > -30
    assert found.loudness_db[:15].max() == -70
    assert [(span.start_s, span.end_s) for span in found.silence] == [(0.0, 2.0), (pytest.approx(4.0, abs=0.11), 6.0)]
    assert found.cut_probability[20] > 0.5
    assert found.motion.max() <= 1
    assert found.embeddings.shape[0] == 3
    assert np.linalg.norm(found.embeddings, axis=1) == pytest.approx(1, abs=1e-5)
    assert len(set(found.phashes.tolist())) == 3
    assert [from_jpeg(jpeg).shape for jpeg in found.thumbnails] == [(108, 192, 3)] * 3
    assert {engine.role: engine.reference for engine in found.engines} == CLASSICAL
    for shot in found.shots:
        assert shot.start_s < shot.key_s < shot.end_s


def test_a_dissolve_and_a_fade_are_found_and_named(make: Make, classical: Engines, tmp_path: Path) -> None:
    scenes = ("color=red", "color=blue", "color=yellow")
    ends = ("null", "fade=out:st=2.5:d=0.5", "fade=in:d=0.5")
    inputs = [
        argument
        for color, end in zip(scenes, ends, strict=True)
        for argument in ("-f", "lavfi", "-i", f"{color}:size=192x108:rate=25:duration=3,noise=alls=8:allf=u,{end}")
    ]
    graph = "[0:v][1:v]xfade=transition=fade:duration=0.8:offset=2.2[a];[a][2:v]concat=n=2:v=1[v]"
    path = make("gradual.mp4", *inputs, "-filter_complex", graph, "-map", "[v]", *X264)

    found = analyse(path, engines=classical, folder=tmp_path)

    assert [shot.transition_in for shot in found.shots] == ["start", "dissolve", "fade"]
    assert [shot.start_s for shot in found.shots] == pytest.approx([0, 2.6, 5.2], abs=0.1)
    assert not found.has_audio
    assert set(found.loudness_db.tolist()) == {-70.0}


def test_a_pan_is_one_shot(make: Make, classical: Engines, tmp_path: Path) -> None:
    wide = "testsrc2=size=768x108:rate=25:duration=6,crop=192:108:x='t*70':y=0"
    path = make("pan.mp4", "-f", "lavfi", "-i", wide, *X264)

    found = analyse(path, engines=classical, folder=tmp_path)

    assert len(found.shots) == 1
    assert np.median(found.motion) > 0.05


def test_the_second_who_asks_decodes_nothing(three_shots: Path, classical: Engines, tmp_path: Path) -> None:
    copy = tmp_path / "film.mp4"
    copy.write_bytes(three_shots.read_bytes())
    first = analyse(copy, engines=classical, folder=tmp_path / "kept")
    copy.unlink()

    again = analyse(copy, engines=classical, folder=tmp_path / "kept", content_key=first.content_key)

    same(first, again)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        f"{first.content_key}.lock",
        f"{first.content_key}.npz",
    ]


def test_other_engines_look_at_the_film_again(
    three_shots: Path, classical: Engines, models: Path, tmp_path: Path
) -> None:
    first = analyse(three_shots, engines=classical, folder=tmp_path)
    others = Engines(Wishes(models, CLASSICAL | {"faces": "packaged:centerface"}))

    again = analyse(three_shots, engines=others, folder=tmp_path)

    assert first.engine("faces") != again.engine("faces")
    assert again.engine("faces").reference == "packaged:centerface"  # type: ignore[union-attr]


CHILD = """
import sys, time
from collections.abc import Callable
from pathlib import Path
from media_pipelines.ai.analyse import analyse
from media_pipelines.ai.chunks import Pieces
from media_pipelines.ai import survey
from media_pipelines.ai.engines.choosing import Engines, Wishes
from tests.ai.conftest import CLASSICAL

survey.PIECE_S = 5.0
add = Pieces.add

def then_wait(pieces, arrays):
    add(pieces, arrays)
    if len(pieces) == 2:
        time.sleep(600)

Pieces.add = then_wait
analyse(Path(sys.argv[1]), engines=Engines(Wishes(Path(sys.argv[3]), CLASSICAL)), folder=Path(sys.argv[2]))
"""


@pytest.mark.usefixtures("short_pieces")
def test_a_pass_that_was_killed_goes_on_after_its_last_piece(
    long_film: Path, classical: Engines, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = analyse(long_film, engines=classical, folder=tmp_path / "whole")
    folder = tmp_path / "killed"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(long_film), str(folder), str(models)])
    parts = folder / f"{fingerprint(long_film)}.parts"
    try:
        _until(lambda: (parts / "000001.npz").exists() or child.poll() is not None)
        assert child.poll() is None
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    seen: list[object] = []
    tiny = Scaler.tiny

    def counted(scaler: Scaler, frame: object) -> object:
        seen.append(frame)
        return tiny(scaler, frame)

    monkeypatch.setattr(Scaler, "tiny", counted)

    found = analyse(long_film, engines=classical, folder=folder)

    same(whole, found)
    # The second piece ends with the first frame from 10 s on.
    assert len(seen) == 200 - 101
    assert not parts.exists()


@pytest.mark.usefixtures("short_pieces")
def test_a_stop_ends_the_pass_and_keeps_its_pieces(
    long_film: Path, classical: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "_TELL_EVERY_S", 0.0)
    parts = tmp_path / f"{fingerprint(long_film)}.parts"
    told: list[float] = []

    with pytest.raises(EncodeStopped, match="cancelled by somebody"):
        analyse(
            long_film,
            engines=classical,
            folder=tmp_path,
            stop=lambda: "cancelled by somebody" if (parts / "000000.npz").exists() else None,
            on_progress=lambda progress: told.append(progress.percent or 0),
        )

    assert (parts / "000000.npz").exists()
    assert told == sorted(told)
    assert 20 < told[-1] < 40
    assert analyse(long_film, engines=classical, folder=tmp_path).steps == 200


@pytest.mark.usefixtures("short_pieces")
def test_a_damaged_piece_is_made_again(
    long_film: Path, classical: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "_TELL_EVERY_S", 0.0)
    parts = tmp_path / f"{fingerprint(long_film)}.parts"
    with pytest.raises(EncodeStopped):
        analyse(
            long_film,
            engines=classical,
            folder=tmp_path,
            stop=lambda: "stop" if (parts / "000001.npz").exists() else None,
        )
    piece = parts / "000000.npz"
    content = bytearray(piece.read_bytes())
    content[len(content) // 2] ^= 0xFF
    piece.write_bytes(bytes(content))

    found = analyse(long_film, engines=classical, folder=tmp_path)

    assert [shot.start_s for shot in found.shots] == [0.0, 4.0, 8.0, 12.0, 16.0]


def test_a_damaged_analysis_is_made_again_and_says_so(three_shots: Path, classical: Engines, tmp_path: Path) -> None:
    first = analyse(three_shots, engines=classical, folder=tmp_path)
    path = analysis.path_of(tmp_path, first.content_key)
    path.write_bytes(path.read_bytes()[:-200])

    again = analyse(three_shots, engines=classical, folder=tmp_path)

    (note,) = again.notes
    assert note.startswith("made again: The stored analysis")
    assert again.shots == first.shots


def test_two_at_once_make_one_pass(
    three_shots: Path, classical: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[object] = []
    run = survey.Survey.run

    def counted(pass_: survey.Survey) -> None:
        passes.append(pass_)
        time.sleep(0.3)
        run(pass_)

    monkeypatch.setattr(survey.Survey, "run", counted)
    found: list[Analysis] = []
    threads = [
        threading.Thread(target=lambda: found.append(analyse(three_shots, engines=classical, folder=tmp_path)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    same(*found)
    assert len(passes) == 1


def test_of_a_truncated_film_what_could_be_read_is_there_and_the_rest_is_named(
    long_film: Path, make: Make, classical: Engines, tmp_path: Path
) -> None:
    whole = make("whole.mkv", "-i", str(long_film), "-c", "copy")
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    found = analyse(path, engines=classical, folder=tmp_path)

    assert 5 < found.duration_s < 17
    assert found.steps == len(found.motion) == int(np.ceil(found.duration_s * 10 - 1e-6))
    assert any(note.startswith("only ") and "of 20" in note for note in found.notes)


def test_a_film_of_one_frame_is_one_shot(make: Make, classical: Engines, tmp_path: Path) -> None:
    path = make("one.mp4", "-f", "lavfi", "-i", "testsrc2=size=64x36:rate=25", "-frames:v", "1", *X264)

    found = analyse(path, engines=classical, folder=tmp_path)

    assert len(found.shots) == len(found.thumbnails) == 1
    assert found.steps == 1


def test_a_file_without_pictures_is_refused_and_leaves_nothing(make: Make, classical: Engines, tmp_path: Path) -> None:
    path = make("sound.m4a", "-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac")

    with pytest.raises(NoVideoStream):
        analyse(path, engines=classical, folder=tmp_path)

    assert [left.suffix for left in tmp_path.iterdir()] == [".lock"]


def _until(holds: Callable[[], bool], within_s: float = 60) -> None:
    deadline_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
