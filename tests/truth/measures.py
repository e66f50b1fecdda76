"""How near an analysis, and what is chosen from it, comes to what was planted. Every measure says what it counts."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from media_pipelines.ai.analysis import Analysis, Face
from media_pipelines.ai.digest import Digest, digest
from media_pipelines.ai.highlights import moments, reel
from media_pipelines.ai.interest import interest
from media_pipelines.ai.scenes import scenes
from tests.truth.film import Film, Stretch, Take
from tests.truth.photos import FACES, NAMES
from tests.truth.render import face_at

# Two and a half frames: between two of them, and coded times are rounded.
_CUT_WITHIN_S = 0.1
_SOFT_WITHIN_S = 0.25
_WHOLE_FROM = 0.6  # of a photo's width
_BY_RANK = 3
_FOUND_FROM = 0.5
_SEEN_S = 0.5
_GRID_S = 0.01
_DRAWS = 300
_DIGEST_SHARE = 0.4
# He is seen from the side, and nobody can say whether that is a face.
_UNDECIDED = frozenset({"camera"})
Span = tuple[float, float]


@dataclass(frozen=True)
class Count:
    """`right` of `expected`; `made` is how many were claimed. Adds up over films."""

    right: float = 0
    expected: float = 0
    made: float = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.right + other.right, self.expected + other.expected, self.made + other.made)

    @property
    def share(self) -> float:
        return self.right / self.expected if self.expected else 1.0

    @property
    def f1(self) -> float:
        return 2 * self.right / (self.expected + self.made) if self.expected + self.made else 1.0


# Shots


def hard_cuts(film: Film, analysis: Analysis) -> Count:
    """What stands at a dissolve or fade is no claim of a hard cut; what stands nowhere is a wrong one."""
    matched = _matched(film, analysis)
    hard = {n for n, take in enumerate(film.takes) if take.transition_in == "cut"}
    wrong = len(analysis.shots) - 1 - len(matched)
    right = len(hard & set(matched))
    return Count(right, len(hard), right + wrong)


def all_transitions(film: Film, analysis: Analysis) -> Count:
    return Count(len(_matched(film, analysis)), len(film.takes) - 1, len(analysis.shots) - 1)


def kinds(film: Film, analysis: Analysis) -> Count:
    """Of the transitions that were found, those that are called what they are."""
    matched = _matched(film, analysis)
    right = [n for n, shot in matched.items() if analysis.shots[shot].transition_in == film.takes[n].transition_in]
    return Count(len(right), len(matched), len(matched))


def _matched(film: Film, analysis: Analysis) -> dict[int, int]:
    """Which take begins with which shot, each once, the nearest first."""
    pairs = []
    for n, take in enumerate(film.takes[1:], 1):
        within_s = take.transition_s / 2 + _SOFT_WITHIN_S if take.transition_s else _CUT_WITHIN_S
        for k, shot in enumerate(analysis.shots[1:], 1):
            apart_s = abs(shot.start_s - take.start_s)
            if apart_s <= within_s:
                pairs.append((apart_s, n, k))
    found: dict[int, int] = {}
    for _, n, k in sorted(pairs):
        if n not in found and k not in found.values():
            found[n] = k
    return found


def false_cuts(film: Film, analysis: Analysis) -> Count:
    """In films of one shot."""
    return Count(made=len(analysis.shots) - 1) if film.is_static else Count()


# Tags and faces


def photo_tags(film: Film, analysis: Analysis) -> Count:
    """Photos of which one of the three surest tags is right, in some shot of theirs. Not those of which a film shows
    only a detail."""
    known = {take.photo for take in film.takes if take.photo in NAMES and take.window[0][2] >= _WHOLE_FROM}
    right = sum(
        any(_names(film, analysis, photo, n) & NAMES[photo] for n in range(len(analysis.shots))) for photo in known
    )
    return Count(right, len(known))


def _names(film: Film, analysis: Analysis, photo: str, shot: int) -> set[str]:
    if _take_at(film, analysis.shots[shot].key_s).photo != photo:
        return set()
    ranked = sorted((tag for tag in analysis.tags if tag.shot == shot), key=lambda tag: -tag.score)
    return {tag.name.lower().replace("_", " ") for tag in ranked[:_BY_RANK]}


def faces(film: Film, analysis: Analysis, size: tuple[int, int]) -> Count:
    """Takes in which the face is seen all the time, and is found where it is."""
    shown = [take for take in film.takes if _shows_face(take, size)]
    return Count(sum(any(_is_there(take, face, size) for face in analysis.faces) for take in shown), len(shown))


def false_faces(film: Film, analysis: Analysis) -> Count:
    """In takes of photos without any."""
    without = [take for take in film.takes if take.photo not in FACES and take.photo not in _UNDECIDED]
    return Count(made=sum(_during(take, face.at_s) for take in without for face in analysis.faces))


def _shows_face(take: Take, size: tuple[int, int]) -> bool:
    times = np.linspace(take.start_s, take.end_s, 5)
    return all(face_at(take, float(at_s), size) for at_s in times)


def _is_there(take: Take, face: Face, size: tuple[int, int]) -> bool:
    box = face_at(take, face.at_s, size) if _during(take, face.at_s) else None
    if box is None:
        return False
    x, y = face.x + face.width / 2, face.y + face.height / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _during(take: Take, at_s: float) -> bool:
    return take.start_s + take.transition_s / 2 <= at_s < take.end_s


def _take_at(film: Film, at_s: float) -> Take:
    return next((take for take in film.takes if at_s < take.end_s), film.takes[-1])


# Sound


def overlap(planted: Iterable[Stretch], found: Iterable[Span], duration_s: float) -> Count:
    """Seconds that both have, of those that one has: `share` is the intersection over the union."""
    one, other = (_grid(spans, duration_s) for spans in ([(s.start_s, s.end_s) for s in planted], found))
    return Count(float((one & other).sum()) * _GRID_S, float((one | other).sum()) * _GRID_S)


def _grid(spans: Iterable[Span], duration_s: float) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    cells = np.zeros(round(duration_s / _GRID_S) + 1, dtype=bool)
    for start_s, end_s in spans:
        cells[round(start_s / _GRID_S) : round(end_s / _GRID_S)] = True
    return cells


# What is chosen


def highlights(film: Film, analysis: Analysis) -> tuple[Count, Count]:
    """Planted moments of which at least half is in a reel as long as all of them together; and the same for reels of
    pieces as long at random places, on average."""
    found = interest(analysis)
    target_s = sum(one.end_s - one.start_s for one in film.planted)
    made = reel(analysis, found, moments(analysis, found), target_s)
    spans = [(one.start_s, one.end_s) for one in made]
    rng = random.Random(film.seed)
    drawn = [_found(film.planted, _thrown(rng, spans, film.duration_s)) for _ in range(_DRAWS)]
    planted = len(film.planted)
    return Count(_found(film.planted, spans), planted), Count(sum(drawn) / _DRAWS, planted)


def _found(planted: Sequence[Stretch], spans: Sequence[Span]) -> int:
    return sum(_covered_s(one, spans) >= _FOUND_FROM * (one.end_s - one.start_s) for one in planted)


def _covered_s(planted: Stretch, spans: Sequence[Span]) -> float:
    return sum(max(0.0, min(planted.end_s, end_s) - max(planted.start_s, start_s)) for start_s, end_s in spans)


def _thrown(rng: random.Random, spans: Sequence[Span], duration_s: float) -> list[Span]:
    """Pieces of these lengths in a random order, with random gaps."""
    lengths = [end_s - start_s for start_s, end_s in spans]
    rng.shuffle(lengths)
    free_s = max(0.0, duration_s - sum(lengths))
    gaps = sorted(rng.uniform(0, free_s) for _ in lengths)
    starts = [gap + sum(lengths[:n]) for n, gap in enumerate(gaps)]
    return [(start_s, start_s + length_s) for start_s, length_s in zip(starts, lengths, strict=True)]


def a_digest(film: Film, analysis: Analysis) -> tuple[Digest, float]:
    """Of two fifths of the film, and its target in seconds."""
    target_s = _DIGEST_SHARE * film.duration_s
    return digest(analysis, interest(analysis), scenes(analysis), target_s), target_s


def photos_covered(film: Film, made: Digest) -> Count:
    """Photos that the digest shows for half a second."""
    spans = [(one.start_s, one.end_s) for one in made.segments]
    seen = {take.photo for take in film.takes if _covered_s(Stretch(take.start_s, take.end_s), spans) >= _SEEN_S}
    wanted = {take.photo for take in film.takes}
    return Count(len(seen & wanted), len(wanted))


def duplicates(film: Film, made: Digest) -> Count:
    """Pairs of pieces that show takes of the very same."""
    shown = [_take_at(film, (one.start_s + one.end_s) / 2) for one in made.segments]
    pairs = [(one, other) for one, other in combinations(shown, 2) if one is not other and _same(one, other)]
    return Count(made=len(pairs))


def _same(one: Take, other: Take) -> bool:
    return (one.photo, one.window, one.mirrored) == (other.photo, other.window, other.mirrored)
