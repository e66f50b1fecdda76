"""How much happens at each moment of a video, and why: motion, loudness, faces, pictures unlike the others. Pure."""

import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from media_pipelines.ai.analysis import SILENT_LUFS, Analysis

if TYPE_CHECKING:
    from media_pipelines.ai.analysis import Floats

# Less than this between the ordinary and the best moment of a video is noise, not an event.
_LEAST_MOTION = 0.03
_LEAST_DB = 6.0
_LEAST_NOVELTY = 0.1
_SMOOTHED_S = 1.0
_CUT = 0.5
_AROUND_A_FACE_S = 1.0
_OTHERS = 3
_WORTH_TELLING = 0.01


@dataclass(frozen=True)
class Weights:
    """What counts how much; only their proportions matter."""

    motion: float = 0.35
    loudness: float = 0.35
    faces: float = 0.15
    novelty: float = 0.15


@dataclass(frozen=True, eq=False)
class Interest:
    """For each step, from 0 (as everywhere) to 1 (as nowhere else in this video): `total`, and what it is made of."""

    step_s: float
    total: "Floats"
    parts: Mapping[str, "Floats"]

    def slice_of(self, start_s: float, end_s: float) -> slice:
        """The steps from one time to another, at least one."""
        first = min(max(0, round(start_s / self.step_s)), max(0, len(self.total) - 1))
        return slice(first, max(first + 1, round(end_s / self.step_s)))

    def mean(self, start_s: float, end_s: float) -> float:
        return float(self.total[self.slice_of(start_s, end_s)].mean()) if len(self.total) else 0.0

    def reasons(self, start_s: float, end_s: float) -> dict[str, float]:
        """What makes a stretch stand out, the strongest first."""
        here = self.slice_of(start_s, end_s)
        found = {name: round(float(part[here].mean()), 3) for name, part in self.parts.items() if len(part)}
        return dict(
            sorted(
                ((name, value) for name, value in found.items() if value >= _WORTH_TELLING), key=lambda item: -item[1]
            )
        )

    def best_start_s(self, start_s: float, end_s: float, length_s: float) -> float:
        """Where the best stretch of a length begins; the middle one of equals."""
        import numpy as np

        here = self.total[self.slice_of(start_s, end_s)].astype(np.float64)
        count = max(1, round(length_s / self.step_s))
        if len(here) <= count:
            return start_s
        sums = np.cumsum(np.concatenate([[0.0], here]))
        means = (sums[count:] - sums[:-count]) / count
        best = np.flatnonzero(means >= means.max() - 1e-6)
        at_s = start_s + float(best[len(best) // 2]) * self.step_s
        return min(max(start_s, at_s), max(start_s, end_s - length_s))


def interest(analysis: Analysis, weights: Weights | None = None) -> Interest:
    """Each part is measured against the video itself, so that a quiet film has its moments, too."""
    import numpy as np

    weights = weights or Weights()
    parts = {
        "motion": _standing_out(_smoothed(_without_cuts(analysis), analysis.step_s), _LEAST_MOTION),
        "loudness": _standing_out(_smoothed(_heard(analysis), analysis.step_s), _LEAST_DB),
        "faces": _faces(analysis),
        "novelty": _per_step(analysis, _novelty(analysis)),
    }
    counted = {name: getattr(weights, name) for name, part in parts.items() if len(part) and part.max() > 0}
    whole = sum(counted.values())
    total = np.zeros(analysis.steps, dtype=np.float32)
    for name, weight in counted.items():
        total += parts[name] * (weight / whole if whole else 0)
    return Interest(analysis.step_s, total, parts)


def _without_cuts(analysis: Analysis) -> "Floats":
    """Between two shots everything changes, and nothing moves."""
    import numpy as np

    motion = analysis.motion.astype(np.float32, copy=True)
    cuts = {round(shot.start_s / analysis.step_s) for shot in analysis.shots[1:]}
    cuts |= set(np.flatnonzero(analysis.cut_probability > _CUT).tolist())
    near = {step + by for step in cuts for by in (-1, 0, 1)}
    marked = np.array(sorted(step for step in near if 0 <= step < len(motion)), dtype=np.intp)
    kept = np.setdiff1d(np.arange(len(motion)), marked)
    if len(marked) and len(kept):
        motion[marked] = np.interp(marked, kept, motion[kept])
    return motion


def _heard(analysis: Analysis) -> "Floats":
    """Silence counts as the quietest sound: a film is not loud for having a silent beginning."""
    import numpy as np

    loud = analysis.loudness_db.astype(np.float32)
    audible = loud[loud > SILENT_LUFS + 1]
    if not len(audible):
        return np.zeros_like(loud)
    return np.maximum(loud, np.float32(np.percentile(audible, 5)))


def _smoothed(curve: "Floats", step_s: float) -> "Floats":
    import numpy as np

    width = max(1, round(_SMOOTHED_S / step_s))
    if len(curve) < width:
        return curve
    padded = np.pad(curve, (width // 2, width - 1 - width // 2), mode="edge")
    smooth: Floats = np.convolve(padded, np.full(width, 1 / width), mode="valid").astype(np.float32)
    return smooth


def _standing_out(curve: "Floats", least: float) -> "Floats":
    """0 for what is ordinary in this video, 1 for the top of it."""
    import numpy as np

    if not len(curve):
        return curve
    ordinary, top = np.percentile(curve, 50), np.percentile(curve, 98)
    above: Floats = np.clip((curve - ordinary) / max(float(top - ordinary), least), 0, 1).astype(np.float32)
    return above


def _faces(analysis: Analysis) -> "Floats":
    """1 where a face fills a tenth of the picture or more. It is there for a second before and after, in its shot."""
    import numpy as np

    curve = np.zeros(analysis.steps, dtype=np.float32)
    ends_s = [shot.end_s for shot in analysis.shots]
    for face in analysis.faces:
        size = min(1.0, (face.width * face.height * 10) ** 0.5) * min(1.0, face.score)
        shot = analysis.shots[min(bisect.bisect_right(ends_s, face.at_s), len(ends_s) - 1)]
        start_s = max(shot.start_s, face.at_s - _AROUND_A_FACE_S)
        end_s = min(shot.end_s, face.at_s + _AROUND_A_FACE_S)
        here = curve[max(0, round(start_s / analysis.step_s)) : round(end_s / analysis.step_s) + 1]
        np.maximum(here, size, out=here)
    return curve


def _novelty(analysis: Analysis) -> "Floats":
    """How unlike its likest others each shot is."""
    import numpy as np

    count = len(analysis.shots)
    if count <= _OTHERS:
        return np.zeros(count, dtype=np.float32)
    alike = np.empty(count, dtype=np.float32)
    for n in range(count):  # a row at a time: a long film has thousands of shots
        row = analysis.embeddings @ analysis.embeddings[n]
        row[n] = -1
        alike[n] = np.partition(row, -_OTHERS)[-_OTHERS:].mean()
    return _standing_out(-alike, _LEAST_NOVELTY)


def _per_step(analysis: Analysis, per_shot: "Floats") -> "Floats":
    import numpy as np

    curve = np.zeros(analysis.steps, dtype=np.float32)
    for shot, value in zip(analysis.shots, per_shot, strict=True):
        curve[round(shot.start_s / analysis.step_s) : round(shot.end_s / analysis.step_s)] = value
    return curve
