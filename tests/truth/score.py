"""The table of measures over a corpus, with what each must reach."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from media_pipelines.ai.analysis import Analysis
from tests.truth import measures
from tests.truth.film import Film
from tests.truth.measures import Count


@dataclass(frozen=True)
class Seen:
    """A film and what the pass made of it, of pictures of that size."""

    film: Film
    analysis: Analysis
    size: tuple[int, int]


@dataclass(frozen=True)
class Line:
    """One measure. `at_least` or `at_most` is what it must reach; neither: it is only told."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    beside: str = ""

    @property
    def passes(self) -> bool:
        low, high = self.at_least, self.at_most
        return (low is None or self.value >= low - 1e-9) and (high is None or self.value <= high + 1e-9)


def lines(seen: Sequence[Seen]) -> list[Line]:
    """Over all films together. What must be reached is the same for every corpus and seed."""
    return [*_shots(seen), *_pictures(seen), *_sound(seen), *_highlights(seen), *_digests(seen)]


def _sum(seen: Sequence[Seen], measure: Callable[[Film, Analysis], Count]) -> Count:
    return sum((measure(one.film, one.analysis) for one in seen), Count())


def _shots(seen: Sequence[Seen]) -> list[Line]:
    moving = [one for one in seen if not one.film.is_static]
    hard, every = _sum(moving, measures.hard_cuts), _sum(moving, measures.all_transitions)
    kinds, false = _sum(moving, measures.kinds), _sum(seen, measures.false_cuts)
    return [
        Line("shot F1, hard cuts", hard.f1, at_least=0.95, beside=_told(hard)),
        Line("shot F1, all transitions", every.f1, at_least=0.85, beside=_told(every)),
        Line("transitions called by their kind", kinds.share, beside=f"{kinds.right:g} of {kinds.expected:g}"),
        Line("false cuts in static clips", false.made, at_most=0),
    ]


def _told(count: Count) -> str:
    return f"{count.right:g} of {count.expected:g} found, {count.made - count.right:g} wrong"


def _pictures(seen: Sequence[Seen]) -> list[Line]:
    tags = _sum(seen, measures.photo_tags)
    faces = sum((measures.faces(one.film, one.analysis, one.size) for one in seen), Count())
    return [
        Line("known photos tagged right", tags.share, at_least=1, beside=f"{tags.right:g} of {tags.expected:g}"),
        Line("faces found where they are", faces.share, at_least=1, beside=f"{faces.right:g} of {faces.expected:g}"),
        Line("faces where there are none", _sum(seen, measures.false_faces).made),
    ]


def _sound(seen: Sequence[Seen]) -> list[Line]:
    heard = [one for one in seen if one.film.speech]
    speech = sum((_overlap(one, music=False) for one in heard), Count())
    music = sum((_overlap(one, music=True) for one in heard), Count())
    return [
        Line("speech, intersection over union", speech.share, at_least=0.8, beside=f"{speech.expected:.0f} s"),
        Line("music, intersection over union", music.share, beside=f"{music.expected:.0f} s"),
    ]


def _overlap(one: Seen, *, music: bool) -> Count:
    planted = one.film.music if music else one.film.speech
    found = one.analysis.music if music else one.analysis.speech
    return measures.overlap(planted, [(span.start_s, span.end_s) for span in found], one.film.duration_s)


def _highlights(seen: Sequence[Seen]) -> list[Line]:
    pairs = [measures.highlights(one.film, one.analysis) for one in seen if one.film.planted]
    found, thrown = sum((a for a, _ in pairs), Count()), sum((b for _, b in pairs), Count())
    beside = f"{found.right:g} of {found.expected:g}; random reels as long: {thrown.share:.2f}"
    return [Line("planted highlights in the reel", found.share, at_least=0.9, beside=beside)]


def _digests(seen: Sequence[Seen]) -> list[Line]:
    moving = [one.film for one in seen if not one.film.is_static]
    made = [(film, *measures.a_digest(film, one.analysis)) for one in seen if (film := one.film) in moving]
    errors = [abs(each.length_s() - target_s) / target_s for _, each, target_s in made]
    covered = sum((measures.photos_covered(film, each) for film, each, _ in made), Count())
    twice = sum((measures.duplicates(film, each) for film, each, _ in made), Count())
    return [
        Line("digest length, largest error", max(errors), at_most=0.05, beside=f"{len(made)} digests"),
        Line(
            "planted scenes in the digest",
            covered.share,
            at_least=1,
            beside=f"{covered.right:g} of {covered.expected:g}",
        ),
        Line("shots that a digest shows twice", twice.made, at_most=0),
    ]
