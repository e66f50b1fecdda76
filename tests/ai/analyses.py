"""Analyses made up for tests of what is chosen from them, drawn by hypothesis or put together by hand."""

import io
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from media_pipelines.ai.analysis import STEP_S, Analysis, Engine, Face, Shot, Span, Tag, Word

ENGINE = Engine("tags", "packaged:made-up", "made-up", None, "MIT", "cpu")


def jpeg(grey: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 18), (grey, grey, grey)).save(file, "JPEG")
    return file.getvalue()


def an_analysis(
    lengths_s: Sequence[float],
    *,
    looks: Sequence[int] | None = None,
    motion: Sequence[tuple[float, float]] = (),
    loud: Sequence[tuple[float, float]] = (),
    speech: Sequence[tuple[float, float]] = (),
    words: Sequence[tuple[float, float]] = (),
    tags: Sequence[Tag] = (),
    faces: Sequence[Face] = (),
) -> Analysis:
    """Shots of these lengths; those with the same look show the same. `motion` and `loud` are stretches in which a lot
    moves and in which it is loud."""
    looks = looks if looks is not None else range(len(lengths_s))
    ends = np.cumsum(lengths_s)
    starts = ends - np.asarray(lengths_s)
    shots = [
        Shot(float(a), float(b), "cut" if n else "start", float((a + b) / 2))
        for n, (a, b) in enumerate(zip(starts, ends, strict=True))
    ]
    duration_s = float(ends[-1])
    steps = max(1, round(duration_s / STEP_S))
    vectors = {look: _direction(look) for look in looks}
    hashes = {look: int(np.random.default_rng(look + 99).integers(0, 2**63)) for look in looks}
    return Analysis(
        content_key="0" * 64, duration_s=duration_s, width=320, height=180, fps=25.0, engines=(ENGINE,),
        motion=_curve(steps, 0.02, 0.6, motion), sharpness=np.full(steps, 0.5, np.float32),
        brightness=np.full(steps, 0.5, np.float32), loudness_db=_curve(steps, -40, -10, loud),
        cut_probability=np.zeros(steps, np.float32), shots=tuple(shots),
        embeddings=np.stack([vectors[look] for look in looks]).astype(np.float32),
        phashes=np.array([hashes[look] for look in looks], dtype=np.uint64),
        thumbnails=tuple(jpeg((37 * look) % 256) for look in looks), tags=tuple(tags), faces=tuple(faces),
        speech=tuple(Span(*span) for span in speech), words=tuple(Word(*span, "word", 0.9) for span in words),
    )  # fmt: skip


def _direction(look: int) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    vector = np.random.default_rng(look).normal(size=64).astype(np.float32)
    return vector / np.linalg.norm(vector)


def _curve(
    steps: int, low: float, high: float, spans: Sequence[tuple[float, float]]
) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    curve = np.full(steps, low, np.float32)
    for start_s, end_s in spans:
        curve[round(start_s / STEP_S) : round(end_s / STEP_S)] = high
    return curve


@st.composite
def analyses(draw: st.DrawFn, *, most: int = 40, longest_s: float = 30.0) -> Analysis:
    """Any film: repeated shots, events, people who speak."""
    lengths_s = draw(st.lists(st.floats(0.4, longest_s).map(lambda s: round(s, 2)), min_size=1, max_size=most))
    looks = draw(st.lists(st.integers(0, most), min_size=len(lengths_s), max_size=len(lengths_s)))
    spans = st.lists(_spans(sum(lengths_s)), max_size=5)
    return an_analysis(lengths_s, looks=looks, motion=draw(spans), loud=draw(spans), speech=draw(spans))


def _spans(duration_s: float) -> st.SearchStrategy[tuple[float, float]]:
    at = st.floats(0, duration_s).map(lambda s: round(s, 2))
    return st.tuples(at, st.floats(0.2, 8)).map(lambda span: (span[0], min(duration_s, span[0] + span[1])))
