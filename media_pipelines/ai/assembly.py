"""From the pieces of a finished pass to an analysis: shots out of frames, then what each shot shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from media_pipelines.ai import loudness, pictures
from media_pipelines.ai.analysis import SILENT_LUFS, STEP_S, Analysis, Face, Shot, Span, Tag
from media_pipelines.ai.chunks import Pieces
from media_pipelines.ai.decoding import Film
from media_pipelines.ai.shots import Frames, shots
from media_pipelines.media import phash

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from media_pipelines.ai.analysis import Floats
    from media_pipelines.ai.engines.choosing import Engines

_PER_FRAME = ("at_s", "difference", "luma", "change", "part")
_PER_STEP = ("step", "motion", "sharpness", "brightness")
_SPEECH, _MUSIC = 0, 1
_HEARD = 0.5
_HEARD_AT_LEAST_S, _HEARD_GAP_S = 0.25, 0.3
_TAG_AT_LEAST = 0.05
_TAGS_PER_SHOT = 10
# Near a change of shots a frame may belong to both.
_KEEP_AWAY_S = 0.1
_TOO_MUCH_MISSING_S, _TOO_MUCH_MISSING = 2.0, 0.005


@dataclass(frozen=True)
class _Sample:
    """One frame that was looked at closely: where its picture lies, and what was seen."""

    piece: int
    index: int
    at_s: float
    sharpness: float
    phash: int
    tags: Sequence[tuple[str, float]]
    embedding: "Floats"


def assemble(film: Film, engines: "Engines", pieces: Pieces, content_key: str, stride: int) -> Analysis:
    """Raises AnalysisUnreadable where a piece is damaged."""
    import numpy as np

    found, samples, faces, damaged = _gathered(pieces)
    end_s = _end_s(found["at_s"], film.fps)
    frames = Frames(found["at_s"], found["difference"], found["luma"], found["change"], found["part"], stride)
    steps = max(1, int(np.ceil(end_s / STEP_S - 1e-6)))
    cuts = shots(frames, end_s)
    chosen = [_chosen(shot, samples) for shot in cuts]
    keyed, jpegs, hashes, seen = _shown(film, engines, pieces, cuts, chosen)
    power = _fitted(found["power"], steps)
    return Analysis(
        content_key=content_key,
        duration_s=round(end_s, 4),
        width=film.width,
        height=film.height,
        fps=round(film.fps, 4),
        engines=(),
        **_curves(found, frames, steps),
        loudness_db=loudness.momentary(power) if film.has_audio else np.full(steps, SILENT_LUFS, np.float32),
        shots=tuple(keyed),
        embeddings=np.stack([each.embedding for each in seen]) if seen else np.zeros((0, 1), np.float32),
        phashes=np.array(hashes, np.uint64),
        thumbnails=tuple(jpegs),
        tags=tuple(Tag(name, score, index) for index, each in enumerate(seen) for name, score in each.tags),
        faces=faces,
        speech=_spans(found["events"], _SPEECH, end_s),
        music=_spans(found["events"], _MUSIC, end_s),
        silence=loudness.silences(power, end_s) if film.has_audio else (Span(0.0, round(end_s, 3)),),
        has_audio=film.has_audio,
        notes=_notes(film, end_s, damaged),
    )


def _gathered(pieces: Pieces) -> tuple[dict[str, Any], list[_Sample], tuple[Face, ...], int]:
    import numpy as np

    columns: dict[str, list[Any]] = {name: [] for name in (*_PER_FRAME, *_PER_STEP, "power", "events")}
    samples: list[_Sample] = []
    faces: list[Face] = []
    damaged = 0
    for index, piece in enumerate(pieces):
        for name, parts in columns.items():
            parts.append(piece[name])
        damaged += int(piece["damaged"][0])
        faces += [Face(*(round(float(value), 4) for value in row)) for row in piece["sample_faces"]]
        for n, at_s in enumerate(piece["sample_at_s"].tolist()):
            tags = [
                (str(name), float(score))
                for name, score in zip(piece["sample_tags"][n], piece["sample_scores"][n], strict=True)
                if name
            ]
            sharpness, hashed = float(piece["sample_sharpness"][n]), int(piece["sample_phash"][n])
            embedding: Floats = piece["sample_embedding"][n]
            samples.append(_Sample(index, n, at_s, sharpness, hashed, tags, embedding))
    return {name: np.concatenate(parts) for name, parts in columns.items()}, samples, tuple(faces), damaged


def _end_s(at_s: "npt.NDArray[np.float64]", fps: float) -> float:
    """The last frame is shown for as long as frames usually are."""
    import numpy as np

    if len(at_s) < 2:
        return float(at_s[-1]) + 1 / fps if len(at_s) else 0.0
    return float(at_s[-1] + min(1.0, float(np.median(np.diff(at_s)))))


def _curves(found: dict[str, Any], frames: Frames, steps: int) -> dict[str, Any]:
    import numpy as np

    curves: dict[str, Any] = {}
    for name in ("motion", "sharpness", "brightness"):
        curve = np.full(steps, np.nan, np.float32)
        inside = found["step"] < steps
        curve[found["step"][inside]] = found[name][inside]
        curves[name] = _held_on(curve)
    at_look = frames.at_s[:: frames.stride][: len(frames.change)]
    cut = np.zeros(steps, np.float32)
    step = np.minimum((at_look / STEP_S + 1e-6).astype(np.int64), steps - 1)
    np.maximum.at(cut, step, frames.change[: len(step)])
    # The jump of a cut is no motion.
    curves["motion"] = _without_jumps(curves["motion"], cut)
    return curves | {"cut_probability": cut}


def _held_on(curve: "Floats") -> "Floats":
    """Steps without a frame of their own show the one before."""
    import numpy as np

    known = ~np.isnan(curve)
    if not known.any():
        return np.zeros_like(curve)
    last = np.maximum.accumulate(np.where(known, np.arange(len(curve)), -1))
    first = int(np.argmax(known))
    held: Floats = curve[np.where(last < 0, first, last)]
    return held


def _without_jumps(motion: "Floats", cut: "Floats") -> "Floats":
    import numpy as np

    kept = motion.copy()
    for step in np.flatnonzero(cut > 0.5).tolist():
        low, high = max(0, step - 2), min(len(motion), step + 3)
        calm = [n for n in range(low, high) if cut[n] <= 0.5 and not (n > 0 and cut[n - 1] > 0.5)]
        around = float(np.median(motion[calm])) if calm else 0.0
        for n in (step, step + 1):
            if n < len(kept):
                kept[n] = min(kept[n], around)
    return kept


def _fitted(power: "Floats", steps: int) -> "Floats":
    import numpy as np

    return np.pad(power[:steps], (0, max(0, steps - len(power))))


def _spans(events: "Floats", column: int, end_s: float) -> tuple[Span, ...]:
    scores = events[:, column]
    return loudness.spans(
        scores > _HEARD, STEP_S, end_s, at_least_s=_HEARD_AT_LEAST_S, gap_s=_HEARD_GAP_S, scores=scores
    )


@dataclass(frozen=True)
class _Seen:
    tags: list[tuple[str, float]]
    embedding: "Floats"


def _chosen(shot: Shot, samples: Sequence[_Sample]) -> list[_Sample]:
    """Those of a shot, the one that stands for it first: sharp, and rather near the middle."""
    away_s = min(_KEEP_AWAY_S + shot.transition_s / 2, (shot.end_s - shot.start_s) / 4)
    inside = [one for one in samples if shot.start_s + away_s <= one.at_s < shot.end_s - away_s]
    length_s = max(shot.end_s - shot.start_s, 1e-6)
    return sorted(inside, key=lambda one: abs(one.at_s - shot.key_s) / length_s * 0.5 - one.sharpness)


def _shown(
    film: Film, engines: "Engines", pieces: Pieces, cuts: Sequence[Shot], chosen: Sequence[list[_Sample]]
) -> tuple[list[Shot], list[bytes], list[int], list[_Seen]]:
    from dataclasses import replace

    wanted: dict[int, list[tuple[int, _Sample]]] = {}
    keyed, jpegs, hashes, seen = list(cuts), [b""] * len(cuts), [0] * len(cuts), [_Seen([], _nothing())] * len(cuts)
    for number, inside in enumerate(chosen):
        if inside:
            wanted.setdefault(inside[0].piece, []).append((number, inside[0]))
            hashes[number], seen[number] = inside[0].phash, _averaged(inside)
            keyed[number] = replace(cuts[number], key_s=round(inside[0].at_s, 4))
        else:
            jpegs[number], hashes[number], seen[number] = _looked_up(film, engines, cuts[number].key_s)
    for index, ones in wanted.items():
        piece = pieces.read(index)
        ends = [0, *piece["thumbnail_ends"].tolist()]
        for number, sample in ones:
            jpegs[number] = piece["thumbnails"][ends[sample.index] : ends[sample.index + 1]].tobytes()
    return keyed, jpegs, hashes, seen


def _averaged(samples: Sequence[_Sample]) -> _Seen:
    import numpy as np

    totals: dict[str, float] = {}
    for sample in samples:
        for name, score in sample.tags:
            totals[name] = totals.get(name, 0.0) + score / len(samples)
    mean = np.mean([sample.embedding for sample in samples], axis=0)
    return _Seen(_best(totals), (mean / max(float(np.linalg.norm(mean)), 1e-9)).astype(np.float32))


def _best(scores: dict[str, float]) -> list[tuple[str, float]]:
    ranked = sorted(scores.items(), key=lambda tag: (-tag[1], tag[0]))
    return [(name, round(score, 4)) for name, score in ranked[:_TAGS_PER_SHOT] if score >= _TAG_AT_LEAST]


def _looked_up(film: Film, engines: "Engines", at_s: float) -> tuple[bytes, int, _Seen]:
    """Of a shot that fell between the samples: its middle is read again."""
    from media_pipelines.ai.survey import MODEL_SIDE

    frame = film.picture_at(at_s)
    scaler = pictures.Scaler(film.rotation, film.width, film.height)
    looked = [scaler.square(frame, MODEL_SIDE)]
    tags = engines.tags.tag(looked)[0]
    seen = _Seen(_best(dict(tags)), engines.embedding.embed(looked)[0])
    return pictures.jpeg(scaler.thumbnail(frame)), phash.hash_of(scaler.square_grey(frame, phash.SIDE)), seen


def _nothing() -> "Floats":
    import numpy as np

    return np.zeros(0, np.float32)


def _notes(film: Film, end_s: float, damaged: int) -> tuple[str, ...]:
    notes = []
    missing_s = (film.declared_s or 0.0) - end_s
    if missing_s > max(_TOO_MUCH_MISSING_S, _TOO_MUCH_MISSING * end_s):
        why = f" ({film.damage.ended})" if film.damage.ended else ""
        notes.append(f"only {end_s:.1f} of {film.declared_s:.1f} s could be read{why}")
    elif film.damage.ended:
        notes.append(f"reading ended at {end_s:.1f} s: {film.damage.ended}")
    if damaged:
        notes.append(f"{damaged} packets could not be decoded and were passed over")
    return tuple(notes)
