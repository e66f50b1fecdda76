"""An analysis comes back from its file as it was; a file that is not whole is refused."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest

from media_pipelines.ai import analysis
from media_pipelines.ai.analysis import Analysis, Engine, Face, ScreenText, Shot, Span, Tag, Word
from media_pipelines.ai.errors import AnalysisUnreadable

KEY = "c0ffee" * 10 + "abcd"


@pytest.fixture
def found() -> Analysis:
    random = np.random.default_rng(7)
    curves = {
        name: random.random(50, dtype=np.float32)
        for name in ("motion", "sharpness", "brightness", "loudness_db", "cut_probability")
    }
    embeddings = random.normal(size=(2, 8)).astype(np.float32)
    return Analysis(
        content_key=KEY,
        duration_s=5.0,
        width=1280,
        height=720,
        fps=25.0,
        engines=(
            Engine("shots", "classical:adaptive", "x", None, "BSD-3-Clause", "cpu", None, "the extra is missing"),
        ),
        **curves,
        shots=(Shot(0.0, 2.4, "start", 1.2), Shot(2.4, 5.0, "dissolve", 3.5, 0.8)),
        embeddings=embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True),
        phashes=np.array([2**64 - 1, 0], dtype=np.uint64),
        thumbnails=(b"\xff\xd8\xff one \xff\xd9", b""),
        tags=(Tag("tabby", 0.36, 1),),
        faces=(Face(1.2, 0.1, 0.2, 0.3, 0.4, 0.99),),
        speech=(Span(0.5, 1.5, 0.9),),
        music=(Span(2.0, 4.0),),
        silence=(Span(4.5, 5.0),),
        words=(Word(0.5, 0.9, "grüß", 0.8),),
        texts=(ScreenText(0, "THE END", 0.7),),
        wanted={"shots": "packaged:transnetv2"},
        notes=("only 5.0 of 9.0 s could be read",),
    )


def test_an_analysis_comes_back_as_it_was_saved(found: Analysis, tmp_path: Path) -> None:
    path = analysis.save(found, tmp_path / "not" / "yet")

    again = analysis.load(tmp_path / "not" / "yet", KEY)

    assert again is not None
    for field in dataclasses.fields(Analysis):
        saved, loaded = getattr(found, field.name), getattr(again, field.name)
        if isinstance(saved, np.ndarray):
            assert saved.dtype == loaded.dtype
            assert np.array_equal(saved, loaded), field.name
        else:
            assert saved == loaded, field.name
    assert [entry.name for entry in path.parent.iterdir()] == [f"{KEY}.npz"]


def test_what_was_never_saved_is_not_there(tmp_path: Path) -> None:
    assert analysis.load(tmp_path, KEY) is None


def test_a_video_without_shots_or_sound_comes_back_too(found: Analysis, tmp_path: Path) -> None:
    none = dataclasses.replace(
        found,
        shots=(),
        embeddings=np.zeros((0, 8), np.float32),
        phashes=np.zeros(0, np.uint64),
        thumbnails=(),
        has_audio=False,
    )
    analysis.save(none, tmp_path)

    again = analysis.load(tmp_path, KEY)

    assert again is not None
    assert again.embeddings.shape == (0, 8)
    assert not again.has_audio


def test_a_file_with_any_byte_range_damaged_is_refused_or_equal(found: Analysis, tmp_path: Path) -> None:
    """Whatever piece of the file is overwritten, nothing wrong is ever read from it."""
    path = analysis.save(found, tmp_path)
    whole = path.read_bytes()
    refused = 0
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:at] + bytes(byte ^ 0xFF for byte in whole[at : at + 8]) + whole[at + 8 :])
        try:
            again = analysis.read(path)
        except AnalysisUnreadable:
            refused += 1
        else:
            assert again.shots == found.shots
            assert np.array_equal(again.motion, found.motion)
            assert np.array_equal(again.embeddings, found.embeddings)
            assert again.thumbnails == found.thumbnails
    assert refused > 40


@pytest.mark.parametrize("left", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_file_is_refused_with_the_reason(found: Analysis, tmp_path: Path, left: float) -> None:
    path = analysis.save(found, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content)) if isinstance(left, float) else left])

    with pytest.raises(AnalysisUnreadable, match=r"cannot be used: it is damaged"):
        analysis.read(path)

    assert analysis.load(tmp_path, KEY) is None


def test_an_older_version_is_refused_with_both_numbers(found: Analysis, tmp_path: Path) -> None:
    path = analysis.save(found, tmp_path)
    _rewrite_header(path, version=0)

    with pytest.raises(AnalysisUnreadable, match=r"version 0, this program writes 1"):
        analysis.read(path)


def test_a_file_that_lacks_a_shots_picture_is_refused(found: Analysis, tmp_path: Path) -> None:
    analysis.save(dataclasses.replace(found, thumbnails=found.thumbnails[:1]), tmp_path)

    with pytest.raises(AnalysisUnreadable, match=r"2 shots and 1 thumbnails"):
        analysis.read(analysis.path_of(tmp_path, KEY))


def test_pickled_objects_are_never_loaded(found: Analysis, tmp_path: Path) -> None:
    path = analysis.save(found, tmp_path)
    with np.load(path) as archive:
        members = {name: archive[name] for name in archive.files}
    np.savez(path, **members | {"motion": np.array([{"a": 1}] * 50, dtype=object)})

    with pytest.raises(AnalysisUnreadable, match="damaged"):
        analysis.read(path)


def _rewrite_header(path: Path, **values: object) -> None:
    with np.load(path) as archive:
        members = {name: archive[name] for name in archive.files}
    header = json.loads(members["header"].tobytes()) | values
    content = io.BytesIO()
    np.savez_compressed(content, **members | {"header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)})
    path.write_bytes(content.getvalue())
